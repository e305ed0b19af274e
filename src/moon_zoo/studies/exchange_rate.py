"""The exchange rate: what a point of an embedding's intermediate metric buys in the click model's AUC.

Source: MOON (arXiv:2508.11999): several embedding checkpoints, an intermediate metric of each, and the click model's gain
with it; image-search recall was the metric chosen. Ours: every figure that `moon-zoo test` gives is a candidate, click models
are trained with several seeds, slopes and correlations have intervals, and two controls are trained alike: a model without
behaviours, and one whose items have each other's embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moon_zoo.errors import DataError, UsageError
from moon_zoo.studies.clicks import Clicks
from moon_zoo.studies.material import Products
from moon_zoo.studies.running import Record
from moon_zoo.studies.statistics import LEAST_CHECKPOINTS, Exchange, Interval, exchange_rates, mean_interval
from moon_zoo.studies.steps import Step
from moon_zoo.studies.towers import Tower, embedded, measured

NAME = "exchange-rate"

CHOSEN_BY_THE_PAPER = "photo_to_product/recall@10"
"""Image-search recall: shown in tables even where another metric tells more."""

COUNTS = ("num_", "_chance", "_bayes", "median_rank_chance")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An embedding checkpoint with all that was measured.

    Args:
        name: The tower's.
        axis: What was varied to make it.
        value: To what.
        metrics: Intermediate metrics.
        downstream: Figures of the click models trained on it, a dictionary per seed.
    """

    name: str
    axis: str
    value: float | str
    metrics: dict[str, float]
    downstream: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Control:
    """A click model that embeddings are compared with.

    Args:
        name: See `moon_zoo.studies.clicks.CONTROLS`.
        downstream: Its figures, a dictionary per seed.
        gain: Of the best checkpoint over it, seed by seed.
    """

    name: str
    downstream: list[dict[str, float]]
    gain: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """What the study found.

    Args:
        checkpoints: As measured.
        controls: As measured.
        rates: Downstream figure to each metric's exchange rate, the most telling first.
        best: Name of the checkpoint with the highest mean AUC.
        constant: Metrics that are equal for all checkpoints, and tell nothing.
        notes: What the reader must know.
    """

    checkpoints: list[Checkpoint]
    controls: list[Control]
    rates: dict[str, list[Exchange]]
    best: str
    constant: list[str]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(
    towers: Sequence[Tower],
    making: Sequence[Step],
    products: Products,
    clicks: Clicks,
    *,
    seeds: int,
    controls: Sequence[str],
    modality: str,
    test_data: tuple[str, ...],
) -> list[Step]:
    """All steps of the study: towers, their metrics and embeddings, then click models.

    Args:
        towers: The embedding checkpoints.
        making: Steps that come first: data and towers.
        products: What is embedded.
        clicks: How click models are trained.
        seeds: Click models per checkpoint.
        controls: Which controls to train.
        modality: Of the embeddings that click models use.
        test_data: Words that name the data of a checkpoint's test.

    Raises:
        UsageError: There are too few checkpoints.
    """
    if len(towers) < LEAST_CHECKPOINTS:
        raise UsageError(
            f"{len(towers)} checkpoint{'s' if len(towers) != 1 else ''}; a slope needs at least {LEAST_CHECKPOINTS} of them",
            where="--checkpoints and --make",
            change="--checkpoints to more of them, or --make to more axes; from 6 on intervals mean something",
        )
    steps = list(making)
    embeds = {tower.name: embedded(tower, products, clicks.folder, modality) for tower in towers}
    for tower in towers:
        steps += [measured(tower, products, clicks.folder, test_data), embeds[tower.name]]
    for seed in range(seeds):
        for tower in towers:
            embed = embeds[tower.name]
            steps += clicks.steps(tower.name, seed, embeddings=embed.writes, modality=modality, after=(embed.name,))
        last = embeds[_fullest(towers).name]
        assert last.writes is not None
        for name in controls:
            steps += clicks.control(name, seed, embeddings=last.writes, modality=modality, after=(last.name,))
    return steps


def _fullest(towers: Sequence[Tower]) -> Tower:
    """Whose embeddings are shuffled for the control: the longest trained, or the last that was given."""
    by_steps = [tower for tower in towers if tower.axis == "steps"]
    return by_steps[-1] if by_steps else towers[-1]


