"""The values of a feature and their ids: lossless, shared by splits written together, ordered so that a cut is a prefix.

Values are texts, whatever the table had (``7`` and ``"7"`` are one value), ordered by how many training rows have them,
then by value. Value number ``i`` has the id ``i + FIRST``; so the values that at least ``n`` training rows have are the
first so many, and leaving out rare ones is one comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moon_zoo.data.impressions.schema import FIRST, OUT_OF_VOCABULARY
from moon_zoo.errors import DataError


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Values by id.

    Args:
        values: Distinct texts; number ``i`` has the id ``i + FIRST``.
        counts: Training rows that have each, descending, int64 ``(len(values),)``.

    Example:
        >>> Vocabulary(["mug", "lamp"], np.array([5, 1])).ids_of(["lamp", "sofa"])
        array([3, 1], dtype=int32)
    """

    values: list[str]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def array(self) -> pa.Array:
        """The values as an Arrow array of texts."""
        return pa.array(self.values, type=pa.large_string())

    def known(self, min_count: int = 1) -> int:
        """How many of the first values at least ``min_count`` training rows have; no value of none is ever known."""
        return int(np.searchsorted(-self.counts, -max(min_count, 1), side="right"))

    def ids_of(self, values: Iterable[Any] | pa.Array) -> np.ndarray:
        """Id of each text, `OUT_OF_VOCABULARY` where it is none of the values, int32 ``(len(values),)``."""
        wanted = (
            values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(list(values), pa.large_string())
        )
        found = pc.index_in(wanted.cast(pa.large_string()), value_set=self.array)
        places = pc.fill_null(found, OUT_OF_VOCABULARY - FIRST).to_numpy(zero_copy_only=False)
        return (places + FIRST).astype(np.int32)

    def mapping(self, other: Vocabulary, known: int | None = None) -> np.ndarray:
        """Ids of this vocabulary to those of another, by value.

        Args:
            other: Whose ids are wanted.
            known: How many of the other's first values are known; None takes all. The rest is out of vocabulary.

        Returns:
            Id here to id there, int32 ``(len(self) + FIRST,)``; padding and out-of-vocabulary stay what they are.
        """
        there = other.ids_of(self.array)
        if known is not None:
            there[there >= known + FIRST] = OUT_OF_VOCABULARY
        return np.concatenate([np.arange(FIRST, dtype=np.int32), there])

    def decode(self, ids: np.ndarray) -> list[str]:
        """The texts of ids; ``<padding>`` and ``<unknown>`` for those that stand for none."""
        names = ["<padding>", "<unknown>"]
        return [names[one] if one < FIRST else self.values[one - FIRST] for one in ids.tolist()]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest or a checkpoint."""
        return {"values": self.values, "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, values: Any, name: str = "") -> Self:
        """The inverse of `to_json`.

        Raises:
            DataError: It is no vocabulary.
        """
        try:
            texts, counts = list(values["values"]), np.asarray(values["counts"], dtype=np.int64)
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise DataError(f"the vocabulary {name} has no values and counts: {error}") from error
        if counts.shape != (len(texts),) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"the vocabulary {name} has {len(texts):,} values, which are not texts with a count each")
        if (np.diff(counts) > 0).any() or (counts < 0).any():
            raise DataError(f"the vocabulary {name} is not ordered by count")
        return cls(texts, counts)


def ordered(values: Iterable[str], counts: np.ndarray) -> tuple[Vocabulary, np.ndarray]:
    """A vocabulary of values in any order.

    Args:
        values: Distinct texts.
        counts: Training rows that have each, int ``(len(values),)``.

    Returns:
        The vocabulary, and the id in it of each value in the order given, int32 ``(len(values),)``.
    """
    table = pa.table({"count": np.asarray(counts, dtype=np.int64), "value": pa.array(values, pa.large_string())})
    # Arrow compares texts by their UTF-8 bytes, which is the order of code points: the same on every machine.
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("value", "ascending")]).to_numpy()
    ids = np.empty(len(order), dtype=np.int32)
    ids[order] = np.arange(FIRST, len(order) + FIRST, dtype=np.int32)
    return Vocabulary(table["value"].take(order).to_pylist(), np.asarray(counts, dtype=np.int64)[order]), ids


def vocabularies_from_json(values: Mapping[str, Any]) -> dict[str, Vocabulary]:
    """The vocabularies of a manifest by name.

    Raises:
        DataError: One is no vocabulary.
    """
    return {name: Vocabulary.from_json(one, name) for name, one in values.items()}
