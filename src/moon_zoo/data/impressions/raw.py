"""Rows of an impression table as they are outside: names and ids as texts or numbers, sequences as lists.

What sources give to `moon_zoo.data.writing.write_splits`. Every value is checked here, before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moon_zoo.data.impressions.block import ID, LABEL, NUMBER, RANGE, TIME, Pool, column_types
from moon_zoo.data.impressions.pieces import Piece
from moon_zoo.data.impressions.pools import expand, used
from moon_zoo.data.impressions.schema import Schema, Sequence
from moon_zoo.errors import DataError, did_you_mean

_NAME = re.compile(r"[A-Za-z0-9_\-]+")

Encode = Callable[[str, pa.Array], np.ndarray]
"""Vocabulary and texts (none null) to ids, int32 of equal length."""


@dataclass(frozen=True, slots=True)
class RawImpressions:
    """Some rows of a table.

    Args:
        schema: What its columns are.
        rows: Columns named as in the schema: features of names and ids as texts or whole numbers, numbers with null or
            NaN where missing, labels 0 or 1 (or booleans), times as whole numbers or timestamps, and for a sequence the
            aligned list columns ``{sequence}.{field}``. Lists may be of Arrow's type ``list_view`` with ranges that
            overlap: what they share is stored once.

    Raises:
        DataError: A column is missing or named in a way that no file can be.
    """

    kind: ClassVar[str] = "impressions"

    schema: Schema
    rows: pa.RecordBatch | pa.Table

    def __post_init__(self) -> None:
        check_names(self.schema)
        names = self.rows.schema.names
        for column in self.schema.columns:
            if column not in names:
                raise DataError(
                    f"the column {column} is missing; there are {', '.join(names)}",
                    suggestions=did_you_mean(column, names),
                    change="the table, or the features that are declared of it",
                )

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as record batches, without copying them."""
        if isinstance(self.rows, pa.RecordBatch):
            yield self.rows
        else:
            yield from self.rows.to_batches()


def check_names(schema: Schema) -> None:
    """Refuse names of columns that cannot be members of a tar.

    Raises:
        DataError: A name is none of letters, digits, ``_`` and ``-``, or that of a range.
    """
    for name in (*column_types(schema), *(one.name for one in schema.sequences)):
        if not _NAME.fullmatch(name):
            raise DataError(
                f"the column {name!r} cannot be written: names are letters, digits, _ and -",
                change="the column's name in the table",
            )
    for sequence in schema.sequences:
        for field in sequence.fields:
            if field in RANGE:
                raise DataError(
                    f"the sequence {sequence.name} has a field {field!r}, a name that ranges have",
                    change="the column's name in the table",
                )


def encoded(schema: Schema, batch: pa.RecordBatch, encode: Encode, first: int) -> Piece:
    """Rows as columns of the types they are kept in, in the order of `column_types`.

    Args:
        schema: What the columns are; those of label, time, truth and sequences are left out where the batch lacks them.
        batch: The rows.
        encode: Texts to ids.
        first: Number of the first row, for messages.

    Raises:
        DataError: A value is not what its column holds; the message names column and row.
    """
    there = set(batch.schema.names)
    columns = {one.name: ids(batch, one.name, one.vocabulary, encode, first) for one in schema.categorical}
    columns |= {one.name: numbers(batch, one.name, first) for one in schema.numeric}
    if schema.label in there:
        columns[schema.label] = labels(batch, schema.label, first)
    if schema.time is not None and schema.time in there:
        columns[schema.time] = times(batch, schema.time, first)
    columns |= {name: numbers(batch, name, first) for name in schema.truth if name in there}
    sequences = {}
    for one in schema.sequences:
        if there.issuperset(one.columns):
            start, length, fields = sequence(batch, one, schema.vocabulary_of, encode, first)
            sequences[one.name] = Pool(start.astype(ID), length.astype(ID), fields)
    return Piece(columns, sequences)


def ids(batch: pa.RecordBatch, name: str, vocabulary: str, encode: Encode, first: int) -> np.ndarray:
    """Ids of a categorical column, int32 ``(rows,)``.

    Args:
        batch: The rows.
        name: The column.
        vocabulary: Its vocabulary.
        encode: Texts to ids.
        first: Number of the first row, for messages.

    Raises:
        DataError: A value is null, or of a type that names no one.
    """
    return _encoded(batch.column(name), name, vocabulary, encode, lambda place: f"row {first + place:,}")


def numbers(batch: pa.RecordBatch, name: str, first: int) -> np.ndarray:
    """A column of numbers with NaN where missing, float32 ``(rows,)``.

    Raises:
        DataError: A value is infinite, or the column holds no numbers.
    """
    column = batch.column(name)
    if not _is_number(column.type) and not pa.types.is_null(column.type):
        raise DataError(
            f"the column {name} holds {column.type}, not numbers",
            change="the column, or declare it as a categorical feature",
        )
    with np.errstate(over="ignore"):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(NUMBER)
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise DataError(
            f"{name} of row {first + int(bad[0]):,} is {column[int(bad[0])]}, beyond what a 32-bit number holds",
            change="the value, to a number, or to NaN where it is missing",
        )
    return values


