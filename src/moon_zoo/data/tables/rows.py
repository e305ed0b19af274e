"""Rows of a table file: CSV, TSV, JSON lines or Parquet, one at a time, as texts.

Cells stay the texts they are: an article number ``007`` must not become 7, so nothing guesses types. Every fault
names its line. CSV goes through Python's own `csv`, which, unlike faster readers, knows the physical line of a row
whose cells contain line breaks.
"""

from __future__ import annotations

import base64
import codecs
import csv
import gzip
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from moon_zoo.data.wording import counted, first_few
from moon_zoo.errors import DataError, UsageError, did_you_mean

Cell = str | list[Any] | dict[str, Any] | None
"""A text; None where empty. Parquet and JSON lines may also hold lists and objects."""

MAX_CELL_CHARACTERS = 1 << 24
"""Longest cell of a CSV; beyond it a quote was surely never closed."""


class Table(ABC):
    """A table file.

    Args:
        path: The file.

    Attributes:
        columns: Names of its columns, in their order.
        unit: What the row numbers of `rows` count: ``line`` of the file, or ``row``.
        bytes_as_text: Whether bytes in a column become base64, as JSON lines would hold them; a fault otherwise.
    """

    unit = "line"
    bytes_as_text = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []

    @abstractmethod
    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Cell]]]:
        """Number of each row (from 1) and its cells of ``columns``."""

    def where(self, number: int) -> str:
        """``products.csv, line 7``."""
        return f"{self.path.name}, {self.unit} {number:,}"


def open_table(path: Path, *, encoding: str = "utf-8", delimiter: str | None = None) -> Table:
    """Open a table by its suffix: .csv .tsv .txt .jsonl .ndjson (also with .gz) or .parquet.

    Raises:
        DataError: It is missing, empty, or no table of that format.
        UsageError: The suffix, encoding or delimiter is not known.
    """
    if not path.is_file():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no table {path}", suggestions=did_you_mean(path.name, near), change="path")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in (".csv", ".tsv", ".txt"):
        return CsvTable(path, encoding, delimiter or ("\t" if suffix == ".tsv" else None))
    if suffix in (".jsonl", ".ndjson", ".json"):
        return JsonLinesTable(path, encoding)
    if suffix in (".parquet", ".pq"):
        return ParquetTable(path)
    raise UsageError(
        f"{path.name} has none of the suffixes of tables: .csv, .tsv, .jsonl, .parquet (.csv.gz and .jsonl.gz too)",
        change="path",
    )


class CsvTable(Table):
    """A CSV with a header.

    Args:
        path: The file.
        encoding: Its text encoding.
        delimiter: What separates cells; the commonest of comma, semicolon, tab and bar in the header when None.
    """

    def __init__(self, path: Path, encoding: str, delimiter: str | None) -> None:
        super().__init__(path)
        self.encoding = _known_encoding(encoding)
        if delimiter is not None and len(delimiter) != 1:
            raise UsageError(f"the delimiter {delimiter!r} is not one character", change="--delimiter")
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARACTERS))
        with self._text() as text:
            self.delimiter = delimiter or _commonest_delimiter(text.readline())
        with self._text() as text:
            self.columns = next(self._reader(text), [])
        if not self.columns:
            raise DataError(f"{path.name} is empty: it has no header", change="path")
        _no_column_twice(self)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Cell]]]:
        """See `Table`. Rows of another length than the header are gathered into one `DataError` at the end."""
        places = [self.columns.index(column) for column in columns]
        ragged: list[str] = []
        with self._text() as text:
            reader = self._reader(text)
            next(reader)
            begins = reader.line_num + 1
            for cells in reader:
                if len(cells) == len(self.columns):
                    yield begins, [cells[place].strip() or None for place in places]
                elif cells:  # an empty line has no cells
                    ragged.append(f"line {begins:,} ({len(cells)})")
                begins = reader.line_num + 1
        if ragged:
            raise DataError(
                f"{counted(ragged, 'row')} with another number of cells than the header's {len(self.columns)}: "
                f"{first_few(ragged)}",
                where=str(self.path),
                change="the rows (cells that contain the delimiter need quotes), or --delimiter",
            )

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        with _bytes(self.path) as content, io.TextIOWrapper(content, self.encoding, newline="") as text:
            try:
                yield text
            except UnicodeDecodeError as error:
                raise _not_in_encoding(self.path, self.encoding) from error
            except UnicodeError as error:
                raise DataError(f"{self.path.name} is not {self.encoding}: {error}", change="--encoding") from error

    def _reader(self, text: io.TextIOWrapper) -> Any:
        return _Reader(csv.reader(text, delimiter=self.delimiter, strict=True), self)


