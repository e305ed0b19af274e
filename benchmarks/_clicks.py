"""A made-up table of impressions with something to learn: clusters of items, users who like a few, popular items.

Both contenders of ctr.py train on the same rows. The probability of every click is known, so the best possible AUC is, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_USERS, NUM_ITEMS, NUM_CLUSTERS, HISTORY = 20_000, 10_000, 50, 50


@dataclass(frozen=True)
class Table:
    """Rows of impressions; ids begin at 0.

    Args:
        users: ``(rows,)``.
        items: ``(rows,)``.
        categories: A coarse group of the item, ``(rows,)``.
        histories: Items clicked before, oldest first, -1 where there are fewer, ``(rows, HISTORY)``.
        clicks: 0 or 1, ``(rows,)``.
        probabilities: Of a click, ``(rows,)``.
    """

    users: np.ndarray
    items: np.ndarray
    categories: np.ndarray
    histories: np.ndarray
    clicks: np.ndarray
    probabilities: np.ndarray

    def rows(self, start: int, stop: int) -> Table:
        return Table(*(getattr(self, name)[start:stop] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.users)


def make_table(rows: int, seed: int = 0) -> Table:
    """``rows`` impressions of one seeded world."""
    random = np.random.default_rng(seed)
    cluster = random.integers(0, NUM_CLUSTERS, NUM_ITEMS)
    popularity = random.normal(0, 0.8, NUM_ITEMS)
    by_cluster = [np.flatnonzero(cluster == number) for number in range(NUM_CLUSTERS)]
    liked = random.random((NUM_USERS, NUM_CLUSTERS)).argsort(1)[:, :3]  # three clusters each
    lengths = np.minimum(1 + random.geometric(1 / 30, NUM_USERS), HISTORY)
    history = np.full((NUM_USERS, HISTORY), -1)
    for user in range(NUM_USERS):
        wanted = liked[user, random.integers(0, 3, lengths[user])]
        history[user, : lengths[user]] = [by_cluster[one][random.integers(len(by_cluster[one]))] for one in wanted]
    users = random.integers(0, NUM_USERS, rows)
    # half of what is shown is of a liked cluster, as a recommender would have it
    items = random.integers(0, NUM_ITEMS, rows)
    near = random.random(rows) < 0.5
    wanted = liked[users, random.integers(0, 3, rows)]
    picks = np.array([by_cluster[one][number % len(by_cluster[one])] for one, number in zip(wanted, items)])
    items = np.where(near, picks, items)
    likes = (liked[users] == cluster[items][:, None]).any(1)
    logits = -1.6 + 1.6 * likes + popularity[items]
    probabilities = 1 / (1 + np.exp(-logits))
    clicks = (random.random(rows) < probabilities).astype(np.int64)
    return Table(users, items, cluster[items] // 5, history[users], clicks, probabilities)
