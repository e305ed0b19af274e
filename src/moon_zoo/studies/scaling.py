"""Scaling laws: quality against training samples, negatives, history length, training rows.

Source: MOON (arXiv:2508.11999), which plots quality against training tokens, negatives and the length of the behaviour
sequence; the form ``a + b x^(-c)`` is in `moon_zoo.studies.power_law`. What is fitted is an error (1 - recall, 1 - AUC) or a
loss, so that it falls.

What each axis holds fixed: `samples`, batch size and a constant learning rate (each size is a checkpoint of one run, which is
then the end of a run of that length); `negatives`, the number of steps, so that samples grow with the batch; `history` and
`rows`, everything else of the click model's recipe, one epoch each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moon_zoo.errors import UsageError
from moon_zoo.studies.clicks import Clicks
from moon_zoo.studies.material import Products
from moon_zoo.studies.power_law import LEAST_SIZES, PowerLaw, fit
from moon_zoo.studies.running import Record
from moon_zoo.studies.sizes import DEFAULT_SIZES
from moon_zoo.studies.steps import Step
from moon_zoo.studies.towers import Making, Tower, measured

NAME = "scaling"

NEGATIVES_STEPS = 150
"""Of every run on the axis of negatives."""

TOWER_MEASURES = ("photo_to_product/recall@10", "photo_to_product/mrr", "loss")
CLICK_MEASURES = ("auc", "gauc", "logloss", "cold/auc")


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over sizes.

    Args:
        axis: A key of `moon_zoo.studies.sizes.AXES`.
        measure: The figure as tables call it: ``1 - auc``, ``logloss``.
        sizes: Rising.
        errors: A list per size, an error per seed.
        law: The fitted law, None where there are too few sizes.
        floor: The error that is known to remain (that of the true click probability), where the data tell.
    """

    axis: str
    measure: str
    sizes: list[int]
    errors: list[list[float]]
    law: PowerLaw | None
    floor: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Point:
    """One size of an axis with one seed.

    Args:
        axis: The axis.
        size: How many.
        seed: Of the training.
        test: Name of the step that measured it.
    """

    axis: str
    size: int
    seed: int
    test: str