class _Reader:
    """`csv.reader` whose faults are `DataError` with the line."""

    def __init__(self, reader: Any, table: Table) -> None:
        self._reader = reader
        self._table = table

    @property
    def line_num(self) -> int:
        """Lines of the file read so far."""
        return int(self._reader.line_num)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> list[str]:
        begins = self.line_num + 1
        try:
            return cast(list[str], next(self._reader))
        except csv.Error as error:
            raise DataError(
                f"the row that begins on line {begins:,} is no CSV: {error}",
                where=f"{self._table.path}, lines {begins:,} to {self.line_num:,}",
                change="the row (perhaps a quote that is never closed), or --delimiter",
            ) from error


class JsonLinesTable(Table):
    """A file with a JSON object per line. Numbers keep the digits they are written with."""

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__(path)
        self.encoding = _known_encoding(encoding)
        self.columns = list(dict.fromkeys(name for _, record in self._records() for name in record))
        if not self.columns:
            raise DataError(f"{path.name} is empty", change="path")

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Cell]]]:
        """See `Table`."""
        for number, record in self._records():
            yield number, [as_cell(record.get(column)) for column in columns]

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with _bytes(self.path) as content:
            for number, line in enumerate(content, 1):
                try:
                    text = line.decode(self.encoding if number == 1 else self.encoding.removesuffix("-sig"))
                except UnicodeDecodeError as error:
                    raise _not_in_encoding(self.path, self.encoding) from error
                if text.strip():
                    yield number, self._record(text, number)

    def _record(self, text: str, number: int) -> dict[str, Any]:
        try:
            record = json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None)
        except json.JSONDecodeError as error:
            raise DataError(f"no JSON: {error.msg}, column {error.colno}", where=self.where(number)) from error
        if not isinstance(record, dict):
            raise DataError("a line holds JSON, but no object", where=self.where(number))
        return record


class ParquetTable(Table):
    """A Parquet file."""

    unit = "row"

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(path)
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path.name} is no readable Parquet file: {error}", change="path") from error
        self.columns = list(self._file.schema_arrow.names)
        _no_column_twice(self)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Cell]]]:
        """See `Table`."""
        number = 0
        unique = list(dict.fromkeys(columns))
        for batch in self._file.iter_batches(batch_size=4096, columns=unique):
            values = dict(zip(unique, (batch.column(name).to_pylist() for name in unique)))
            for row in range(batch.num_rows):
                number += 1
                yield number, [self._cell(values[column][row]) for column in columns]

    def _cell(self, value: Any) -> Cell:
        if isinstance(value, bytes) and self.bytes_as_text:
            return base64.b64encode(value).decode("ascii") or None
        return as_cell(value)


def as_cell(value: Any) -> Cell:
    """A value of Parquet or JSON as the text a CSV would hold; lists and objects stay."""
    if isinstance(value, str):
        return value.strip() or None
    if value is None or value != value:  # NaN is pandas' empty cell
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas turns whole numbers into floats where a column has gaps
    if isinstance(value, (list, dict)):
        return value or None
    if isinstance(value, bytes):
        raise DataError("a column holds bytes; photos are given as paths", change="--columns")
    return str(value)


def _bytes(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _known_encoding(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise UsageError(
            f"unknown encoding {encoding!r}",
            suggestions=did_you_mean(encoding, ("utf-8", "utf-16", "latin-1", "cp1252", "shift_jis", "gb18030")),
            change="--encoding",
        ) from error
    return "utf-8-sig" if name == "utf-8" else name  # spreadsheets put a byte-order mark in front of UTF-8


def _not_in_encoding(path: Path, encoding: str) -> DataError:
    """The fault with its place: decoding in blocks knows only the place within the block."""
    shown = encoding.removesuffix("-sig")
    offset = 0
    with _bytes(path) as content:
        for number, line in enumerate(content, 1):
            try:
                line.decode(shown)
            except UnicodeDecodeError as error:
                place = f"byte 0x{line[error.start]:02x} at position {offset + error.start:,}, line {number:,}"
                return DataError(
                    f"{path.name} is not {shown}: {place}",
                    where=f"{path}, line {number:,}",
                    change="--encoding, perhaps cp1252 or latin-1",
                )
            offset += len(line)
    return DataError(f"{path.name} is not {shown}", change="--encoding")


def _commonest_delimiter(header: str) -> str:
    counts = {delimiter: header.count(delimiter) for delimiter in ",;\t|"}
    return max(counts, key=lambda delimiter: counts[delimiter])  # a comma when there is none of them


def _no_column_twice(table: Table) -> None:
    twice = sorted({column for column in table.columns if table.columns.count(column) > 1})
    if twice:
        raise DataError(f"the header has columns of the same name: {first_few(twice)}", where=str(table.path))
