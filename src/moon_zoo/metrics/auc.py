"""AUC and grouped AUC of clicks, exact, by one sort: the probability that a clicked row scores above one that was not.

Source: AUC as the Mann-Whitney statistic, ``(wins + ties / 2) / (clicked * not clicked)``; GAUC is the mean of the users'
AUC weighted by their rows (Zhou et al. 2018, "DIN", arXiv:1706.06978, section 6.3), over users with both classes.

A row is packed into one integer, its score's bits first, so that one sort of integers (which numpy vectorises) orders rows by
user and score and carries label and coldness along. Wins are counted in integers: no rounding, whatever the order of rows.
Only numpy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

LABEL, COLD = 1, 2
"""Bits of a packed row below its score."""

SCORE_SHIFT = 2
PACKED_BITS = 32 + SCORE_SHIFT
_MAX_GROUPS = 1 << (63 - PACKED_BITS)


def pack(scores: np.ndarray, labels: np.ndarray, cold: np.ndarray) -> np.ndarray:
    """Rows as integers that rise with the score.

    Args:
        scores: float32 ``(rows,)``, no NaN.
        labels: 0 or 1, ``(rows,)``.
        cold: True on rows whose item training never saw, bool ``(rows,)``.

    Returns:
        int64 ``(rows,)`` below ``2 ** 34``; `scores_of` gives the scores again.
    """
    bits = (np.asarray(scores, np.float32) + np.float32(0.0)).view(np.uint32)  # -0.0 becomes 0.0, its equal
    # Bits of positive floats rise with them; those of negative floats fall, and lie above.
    keys = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return (keys.astype(np.int64) << SCORE_SHIFT) | (np.asarray(cold, np.int64) * COLD) | np.asarray(labels, np.int64)


def scores_of(packed: np.ndarray) -> np.ndarray:
    """Scores of packed rows, float64 ``(rows,)``, the float32 values exactly."""
    keys = (packed >> SCORE_SHIFT).astype(np.uint32)
    bits = keys ^ np.where(keys >> 31, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return bits.view(np.float32).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Ties:
    """Rows by score, those of equal score together: all that AUC, logloss and calibration depend on.

    Args:
        scores: Distinct, rising, float64 ``(blocks,)``.
        rows: How many rows have the score, int64 ``(blocks,)``.
        clicks: How many of those were clicked, int64 ``(blocks,)``.
    """

    scores: np.ndarray
    rows: np.ndarray
    clicks: np.ndarray

    @classmethod
    def of(cls, packed: np.ndarray, counts: np.ndarray) -> Self:
        """Of packed rows.

        Args:
            packed: Distinct, rising, int64 ``(values,)``.
            counts: How often each occurs, int64 ``(values,)``.
        """
        starts = run_starts(packed >> SCORE_SHIFT)
        rows = sums_from(counts, starts)
        clicks = sums_from(counts * (packed & LABEL), starts)
        return cls(scores_of(packed[starts]), rows, clicks)

    def doubled_wins(self, negatives_below: int = 0) -> int:
        """Twice the number of (clicked, not clicked) pairs in which the clicked row is above; an equal score is half a win.

        Args:
            negatives_below: Rows without a click that score below all of these.
        """
        negatives = self.rows - self.clicks
        below = np.cumsum(negatives) - negatives + negatives_below
        return int((self.clicks * (2 * below + negatives)).sum())


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """Sums over groups that have both classes; those of disjoint sets of groups add up.

    Args:
        weighted: Sum of AUC times rows.
        rows: Sum of rows.
        groups: How many groups.
    """

    weighted: float = 0.0
    rows: int = 0
    groups: int = 0

    def __add__(self, other: GroupedAuc) -> GroupedAuc:
        return GroupedAuc(self.weighted + other.weighted, self.rows + other.rows, self.groups + other.groups)

    @property
    def value(self) -> float | None:
        """The weighted mean; None where no group has both classes."""
        return self.weighted / self.rows if self.rows else None


def sort_by_group(groups: np.ndarray, packed: np.ndarray) -> np.ndarray:
    """Rows in the order of group, then score: int64 ``(rows,)`` whose lower bits are the packed row.

    Args:
        groups: int64 ``(rows,)``, any values.
        packed: As `pack` makes them, ``(rows,)``.
    """
    if len(groups) == 0:
        return packed
    low, high = int(groups.min()), int(groups.max())
    numbers = groups - low if high - low < _MAX_GROUPS else np.unique(groups, return_inverse=True)[1]
    return np.sort((numbers << PACKED_BITS) | packed)


def grouped(rows: np.ndarray) -> GroupedAuc:
    """AUC group by group of rows that `sort_by_group` gave, or of a part of them in that order."""
    if len(rows) == 0:
        return GroupedAuc()
    starts = run_starts(rows >> SCORE_SHIFT)  # blocks of one group and one score
    positives = sums_from(rows & LABEL, starts)
    negatives = np.diff(starts, append=len(rows)) - positives
    firsts = run_starts(rows[starts] >> PACKED_BITS)  # the first block of each group
    before = np.cumsum(negatives) - negatives
    below = before - np.repeat(before[firsts], np.diff(firsts, append=len(starts)))
    doubled_wins = sums_from(positives * (2 * below + negatives), firsts)
    positives, negatives = sums_from(positives, firsts), sums_from(negatives, firsts)
    both = (positives > 0) & (negatives > 0)
    doubled_wins, positives, negatives = doubled_wins[both], positives[both], negatives[both]
    sizes = positives + negatives
    weighted = doubled_wins / (2 * positives * negatives) * sizes
    return GroupedAuc(float(weighted.sum()), int(sizes.sum()), len(sizes))


def run_starts(values: np.ndarray) -> np.ndarray:
    """Where a new value begins in an array whose equal values are neighbours, int64."""
    changes = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def sums_from(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums of the pieces of ``values`` that begin at ``starts``."""
    return np.add.reduceat(values, starts) if len(starts) else values[:0]
