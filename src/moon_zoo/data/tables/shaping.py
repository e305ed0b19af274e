"""Columns of a click log as they stand in the file, into what `RawImpressions` takes: texts, numbers, labels, times, lists.

CSV has nothing but texts; Parquet has types, some of them damaged (pandas makes whole numbers fractions where a column has
a gap). Every function names the file and row of the first value it cannot read.
"""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moon_zoo.data.wording import many
from moon_zoo.errors import DataError

NO_NUMBER = ("na", "n/a", "nan", "null", "none", "-", "?", "\\n")
"""Cells, in lower case, that say that there is no number."""

UNNAMED = "(missing)"
"""What stands for a missing value of a feature that is neither user nor item."""

SEPARATORS = ("^", "|", ";", ",", " ")
"""What may separate the elements of a list in a cell, the first that is found; FuxiCTR's first."""

UNITS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}


class Shaper:
    """Reads columns, and counts what it had to fill in.

    Args:
        threshold: A label of at least this is a click; None takes only 0 and 1.
        separator: What separates the elements of a list in a cell; None finds it.
        padding: Elements of lists that stand for nothing, as texts.
        longest: Elements of a list at most, of which the newest (the last) are kept; None keeps all.

    Attributes:
        filled: Column to the number of missing values that became `UNNAMED`.
        cut: Column to the number of lists that were longer.
    """

    def __init__(
        self,
        *,
        threshold: float | None = None,
        separator: str | None = None,
        padding: tuple[str, ...] = (),
        longest: int | None = None,
    ) -> None:
        self.threshold = threshold
        self.separator = separator
        self.padding = padding
        self.longest = longest
        self.filled: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()

    def names(self, column: pa.Array, name: str, where: tuple[str, int], *, needed: bool = False) -> pa.Array:
        """Names or ids: texts or whole numbers without nulls.

        Args:
            column: The values.
            name: The column's name.
            where: File and number of the first row.
            needed: Refuse missing ones (users and items) instead of calling them `UNNAMED`.

        Raises:
            DataError: A value is missing where it is needed, or is a fraction.
        """
        values = _trimmed(_plain(column))
        if pa.types.is_floating(values.type):
            values = _whole(values, name, where, "ids and names are texts or whole numbers")
        elif not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            values = values if pa.types.is_integer(values.type) else _as_text(values, name, where)
        if values.null_count and needed:
            raise DataError(
                f"{many(values.null_count, 'row')} without a {name}, the first in row {_row(values.is_null(), where)}",
                where=where[0],
                change="the rows: who looked and what was shown must be known",
            )
        if values.null_count:
            self.filled[name] += values.null_count
            values = pc.fill_null(values.cast(pa.string()), UNNAMED)
        return values

    def numbers(self, column: pa.Array, name: str, where: tuple[str, int]) -> pa.Array:
        """Numbers, null where missing.

        Raises:
            DataError: A text is no number, or the column holds something else.
        """
        values = _trimmed(_plain(column))
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            absent = pc.is_in(pc.utf8_lower(values), value_set=pa.array(NO_NUMBER, values.type))
            texts = pc.if_else(absent, None, values)
            try:
                return _finite(texts.cast(pa.float64()), name, where)
            except pa.ArrowInvalid:
                place = next(
                    at for at, text in enumerate(texts.to_pylist()) if text is not None and not _is_number(text)
                )
                raise DataError(
                    f"{name} is {texts[place].as_py()!r}, which is no number",
                    where=f"{where[0]}, row {where[1] + place:,}",
                    change="the cell, or declare the column as a categorical feature",
                ) from None
        try:
            return _finite(values.cast(pa.float64()), name, where)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"the column {name} holds {values.type}, not numbers", where=where[0], change="the column"
            ) from error

    def labels(self, column: pa.Array, name: str, where: tuple[str, int]) -> np.ndarray:
        """Clicks, 0 or 1, uint8.

        Raises:
            DataError: A label is missing, or is neither 0 nor 1 where there is no threshold.
        """
        kept = _plain(column)
        if pa.types.is_string(kept.type):
            lowered = pc.utf8_lower(kept)
            for word, number in (("true", "1"), ("false", "0")):
                kept = pc.if_else(pc.equal(lowered, word), number, kept)
        if pa.types.is_boolean(kept.type):
            kept = kept.cast(pa.uint8())
        values = self.numbers(kept, name, where).to_numpy(zero_copy_only=False)
        bad = np.isnan(values) if self.threshold is not None else ~np.isin(values, (0.0, 1.0))
        if bad.any():
            place = int(np.argmax(bad))
            shown = column[place].as_py()
            raise DataError(
                f"the label {name} is {shown!r}, but must be {'a number' if self.threshold is not None else '0 or 1'} "
                f"({int(bad.sum()):,} such among {many(len(values), 'row')})",
                where=f"{where[0]}, row {where[1] + place:,}",
                change="the label column, or --label-threshold, the lowest value that is a click",
            )
        clicks = values >= self.threshold if self.threshold is not None else values == 1
        return np.asarray(clicks, dtype=np.uint8)

    def times(self, column: pa.Array, name: str, where: tuple[str, int]) -> np.ndarray:
        """Times, int64: whole numbers as they are, dates and timestamps in milliseconds since 1970.

        Raises:
            DataError: A time is missing or is none.
        """
        values = _trimmed(_plain(column))
        if values.null_count:
            raise DataError(
                f"{many(values.null_count, 'row')} without a time, the first in row {_row(values.is_null(), where)}",
                where=where[0],
                change=f"the column {name}",
            )
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = _time_texts(values, name, where)
        if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
            values = pc.cast(values, pa.timestamp("ms"), safe=False).cast(pa.int64())
        if pa.types.is_floating(values.type):
            values = _whole(values, name, where, "times are whole numbers or timestamps")
        if not pa.types.is_integer(values.type):
            raise DataError(f"the time {name} holds {values.type}, not times", where=where[0], change="the time column")
        return np.asarray(values.cast(pa.int64()).to_numpy(zero_copy_only=False))

    def lists(self, column: pa.Array, name: str, where: tuple[str, int]) -> pa.Array:
        """Lists of names or ids, oldest first; a missing list is an empty one, padding is taken out.

        Raises:
            DataError: A cell holds no list.
        """
        values = _plain(column)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = self._split(values, name, where)
        if pa.types.is_null(values.type):
            return pa.array([[]] * len(values), pa.list_(pa.string()))
        if pa.types.is_fixed_size_list(values.type) or pa.types.is_large_list(values.type):
            values = values.cast(pa.list_(values.type.value_type))
        if not pa.types.is_list(values.type):
            raise DataError(
                f"the column {name} holds {values.type}, not lists", where=where[0], change="--history or the column"
            )
        starts = values.offsets.to_numpy()
        lengths = np.where(values.is_valid().to_numpy(zero_copy_only=False), np.diff(starts), 0)
        inside = _trimmed(values.values)
        if pa.types.is_floating(inside.type):
            inside = _whole(inside, name, (where[0], 0), "ids in lists are texts or whole numbers")
        start, length, inside = _without(inside, starts[:-1], lengths, ("", *self.padding))
        if self.longest is not None:
            self.cut[name] += int((length > self.longest).sum())
            kept = np.minimum(length, self.longest)
            start, length = start + length - kept, kept
        return pa.ListViewArray.from_arrays(pa.array(start, pa.int32()), pa.array(length, pa.int32()), inside)

    def _split(self, values: pa.Array, name: str, where: tuple[str, int]) -> pa.Array:
        filled = values.drop_null()
        if len(filled) and pc.any(pc.starts_with(pc.utf8_ltrim_whitespace(filled), "[")).as_py():
            return pa.array([_json_list(text, name, where, at) for at, text in enumerate(values.to_pylist())])
        separator = self.separator or _separator(filled)
        return pc.split_pattern(values.cast(pa.string()), separator)


