"""Rows in memory as columns and pools: cut, joined, and taken from in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from moon_zoo.data.impressions.block import ID, Pool
from moon_zoo.data.impressions.columns import Columns, Ragged
from moon_zoo.data.impressions.pools import expand, used
from moon_zoo.errors import DataError


@dataclass(slots=True)
class Piece:
    """Some rows, whose pools may hold more than they use.

    Args:
        columns: Column to its values ``(rows,)``.
        sequences: Sequence to its pool.
    """

    columns: dict[str, np.ndarray]
    sequences: dict[str, Pool]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def slice(self, start: int, stop: int) -> Piece:
        """Rows ``start`` to ``stop``, without a copy."""
        rows = slice(start, stop)
        pools = {name: Pool(one.start[rows], one.length[rows], one.fields) for name, one in self.sequences.items()}
        return Piece({name: values[rows] for name, values in self.columns.items()}, pools)

    def take(self, rows: np.ndarray, limits: Mapping[str, int] | None = None) -> Columns:
        """Some rows in any order, their sequences cut to the newest; see `RowShards.take`."""
        values = {name: one[rows] for name, one in self.columns.items()}
        sequences = {}
        for name, pool in self.sequences.items():
            start, length = pool.start[rows].astype(np.int64), pool.length[rows].astype(np.int64)
            over = np.maximum(length - (limits or {}).get(name, np.iinfo(np.int64).max), 0)
            elements = expand(start + over, length - over)
            fields = {field: one[elements] for field, one in pool.fields.items()}
            sequences[name] = Ragged(length - over, fields, int((over > 0).sum()))
        return Columns(values, sequences)


def joined(pieces: list[Piece]) -> Piece:
    """Pieces one after another, their pools with no more than the rows use.

    Raises:
        DataError: The sequences are too long together for one block.
    """
    columns = {name: np.concatenate([one.columns[name] for one in pieces]) for name in pieces[0].columns}
    return Piece(columns, {name: _pool([one.sequences[name] for one in pieces]) for name in pieces[0].sequences})


def _pool(pools: list[Pool]) -> Pool:
    starts, parts = [], []
    before = 0
    for pool in pools:
        start, elements = used(pool.start, pool.length)
        starts.append(np.where(pool.length > 0, start + before, 0))
        parts.append({name: values[elements] for name, values in pool.fields.items()})
        before += len(elements)
    if before > np.iinfo(ID).max:
        raise DataError(f"the histories of one block have {before:,} elements", change="block_rows, to fewer rows")
    return Pool(
        start=np.concatenate(starts).astype(ID),
        length=np.concatenate([pool.length for pool in pools]).astype(ID),
        fields={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )
