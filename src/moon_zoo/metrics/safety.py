"""Shares of judged answers, with an interval and with what could not be read counted both ways.

Sources: the interval of Wilson 1927 ("Probable inference, the law of succession, and statistical inference"), which holds for
sets as small as SIUO's 167; the difference of paired shares with the correction of Agresti and Min 2005 ("Simple improved
confidence intervals for comparing matched proportions"). Counting what is unknown against and for a share is the worst-case
bound of Horowitz and Manski 1995.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

CONFIDENCE = 0.95
"""Of every interval, unless said otherwise."""


class Interval(NamedTuple):
    """From ``low`` to ``high``, both included."""

    low: float
    high: float


def wilson(successes: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval of a share.

    Args:
        successes: At most ``total``.
        total: Of independent trials; 0 gives [0, 1].
        confidence: In (0, 1).

    Returns:
        Bounds in [0, 1]; exactly 0 where there is no success, exactly 1 where there is nothing else.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total}")
    if total == 0:
        return Interval(0.0, 1.0)
    z = _z(confidence)
    share, spread = successes / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if successes == total else min(1.0, centre + half))


@dataclass(frozen=True, slots=True)
class Share:
    """A share of answers, some of which nobody could judge.

    Args:
        successes: Answers that are so.
        judged: Answers of which it is known.
        unparsed: Answers of which it is not.
    """

    successes: int
    judged: int
    unparsed: int = 0

    @classmethod
    def of(cls, flags: Iterable[bool | None]) -> Share:
        """Counted from flags; None is unparsed."""
        counts = Counter(flags)
        return cls(counts[True], counts[True] + counts[False], counts[None])

    @property
    def total(self) -> int:
        """All answers."""
        return self.judged + self.unparsed

    @property
    def value(self) -> float | None:
        """The share among the answers that were judged; None where none was."""
        return self.successes / self.judged if self.judged else None

    @property
    def unparsed_share(self) -> float:
        """Of all answers; 0 where there are none."""
        return self.unparsed / self.total if self.total else 0.0

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Wilson's bounds over all answers: the lower with the unparsed counted against the share, the upper for it."""
        return Interval(
            wilson(self.successes, self.total, confidence).low,
            wilson(self.successes + self.unparsed, self.total, confidence).high,
        )

    def figures(self, name: str) -> dict[str, float]:
        """Flat: ``name``, ``name_low``, ``name_high`` and ``name_unparsed``; nothing for no answers at all."""
        if not self.total:
            return {}
        low, high = self.interval()
        known = {} if self.value is None else {name: self.value}
        return {**known, f"{name}_low": low, f"{name}_high": high, f"{name}_unparsed": self.unparsed_share}


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much more often something holds of the first of two that belong together.

    Args:
        only_first: Pairs of which it holds of the first alone.
        only_second: Of the second alone.
        pairs: In which both are known.
        unparsed: In which one is not.
    """

    only_first: int
    only_second: int
    pairs: int
    unparsed: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool | None, bool | None]]) -> PairedDifference:
        """Counted from pairs of flags."""
        all_pairs = list(pairs)
        known = [pair for pair in all_pairs if None not in pair]
        counts = Counter(known)
        return cls(counts[True, False], counts[False, True], len(known), len(all_pairs) - len(known))

    @property
    def value(self) -> float | None:
        """Share of the first minus share of the second, over pairs where both are known; None where there is none."""
        return (self.only_first - self.only_second) / self.pairs if self.pairs else None

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Bounds in [-1, 1]: the lower with each unparsed pair counted for the second alone, the upper for the first."""
        low = _matched(self.only_first, self.only_second + self.unparsed, self.pairs + self.unparsed, confidence).low
        high = _matched(self.only_first + self.unparsed, self.only_second, self.pairs + self.unparsed, confidence).high
        return Interval(low, high)

    def figures(self, name: str) -> dict[str, float]:
        """Flat, as `Share.figures`."""
        total = self.pairs + self.unparsed
        if not total:
            return {}
        low, high = self.interval()
        known = {} if self.value is None else {name: self.value}
        return {**known, f"{name}_low": low, f"{name}_high": high, f"{name}_unparsed": self.unparsed / total}


def _matched(first: int, second: int, pairs: int, confidence: float) -> Interval:
    """Agresti and Min: half an observation is added to each of the four cells before Wald's interval is taken."""
    b, c, n = first + 0.5, second + 0.5, pairs + 2
    difference = (b - c) / n
    half = _z(confidence) * math.sqrt(max(0.0, (b + c) - (b - c) ** 2 / n)) / n
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))


@dataclass(frozen=True, slots=True)
class Detection:
    """How well what was seen is what is there, over all prompts together.

    Args:
        precision: Share of what was seen that is there.
        recall: Share of what is there that was seen. What is there in prompts whose observations are unparsed is unparsed.
        noticed: Share of risky prompts in which anything was seen.
        false_alarms: Share of benign prompts in which anything was seen.
    """

    precision: Share
    recall: Share
    noticed: Share
    false_alarms: Share

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where either is."""
        precision, recall = self.precision.value, self.recall.value
        if precision is None or recall is None:
            return None
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def figures(self, name: str) -> dict[str, float]:
        """Flat, as `Share.figures`, under ``name/``."""
        f1 = self.f1
        found = {} if f1 is None else {f"{name}/f1": f1}
        for part in ("precision", "recall", "noticed", "false_alarms"):
            found |= getattr(self, part).figures(f"{name}/{part}")
        return found


def detection(prompts: Iterable[tuple[Sequence[Hashable] | None, Sequence[Hashable]]]) -> Detection:
    """Compare what was seen with what is there.

    Args:
        prompts: For each what was seen (None where it could not be read) and what is there. Equal things match, each once.
    """
    right = seen = there = lost = 0
    noticed: list[bool | None] = []
    alarms: list[bool | None] = []
    for found, true in prompts:
        (noticed if true else alarms).append(None if found is None else bool(found))
        if found is None:
            lost += len(true)
            continue
        right += sum((Counter(found) & Counter(true)).values())
        seen += len(found)
        there += len(true)
    return Detection(Share(right, seen), Share(right, there, lost), Share.of(noticed), Share.of(alarms))


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
