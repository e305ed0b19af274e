"""Ablations: a recipe, the same recipe with one thing changed at a time, and what each change costs or gains.

Every variant is trained with the same seeds, so that a variant's run and the base's run of the same seed see the same samples
in the same order. What is told of a change is therefore the mean of the paired differences, with Student's 95 % interval over
seeds: the seeds' common luck cancels, which it would not in a difference of two means.

A training may have several stages, each from the weights of the one before; what a variant shares with the base (a stage that
its overlay does not touch) is trained once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.studies.exchange_rate import direction
from moon_zoo.studies.running import Record
from moon_zoo.studies.statistics import Interval, mean_interval
from moon_zoo.studies.steps import MANIFEST, Step, words

NAME = "ablations"
BASE = "base"

SHOWN = (
    "photo_to_product/recall@1",
    "text_to_product/recall@1",
    "combined_to_product/recall@1",
    "product_to_product/recall@1",
    "zero_shot/category_accuracy",
    "auc",
    "gauc",
    "logloss",
)
"""Figures of the table where none are named, as far as they were measured."""

FIT, TEST = 1.0, 0.08
"""Rough shares of a training and of a test in a study's time: how long a recipe takes is only known once it has run."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table.

    Args:
        name: What tables and pictures call it.
        stages: Per stage the recipes that are merged, later ones over earlier ones.
        values: Per stage their merged plain values, with the study's settings.
        settings: Words that every fit of it gets.
        start: Checkpoint that the first stage starts from.
    """

    name: str
    stages: tuple[tuple[str, ...], ...]
    values: tuple[Mapping[str, Any], ...]
    settings: tuple[str, ...] = ()
    start: str | None = None

    def prefix(self, length: int) -> str:
        """What tells its first stages from those of another variant."""
        return json.dumps([self.start, *self.values[:length]], sort_keys=True, default=str)


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of a variant.

    Args:
        name: The variant's.
        figures: A dictionary per seed.
        means: Figure to its mean over seeds.
        differences: Figure to the mean of variant minus base, seed by seed; empty for the base itself.
    """

    name: str
    figures: list[dict[str, float]]
    means: dict[str, Interval]
    differences: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ablations:
    """What the study found.

    Args:
        split: Which split was measured.
        rows: The base first.
        shown: Figures of the table and the picture.
        notes: What the reader must know.
    """

    split: str
    rows: list[Row]
    shown: list[str]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(
    variants: Sequence[Variant], folder: Path, *, seeds: int, verb: str
) -> tuple[list[Step], dict[tuple[str, int], str]]:
    """All steps: seed by seed, so that a study stopped early has whole comparisons.

    Args:
        variants: The base first.
        folder: The study's.
        seeds: How many, from 0.
        verb: What measures: ``test`` or ``validate``.

    Returns:
        The steps, and variant and seed to the name of the step that measures it.

    Raises:
        UsageError: Two variants are one and the same.
    """
    _require_different(variants)
    steps: list[Step] = []
    tests: dict[tuple[str, int], str] = {}
    for seed in range(seeds):
        made: dict[str, Step] = {}
        for variant in variants:
            last = _fits(variant, folder, seed, made, steps)
            assert last.writes is not None
            test = Step(
                f"{variant.name}/seed-{seed}/{verb}",
                words(verb, run=last.writes),
                needs=(last.name,),
                reads=last.reads,
                seconds=TEST,
            )
            steps.append(test)
            tests[variant.name, seed] = test.name
    return steps, tests


def _fits(variant: Variant, folder: Path, seed: int, made: dict[str, Step], steps: list[Step]) -> Step:
    """The variant's trainings; those that an earlier variant has as well are taken from it. Returns the last."""
    before: Step | None = None
    for place, recipes in enumerate(variant.stages):
        prefix = variant.prefix(place + 1)
        if prefix not in made:
            stage = f"stage-{place + 1}" if len(variant.stages) > 1 else "fit"
            run = folder / "runs" / variant.name / f"seed-{seed}" / (stage if len(variant.stages) > 1 else "")
            start = before.writes if before is not None else variant.start
            command = ["fit", *(word for recipe in recipes for word in ("--config", recipe)), *variant.settings]
            # weights alone, with a new optimiser: another training, not a resumed one
            command += ["--ckpt_path", str(start), "--allow_missing"] if start is not None else []
            step = Step(
                f"{variant.name}/seed-{seed}/{stage}",
                (*command, "--seed_everything", str(seed), "--run", str(run)),
                writes=run,
                needs=() if before is None else (before.name,),
                reads=_reads(variant, place),
                seconds=FIT,
            )
            steps.append(step)
            made[prefix] = step
        before = made[prefix]
    assert before is not None
    return before


