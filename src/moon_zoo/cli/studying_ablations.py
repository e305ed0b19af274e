"""The part of `study ablations` that plans and tells; carried out as every study is (`moon_zoo.cli.studying`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from moon_zoo import recipes
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import Faults, UsageError, did_you_mean
from moon_zoo.metrics.catalogue import TASKS, find, known_metrics
from moon_zoo.studies import ablations, outcome
from moon_zoo.studies.ablations import BASE, Variant
from moon_zoo.studies.running import Folder, Record
from moon_zoo.studies.steps import Step, overrides

VERBS = {"test": "test", "val": "validate"}
"""Split to the verb that measures it."""

Finish = Callable[[Folder, Sequence[Step], Mapping[str, Record]], int]


def plan(options: argparse.Namespace) -> tuple[list[Step], Finish]:
    """The study's steps, and what tells their outcome.

    Raises:
        UsageError: Two variants are the same, or a figure is unknown.
        RecipeError: A merged recipe has a mistake.
    """
    variants = _variants(options)
    _require_figures(options.measures)
    steps, tests = ablations.plan(variants, options.to, seeds=options.seeds, verb=VERBS[options.split])

    def finish(folder: Folder, steps: Sequence[Step], records: Mapping[str, Record]) -> int:
        found = ablations.collect(
            variants, tests, records, seeds=options.seeds, split=options.split, wanted=options.measures
        )
        return _tell(found, folder, steps, records, as_json=options.json)

    return steps, finish


def _variants(options: argparse.Namespace) -> list[Variant]:
    """The base, the base with each overlay, and whole recipes beside it; each looked at before any time is spent."""
    stages = len(options.config)
    if not 1 <= options.from_stage <= stages:
        raise UsageError(
            f"--from-stage is {options.from_stage}, and there {'is one stage' if stages == 1 else f'are {stages} stages'}",
            where="--from-stage",
            change=f"--from-stage to 1{'' if stages == 1 else f' to {stages}'}",
        )
    if not options.overlays and not options.beside:
        raise UsageError("nothing is compared with the base", change="--overlays or --beside to one recipe or more")
    if options.ckpt_path is not None:
        from moon_zoo.cli.checkpoints import locate

        locate(options.ckpt_path)  # found, or fetched from a hub, before any time is spent
    base: list[tuple[str, ...]] = [(recipe,) for recipe in options.config]
    settings = overrides(options.set, "--set")
    chosen: list[tuple[str, list[tuple[str, ...]]]] = [(BASE, list(base))]
    for overlay, name in zip(options.overlays, _names(options.overlays)):
        varied: list[tuple[str, ...]] = [
            (*one, overlay) if place >= options.from_stage else one for place, one in enumerate(base, 1)
        ]
        chosen.append((name, varied))
    found = [_variant(name, stages, settings, options.ckpt_path) for name, stages in chosen]
    # model settings are the base's: another model may not know them
    general = tuple(word for pair in _pairs(settings) if not pair[0].startswith("--model") for word in pair)
    found += [
        _variant(name, [(recipe,)], general, None)
        for recipe, name in zip(options.beside, map(_whole_name, options.beside))
    ]
    return found


def _variant(name: str, stages: Sequence[tuple[str, ...]], settings: tuple[str, ...], start: str | None) -> Variant:
    from moon_zoo.cli import checks, structure

    values = []
    for merged in stages:
        recipe = recipes.load(merged)
        for option, text in _pairs(settings):
            recipe.tree = recipes.override(recipe.tree, option.removeprefix("--"), text)
        structure.require_sound(recipe)
        faults = [checks.annotated(fault, recipe) for fault in checks.data_faults(recipe)]
        if faults:
            raise Faults(faults)
        values.append({key: value for key, value in recipe.values.items() if key != "seed_everything"})
    return Variant(name, tuple(stages), tuple(values), settings, start)


def _pairs(settings: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(settings[::2], settings[1::2]))


def _names(given: Sequence[str]) -> list[str]:
    """Short names where they are told apart by them, else the whole name with dashes."""
    short = [Path(one).name.removesuffix(".yaml") for one in given]
    if len(set(short)) == len(short) and BASE not in short:
        return short
    return [_dashed(one) for one in given]


def _whole_name(recipe: str) -> str:
    """``dual_flow-search`` of a shipped recipe, a file's stem."""
    return Path(recipe).stem if Path(recipe).is_file() else _dashed(recipe)


def _dashed(name: str) -> str:
    return name.removesuffix(".yaml").strip("/").replace("/", "-")


def _require_figures(wanted: Sequence[str]) -> None:
    for name in wanted:
        if find(name) is None:
            patterns = [info.pattern.replace("{k}", "1") for info in known_metrics()]
            patterns += [pattern.replace("{task}", task) for pattern in patterns for task in TASKS]
            raise UsageError(
                f"there is no figure {name!r}",
                where="--measures",
                suggestions=did_you_mean(name, patterns),
                change="--measures, such as photo_to_product/recall@1",
            )


def _tell(
    found: ablations.Ablations,
    folder: Folder,
    steps: Sequence[Step],
    records: Mapping[str, Record],
    *,
    as_json: bool,
) -> int:
    from moon_zoo.studies import ablation_tables

    whole = outcome.write_outcome(folder, steps, records, found.as_json())
    table = ablation_tables.write_table(found, folder.path / "study.csv")
    card = folder.path / "ablations.md"
    card.write_text(ablation_tables.markdown(found), "utf-8")
    picture = ablation_tables.draw(found, folder.path / "ablations.png")
    if as_json:
        print_json(whole)
        return 0
    heading, rows = ablation_tables.mean_rows(found)
    print_table(f"{found.split}, mean of seeds", heading, rows, right=range(1, len(heading)))
    heading, rows = ablation_tables.difference_rows(found)
    print_table("against the base, seed by seed", heading, rows, right=range(1, len(heading)))
    for note in found.notes:
        say(f"note: {note}")
    print(f"figures: {folder.study}")
    print(f"table:   {table}, {card}")
    print(f"plot:    {picture}")
    return 0