def first_fall(times: np.ndarray, before: int | None) -> int | None:
    """Place of the first time that is earlier than the one before it; None where they are sorted."""
    padded = times if before is None else np.r_[before, times]
    falls = np.flatnonzero(padded[1:] < padded[:-1])
    return None if not len(falls) else int(falls[0]) + (1 if before is None else 0)


def _finite(values: pa.Array, name: str, where: tuple[str, int]) -> pa.Array:
    infinite = pc.is_inf(values)
    if pc.any(infinite).as_py():
        raise DataError(
            f"{name} is infinite",
            where=f"{where[0]}, row {_row(infinite, where)}",
            change="the cell; leave out what is missing",
        )
    return values


def _plain(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column


def _trimmed(values: pa.Array) -> pa.Array:
    if not pa.types.is_string(values.type):
        return values
    trimmed = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _whole(values: pa.Array, name: str, where: tuple[str, int], rule: str) -> pa.Array:
    """Fractions that are whole numbers as such; NaN as null."""
    plain = values.to_numpy(zero_copy_only=False)
    missing = np.isnan(plain)
    bad = ~missing & (plain != np.floor(plain))
    if bad.any():
        place = int(np.argmax(bad))
        at = f", row {where[1] + place:,}" if where[1] else ""
        raise DataError(f"{name} is {plain[place]:g}; {rule}", where=f"{where[0]}{at}", change=f"the column {name}")
    return pa.array(np.where(missing, 0, plain).astype(np.int64), mask=missing)


def _as_text(values: pa.Array, name: str, where: tuple[str, int]) -> pa.Array:
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the column {name} holds {values.type}, not names or ids",
            where=where[0],
            change=f"the column {name}; lists are declared with --history",
        ) from error


