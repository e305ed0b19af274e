"""The loop of `moon-zoo align`: its plan carried out step by step, and what came of it as table, JSON and picture."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from moon_zoo import recipes
from moon_zoo.alignment import plan as planning
from moon_zoo.alignment import report as reporting
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.cli.run_folder import RunFolder
from moon_zoo.cli.studying import EXIT_INTERRUPTED, Carrier, announce, dry_run, tell
from moon_zoo.cli.train import command_line
from moon_zoo.errors import RecipeError
from moon_zoo.studies import running
from moon_zoo.studies.running import Folder
from moon_zoo.studies.steps import Step

KEY = "align"
REPORT, PICTURE = "report.json", "report.png"


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Carry an alignment out, or go on with it.

    Args:
        options: As `moon_zoo.cli.align` reads them.
        words: The command's, after ``align``.
    """
    alignment = read(options)
    folder = Folder(
        options.run if options.run is not None else Path("runs", recipes.name_of(recipes.find(options.config)))
    )
    todo = planning.plan(alignment, folder.path)
    if not options.overwrite:
        running.require_same_study(todo.steps, folder)
    if options.dry_run:
        return dry_run(todo.steps, folder, options, timed=False)
    with folder.alone():
        folder.begin({"study": "align", "command": command_line("align", *words)}, overwrite=options.overwrite)
        if not options.quiet:
            announce(todo.steps, folder, timed=False)
        try:
            carrier = GoingOn(options.quiet)
            records = running.carry_out(todo.steps, folder, carrier, told=None if options.quiet else tell)
        except KeyboardInterrupt:
            say(f"stopped; go on with: {command_line('align', *words)}")
            return EXIT_INTERRUPTED
    found = reporting.collect(todo, records)
    running.write_json(folder.path / REPORT, found.as_json())
    reporting.draw(found, folder.path / PICTURE)
    if options.json:
        print_json(found.as_json())
        return 0
    show(found)
    if not options.quiet:
        say(f"report:  {folder.path / REPORT}")
        say(f"report:  {folder.path / PICTURE}")
    return 0


class GoingOn(Carrier):
    """Carries steps out; a training that was killed goes on from its last checkpoint."""

    def __call__(self, step: Step) -> dict[str, Any]:
        """See `Carrier`."""
        if step.verb == "fit" and step.writes is not None and step.writes.is_dir():
            run = RunFolder(step.writes)
            if run.config.is_file() and run.last.is_file():
                step = replace(step, words=("fit", "--run", str(run.path), "--resume"))
            else:
                shutil.rmtree(run.path)  # killed before its first checkpoint
        return super().__call__(step)


def trainings(recipe: recipes.Recipe) -> list[tuple[recipes.Recipe, bool]]:
    """The recipes that an alignment trains by, each once, and whether their data are there before it begins.

    Args:
        recipe: The alignment's, merged.

    Raises:
        RecipeError: The alignment's settings have a mistake.
    """
    alignment = planning.read(recipe.values[KEY], ", ".join(map(recipes.shown, recipe.files)))
    found = []
    for name in dict.fromkeys((*alignment.stages, alignment.preference)):
        training = recipes.load([name])
        of_a_round = name == alignment.preference
        if not of_a_round and alignment.conversations != planning.SHOP:
            for option, value in planning.data_options(alignment.conversations, name).items():
                training.tree = recipes.override(training.tree, option, value)
        for option, value in planning.fit_options(alignment).items():
            training.tree = recipes.override(training.tree, option, value)
        found.append((training, not of_a_round))
    return found


def read(options: argparse.Namespace) -> planning.Alignment:
    """The alignment that a recipe and the command line say.

    Raises:
        RecipeError: The recipe is none of an alignment, or has a mistake.
    """
    recipe = recipes.load([options.config])
    node = recipe.tree.get(KEY)
    if node is None or not isinstance(node.value, dict):
        raise RecipeError(
            f"the recipe {recipe.name} has no key {KEY}",
            where=", ".join(map(recipes.shown, recipe.files)),
            change="--config to one that has, such as dream/quickstart; or `moon-zoo fit` for one that trains",
        )
    for setting in options.set:
        name, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"{setting!r} is no KEY=VALUE", where="--set", change="--set, such as --set margin=0.2")
        recipe.tree = recipes.override(recipe.tree, f"{KEY}.{name}", value)
    values: dict[str, Any] = recipe.values[KEY]
    given = {name: getattr(options, name) for name in ("rounds", "samples", "observe", "judge", "judge_model", "seed")}
    values |= {name: value for name, value in given.items() if value is not None}
    return planning.read(values, ", ".join(map(recipes.shown, recipe.files)))


def show(found: reporting.Report) -> None:
    """Print an alignment's tables."""
    heads = [name.replace("_", " ").replace(" and ", " & ") for name in reporting.SHARES]
    for split in dict.fromkeys(row.split for row in found.rows):
        rows = [
            [row.name, *(_share(row, name) for name in reporting.SHARES)] for row in found.rows if row.split == split
        ]
        print_table(
            f"{split}: % of its conversations, with 95 % bounds",
            ["model", *heads],
            rows,
            right=range(1, len(heads) + 1),
        )
    if not found.rounds:
        return
    names = [name for name in reporting.OF_ROUNDS if any(name in one.training for one in found.rounds)]
    columns = [
        "round",
        "pairs",
        "score",
        "unparsed",
        *(name.removeprefix("preference/").replace("_", " ") for name in names),
        "kept",
    ]
    rows = [
        [
            str(one.number),
            f"{one.pairs['pairs']:.0f} of {one.sampled['conversations']:.0f}",
            f"{one.pairs['mean_score']:.3f}",
            f"{one.judged['unparsed_rate']:.0%}",
            *(f"{one.training[name]:.3f}" if name in one.training else "" for name in names),
            "yes" if one.promoted else "no",
        ]
        for one in found.rounds
    ]
    print_table("rounds", columns, rows, right=range(1, len(columns)))
    for one in found.rounds:
        for alarm in one.alarms:
            say(f"round {one.number}: {alarm}")


def _share(row: reporting.Row, name: str) -> str:
    if name not in row.figures:
        return ""
    low, high = row.figures.get(f"{name}_low"), row.figures.get(f"{name}_high")
    bounds = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{100 * row.figures[name]:.1f}{bounds}"
