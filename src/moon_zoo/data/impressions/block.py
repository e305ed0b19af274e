"""The kind ``impressions``: a sample is a block of thousands of rows, kept as columns.

Members of block ``{key}``: ``{key}.{column}.npy`` for every feature, label, time and truth; for a sequence its rows'
ranges ``{key}.{sequence}.start.npy`` and ``.length.npy`` in the pools ``{key}.{sequence}.{field}.npy``
(`moon_zoo.data.impressions.pools`); and ``{key}.block.json`` with the number of rows. All are plain numpy files at
offsets that a memory map can read them from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from moon_zoo.data.impressions.schema import Schema
from moon_zoo.errors import DataError

ID: np.dtype = np.dtype("<i4")
NUMBER: np.dtype = np.dtype("<f4")
LABEL: np.dtype = np.dtype("u1")
TIME: np.dtype = np.dtype("<i8")
"""Types of the columns of ids (also ranges of pools), numbers, the label and the time."""

MARK = "block.json"
RANGE = ("start", "length")


def column_types(schema: Schema) -> dict[str, np.dtype]:
    """Column to type, of every column that has one value per row."""
    types = {one.name: ID for one in schema.categorical}
    types |= {one.name: NUMBER for one in schema.numeric}
    types[schema.label] = LABEL
    if schema.time is not None:
        types[schema.time] = TIME
    return types | dict.fromkeys(schema.truth, NUMBER)


@dataclass(slots=True)
class Pool:
    """One sequence of a block.

    Args:
        start: First element of each row, int32 ``(rows,)``.
        length: How many it has, int32 ``(rows,)``.
        fields: Field name to ids, int32 ``(elements,)``, all equally long.
    """

    start: np.ndarray
    length: np.ndarray
    fields: dict[str, np.ndarray]


@dataclass(slots=True)
class Impressions:
    """A block of rows.

    Args:
        columns: Column to its values ``(rows,)``; see `column_types`.
        sequences: Sequence to its pool.
    """

    kind: ClassVar[str] = "impressions"

    columns: dict[str, np.ndarray]
    sequences: dict[str, Pool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = {len(values) for values in self.columns.values()}
        rows |= {len(one) for pool in self.sequences.values() for one in (pool.start, pool.length)}
        if len(rows) != 1 or 0 in rows:
            raise DataError(f"columns of one block have {', '.join(map(str, sorted(rows))) or 'no'} rows")
        for name, pool in self.sequences.items():
            elements = {len(values) for values in pool.fields.values()}
            if len(elements) != 1:
                raise DataError(f"the fields of the sequence {name} are not equally long")
            ends = pool.start.astype(np.int64) + pool.length
            if (pool.start < 0).any() or (pool.length < 0).any() or (ends > elements.pop()).any():
                raise DataError(f"a range of the sequence {name} lies outside of its pool")

    @property
    def rows(self) -> int:
        """How many rows the block has."""
        return len(next(iter(self.columns.values())))

    def to_members(self) -> dict[str, Any]:
        """See the module."""
        members: dict[str, Any] = {f"{name}.npy": values for name, values in self.columns.items()}
        for name, pool in self.sequences.items():
            parts = {"start": pool.start, "length": pool.length, **pool.fields}
            members |= {f"{name}.{part}.npy": values for part, values in parts.items()}
        members[MARK] = {
            "rows": self.rows,
            "sequences": {name: list(one.fields) for name, one in self.sequences.items()},
        }
        return members

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """The inverse of `to_members`."""
        about = members.get(MARK)
        if not isinstance(about, dict) or not isinstance(about.get("sequences"), dict):
            raise DataError(f"{MARK} is missing or does not name the sequences")
        arrays = {name.removesuffix(".npy"): values for name, values in members.items() if name.endswith(".npy")}
        for name, values in arrays.items():
            if values.ndim != 1:
                raise DataError(f"{name}.npy is no column: its shape is {values.shape}")
        try:
            sequences = {
                name: Pool(
                    start=arrays.pop(f"{name}.start"),
                    length=arrays.pop(f"{name}.length"),
                    fields={one: arrays.pop(f"{name}.{one}") for one in fields},
                )
                for name, fields in about["sequences"].items()
            }
        except KeyError as error:
            raise DataError(f"the member {error.args[0]}.npy is missing") from error
        block = cls(arrays, sequences)
        if block.rows != about.get("rows"):
            raise DataError(f"the columns have {block.rows} rows, {MARK} says {about.get('rows')}")
        return block
