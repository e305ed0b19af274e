"""The part of `publish` that needs torch: a run as a checkpoint folder with its figures and its card."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moon_zoo import __version__, recipe_yaml, recipes, registry
from moon_zoo.cli import checkpoints, measuring, run_folder, structure, used_recipe
from moon_zoo.cli.data import data_module
from moon_zoo.cli.run_folder import RunFolder
from moon_zoo.cli.train import command_line
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import CheckpointError, UsageError, ZooError
from moon_zoo.hub.names import is_name, one_line
from moon_zoo.models import pretrained
from moon_zoo.models.base import ZooModule
from moon_zoo.models.weights import Dtype
from moon_zoo.reports import summary
from moon_zoo.reports.card import CardFacts, SplitFacts, card, gist, section
from moon_zoo.reports.public_paths import PublicPaths

RECIPE = "recipe.yaml"
"""Beside the card: the recipe without its defaults, to train the same again."""

MEASURED_ON = {"test": "test", "validate": "val"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a run is to be published.

    Args:
        ckpt_path: ``best``, ``last`` or a ``.ckpt``.
        dtype: What weights are stored as.
        licence: Of the weights.
        summary: One line; None for one made from model and data.
        max_difference: By how much a recall or accuracy may change when weights are rounded.
        measure: Whether to measure; otherwise the run's own ``metrics.json`` is taken as it is.
        overrides: Further options of the measuring verb, such as ``--trainer.precision bf16-mixed``.
        quiet: Whether to show no progress.
        say: Tells the person who waits what happens.
    """

    ckpt_path: str = "best"
    dtype: Dtype = "float32"
    licence: str = ""
    summary: str | None = None
    max_difference: float = 0.005
    measure: bool = True
    overrides: tuple[str, ...] = ()
    quiet: bool = False
    say: Callable[[str], None] = print


@dataclass(slots=True)
class Prepared:
    """A checkpoint folder ready for a hub.

    Args:
        folder: The folder.
        summary: One line for the hub's index.
        figures: In its card and ``metrics.json``.
        unrounded: The same of the weights before they were rounded; empty where they were not.
        command: What measures the figures again.
    """

    folder: Path
    summary: str
    figures: dict[str, float] = field(default_factory=dict)
    unrounded: dict[str, float] = field(default_factory=dict)
    command: str = ""

    @property
    def differences(self) -> dict[str, float]:
        """By how much rounding changed each recall and accuracy."""
        return measuring.differences(self.unrounded, self.figures)


def default_name(run: RunFolder, values: dict[str, Any]) -> str:
    """What a run's checkpoint is called unless a name is given: its recipe's name, else the model's and the run's.

    Raises:
        UsageError: Neither makes a name.
    """
    model = next(
        (
            entry.name
            for entry in registry.entries("models").values()
            if entry.class_path == values["model"]["class_path"]
        ),
        values["model"]["class_path"].rpartition(".")[2].lower(),
    )
    for name in (*_recipes_named(run), f"{model}/{run.path.absolute().name}"):
        if is_name(name) and not name.endswith((".yaml", ".yml")):
            return name
    raise UsageError(f"{run.path} suggests no name for its checkpoint", change="--name model/name")


