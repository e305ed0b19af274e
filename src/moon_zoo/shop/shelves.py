"""Drawing items that are like another one, for millions of impressions at once and for any number of items.

A table of all pairs of items would not fit; instead items are sorted by leaf and colour once, and a draw is a place in
one of these groups.
"""

from __future__ import annotations

import numpy as np

from moon_zoo.shop.content import Items
from moon_zoo.shop.vocabulary import COLOURS

_NEARNESS = (0.60, 0.88, 0.95)
"""A similar item shares leaf and colour with 0.60, the leaf with 0.28, the colour with 0.07, the root with 0.05."""


class Shelf:
    """Items to draw from.

    Args:
        items: All items of the shop.
        members: Numbers of those on this shelf, int64.
        weights: How often each is drawn where it does not matter to what it is similar, positive; None for all alike.
    """

    def __init__(self, items: Items, members: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.members = members
        self._items = items
        self._cumulative = np.cumsum(np.ones(len(members)) if weights is None else weights)
        self._groups = [_Group(keys, members) for keys in _keys(items)]

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Items by weight, int64 ``(count,)``."""
        place = np.searchsorted(self._cumulative, rng.random(count) * self._cumulative[-1], side="right")
        return self.members[np.minimum(place, len(self.members) - 1)]

    def near(self, rng: np.random.Generator, anchors: np.ndarray) -> np.ndarray:
        """An item similar to each of ``anchors``, int64 of the same shape; where there is none, any."""
        kind = np.searchsorted(_NEARNESS, rng.random(len(anchors)), side="right")
        uniform = rng.random(len(anchors))
        drawn = self.draw(rng, len(anchors))
        for number, group in enumerate(self._groups):
            chosen = kind == number
            found, there = group.draw(anchors[chosen], uniform[chosen])
            drawn[chosen] = np.where(there, found, drawn[chosen])
        return drawn


class _Group:
    """Items by a key: those of one key stand together."""

    def __init__(self, keys: np.ndarray, members: np.ndarray) -> None:
        self._keys = keys
        order = np.argsort(keys[members], kind="stable")
        self._sorted = members[order]
        values = np.arange(keys.max() + 2)
        self._starts = np.searchsorted(keys[members][order], values)

    def draw(self, anchors: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A member with each anchor's key, and whether there is one."""
        key = self._keys[anchors]
        start, stop = self._starts[key], self._starts[key + 1]
        place = start + (uniform * (stop - start)).astype(np.int64)
        return self._sorted[np.minimum(place, len(self._sorted) - 1)], stop > start


def _keys(items: Items) -> tuple[np.ndarray, ...]:
    return (items.leaves * len(COLOURS) + items.colours, items.leaves, items.colours, items.roots)