@dataclass(frozen=True, slots=True)
class Towers:
    """What the axes of towers need.

    Args:
        making: How towers are made.
        products: Whose test set measures them.
    """

    making: Making
    products: Products

    def samples(self, sizes: Sequence[int], seeds: int) -> tuple[list[Step], list[Point]]:
        """Checkpoints of one run per seed."""
        batch = self.making.batch_size
        counts = [size // batch for size in sizes]
        if any(size % batch for size in sizes):
            raise UsageError(
                f"{next(size for size in sizes if size % batch)} samples are no whole batches of {batch}",
                where="--samples",
                change=f"--samples to multiples of {batch}",
            )
        return self._points(
            "samples", seeds, sizes, lambda seed: self.making.by_steps(counts, constant_rate=True, seed=seed)
        )

    def negatives(self, sizes: Sequence[int], seeds: int) -> tuple[list[Step], list[Point]]:
        """A run per batch size and seed."""
        batches = [size + 1 for size in sizes]
        return self._points(
            "negatives",
            seeds,
            sizes,
            lambda seed: self.making.by_negatives(batches, NEGATIVES_STEPS, seed=seed, name_seed=True),
        )

    def _points(
        self,
        axis: str,
        seeds: int,
        sizes: Sequence[int],
        make: Callable[[int], tuple[list[Step], list[Tower]]],
    ) -> tuple[list[Step], list[Point]]:
        steps: list[Step] = []
        points = []
        for seed in range(seeds):
            made, towers = make(seed)
            steps += made
            for size, tower in zip(sizes, towers):
                test = measured(tower, self.products, self.making.folder, ())
                steps.append(test)
                points.append(Point(axis, size, seed, test.name))
        return steps, points


def history(
    clicks: Clicks, sizes: Sequence[int], seeds: int, *, embeddings: Path, modality: str | None, after: Sequence[str]
) -> tuple[list[Step], list[Point]]:
    """A click model per longest history and seed."""
    return _click_points(
        "history", clicks, sizes, seeds, lambda size: ["--model.max_history", str(size)], embeddings, modality, after
    )


def rows(
    clicks: Clicks, sizes: Sequence[int], seeds: int, *, embeddings: Path, modality: str | None, after: Sequence[str]
) -> tuple[list[Step], list[Point]]:
    """A click model per number of training rows and seed: the first batches of its first epoch.

    Raises:
        UsageError: The recipe says no batch size, or a size is less than one batch.
    """
    batch = clicks.batch_size
    if batch is None:
        raise UsageError(
            f"{clicks.recipe} says no data.batch_size, so rows cannot be counted",
            where="--recipe",
            change="that recipe",
        )
    if min(sizes) < batch:
        raise UsageError(f"{min(sizes)} rows are less than a batch of {batch}", where="--rows", change="--rows")
    return _click_points(
        "rows",
        clicks,
        sizes,
        seeds,
        lambda size: ["--trainer.limit_train_batches", str(size // batch), "--trainer.max_epochs", "1"],
        embeddings,
        modality,
        after,
    )


def _click_points(
    axis: str,
    clicks: Clicks,
    sizes: Sequence[int],
    seeds: int,
    further: Callable[[int], list[str]],
    embeddings: Path,
    modality: str | None,
    after: Sequence[str],
) -> tuple[list[Step], list[Point]]:
    steps: list[Step] = []
    points = []
    for seed in range(seeds):
        for size in sizes:
            pair = clicks.steps(
                f"{axis}-{size}", seed, embeddings=embeddings, modality=modality, after=after, further=further(size)
            )
            steps += pair
            points.append(Point(axis, size, seed, pair[-1].name))
    return steps, points


def require_sizes(axis: str, sizes: Sequence[int]) -> None:
    """Refuse sizes that no law can be fitted to, before any time is spent.

    Raises:
        UsageError: They are too few, not rising or not positive.
    """
    if len(sizes) < LEAST_SIZES or any(size < 1 for size in sizes) or sorted(set(sizes)) != list(sizes):
        raise UsageError(
            f"--{axis} is {','.join(map(str, sizes))}; a law needs at least {LEAST_SIZES} rising sizes from 1 on",
            where=f"--{axis}",
            change=f"--{axis}, for example to {','.join(map(str, DEFAULT_SIZES[axis]))}",
        )


def curves(points: Sequence[Point], records: Mapping[str, Record]) -> list[Curve]:
    """What was measured, with its laws: a curve per axis and measure.

    Args:
        points: Of all axes.
        records: Of the steps.
    """
    found = []
    for axis in dict.fromkeys(point.axis for point in points):
        own = [point for point in points if point.axis == axis]
        sizes = sorted({point.size for point in own})
        measures = TOWER_MEASURES if axis in ("samples", "negatives") else CLICK_MEASURES
        for measure in measures:
            values = [
                [records[point.test].result.get(f"test/{measure}") for point in own if point.size == size]
                for size in sizes
            ]
            if all(isinstance(value, (int, float)) for row in values for value in row):
                floor = records[own[0].test].result.get(f"test/{measure}_bayes")
                found.append(_curve(axis, measure, sizes, np.array(values, float), floor))
    return found


def _curve(axis: str, measure: str, sizes: list[int], values: np.ndarray, floor: float | None) -> Curve:
    falls = measure in ("loss", "logloss")
    errors = values if falls else 1 - values
    known = floor if floor is None or falls else 1 - floor
    law = fit(np.array(sizes, float), errors) if len(sizes) >= LEAST_SIZES else None
    return Curve(axis, measure if falls else f"1 - {measure}", sizes, errors.tolist(), law, known)