def prepare(run: RunFolder, values: dict[str, Any], name: str, work: Path, wanted: Wanted) -> Prepared:
    """Write a run's checkpoint as a folder with its figures and card.

    Args:
        run: The run's folder.
        values: Its ``config.yaml``.
        name: The checkpoint's name on the hub.
        work: An empty folder to work in.
        wanted: How.

    Raises:
        ZooError: The run cannot be loaded or measured, or its figures change too much when rounded.
    """
    source = checkpoints.locate(wanted.ckpt_path, str(run.path), progress=not wanted.quiet)
    # The class is the run's own word, not a stranger's: whoever publishes a run has run it.
    module = pretrained.load(source, structure.import_class(values["model"]["class_path"]))
    folder = pretrained.save(module, work / "checkpoint", dtype=wanted.dtype)
    data = data_module(recipes.load(str(run.config)))
    public = PublicPaths(data.paths.values())
    verb = "test" if data.paths["test"] is not None else "validate" if data.paths["val"] is not None else ""
    words = [*used_recipe.data_words(values["data"], verb), *wanted.overrides]
    sets = _data_facts(data, MEASURED_ON.get(verb), public)
    prepared = Prepared(folder, wanted.summary or _summary(type(module), sets["data"]))
    if verb and wanted.measure:
        prepared.command = public.command(command_line(verb, "--ckpt_path", name, *words))
        _measure(prepared, module, verb, words, work, wanted)
    elif not wanted.measure:
        prepared.figures = _recorded(run, wanted)
    facts = CardFacts(
        name=name,
        summary=prepared.summary,
        about=_about(type(module), "What it is"),
        class_path=pretrained.class_path(type(module)),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        dtype=wanted.dtype,
        fingerprint=pretrained.load(folder, type(module)).fingerprint(),
        modalities=tuple(module.modalities),
        licence=one_line(wanted.licence),
        moon_zoo=__version__,
        command="\n".join(public.command(command, leave_out=("--run",)) for command in run.commands()),
        began_with=_began_with(run, module, public),
        own_recipe=_own_recipe(run, public),
        recipe=recipe_yaml.dump(public.values(used_recipe.without_defaults(values))),
        chosen=_chosen(run, source, module),
        **sets,
        figures=prepared.figures,
        measure=prepared.command,
        rounding=_rounding(prepared, wanted),
        environment=_environment(run),
        limits=_about(type(module), "Limits"),
    )
    _write(folder, facts, prepared)
    return prepared


def _measure(prepared: Prepared, module: ZooModule, verb: str, words: list[str], work: Path, wanted: Wanted) -> None:
    def figures_of(folder: Path, what: str) -> dict[str, float]:
        wanted.say(f"measuring {what}: {prepared.command}")
        place = work / f"{folder.name}-{verb}"
        place.mkdir()
        found = measuring.measure(verb, folder, words, place, quiet=wanted.quiet)
        return {name: value for name, value in found.items() if name not in summary.COUNTERS}

    if wanted.dtype != "float32":
        whole = pretrained.save(module, work / "whole")
        prepared.unrounded = figures_of(whole, "the weights as they were trained")
    prepared.figures = figures_of(prepared.folder, f"the weights as {wanted.dtype}")
    worst = max(prepared.differences.items(), key=lambda item: item[1], default=("", 0.0))
    if worst[1] > wanted.max_difference:
        name, by = worst
        raise CheckpointError(
            f"as {wanted.dtype}, {name} is {prepared.figures[name]:.4f} and was {prepared.unrounded[name]:.4f}: a "
            f"difference of {by:.4f}, more than {wanted.max_difference:g}",
            change="--dtype to float32; or --max-difference, if that is good enough. Nothing was published",
        )


def _recorded(run: RunFolder, wanted: Wanted) -> dict[str, float]:
    """The figures of the run's metrics.json, which are of the best checkpoint in full precision and of no other."""
    if wanted.dtype != "float32" or wanted.ckpt_path != "best":
        raise UsageError(
            "the run's recorded figures are of its best checkpoint in float32, not of what is to be published",
            change="--no-measure: leave it out; or --dtype float32 and --ckpt_path best",
        )
    figures = summary.read_metrics(run.metrics_json)
    return {
        name: value for name, value in figures.items() if not name.startswith("train/") and name not in summary.COUNTERS
    }


def _rounding(prepared: Prepared, wanted: Wanted) -> str:
    if not prepared.unrounded:
        return ""
    changes = prepared.differences
    name, by = max(changes.items(), key=lambda item: item[1], default=("", 0.0))
    if not by:
        return f"Stored as {wanted.dtype}: rounding changed none of {len(changes)} recalls and accuracies."
    return (
        f"Stored as {wanted.dtype}. Of {len(changes)} recalls and accuracies, rounding changed `{name}` most: "
        f"{prepared.unrounded[name]:.4f} before, {prepared.figures[name]:.4f} now."
    )


