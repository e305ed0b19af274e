"""The shop's impressions: what its users were shown and clicked, with the probability that only the simulation knows.

Users come in blocks, each with a random generator of its own, so memory holds one block whatever the number of users,
and nothing is drawn that a photo would show: items are those of the products of the same shop. A user's clicks stand
once in a block, and the history of each impression is a range of them.

Items of the product split ``train`` are sold from the beginning; those of ``val`` and ``test`` come new with these
splits, so a tower trained on products of ``train`` has not seen them either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.schema import Categorical, Numeric, Schema, Sequence
from moon_zoo.shop import VERSION
from moon_zoo.shop.best import Best
from moon_zoo.shop.catalogue import dice
from moon_zoo.shop.clicks import DEVICES, PERIODS, Log, Market, Strengths, market_of, simulate
from moon_zoo.shop.content import ROOTS, WEIGHTS, Items, items_of
from moon_zoo.shop.impression_plan import ROW_SHARES, ImpressionPlan
from moon_zoo.shop.shoppers import AGE_GROUPS, Shoppers, rows_per_user, shoppers_of
from moon_zoo.shop.vocabulary import BRANDS

MAX_HISTORY = 200
MAX_QUERIES = 50
_USERS_PER_BLOCK = 1000
_ROWS_PER_BLOCK = 200_000  # of the log, roughly: fewer users where each has many

SCHEMA = Schema(
    categorical=(
        Categorical("user_id", "user", "user_id"),
        Categorical("age_group", "user", "age_group"),
        Categorical("item_id", "item", "item_id"),
        Categorical("category", "item", "category"),
        Categorical("brand", "item", "brand"),
        Categorical("query_item_id", "query", "item_id"),
        Categorical("device", "context", "device"),
        Categorical("hour", "context", "hour"),
    ),
    numeric=(Numeric("price", "item"),),
    sequences=(Sequence("history", ("item_id", "category")), Sequence("queries", ("query_item_id",))),
    query="query_item_id",
    time="time",
    truth=("probability",),
)
"""``category`` is the root (``shoes``): the leaf and the colour have to be seen in the photo or read in the title."""


def true_content(plan: ImpressionPlan) -> tuple[list[str], np.ndarray]:
    """What users choose by: for tests, and as the best that embeddings could be.

    Returns:
        Ids of all items, and their unit vectors, float32 ``(items, dim)``.
    """
    items = items_of(plan.seed, plan.num_products)
    return items.item_ids.tolist(), items.content


class Impressions:
    """The impressions of a plan, made block by block.

    Args:
        plan: What to simulate.

    Attributes:
        record: Free JSON of what is known of the simulation; the same for all splits.
        best: Split to what the true probability reaches (`moon_zoo.shop.best`), filled when `samples` is exhausted.

    Raises:
        UsageError: The plan cannot be simulated.
    """

    def __init__(self, plan: ImpressionPlan) -> None:
        plan.check()
        self.plan = plan
        self.record: dict[str, Any] = {
            "version": VERSION,
            "arguments": {**asdict(plan), "splits": dict(plan.splits)},
            "strengths": asdict(Strengths()),
            "content_weights": dict(WEIGHTS),
        }
        self.best: dict[str, dict[str, float]] = {split: {} for split in ROW_SHARES}

    @property
    def num_blocks(self) -> int:
        """How many blocks of users there are."""
        return -(-self.plan.num_users // self._users_per_block)

    def samples(self) -> Iterator[tuple[str, str, RawImpressions]]:
        """``(split, key, rows)`` of every block of users and split that has rows."""
        items = items_of(self.plan.seed, self.plan.num_products)
        market = market_of(self._generator("market"), items, _sold(self.plan, items), Strengths())
        rows = rows_per_user(self._generator("rows"), self.plan.num_users, self.plan.rows_per_split())
        found = Best(len(items))
        for block in range(self.num_blocks):
            first = block * self._users_per_block
            mine = {split: counts[first : first + self._users_per_block] for split, counts in rows.items()}
            users = shoppers_of(
                self._generator("users", block), len(mine["train"]), market.usual.members, market.strengths.temper
            )
            log = simulate(self._generator("clicks", block), market, users, mine)
            for split in ROW_SHARES:
                chosen = np.flatnonzero(log.visits.period[log.visit] == list(PERIODS).index(split))
                if len(chosen):
                    user = first + log.visits.user[log.visit[chosen]]
                    found.add(split, log.probability[chosen], log.click[chosen], user, log.item[chosen])
                    rows_of = _Rows(market, users, log, chosen, user)
                    yield split, f"users-{block:06d}", RawImpressions(SCHEMA, rows_of.batch())
        for split, figures in found.figures().items():
            self.best[split].update(figures)

    @property
    def _users_per_block(self) -> int:
        return max(1, min(_USERS_PER_BLOCK, _ROWS_PER_BLOCK * self.plan.num_users // self.plan.num_impressions))

    def _generator(self, purpose: str, block: int = 0) -> np.random.Generator:
        words = dice(self.plan.seed, "impressions", purpose, block).getrandbits(128)
        return np.random.Generator(np.random.PCG64(words))


def _sold(plan: ImpressionPlan, items: Items) -> dict[str, np.ndarray]:
    """Numbers of the items that come with each split."""
    return {split: np.flatnonzero(np.isin(items.spus, numbers)) for split, numbers in plan.numbers().items()}


class _Rows:
    """Impressions of one block of users and one split as an Arrow table.

    Args:
        market: What is sold.
        users: The block's users.
        log: What they were shown.
        chosen: The rows of the split.
        user: Number of each row's user in the whole shop.
    """

    def __init__(self, market: Market, users: Shoppers, log: Log, chosen: np.ndarray, user: np.ndarray) -> None:
        self._market, self._users, self._log, self._chosen, self._user = market, users, log, chosen, user
        self._visit = log.visit[chosen]
        self._ids = pa.array(market.items.item_ids.tolist())
        self._roots = pa.array(ROOTS).take(pa.array(market.items.roots))

    def batch(self) -> pa.RecordBatch:
        """The columns of `SCHEMA`."""
        log, visits, items = self._log, self._log.visits, self._market.items
        item, visit = log.item[self._chosen], self._visit
        known_users, place = np.unique(self._user, return_inverse=True)
        names = pa.array([f"user-{number:06d}" for number in known_users.tolist()])
        hours = pa.array([f"{hour:02d}" for hour in range(24)])
        clicked = log.item[log.click]
        start, length = self._history()
        first_visit = np.searchsorted(visits.user, visits.user)  # of each visit's user
        queries = np.minimum(np.arange(len(visits.user)) - first_visit, MAX_QUERIES)
        columns = {
            "user_id": names.take(pa.array(place)),
            "age_group": pa.array(AGE_GROUPS).take(pa.array(self._users.ages[visits.user[visit]])),
            "item_id": self._ids.take(pa.array(item)),
            "category": self._roots.take(pa.array(item)),
            "brand": pa.array(list(BRANDS)).take(pa.array(items.brands[item])),
            "query_item_id": self._ids.take(pa.array(visits.query[visit])),
            "device": pa.array(DEVICES).take(pa.array(visits.device[visit])),
            "hour": hours.take(pa.array(visits.time[visit] // 3600 % 24)),
            "price": pa.array(self._market.prices[item].astype(np.float32)),
            "history.item_id": _lists(start, length, self._ids.take(pa.array(clicked))),
            "history.category": _lists(start, length, self._roots.take(pa.array(clicked))),
            "queries.query_item_id": _lists(
                (np.arange(len(visits.user)) - queries)[visit],
                queries[visit],
                self._ids.take(pa.array(visits.query)),
            ),
            "click": pa.array(log.click[self._chosen].astype(np.uint8)),
            "time": pa.array(visits.time[visit]),
            "probability": pa.array(log.probability[self._chosen].astype(np.float32)),
        }
        return pa.RecordBatch.from_pydict(columns)

    def _history(self) -> tuple[np.ndarray, np.ndarray]:
        """Ranges among all clicks of the block: those of the user before the visit, the newest `MAX_HISTORY`."""
        visits = self._log.visits
        clicks_before = np.concatenate([[0], np.cumsum(self._log.click)])
        end = clicks_before[visits.first]  # (visits,)
        begin = end[np.searchsorted(visits.user, visits.user)]  # where the user's clicks begin
        begin = np.maximum(begin, end - MAX_HISTORY)
        return begin[self._visit], (end - begin)[self._visit]


def _lists(start: np.ndarray, length: np.ndarray, values: pa.Array) -> pa.ListViewArray:
    return pa.ListViewArray.from_arrays(pa.array(start, pa.int32()), pa.array(length, pa.int32()), values)