def collect(
    towers: Sequence[Tower], records: Mapping[str, Record], *, seeds: int, controls: Sequence[str]
) -> tuple[list[Checkpoint], list[Control]]:
    """What the steps measured.

    Raises:
        DataError: A test gave no figure.
    """
    checkpoints = [
        Checkpoint(
            tower.name,
            tower.axis,
            tower.value,
            _candidates(records[f"towers/{tower.name}/test"]),
            [_tested(records[f"clicks/{tower.name}/seed-{seed}/test"]) for seed in range(seeds)],
        )
        for tower in towers
    ]
    best = checkpoints[best_of(checkpoints)]
    found = []
    for name in controls:
        figures = [_tested(records[f"clicks/control-{name}/seed-{seed}/test"]) for seed in range(seeds)]
        shared = [key for key in _shared(figures) if key in best.downstream[0]]
        gain = {
            key: mean_interval(np.array([one[key] - other[key] for one, other in zip(best.downstream, figures)]))
            for key in shared
        }
        found.append(Control(name, figures, gain))
    return checkpoints, found


def analyse(
    checkpoints: list[Checkpoint], controls: list[Control], downstream: Sequence[str], *, seed: int = 0
) -> ExchangeRate:
    """Every metric's exchange rate.

    Args:
        checkpoints: As measured.
        controls: As measured.
        downstream: Which figures of the click model, the main one first; those that were not measured are left out.
        seed: Of the bootstrap.

    Raises:
        DataError: No metric varies over the checkpoints, or the main figure was not measured.
    """
    names = [name for name in _shared([one.metrics for one in checkpoints]) if direction(name)]
    metrics = {name: np.array([one.metrics[name] for one in checkpoints]) for name in names}
    constant = [name for name, values in metrics.items() if np.ptp(values) == 0]
    if len(constant) == len(metrics):
        raise DataError(
            "all checkpoints have the same metrics, so there is nothing to draw a line through"
            if metrics
            else "the checkpoints share no metric",
            where=", ".join(one.name for one in checkpoints),
            change="the checkpoints, to such as differ; are they copies of one another?",
        )
    measured_figures = _shared([figures for one in checkpoints for figures in one.downstream])
    wanted = [name for name in downstream if name in measured_figures]
    if not wanted or wanted[0] != downstream[0]:
        raise DataError(
            f"the click model's test gave no {downstream[0]}",
            where="--downstream",
            change=f"--downstream to one of {', '.join(sorted(measured_figures))}",
        )
    rates = {}
    for name in wanted:
        values = np.array([[figures[name] for figures in one.downstream] for one in checkpoints])
        turn = -1 if direction(name) == "lower" else 1
        signs = {key: turn * (-1 if direction(key) == "lower" else 1) for key in metrics}
        rates[name] = exchange_rates(metrics, values, signs, seed=seed)
    return ExchangeRate(
        checkpoints,
        controls,
        rates,
        checkpoints[best_of(checkpoints)].name,
        constant,
        _notes(checkpoints, rates[wanted[0]]),
    )


def best_of(checkpoints: Sequence[Checkpoint], figure: str = "auc") -> int:
    """Place of the checkpoint with the highest mean of a downstream figure."""
    means = [np.mean([figures.get(figure, np.nan) for figures in one.downstream]) for one in checkpoints]
    return int(np.nan_to_num(means, nan=-np.inf).argmax())


def direction(name: str) -> str:
    """``higher`` or ``lower``, whichever is better in a figure; empty for what is only counted."""
    if any(part in name for part in COUNTS):
        return ""
    from moon_zoo.metrics.catalogue import find

    info = find(name)
    return info.direction if info is not None else ""


def _notes(checkpoints: Sequence[Checkpoint], rates: Sequence[Exchange]) -> list[str]:
    notes = []
    if len(checkpoints) < 6:
        notes.append(f"{len(checkpoints)} checkpoints make rough intervals; from 6 on they mean something")
    if len(checkpoints[0].downstream) < 2:
        notes.append("one seed: a difference between two checkpoints may be luck")
    if rates and rates[0].best_share < 0.5:
        notes.append(
            f"the best of {len(rates)} metrics is hardly told from the next: "
            f"it leads in {rates[0].best_share:.0%} of the resamples"
        )
    if rates and rates[0].slope.low <= 0 <= rates[0].slope.high:
        notes.append("the interval of the best metric's slope holds 0: these checkpoints show no exchange rate")
    return notes


def _candidates(record: Record) -> dict[str, float]:
    """A tower's figures without the split, as far as they may tell something."""
    return {name: value for name, value in _tested(record).items() if direction(name)}


def _tested(record: Record) -> dict[str, float]:
    found = {
        name.removeprefix("test/"): float(value)
        for name, value in record.result.items()
        if name.startswith("test/") and isinstance(value, (int, float)) and np.isfinite(value)
    }
    if not found:
        raise DataError(
            f"the step {record.name} measured nothing", where=record.command, change="the test set: is it empty?"
        )
    return found


def _shared(figures: Sequence[Mapping[str, float]]) -> list[str]:
    """Names that all have, in the order of the first."""
    return [name for name in figures[0] if all(name in other for other in figures)] if figures else []
