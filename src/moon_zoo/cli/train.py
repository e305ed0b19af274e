"""`fit`, `validate`, `test` and `predict`: a recipe through LightningCLI into a run's folder.

Which value counts, from strongest to weakest: an option of the command line; a later ``--config``; an earlier one; its
bases; ``config.yaml`` of ``--run``, or else the settings inside of ``--ckpt_path`` (read only where no ``--config`` gives a
model); defaults of signatures. Where there is a recipe, a checkpoint gives weights, optimiser and data position, never
hyperparameters: LightningCLI would let the stored ones win over recipe and command line.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from moon_zoo import recipes
from moon_zoo.cli import checkpoints, run_folder
from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.run_folder import RunFolder
from moon_zoo.errors import UsageError

RECIPE_KEYS = ("model", "data", "trainer", "seed_everything")
EXIT_INTERRUPTED = 130

DESCRIPTIONS = {
    "fit": "Train a model from a recipe. Checkpoints, figures and pictures go into the\nrun's folder.",
    "validate": "Compute a run's figures on its validation data.",
    "test": "Compute a run's figures on its test data, with retrieval pictures.",
    "predict": "Write a run's outputs for the data under `predict`, as named columns of a\nParquet file.",
}

EXAMPLES = {
    "fit": """\
  moon-zoo fit --config dual_flow/quickstart
  moon-zoo fit --config my.yaml --config accelerators/gpu --run runs/first
  moon-zoo fit --config my.yaml --trainer.max_epochs 2 --model.embedding_dim 64
  moon-zoo fit --run runs/first --resume        after Ctrl-C, exactly from there
  moon-zoo fit --config my.yaml --ckpt_path dual_flow/shop
                                                from the weights of a checkpoint
""",
    "validate": """\
  moon-zoo validate --run runs/first            the best checkpoint
  moon-zoo validate --run runs/first --ckpt_path last
  moon-zoo validate --config my.yaml            the model as it starts
""",
    "test": """\
  moon-zoo test --run runs/first                the best checkpoint
  moon-zoo test --run runs/first --data.test shards/other/test --json
  moon-zoo test --ckpt_path dual_flow/shop --data shop
""",
    "predict": """\
  moon-zoo predict --run runs/first --data.predict shards/items
  moon-zoo predict --run runs/first --data.predict shards/items --output x.pq
  moon-zoo predict --ckpt_path dual_flow/shop --data.predict shards/items
""",
}


@dataclass(slots=True)
class Job:
    """One call of a verb, understood."""

    verb: str
    recipe: recipes.Recipe
    folder: RunFolder
    checkpoint: Path | None
    options: argparse.Namespace
    words: list[str]


def run(verb: str, args: list[str]) -> int:
    """Run ``verb``."""
    parser = parser_for(verb)
    options, rest = parser.parse_known_args(args)
    overrides = read_overrides(parser, rest)
    recipe = read_recipe(options, overrides)
    from moon_zoo.cli import structure

    structure.require_sound(recipe)
    job = Job(verb, recipe, *_folder_and_checkpoint(verb, recipe, options), options, args)
    from moon_zoo.cli import training

    return training.run(job)


def parser_for(verb: str) -> Arguments:
    """The options of one verb, without those that a recipe's keys make."""
    overrides = "\n\nAny key of a recipe is an option: --trainer.max_steps 90, --data.batch_size 32."
    parser = Arguments(verb, DESCRIPTIONS[verb] + overrides, EXAMPLES[verb])
    parser.add_argument(
        "--config", "-c", action="append", default=[], metavar="RECIPE", help="path or shipped name; later ones win"
    )
    parser.add_argument("--run", metavar="DIR", help="the run's folder; runs/<recipe>/<number> for a new one")
    if verb == "fit":
        parser.add_argument(
            "--resume", action="store_true", help="go on with the run of --run from its last checkpoint"
        )
    parser.add_argument(
        "--ckpt_path",
        metavar="CKPT",
        help="what to start from: a .ckpt or run folder, with optimiser and data position; or a checkpoint's folder, "
        "name or URL, which gives weights and tokenizer"
        if verb == "fit"
        else "best (default with --run) or last; a .ckpt, run folder or checkpoint folder; a checkpoint's name or URL",
    )
    if verb == "fit":
        parser.add_argument(
            "--allow_missing",
            action="store_true",
            help="weights that the checkpoint lacks (of a new head) keep their initial values; a .ckpt then gives "
            "weights and tokenizer alone",
        )
    if verb == "predict":
        parser.add_argument("--output", metavar="FILE", help="where to write; predictions.parquet in the run's folder")
    parser.add_argument(
        "--json", action="store_true", help="print the final figures as JSON, and nothing else, on stdout"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress, results only")
    return parser


def read_overrides(parser: Arguments, words: list[str]) -> list[tuple[str, str]]:
    """``--key value`` and ``--key=value`` pairs of the recipe's keys.

    Raises:
        UsageError: A word is no such option, or has no value.
    """
    pairs = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("--") or option[2:].split(".")[0] not in RECIPE_KEYS:
            raise parser.unknown_option(word, roots=tuple(f"--{key}" for key in RECIPE_KEYS))
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"{option} needs a value", where=parser.prog, change=f"{option} VALUE")
            value = rest.pop(0)
        pairs.append((option[2:], value))
    # a class first, its arguments after: naming another class drops the former's arguments
    return sorted(pairs, key=lambda pair: not (pair[0] in recipes.NAMED_CLASSES or pair[0].endswith("class_path")))


