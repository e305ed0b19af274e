"""Ranges of a pool: how sequences of many rows are kept, so that what one user did before is stored once.

A pool is a flat array; row ``i`` has its elements ``start[i] : start[i] + length[i]``, and the ranges of different rows
may overlap. A user's history of 200 items, seen from 50 later impressions, takes 200 places, not 10,000.
"""

from __future__ import annotations

import numpy as np


def used(start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The elements of a pool that some rows use, so that the rest can be left behind.

    Args:
        start: First element of each row, int ``(rows,)``.
        length: How many it has, int ``(rows,)``.

    Returns:
        The rows' starts in the smaller pool, int64 ``(rows,)`` (0 for empty rows), and the elements it consists of,
        ascending, int64 ``(elements,)``.
    """
    start, length = start.astype(np.int64), length.astype(np.int64)
    filled = np.flatnonzero(length > 0)
    if not len(filled):
        return np.zeros(len(start), dtype=np.int64), np.zeros(0, dtype=np.int64)
    order = filled[np.argsort(start[filled], kind="stable")]
    begin, end = start[order], start[order] + length[order]
    furthest = np.maximum.accumulate(end)
    # An interval begins where no earlier range reaches.
    opens = np.concatenate([[True], begin[1:] > furthest[:-1]])
    first = begin[opens]
    last = furthest[np.concatenate([np.flatnonzero(opens)[1:] - 1, [len(order) - 1]])]
    moved = np.cumsum(last - first) - (last - first) - first  # what to add to an element of each interval
    out = np.zeros(len(start), dtype=np.int64)
    out[order] = begin + moved[np.cumsum(opens) - 1]
    return out, expand(first, last - first)


def expand(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """All elements of ranges, one range after another, int64 ``(sum(length),)``."""
    length = length.astype(np.int64)
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(start - (ends - length), length)
