"""Which impressions the shop is to simulate: arguments and their checks, apart from what needs arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from moon_zoo.errors import UsageError
from moon_zoo.shop.catalogue import split_numbers

KIND = "impressions"
DEFAULT_USERS = 6000
DEFAULT_IMPRESSIONS = 580_000
ROW_SHARES: dict[str, int] = {"train": 20, "val": 3, "test": 6}
"""How impressions are dealt to the splits: 400,000, 60,000 and 120,000 of the default."""


@dataclass(frozen=True, slots=True)
class ImpressionPlan:
    """Everything that decides what the shop's impressions are.

    Args:
        num_products: Number of SPUs of the shop.
        seed: The shop's seed.
        num_users: Number of users.
        num_impressions: Rows of all splits together.
        splits: Names of the splits and their fractions of the SPUs; those of `ROW_SHARES`.
        kind: ``impressions``.
    """

    num_products: int
    seed: int
    num_users: int
    num_impressions: int
    splits: tuple[tuple[str, float], ...]
    kind: Literal["impressions"] = "impressions"

    def check(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            UsageError: An argument is out of its range.
        """
        for name, value, low, high in (
            ("num_products", self.num_products, 10, 10_000_000),
            ("seed", self.seed, 0, 2**63 - 1),
            ("num_users", self.num_users, 2, 100_000_000),
            ("num_impressions", self.num_impressions, 100, 2**31 - 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{name} is {value!r}", change=f"{name}, to a whole number from {low:,} to {high:,}")
        if self.num_users > self.num_impressions:
            raise UsageError(
                f"{self.num_users:,} users share {self.num_impressions:,} impressions, but each should have one at least",
                change="num_users or num_impressions",
            )
        if set(dict(self.splits)) != set(ROW_SHARES) or any(not fraction > 0 for _, fraction in self.splits):
            raise UsageError(
                f"impressions of the shop have the splits {', '.join(ROW_SHARES)}, not {dict(self.splits)}",
                change="splits, to fractions above 0 of the products sold from the beginning, new in val, new in test",
            )
        empty = [name for name, numbers in self.numbers().items() if not numbers]
        if empty:
            raise UsageError(
                f"{self.num_products} products leave none for the split {empty[0]!r}", change="num_products or splits"
            )

    def numbers(self) -> dict[str, list[int]]:
        """SPU numbers that come with each split."""
        return split_numbers(self.seed, self.num_products, dict(self.splits))

    def rows_per_split(self) -> dict[str, int]:
        """How many impressions each split has, by cumulative rounding."""
        total = sum(ROW_SHARES.values())
        bounds = [round(self.num_impressions * reached / total) for reached in accumulate(ROW_SHARES.values())]
        return {split: stop - start for split, start, stop in zip(ROW_SHARES, [0, *bounds], bounds)}


def small_plan(seed: int = 0) -> ImpressionPlan:
    """Some 2,000 rows, for tests."""
    splits = (("train", 0.8), ("val", 0.1), ("test", 0.1))
    return ImpressionPlan(num_products=60, seed=seed, num_users=40, num_impressions=2000, splits=splits)