def labels(batch: pa.RecordBatch, name: str, first: int) -> np.ndarray:
    """The clicks, uint8 ``(rows,)``.

    Raises:
        DataError: One is neither 0 nor 1.
    """
    column = batch.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if not _is_number(column.type):
        raise DataError(f"the label {name} holds {column.type}, but must be 0 or 1", change="the label column")
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero((values != 0) & (values != 1))
    if len(bad):
        raise DataError(
            f"the label {name} of row {first + int(bad[0]):,} is {column[int(bad[0])]}, but must be 0 or 1 "
            f"({len(bad):,} such rows among {len(values):,})",
            change="the label column, or say from which value on it is a click",
        )
    return values.astype(LABEL)


def times(batch: pa.RecordBatch, name: str, first: int) -> np.ndarray:
    """The times, int64 ``(rows,)``; timestamps count in their own unit.

    Raises:
        DataError: One is missing, or no whole number.
    """
    column = batch.column(name)
    if column.null_count:
        raise DataError(f"the time {name} of row {first + _first_null(column):,} is missing", change="the time column")
    if pa.types.is_timestamp(column.type) or pa.types.is_date64(column.type):
        column = column.cast(pa.int64())
    elif pa.types.is_date32(column.type):
        column = column.cast(pa.int32()).cast(pa.int64())
    if not _is_number(column.type):
        raise DataError(
            f"the time {name} holds {column.type}, not whole numbers or timestamps", change="the time column"
        )
    try:
        values: np.ndarray = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise DataError(f"the time {name} is no whole number: {error}", change="the time column") from error
    return values.astype(TIME)


def sequence(
    batch: pa.RecordBatch, which: Sequence, vocabulary_of: Callable[[str], str], encode: Encode, first: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Ranges and pools of a sequence.

    Returns:
        ``start`` and ``length`` int64 ``(rows,)``, and field to ids int32 ``(elements,)``: only what the rows use.

    Raises:
        DataError: Lists of one row differ in length, or a value in one is null.
    """
    lists = {field: _ranges(batch.column(column), column) for field, column in zip(which.fields, which.columns)}
    start, length, _ = lists[which.fields[0]]
    for field, (_, other, _) in lists.items():
        bad = np.flatnonzero(other != length)
        if len(bad):
            row = int(bad[0])
            raise DataError(
                f"row {first + row:,} has {length[row]} values in {which.columns[0]}, but {other[row]} in "
                f"{which.name}.{field}",
                change="the lists: those of one sequence are aligned",
            )
    if all(np.array_equal(one[0], start) for one in lists.values()):
        start, elements = used(start, length)
        wanted = dict.fromkeys(which.fields, elements)
    else:  # laid out differently, so nothing can be shared
        wanted = {field: expand(one[0], length) for field, one in lists.items()}
        start = np.cumsum(length) - length
    fields = {}
    for field, (_, _, values) in lists.items():
        elements, name = wanted[field], f"{which.name}.{field}"
        whole = len(elements) == len(values) and (len(elements) == 0 or int(elements[-1]) == len(values) - 1)
        taken = values if whole else values.take(pa.array(elements))

        def where(place: int, elements: np.ndarray = elements, field: str = field) -> str:
            at, size = lists[field][0], length
            held = np.flatnonzero((at <= elements[place]) & (elements[place] < at + size))
            return f"row {first + int(held[0]):,}" if len(held) else "some row"

        fields[field] = _encoded(taken, name, vocabulary_of(name), encode, where)
    return start, length, fields


def _ranges(column: pa.Array, name: str) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """Start, length and values of a list column; a missing list is an empty one."""
    kind = column.type
    if pa.types.is_null(kind):
        zeros = np.zeros(len(column), dtype=np.int64)
        return zeros, zeros, pa.array([], pa.large_string())
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
        kind = column.type
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        start, length = _integers(column.offsets), _integers(column.sizes)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = _integers(column.offsets)
        start, length = offsets[:-1], np.diff(offsets)
    else:
        raise DataError(f"the column {name} holds {kind}, not lists", change="the column, or the sequences declared")
    if column.null_count:
        length = np.where(column.is_valid().to_numpy(zero_copy_only=False), length, 0)
    return start, length, column.values


def _encoded(values: pa.Array, name: str, vocabulary: str, encode: Encode, where: Callable[[int], str]) -> np.ndarray:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_dictionary(values.type) and values.dictionary.null_count:
        values = values.dictionary_decode()
    if values.null_count:
        raise DataError(
            f"{name} of {where(_first_null(values))} is missing ({values.null_count:,} such among {len(values):,})",
            change=f"the table: give what has no {name} a value of its own, such as unknown",
        )
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    if not any(fits(kind) for fits in (*texts, pa.types.is_string_view)):
        raise DataError(
            f"the column {name} holds {kind}; ids and names are texts or whole numbers",
            change="the column: a table that once had gaps may have turned whole numbers into fractions",
        )
    if pa.types.is_dictionary(values.type):
        texts_of, places = values.dictionary.cast(pa.large_string()), values.indices
    else:
        # Numbers are made distinct before they are made texts: there are fewer then.
        coded = values.dictionary_encode()
        texts_of, places = coded.dictionary.cast(pa.large_string()), coded.indices
    table = encode(vocabulary, texts_of)
    return table[places.to_numpy(zero_copy_only=False)]


def _integers(array: pa.Array) -> np.ndarray:
    out: np.ndarray = array.to_numpy(zero_copy_only=False).astype(np.int64)
    return out


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _first_null(column: pa.Array) -> int:
    return int(pc.index(column.is_null(), True).as_py())
