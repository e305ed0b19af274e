"""Rows of an impression table as arrays, sequences as one flat array each: what readers give and inputs take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Ragged:
    """A sequence of every row, oldest first, in flat arrays.

    Args:
        lengths: Of each row's sequence in ``fields``, int64 ``(rows,)``.
        fields: Field name (without the sequence's) to ids of all rows one after another, int32 ``(sum(lengths),)``.
        cut: How many rows had a longer sequence, of which the newest were kept.
    """

    lengths: np.ndarray
    fields: dict[str, np.ndarray]
    cut: int = 0

    def padded(self, field: str, length: int) -> np.ndarray:
        """Ids of one field in a rectangle, int32 ``(rows, length)``: oldest first from the left, then zeros.

        Of a sequence longer than ``length`` the newest are kept.
        """
        values = self.fields[field]
        ends = np.cumsum(self.lengths)
        kept = np.minimum(self.lengths, length)
        out = np.zeros((len(kept), length), dtype=np.int32)
        inside = np.arange(length) < kept[:, None]  # (rows, length)
        if len(values) == kept.sum():  # nothing to cut, as where a reader was told the length
            out[inside] = values
            return out
        out[inside] = values[(np.arange(length) + (ends - kept)[:, None])[inside]]
        return out

    def mask(self, length: int) -> np.ndarray:
        """True where `padded` holds a value, bool ``(rows, length)``."""
        return np.arange(length) < np.minimum(self.lengths, length)[:, None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Some rows of an impression table.

    Args:
        values: Column to its values ``(rows,)``: ids int32, numbers float32, the label uint8, the time int64.
        sequences: Sequence to its values.
    """

    values: dict[str, np.ndarray]
    sequences: dict[str, Ragged]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))
