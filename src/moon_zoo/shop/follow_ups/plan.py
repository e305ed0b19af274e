"""How many follow-ups the shop is to write: arguments and their checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Literal

from moon_zoo.data.follow_ups import FollowUp
from moon_zoo.errors import UsageError
from moon_zoo.shop import VERSION
from moon_zoo.shop.follow_ups.concepts import ASPECTS, PER_CELL
from moon_zoo.shop.follow_ups.facts import STORE_FILE
from moon_zoo.shop.follow_ups.samples import dealt, follow_up

KIND: Literal["follow_up"] = "follow_up"
DEFAULT_FOLLOW_UPS = 3800


@dataclass(frozen=True, slots=True)
class FollowUpPlan:
    """Everything that decides what the shop's follow-ups are.

    Args:
        num_follow_ups: Follow-ups of all splits together.
        seed: The shop's seed.
        splits: Names of the splits and their fractions, of follow-ups and of facts alike.
        kind: ``follow_up``.
    """

    num_follow_ups: int
    seed: int
    splits: tuple[tuple[str, float], ...]
    kind: Literal["follow_up"] = KIND

    def check(self) -> None:
        """Refuse what cannot be written.

        Raises:
            UsageError: An argument is out of its range.
        """
        for name, value, low, high in (
            ("num_follow_ups", self.num_follow_ups, 1, 10_000_000),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{name} is {value!r}", change=f"{name}, to a whole number from {low:,} to {high:,}")
        if not self.splits or any(not fraction > 0 for _, fraction in self.splits):
            raise UsageError(f"splits are {dict(self.splits)}", change="splits, to names with fractions above 0")
        empty = [name for name, count in self.counts().items() if not count]
        if empty:
            raise UsageError(
                f"{self.num_follow_ups} follow-ups leave none for the split {empty[0]!r}",
                change="num_follow_ups or splits",
            )

    def counts(self) -> dict[str, int]:
        """How many each split has, by cumulative rounding."""
        total = sum(fraction for _, fraction in self.splits)
        reached = accumulate(fraction for _, fraction in self.splits)
        bounds = [round(self.num_follow_ups * one / total) for one in reached]
        return {name: stop - start for (name, _), start, stop in zip(self.splits, [0, *bounds], bounds)}

    def samples(self) -> Iterator[tuple[str, str, FollowUp]]:
        """Every follow-up as ``(split, key, sample)``."""
        for split, count in self.counts().items():
            for place in range(count):
                sample = follow_up(self.seed, self.splits, split, place)
                yield split, sample.conversation_id, sample

    def record(self) -> dict[str, Any]:
        """The shop's truth, for manifests."""
        return {
            "version": VERSION,
            "arguments": {**asdict(self), "splits": dict(self.splits)},
            "aspects": list(ASPECTS),
            "knowledge": STORE_FILE,
            "right_without_knowledge": 1 / PER_CELL,
            "splits": {
                split: {
                    "samples": count,
                    "combinations": sorted(fact.key for fact in dealt(self.seed, self.splits)[split]),
                }
                for split, count in self.counts().items()
            },
        }