def _own_recipe(run: RunFolder, public: PublicPaths) -> str:
    shipped = recipes.shipped()
    own = [name for name in _recipes_named(run) if name.removesuffix(".yaml") not in shipped]
    if not own:
        return ""
    names = ", ".join(f"`{public.path(name)}`" for name in own)
    return f"{names} does not ship with moon-zoo; `{RECIPE}` beside this card stands for it: `moon-zoo fit --config {RECIPE}`."


def _recipes_named(run: RunFolder) -> list[str]:
    """What the command that made a run gave as ``--config``."""
    return run.given("--config", "-c")


def _began_with(run: RunFolder, module: ZooModule, public: PublicPaths) -> tuple[str, ...]:
    """Weights that training began with: a checkpoint, or what the model's constructor loads."""
    given = [*run.given("--ckpt_path"), *module.pretrained_names()]
    return tuple(dict.fromkeys(public.path(name) for name in given))


def _chosen(run: RunFolder, source: Path, module: ZooModule) -> str:
    if source.name != "best.ckpt":
        return f"The checkpoint is `{source.name}` of the run."
    counters = summary.read_metrics(run.metrics_json) if run.metrics_json.is_file() else {}
    when = f", of epoch {int(counters['epoch'])}, step {int(counters['step']):,}" if counters.get("step") else ""
    return f"The checkpoint is the best by `{module.primary_metric}`{when}."


def _summary(cls: type[ZooModule], data: tuple[SplitFacts, ...]) -> str:
    """What the model is and what it learned from, in one line."""
    models = registry.entries("models").values()
    what = next((entry.summary for entry in models if entry.class_path == pretrained.class_path(cls)), cls.__name__)
    source = next((gist(item.source) for item in data if item.role == "train"), "")
    return f"{what}; trained on {source}" if source else what


def _about(cls: type[ZooModule], heading: str) -> str:
    """A section of the README beside the model's module, or beside that of the nearest base class which has one."""
    for owner in cls.__mro__:
        if not issubclass(owner, ZooModule) or owner is ZooModule:
            continue
        readme = Path(inspect.getfile(owner)).parent / "README.md"
        text = section(readme.read_text("utf-8"), heading) if readme.is_file() else ""
        if text:
            return (
                text if owner is cls else f"A `{cls.__name__}`, which builds on `{owner.__name__}`. Of that:\n\n{text}"
            )
    return ""


def _data_facts(data: Any, measured: str | None, public: PublicPaths) -> dict[str, Any]:
    """``data`` and ``unread`` of a card: what the sets' manifests say."""
    found, unread = [], {}
    for role in dict.fromkeys(("train", "val", measured, "gallery")):
        path = data.paths.get(role)
        if path is None or role is None:
            continue
        try:
            if data.writes_its_shards:
                data.prepare_data()
            manifest = IndexedShards(path).manifest
        except ZooError as error:
            unread[role] = public.path(one_line(error.what))
            continue
        found.append(
            SplitFacts(
                role,
                manifest.kind,
                manifest.samples,
                one_line(manifest.source),
                one_line(manifest.licence),
                manifest.fingerprint,
                tuple(public.path(one_line(parent)) for parent in manifest.parents),
                public.command(one_line(manifest.command)),
            )
        )
    return {"data": tuple(found), "unread": unread}


def _environment(run: RunFolder) -> dict[str, Any] | None:
    try:
        found = json.loads(run.environment.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(folder: Path, facts: CardFacts, prepared: Prepared) -> None:
    """Figures, recipe and card into a checkpoint folder."""
    if prepared.figures:
        summary.write_metrics(folder / pretrained.METRICS, prepared.figures)
    header = f"# {facts.name}: the recipe it was trained by, without what is default anyway.\n"
    (folder / RECIPE).write_text(header + facts.recipe, "utf-8")
    (folder / pretrained.CARD).unlink(missing_ok=True)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    (folder / pretrained.CARD).write_text(card(replace(facts, files=sizes)), "utf-8")


def is_run(path: Path) -> bool:
    """Whether a folder is a run's."""
    return run_folder.RunFolder(path).checkpoints.is_dir() and not pretrained.is_checkpoint(path)
