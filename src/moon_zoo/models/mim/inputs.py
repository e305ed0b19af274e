"""Rows of impressions to tensors: ids of the model's own vocabularies, histories, numbers, and rows of the content table.

A model keeps the vocabularies it was trained with. A set or table has its own; whatever is read is translated by value, one
array per vocabulary, so that raw rows of any table mean to the model what they meant in training. What training did not know
is `OUT_OF_VOCABULARY`; an item unknown to training still has its content embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from moon_zoo.data.content_table import ContentTable
from moon_zoo.data.impressions.columns import Columns, Ragged
from moon_zoo.data.impressions.schema import FIRST, OUT_OF_VOCABULARY, PADDING, Schema
from moon_zoo.data.impressions.vocabulary import Vocabulary
from moon_zoo.data.inputs import Draw
from moon_zoo.errors import DataError, did_you_mean

log = logging.getLogger(__name__)

Missing = Literal["default", "refuse"]

_NAMED = 3
"""So many ids without an embedding are named."""


class MimInputs:
    """What a click model knows of its columns, and what makes batches of them.

    Args:
        max_history: Longest sequence of earlier events, of which the newest are kept.
        min_count: Least training rows that a value needs for an id of its own; None for what the training set says.
        table: Content embeddings; None for a model without them.
        missing: What is done with items that have no embedding: a learned ``default``, or ``refuse``.

    Attributes:
        schema: The columns; None before they were learned.
        vocabularies: Vocabulary name to the values that training had.
        known: Vocabulary name to how many of its first values have an id of their own.
    """

    def __init__(
        self,
        *,
        max_history: int = 50,
        min_count: int | None = None,
        table: ContentTable | None = None,
        missing: Missing = "default",
    ) -> None:
        self.max_history = max_history
        self.min_count = min_count
        self.table = table
        self.missing = missing
        self.schema: Schema | None = None
        self.vocabularies: dict[str, Vocabulary] = {}
        self.known: dict[str, int] = {}
        self.content: dict[str, Any] | None = None
        self._state: dict[str, Any] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Vocabulary name to the number of its ids, padding and out-of-vocabulary included."""
        return {name: count + FIRST for name, count in self.known.items()}

    @property
    def learned(self) -> Schema:
        """The columns.

        Raises:
            RuntimeError: They were neither learned nor restored: a fault of the calling code.
        """
        if self.schema is None:
            raise RuntimeError("the inputs know no columns yet: call fit or load_state_dict first")
        return self.schema

    # What comes from data ---------------------------------------------------------------------------------------------

    def fit(self, samples: Iterable[Any], manifest: Any) -> None:
        """Take columns and vocabularies from the training set's manifest; nothing where they are known already.

        Raises:
            DataError: The set holds no impressions.
        """
        if self.schema is not None:
            return
        if "schema" not in manifest.extra:
            raise DataError(
                f"the training set is of kind {manifest.kind} and declares no columns",
                change="data.init_args.train, to a set of impressions",
            )
        self.schema = Schema.from_json(manifest.extra["schema"])
        least = manifest.extra.get("min_count", 1) if self.min_count is None else self.min_count
        for name in self.schema.vocabularies:
            stored = manifest.vocabularies[name]
            whole = Vocabulary(list(stored["values"]), np.asarray(stored["counts"], dtype=np.int64))
            seen, self.known[name] = whole.known(1), whole.known(least)
            # Only of items it matters who was seen at all: those that were not are cold.
            kept = seen if name == self.schema.item_vocabulary else self.known[name]
            self.vocabularies[name] = Vocabulary(whole.values[:kept], whole.counts[:kept])
        self.content = None if self.table is None else note_of(self.table)
        self._state = None

    def state_dict(self) -> dict[str, Any]:
        """Columns, vocabularies and which content embeddings belong to the model, as plain values."""
        if self._state is None:
            self._state = {
                "schema": None if self.schema is None else self.schema.to_json(),
                "vocabularies": {name: one.values for name, one in self.vocabularies.items()},
                "known": dict(self.known),
                "content": self.content,
            }
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        if state["schema"] is None:
            return
        self.schema = Schema.from_json(state["schema"])
        self.known = {str(name): int(count) for name, count in state["known"].items()}
        self.vocabularies = {
            name: Vocabulary(list(values), np.ones(len(values), dtype=np.int64))
            for name, values in state["vocabularies"].items()
        }
        self.content = state["content"]
        self._state = None

    # Rows -------------------------------------------------------------------------------------------------------------

    def reader(self, schema: Schema, vocabularies: Mapping[str, Vocabulary]) -> RowReader:
        """What turns rows of one set or table into batches.

        Args:
            schema: The set's columns; more than the model's do no harm.
            vocabularies: The set's.

        Raises:
            DataError: A column of the model is missing, or items lack embeddings and are to be refused.
        """
        own = self.learned
        _check_columns(own, schema)
        maps = {
            column: vocabularies[schema.vocabulary_of(column)].mapping(
                self.vocabularies[own.vocabulary_of(column)], self.known[own.vocabulary_of(column)]
            )
            for column in {column.rpartition(".")[2] for column in own.id_columns}
        }
        warm = vocabularies[schema.vocabulary_of(own.item)].mapping(self.vocabularies[own.item_vocabulary]) >= FIRST
        content: dict[str, np.ndarray] = {}
        if self.table is not None:
            # A set may keep the items of queries in a vocabulary of their own, though the model shares one.
            kept_in = {column: schema.vocabulary_of(column) for column in own.content_columns}
            rows = {name: self._content_rows(vocabularies[name]) for name in dict.fromkeys(kept_in.values())}
            content = {column: rows[name] for column, name in kept_in.items()}
        return RowReader(
            schema=own,
            maps={column: maps[column.rpartition(".")[2]] for column in own.id_columns},
            warm=warm,
            content=content,
            table=self.table if self.table is not None and self.table.is_mapped else None,
            max_history=self.max_history,
            names=(schema.label, schema.user, schema.item),
        )

    def _content_rows(self, items: Vocabulary) -> np.ndarray:
        """Row of the content table by id of a set, int32; says which items have none, or refuses."""
        assert self.table is not None
        rows = np.concatenate([[PADDING, OUT_OF_VOCABULARY], self.table.rows_of(items.array)]).astype(np.int32)
        without = np.flatnonzero(rows[FIRST:] == OUT_OF_VOCABULARY)
        if len(without) == 0:
            return rows
        named = ", ".join(items.values[place] for place in without[:_NAMED].tolist())
        named += ", ..." if len(without) > _NAMED else ""
        seen = max(int(items.counts.sum()), 1)
        said = (
            f"{len(without):,} of {len(items):,} items ({len(without) / len(items):.1%}) have no content embedding: {named}; "
            f"{int(items.counts[without].sum()) / seen:.1%} of the set's training rows show them"
        )
        if len(without) == len(items) or self.missing == "refuse":
            raise DataError(
                said if len(without) < len(items) else f"none of {len(items):,} items has a content embedding: {named}",
                where=self.table.source,
                change="embed those items too; or model.init_args.missing_embeddings, to default"
                if len(without) < len(items)
                else "model.init_args.embeddings, to those of this catalogue: ids must be equal as texts",
            )
        log.warning("%s; a learned default stands for them (model.init_args.missing_embeddings)", said)
        return rows

    def sample(self, sample: Any, draw: Draw) -> dict[str, Tensor]:
        """Rows are never read one by one; see `reader`."""
        raise DataError(
            "a click model reads rows of impressions, not single samples",
            change="the data, to a set of kind impressions or a table",
        )

    def batch(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """See `sample`."""
        raise DataError("a click model reads rows of impressions, not single samples", change="the data")


@dataclass(frozen=True)
class RowReader:
    """Rows of one set or table to a batch; see `MimInputs.reader`.

    Args:
        schema: The model's columns.
        maps: Column of ids to the model's id by the set's, int32.
        warm: Whether training had an item, by the set's id, bool.
        content: Column of items to the row of the content table by the set's id; empty without content.
        table: Where the rows' vectors are read from here; None where the model holds them all.
        max_history: Longest sequence.
        names: The set's columns of label, user and item.
    """

    schema: Schema
    maps: dict[str, np.ndarray]
    warm: np.ndarray
    content: dict[str, np.ndarray]
    table: ContentTable | None
    max_history: int
    names: tuple[str, str, str]

    @property
    def limits(self) -> dict[str, int]:
        """Sequence to how many of its newest entries are wanted."""
        return {sequence.name: self.max_history for sequence in self.schema.sequences}

    def __call__(self, columns: Columns, draw: Draw) -> dict[str, Tensor]:
        """One batch.

        Returns:
            ``id/<column>`` int32 ``(batch,)``, of sequences ``(batch, max_history)`` with ``mask/<sequence>`` bool;
            ``content/<column>`` int32 rows of the content table, with ``content_vectors`` float32 ``(rows, dim)`` where that is
            not held by the model; ``numeric`` float32 ``(batch, numbers)`` of mean 0 and deviation 1, 0 where
            ``numeric_missing`` bool is True; ``label`` float32 ``(batch,)``, -1 where unknown; ``user``, ``item`` int64 ids
            of the set, and ``cold`` bool, True for items that training had not; ``cut`` int64 ``(sequences,)``, rows whose
            history was longer.
        """
        batch: dict[str, np.ndarray] = {}
        label, user, item = self.names
        rows: dict[str, np.ndarray] = {}  # of the content table
        for one in self.schema.categorical:
            batch[f"id/{one.name}"] = np.take(self.maps[one.name], columns.values[one.name])
            if one.name in self.content:
                rows[one.name] = np.take(self.content[one.name], columns.values[one.name])
        for sequence in self.schema.sequences:
            there = _kept(columns.sequences.get(sequence.name), len(columns), self.max_history, sequence.fields)
            inside = there.mask(self.max_history)
            batch[f"mask/{sequence.name}"] = inside
            for field, column in zip(sequence.fields, sequence.columns):
                batch[f"id/{column}"] = _padded(np.take(self.maps[column], there.fields[field]), inside)
                if column in self.content:
                    rows[column] = _padded(np.take(self.content[column], there.fields[field]), inside)
        batch |= self._content(rows) if self.table is not None else {f"content/{name}": of for name, of in rows.items()}
        batch |= self._numbers(columns)
        batch["label"] = self._labels(columns, label, draw)
        batch["user"] = columns.values[user].astype(np.int64)
        batch["item"] = columns.values[item].astype(np.int64)
        batch["cold"] = ~self.warm[columns.values[item]]
        batch["cut"] = np.array([columns.sequences[one].cut if one in columns.sequences else 0 for one in self.limits])
        return {name: torch.from_numpy(np.require(values, requirements=("C", "W"))) for name, values in batch.items()}

    def _labels(self, columns: Columns, label: str, draw: Draw) -> np.ndarray:
        labels = columns.values.get(label)
        if labels is not None:
            return labels.astype(np.int8, copy=False).astype(np.float32)
        if draw.training:
            raise DataError(
                f"these rows have no column {label}, so there is nothing to learn from",
                change="data.init_args.train, to rows with clicks",
            )
        return np.full(len(columns), -1, dtype=np.float32)

    def _content(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The vectors that occur, and the rows as places among them: padding and "no embedding" keep 0 and 1."""
        assert self.table is not None
        flat = np.concatenate([np.arange(FIRST, dtype=np.int32), *(values.reshape(-1) for values in rows.values())])
        coded = pa.array(flat).dictionary_encode()
        numbers = coded.indices.to_numpy(zero_copy_only=False)
        vectors = self.table.gather(coded.dictionary.to_numpy(zero_copy_only=False))
        batch, done = {"content_vectors": vectors}, FIRST
        for column, values in rows.items():
            batch[f"content/{column}"] = numbers[done : done + values.size].reshape(values.shape)
            done += values.size
        return batch

    def _numbers(self, columns: Columns) -> dict[str, np.ndarray]:
        size = (len(columns), len(self.schema.numeric))
        numbers, missing = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=bool)
        for place, one in enumerate(self.schema.numeric):
            values = columns.values[one.name]
            missing[:, place] = np.isnan(values)
            numbers[:, place] = np.where(missing[:, place], 0.0, (values - one.mean) / (one.std or 1.0))
        return {"numeric": numbers, "numeric_missing": missing}


def _kept(there: Ragged | None, rows: int, limit: int, fields: Sequence[str]) -> Ragged:
    """A sequence with none longer than ``limit``, as readers give it that were asked for no more; empty where it is missing."""
    if there is None:
        return Ragged(np.zeros(rows, dtype=np.int64), {field: np.zeros(0, dtype=np.int32) for field in fields})
    if len(there.lengths) == 0 or int(there.lengths.max()) <= limit:
        return there
    inside = there.mask(limit)
    kept = {field: there.padded(field, limit)[inside] for field in fields}
    return Ragged(np.minimum(there.lengths, limit), kept, there.cut)


def _padded(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Values of all rows one after another in a rectangle, zeros where ``inside`` is False."""
    out = np.zeros(inside.shape, dtype=values.dtype)
    out[inside] = values
    return out


def note_of(table: ContentTable) -> dict[str, Any]:
    """What a model remembers of the embeddings it was trained with; no path, which would mean nothing elsewhere."""
    return {
        "dim": table.dim,
        "fingerprint": table.fingerprint,
        "model": table.model,
        "modality": table.modality,
    }


def _check_columns(own: Schema, theirs: Schema) -> None:
    """Refuse a set that lacks columns; sequences may be missing (their readers then give empty ones)."""
    there, wanted = (
        [*(one.name for one in schema.categorical), *(one.name for one in schema.numeric)] for schema in (theirs, own)
    )
    missing = [name for name in wanted if name not in there]
    if missing:
        raise DataError(
            f"the columns {', '.join(missing)} are missing, which the model was trained with; there are {', '.join(there)}"
            if len(missing) > 1
            else f"the column {missing[0]} is missing, which the model was trained with; there are {', '.join(there)}",
            suggestions=did_you_mean(missing[0], there),
            change="the table",
        )