def _reads(variant: Variant, place: int) -> tuple[str, ...]:
    """The merged recipe, its sets of shards, and the checkpoint it starts from."""
    values = variant.values[place]
    given = ((values.get("data") or {}).get("init_args") or {}).values()
    sets = [str(value) for value in given if isinstance(value, str) and (Path(value) / MANIFEST).is_file()]
    start = [variant.start] if place == 0 and variant.start is not None else []
    return (json.dumps(values, sort_keys=True, default=str) + "\n", *dict.fromkeys(sets), *start)


def _require_different(variants: Sequence[Variant]) -> None:
    seen: dict[str, str] = {}
    for variant in variants:
        whole = variant.prefix(len(variant.stages))
        if whole in seen:
            what = (
                f"{variant.name} changes nothing of the recipe"
                if seen[whole] == BASE
                else f"{variant.name} and {seen[whole]} are the same training"
            )
            raise UsageError(what, where="--overlays", change="--overlays; `moon-zoo show RECIPE` prints what one sets")
        seen[whole] = variant.name
    names = [variant.name for variant in variants]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two variants are called {twice}", where="--overlays", change="the file name of one of them")


def collect(
    variants: Sequence[Variant],
    tests: Mapping[tuple[str, int], str],
    records: Mapping[str, Record],
    *,
    seeds: int,
    split: str,
    wanted: Sequence[str],
) -> Ablations:
    """What was measured, with the intervals of the differences.

    Args:
        variants: The base first.
        tests: As `plan` gives them.
        records: Of all steps.
        seeds: How many.
        split: ``test`` or ``val``.
        wanted: Figures to show; `SHOWN` where there are none.

    Raises:
        DataError: A test measured nothing, or a wanted figure is not among what all variants have.
    """
    figures = {
        variant.name: [_figures(records[tests[variant.name, seed]], split) for seed in range(seeds)]
        for variant in variants
    }
    shared = [name for name in figures[BASE][0] if all(name in each for every in figures.values() for each in every)]
    for name in wanted:
        if name not in shared:
            raise DataError(
                f"not every variant's {split} gave {name}",
                where="--measures",
                suggestions=did_you_mean(name, shared),
                change="--measures to figures that all have",
            )
    shown = list(wanted) or [name for name in SHOWN if name in shared] or [name for name in shared if direction(name)]
    base = figures[BASE]
    rows = []
    for variant in variants:
        own = figures[variant.name]
        means = {name: mean_interval(np.array([each[name] for each in own])) for name in shared}
        differences = {
            name: mean_interval(np.array([one[name] - other[name] for one, other in zip(own, base)]))
            for name in shared
            if variant.name != BASE and direction(name)
        }
        rows.append(Row(variant.name, own, means, differences))
    return Ablations(split, rows, shown, _notes(seeds, len(variants) - 1, len(shown)))


def _figures(record: Record, split: str) -> dict[str, float]:
    found = {
        name.removeprefix(f"{split}/"): float(value)
        for name, value in record.result.items()
        if name.startswith(f"{split}/") and isinstance(value, (int, float)) and np.isfinite(value)
    }
    if not found:
        raise DataError(
            f"the step {record.name} measured nothing",
            where=record.command,
            change=f"the recipe's data: has it a {split} set?",
        )
    return found


def _notes(seeds: int, variants: int, shown: int) -> list[str]:
    notes = []
    if seeds < 2:
        notes.append("one seed: a difference may be luck; --seeds 3 gives intervals")
    elif variants * shown >= 20:
        notes.append(
            f"{variants * shown} differences at 95 %: about {max(1, round(variants * shown / 20))} of them would leave out 0 "
            "if no change did anything"
        )
    return notes


def verdict(name: str, difference: Interval) -> str:
    """``better`` or ``worse`` where the interval leaves out 0; empty where luck may have done it.

    An interval without width (coarse figures, alike for all seeds) tells nothing of luck, and so nothing here.

    Args:
        name: The figure.
        difference: Of variant minus base.
    """
    if not difference.low < difference.high or difference.low <= 0 <= difference.high:
        return ""
    return "better" if (difference.value > 0) == (direction(name) == "higher") else "worse"
