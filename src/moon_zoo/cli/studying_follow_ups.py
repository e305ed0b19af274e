"""The part of `study followup` that plans and tells; carried out as every study is (`moon_zoo.cli.studying`)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moon_zoo import recipes
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import Faults, UsageError
from moon_zoo.studies import follow_ups, outcome
from moon_zoo.studies.running import Folder, Record
from moon_zoo.studies.steps import MANIFEST, Step, overrides

DEFAULT = "followup/quickstart"

Finish = Callable[[Folder, Sequence[Step], Mapping[str, Record]], int]


def plan(options: argparse.Namespace) -> tuple[list[Step], Finish]:
    """The study's steps, and what tells their outcome.

    Raises:
        UsageError: The recipe is of another model.
        RecipeError: It has a mistake.
    """
    options.config = options.config or [DEFAULT]
    settings = overrides(options.set, "--set")
    recipe = _recipe(options.config, settings)
    model = recipe.values["model"]
    given = ((recipe.values.get("data") or {}).get("init_args") or {}).values()
    sets = [str(value) for value in given if isinstance(value, str) and (Path(value) / MANIFEST).is_file()]
    values = {key: value for key, value in recipe.values.items() if key != "seed_everything"}
    steps, files = follow_ups.plan(
        options.config,
        options.to,
        seeds=options.seeds,
        settings=settings,
        reads=(json.dumps(values, sort_keys=True, default=str) + "\n", *dict.fromkeys(sets)),
        zero_shot=(model.get("init_args") or {}).get("backbone") is not None,
    )

    def finish(folder: Folder, steps: Sequence[Step], records: Mapping[str, Record]) -> int:
        asked = follow_ups.questions_of(files, records, _training(recipe))
        return _tell(follow_ups.collect(asked, bert=options.bert_score), folder, steps, records, as_json=options.json)

    return steps, finish


def _recipe(config: Sequence[str], settings: tuple[str, ...]) -> Any:
    from moon_zoo.cli import checks, structure

    recipe = recipes.load(list(config))
    for option, text in zip(settings[::2], settings[1::2]):
        recipe.tree = recipes.override(recipe.tree, option.removeprefix("--"), text)
    structure.require_sound(recipe)
    named = str(recipe.values["model"].get("class_path", ""))
    if named.rpartition(".")[2].lower() != "followup":
        raise UsageError(
            f"{named} asks no questions",
            where="--config",
            change="--config to a recipe of followup, such as followup/quickstart",
        )
    faults = [checks.annotated(fault, recipe) for fault in checks.data_faults(recipe)]
    if faults:
        raise Faults(faults)
    return recipe


def _training(recipe: Any) -> list[tuple[str, str, str]]:
    """Question, answer and follow-up of every training sample."""
    from moon_zoo.cli.data import data_module

    shards = data_module(recipe).shards("train")
    return [(sample.question, sample.answer, sample.follow_up) for sample in shards]


def _tell(
    found: follow_ups.Study, folder: Folder, steps: Sequence[Step], records: Mapping[str, Record], *, as_json: bool
) -> int:
    whole = outcome.write_outcome(folder, steps, records, found.as_json())
    table = follow_ups.write_csv(found, folder.path / "study.csv")
    card = folder.path / "followup.md"
    card.write_text(follow_ups.markdown(found), "utf-8")
    if as_json:
        print_json(whole)
        return 0
    heading, rows = follow_ups.rows(found)
    print_table(f"follow-ups of {found.samples} samples", heading, rows, right=range(1, len(heading)))
    for note in found.notes:
        say(f"note: {note}")
    print(f"figures: {folder.study}")
    print(f"table:   {table}, {card}")
    return 0