def _time_texts(values: pa.Array, name: str, where: tuple[str, int]) -> pa.Array:
    for kind in (pa.int64(), pa.float64(), pa.timestamp("ms"), pa.timestamp("ns"), pa.timestamp("ms", "UTC")):
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            continue
    texts = values.to_pylist()
    raise DataError(
        f"the time {name} is {texts[0]!r} in row {where[1]:,} or another text that is neither a whole number nor a "
        "timestamp such as 2024-05-31 18:30:00",
        where=where[0],
        change=f"the column {name}",
    )


def _without(
    values: pa.Array, starts: np.ndarray, lengths: np.ndarray, unwanted: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """Starts, lengths and elements of lists that lie one after another, without what is unwanted or null."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    places = np.arange(len(rows)) - np.repeat(first, lengths) + np.repeat(starts, lengths)
    taken = values.take(pa.array(places))
    keep = taken.is_valid().to_numpy(zero_copy_only=False)
    if len(unwanted) > 1 or pa.types.is_string(taken.type):
        coded = taken.dictionary_encode()
        found = pc.is_in(coded.dictionary.cast(pa.string()), value_set=pa.array(unwanted))
        bad = np.r_[found.to_numpy(zero_copy_only=False), False]  # a null element has no place: its -1 is the last
        keep &= ~bad[pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)]
    counts = np.bincount(rows[keep], minlength=len(lengths))
    return np.cumsum(counts) - counts, counts, taken.filter(pa.array(keep))


def _separator(texts: pa.Array) -> str:
    for separator in SEPARATORS:
        if len(texts) and pc.any(pc.match_substring(texts, separator)).as_py():
            return separator
    return SEPARATORS[0]  # all have one element, whatever the separator is


def _json_list(text: str | None, name: str, where: tuple[str, int], at: int) -> list[str]:
    try:
        elements = json.loads(text, parse_int=str, parse_float=str) if text and text.strip() else []
    except json.JSONDecodeError:
        elements = None
    if not isinstance(elements, list) or any(isinstance(one, (list, dict)) for one in elements):
        raise DataError(
            f"{name} is {text!r}, which is no list of names",
            where=f"{where[0]}, row {where[1] + at:,}",
            change="the cell, or --history-separator",
        )
    return [str(one) for one in elements if one is not None]


def _row(mask: pa.Array, where: tuple[str, int]) -> str:
    return f"{where[1] + int(pc.index(mask, True).as_py()):,}"


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
