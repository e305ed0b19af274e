"""How a downstream figure goes with an intermediate one over several checkpoints: slope, correlations, intervals.

Source: the exchange rate of MOON (arXiv:2508.11999), which the paper defines in words: what a gain in an intermediate metric
buys downstream. Ours: the slope of ordinary least squares over checkpoints and seeds. Intervals are percentiles of a crossed
bootstrap (Owen 2007, "The pigeonhole bootstrap", arXiv:0712.1111): checkpoints are drawn with replacement, and seeds are,
the same ones for all checkpoints, since a seed's luck (initial weights, order of the rows) is shared by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DRAWS = 4000
"""Of the bootstrap: the ends of a 95 % interval then rest on a hundred draws each."""

LEAST_CHECKPOINTS = 3

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""97.5 % quantiles of Student's t with 1 to 15 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; NaN ends where nothing can be said.

    Args:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one intermediate metric buys in one downstream figure.

    Args:
        metric: The intermediate metric.
        slope: Change of the downstream figure per unit of the metric.
        intercept: The downstream figure at a metric of 0, on the line.
        pearson: Correlation over checkpoints, of means over seeds.
        spearman: The same of ranks.
        oriented: Pearson's correlation, with its sign turned where lower is better in one of the two and not in the other:
            1 is a metric that tells the downstream figure without fail.
        best_share: Share of bootstrap draws in which this metric is the one of highest oriented correlation.
        low: Least value of the metric among the checkpoints.
        high: Greatest.
    """

    metric: str
    slope: Interval
    intercept: float
    pearson: Interval
    spearman: float
    oriented: float
    best_share: float
    low: float
    high: float


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line; NaN where all ``x`` are equal.

    Args:
        x: ``(n,)``.
        y: ``(n,)``.
    """
    found = float(_slopes(x[None], y[None])[0])
    return found, float(y.mean() - found * x.mean())


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of two ``(n,)``; NaN where one of them does not vary."""
    return float(_pearsons(x[None], y[None])[0])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of two ``(n,)``: equal values share the mean of their ranks."""
    return pearson(ranks(x), ranks(y))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ``(n,)``; equal values get their mean rank."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts) + (last - 1))[group] / 2


def exchange_rates(
    metrics: Mapping[str, np.ndarray],
    downstream: np.ndarray,
    signs: Mapping[str, int] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Exchange]:
    """Every metric's exchange rate, the most telling metric first.

    Args:
        metrics: Name to values, one per checkpoint, ``(checkpoints,)``. A metric that does not vary is left out.
        downstream: The downstream figure, ``(checkpoints, seeds)``, without gaps.
        signs: Name to 1 or -1: whether the metric should rise with the downstream figure; 1 where not said.
        draws: Bootstrap draws.
        seed: Of the bootstrap.

    Raises:
        ValueError: There are fewer than `LEAST_CHECKPOINTS` checkpoints, or a shape or value is wrong.
    """
    count = len(downstream)
    if downstream.ndim != 2 or count < LEAST_CHECKPOINTS:
        raise ValueError(
            f"downstream has shape {downstream.shape}; at least {LEAST_CHECKPOINTS} checkpoints are needed"
        )
    if not np.isfinite(downstream).all():
        raise ValueError("downstream has gaps")
    varied = {name: values for name, values in metrics.items() if np.isfinite(values).all() and np.ptp(values) > 0}
    for name, values in varied.items():
        if values.shape != (count,):
            raise ValueError(f"{name} has shape {values.shape}, expected ({count},)")
    if not varied:
        return []
    means = downstream.mean(1)
    drawn = _crossed_draws(downstream, draws, np.random.default_rng(seed))
    turned = {name: (signs or {}).get(name, 1) for name in varied}
    correlations = {name: _pearsons(values[drawn[0]], drawn[1]) for name, values in varied.items()}
    wins = _wins(np.stack([correlations[name] * turned[name] for name in varied]))
    found = []
    for place, (name, values) in enumerate(varied.items()):
        rate, intercept = slope(values, means)
        correlation = pearson(values, means)
        found.append(
            Exchange(
                metric=name,
                slope=_percentiles(rate, _slopes(values[drawn[0]], drawn[1])),
                intercept=intercept,
                pearson=_percentiles(correlation, correlations[name]),
                spearman=spearman(values, means),
                oriented=correlation * turned[name],
                best_share=float(wins[place]),
                low=float(values.min()),
                high=float(values.max()),
            )
        )
    return sorted(found, key=lambda one: (-np.nan_to_num(one.oriented, nan=-2.0), one.metric))


def line_band(
    x: np.ndarray, downstream: np.ndarray, at: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """The 95 % band of the line, ``(2, len(at))``: lower and upper.

    Args:
        x: The metric, ``(checkpoints,)``.
        downstream: ``(checkpoints, seeds)``.
        at: Where the band is wanted.
        draws: Bootstrap draws.
        seed: Of the bootstrap.
    """
    rows, means = _crossed_draws(downstream, draws, np.random.default_rng(seed))
    chosen = x[rows]
    rates = _slopes(chosen, means)
    lines = (means.mean(1) - rates * chosen.mean(1))[:, None] + rates[:, None] * at  # (draws, at)
    return np.nanpercentile(lines[np.isfinite(rates)], (2.5, 97.5), axis=0)


def mean_interval(values: np.ndarray) -> Interval:
    """Mean of a few independent values with Student's 95 % interval; NaN ends for a single value.

    Args:
        values: ``(seeds,)``.
    """
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:
        return Interval(mean, float("nan"), float("nan"))
    # beyond the table, Cornish-Fisher's first term: off by less than .001
    quantile = _T_975[count - 2] if count - 2 < len(_T_975) else 1.96 + 2.42 / (count - 1)
    half = quantile * float(np.std(values, ddof=1)) / count**0.5
    return Interval(mean, mean - half, mean + half)


def _crossed_draws(downstream: np.ndarray, draws: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Checkpoints drawn, ``(draws, checkpoints)``, and their means over the seeds drawn, of the same shape."""
    checkpoints, seeds = downstream.shape
    rows = generator.integers(checkpoints, size=(draws, checkpoints))
    columns = generator.integers(seeds, size=(draws, seeds))
    means = downstream.T[columns].mean(1)  # (draws, seeds, checkpoints) -> (draws, checkpoints)
    return rows, np.take_along_axis(means, rows, 1)


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope of each row, ``(draws,)``; NaN where a row of ``x`` does not vary."""
    centred = x - x.mean(1, keepdims=True)
    spread = (centred**2).sum(1)
    varies = _varies(x, spread)
    return np.where(varies, (centred * (y - y.mean(1, keepdims=True))).sum(1) / np.where(varies, spread, 1.0), np.nan)


def _pearsons(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation of each pair of rows, ``(draws,)``; NaN where one does not vary."""
    one, other = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    spreads = (one**2).sum(1), (other**2).sum(1)
    varies = _varies(x, spreads[0]) & _varies(y, spreads[1])
    scale = np.sqrt(np.where(varies, spreads[0] * spreads[1], 1.0))
    return np.where(varies, np.clip((one * other).sum(1) / scale, -1.0, 1.0), np.nan)


def _varies(values: np.ndarray, spread: np.ndarray) -> np.ndarray:
    # not `spread > 0`: equal values leave a remainder of rounding behind
    return (np.ptp(values, axis=1) > 0) & (spread > 0)


def _wins(correlations: np.ndarray) -> np.ndarray:
    """Share of draws in which each row is the highest, ``(metrics,)``; equal ones share, draws without any are left out."""
    known = np.nan_to_num(correlations, nan=-np.inf)  # (metrics, draws)
    top = known.max(0)
    shares = np.isclose(known, top) & np.isfinite(top)
    counted = shares[:, np.isfinite(top)]
    return (counted / counted.sum(0)).mean(1) if counted.shape[1] else np.full(len(correlations), np.nan)


def _percentiles(value: float, drawn: np.ndarray) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if len(known) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(value, float(low), float(high))
