"""Histories that are made from clicks, as list columns of a block of rows whose ranges share one pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions.histories import histories_of_events


@dataclass(frozen=True, slots=True)
class Histories:
    """What every row's user had clicked before it.

    Args:
        start: First click of each row in `clicks`, int64 ``(rows,)``.
        length: How many, int64 ``(rows,)``.
        clicks: Rows that were clicked, by user and time, int64 ``(clicks,)``.
    """

    start: np.ndarray
    length: np.ndarray
    clicks: np.ndarray

    @classmethod
    def of(cls, users: np.ndarray, times: np.ndarray, labels: np.ndarray, limit: int | None) -> Self:
        """From the rows of a click log in any order; see `histories_of_events`."""
        start, length, clicks, _ = histories_of_events(users, np.arange(len(users)), times, labels, limit)
        return cls(start, length, clicks)

    def lists(self, rows: np.ndarray, fields: dict[str, tuple[pa.Array, np.ndarray]]) -> dict[str, pa.Array]:
        """List columns of some rows, oldest click first.

        Args:
            rows: Numbers of the rows, ``(block,)``.
            fields: Column to its distinct values, and the place in them of every row of the log.
        """
        start, length = self.start[rows], self.length[rows]
        filled = length > 0
        # The pool is cut to what these rows look at, or every block would carry everybody's clicks.
        low = int(start[filled].min()) if filled.any() else 0
        high = int((start + length).max()) if filled.any() else 0
        clicks = self.clicks[low:high]
        offsets = pa.array(np.where(filled, start - low, 0), pa.int32())
        sizes = pa.array(length, pa.int32())
        return {
            name: pa.ListViewArray.from_arrays(offsets, sizes, values.take(pa.array(places[clicks])))
            for name, (values, places) in fields.items()
        }