def read_recipe(options: argparse.Namespace, overrides: list[tuple[str, str]]) -> recipes.Recipe:
    """The recipe of ``--config``, on that of ``--run`` or ``--ckpt_path`` where it has no model, under the overrides.

    Raises:
        UsageError: None of them is given.
    """
    recipe = recipes.load(options.config)
    chosen = options.ckpt_path
    begins = getattr(options, "resume", None) is False and chosen is not None  # a fit's --run is yet to be
    lacks_model = recipe.tree.get("model") is None and not any(
        option in ("model", "model.class_path") for option, _ in overrides
    )
    below: recipes.Recipe | None = None
    of_alignment = lacks_model and recipe.tree.get("align") is not None
    if options.run is not None and lacks_model and not begins and not of_alignment:
        below = recipes.load(str(run_folder.existing(options.run).config))
        below.name = Path(options.run).name
    elif lacks_model and chosen is not None:
        path = checkpoints.locate(chosen, options.run, progress=not getattr(options, "quiet", False))
        below = checkpoints.recipe(path, chosen)
        options.ckpt_path = str(path)  # found once: a hub would be asked again
    elif not options.config and not overrides:
        raise UsageError(
            "no recipe given",
            change="--config to a recipe's path or name, such as dual_flow/quickstart; `moon-zoo list recipes` shows them",
        )
    if below is not None:
        recipe = recipes.Recipe(below.name, recipes.merge(below.tree, recipe.tree), recipe.files)
    for option, text in overrides:
        recipe.tree = recipes.override(recipe.tree, option, text)
    return recipe


def _folder_and_checkpoint(
    verb: str, recipe: recipes.Recipe, options: argparse.Namespace
) -> tuple[RunFolder, Path | None]:
    chosen = options.ckpt_path
    if verb == "fit" and options.resume and chosen is not None:
        raise UsageError("--resume starts from the run's last checkpoint", change="one of --resume and --ckpt_path")
    if verb != "fit" and options.run is not None:
        folder = run_folder.existing(options.run)
        return folder, checkpoints.locate(chosen or "best", options.run, progress=not options.quiet)
    source = checkpoints.locate(chosen, options.run, progress=not options.quiet) if chosen is not None else None
    if verb == "fit":
        folder = run_folder.for_fit(recipe.name, options.run, options.resume)
        return folder, folder.last if options.resume else source
    return run_folder.new(recipe.name), source


def command_line(*words: str | Path) -> str:
    """A command as one would type it."""
    return shlex.join(["moon-zoo", *map(str, words)])
