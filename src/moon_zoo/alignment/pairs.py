"""From scored answers to pairs: the best and the worst answer to a prompt, where the difference means something.

Source: arXiv:2504.18053, section 3.3: the answer with the highest score is chosen, the one with the lowest rejected. The
filters (ties, margins, lengths) are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moon_zoo.errors import UsageError

DROPPED = ("unscored", "tie", "same_text", "margin", "length")
"""Why a prompt makes no pair: fewer than two answers have a score, best and worst have the same score, or the same text, their
scores differ by too little, their lengths by too much."""


@dataclass(frozen=True, slots=True)
class PairFilters:
    """Which pairs are worth learning from.

    Args:
        margin: Least difference of the two scores, which lie in [0, 1].
        length_ratio: Most words of the longer answer per word of the shorter; answers without a word count as one.
    """

    margin: float = 0.1
    length_ratio: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise UsageError(f"the margin is {self.margin:g}", change="the margin, to a number from 0 to 1")
        if not self.length_ratio >= 1:
            raise UsageError(
                f"the length ratio is {self.length_ratio:g}", change="the length ratio, to a number of 1 or more"
            )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a prompt, by their numbers.

    Args:
        chosen: The better one.
        rejected: The worse one.
    """

    chosen: int
    rejected: int


def pair_of(texts: Sequence[str], scores: Sequence[float | None], filters: PairFilters) -> Pair | str:
    """The pair that a prompt's answers make, or why they make none.

    Args:
        texts: The answers.
        scores: How good each is; None where that could not be read.
        filters: Which pairs are worth it.

    Returns:
        The first of the best and the first of the worst answers; else one of `DROPPED`.
    """
    scored = [(value, number) for number, value in enumerate(scores) if value is not None]
    if len(scored) < 2:
        return "unscored"
    highest, lowest = max(value for value, _ in scored), min(value for value, _ in scored)
    if highest == lowest:
        return "tie"
    chosen = next(number for value, number in scored if value == highest)
    rejected = next(number for value, number in scored if value == lowest)
    if texts[chosen].strip() == texts[rejected].strip():
        return "same_text"
    if highest - lowest < filters.margin:
        return "margin"
    lengths = sorted(max(1, len(texts[number].split())) for number in (chosen, rejected))
    return "length" if lengths[1] > filters.length_ratio * lengths[0] else Pair(chosen, rejected)
