"""``L = a + b x^(-c)``: what is left of an error as samples, negatives or history grow, with intervals.

Source: scaling laws of MOON (arXiv:2508.11999) in the form of Kaplan et al. 2020 (arXiv:2001.08361) with an irreducible part.
For a given exponent the law is linear in ``a`` and ``b``, so only ``c`` is searched (variable projection). ``a`` is not below
0, since errors are not. Intervals come from a bootstrap of the residuals, which holds the sizes fixed as the study did;
checkpoints of one run share their luck, which this does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moon_zoo.studies.statistics import Interval

LEAST_SIZES = 4
"""Three numbers are fitted; with three sizes every curve would pass through all means."""

DRAWS = 1000
EXPONENTS = np.geomspace(0.02, 5.0, 241)
"""The exponents tried, finely enough that a parabola finds the best between two of them."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A fitted law.

    Args:
        a: What stays when x grows without end.
        b: The part that shrinks, at ``x = 1``.
        c: The exponent.
        explained: Share of the variance between sizes' means that the law explains.
        notes: What the reader must know before he believes it; empty where nothing is amiss.
    """

    a: Interval
    b: Interval
    c: Interval
    explained: float
    notes: tuple[str, ...]

    def at(self, x: np.ndarray) -> np.ndarray:
        """The law's value."""
        return self.a.value + self.b.value * np.asarray(x, float) ** -self.c.value


def fit(sizes: np.ndarray, errors: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> PowerLaw:
    """Fit the law.

    Args:
        sizes: Positive, ``(sizes,)``, at least `LEAST_SIZES` different ones.
        errors: What should shrink, ``(sizes, seeds)``.
        draws: Bootstrap draws.
        seed: Of the bootstrap.

    Raises:
        ValueError: There are too few sizes, or sizes or errors cannot be.
    """
    if errors.shape[:1] != sizes.shape or errors.ndim != 2:
        raise ValueError(f"sizes have shape {sizes.shape}, errors {errors.shape}")
    if len(np.unique(sizes)) < LEAST_SIZES:
        raise ValueError(f"{len(np.unique(sizes))} sizes; a law of three numbers needs at least {LEAST_SIZES}")
    if not (sizes > 0).all() or not np.isfinite(errors).all():
        raise ValueError("sizes must be positive and errors finite")
    means = errors.mean(1)
    # around 1, so that powers of large numbers neither vanish nor overflow
    scale = float(np.exp(np.log(sizes).mean()))
    best = _best(sizes / scale, means[None])
    fitted = _values(sizes / scale, best)[0]
    residuals = errors - fitted[:, None]  # (sizes, seeds)
    spare = max(errors.size - 3, 1)
    widened = (residuals - residuals.mean()) * (errors.size / spare) ** 0.5
    generator = np.random.default_rng(seed)
    chosen = widened.reshape(-1)[generator.integers(errors.size, size=(draws, *errors.shape))]
    drawn = _best(sizes / scale, fitted + chosen.mean(2))
    law = np.stack([best[0], best[1] * scale ** best[2], best[2]])[:, 0]
    others = np.stack([drawn[0], drawn[1] * scale ** drawn[2], drawn[2]])  # (3, draws)
    ends = np.percentile(others, (2.5, 97.5), axis=1)
    a, b, c = (Interval(float(law[i]), float(ends[0, i]), float(ends[1, i])) for i in range(3))
    spread = float(((means - means.mean()) ** 2).sum())
    explained = 1 - float(((means - fitted) ** 2).sum()) / spread if spread > 0 else float("nan")
    return PowerLaw(a, b, c, explained, _notes(b, c, means, _values(sizes / scale, drawn), sizes))


def _best(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``(a, b, c)`` of each row of ``y``, ``(3, draws)``."""
    losses = np.stack([_linear(x, y, c)[2] for c in EXPONENTS])  # (exponents, draws)
    place = losses.argmin(0)
    inner = np.clip(place, 1, len(EXPONENTS) - 2)
    columns = np.arange(y.shape[0])
    before, here, after = losses[inner - 1, columns], losses[inner, columns], losses[inner + 1, columns]
    bend = before - 2 * here + after
    shift = np.where((bend > 0) & (place == inner), 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
    step = np.log(EXPONENTS[1] / EXPONENTS[0])
    c = EXPONENTS[place] * np.exp(step * np.clip(shift, -1.0, 1.0))
    a, b, _ = _linear(x, y, c[:, None])
    return np.stack([a, b, c])


def _linear(x: np.ndarray, y: np.ndarray, c: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of ``a`` and ``b`` for given exponents, with ``a >= 0``, and what is left, each ``(draws,)``."""
    z = np.broadcast_to(np.atleast_2d(x ** -np.asarray(c)), y.shape)  # (draws, sizes)
    centred = z - z.mean(1, keepdims=True)
    b = (centred * y).sum(1) / np.maximum((centred**2).sum(1), 1e-300)
    a = y.mean(1) - b * z.mean(1)
    through_zero = (z * y).sum(1) / (z**2).sum(1)
    b = np.where(a < 0, through_zero, b)
    a = np.maximum(a, 0.0)
    return a, b, ((y - a[:, None] - b[:, None] * z) ** 2).sum(1)


def _values(x: np.ndarray, law: np.ndarray) -> np.ndarray:
    """The laws at ``x``, ``(draws, sizes)``."""
    return law[0][:, None] + law[1][:, None] * x[None] ** -law[2][:, None]


def _notes(b: Interval, c: Interval, means: np.ndarray, drawn: np.ndarray, sizes: np.ndarray) -> tuple[str, ...]:
    order = np.argsort(sizes)
    falls = drawn[:, order[0]] - drawn[:, order[-1]]
    low, high = np.percentile(falls, (2.5, 97.5))
    if b.value <= 0:
        return ("it does not fall: more is not better here, and the law means nothing",)
    if low <= 0 <= high:
        return ("flat within its noise: more sizes, a wider range or more seeds are needed",)
    notes = []
    if c.value <= EXPONENTS[1] or c.low <= EXPONENTS[0] * 1.001:
        notes.append("no end of the fall is in sight, so neither the exponent nor what stays can be told")
    elif c.value >= EXPONENTS[-2]:
        notes.append("it falls at once and is flat from then on: smaller sizes are needed to tell the exponent")
    elif c.high >= EXPONENTS[-2]:
        notes.append("the exponent is hardly bounded from above: more sizes or seeds are needed")
    return tuple(notes)
