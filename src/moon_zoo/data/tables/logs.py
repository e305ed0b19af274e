"""Tables of impressions as Arrow batches: CSV, JSON lines and Parquet, a file or several, in bounded memory.

`moon_zoo.data.tables.rows` reads rows one by one and knows the line of every fault, at some 300,000 rows a second; click
logs have too many rows for that. So headers, suffixes and encodings are its business here too, and Arrow reads the cells,
as texts where the file has texts: an id ``007`` must not become 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from moon_zoo.data.split_names import SPLIT_NAMES
from moon_zoo.data.tables.rows import CsvTable, ParquetTable, Table, open_table
from moon_zoo.data.wording import first_few
from moon_zoo.errors import DataError, UsageError, did_you_mean

BATCH_ROWS = 16384
_ORDER = ("train", "val", "test")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")


class Log:
    """One table in one file or several of the same columns, read in the order of their names.

    Args:
        paths: The files.
        encoding: Text encoding of CSV and JSON lines.
        delimiter: What separates the cells of a CSV; None finds it from the header.

    Raises:
        DataError: A file is missing or no table, or their columns differ.
    """

    def __init__(self, paths: Sequence[Path], *, encoding: str = "utf-8", delimiter: str | None = None) -> None:
        self.tables: list[Table] = [open_table(path, encoding=encoding, delimiter=delimiter) for path in paths]
        self.names: list[str] = self.tables[0].columns
        for table in self.tables[1:]:
            if set(table.columns) != set(self.names):
                odd = sorted(set(table.columns) ^ set(self.names))
                raise DataError(
                    f"{table.path.name} has other columns than {self.tables[0].path.name}: {first_few(odd)}",
                    where=str(table.path.parent),
                    change="the tables; those of one split have the same columns",
                )

    @property
    def where(self) -> str:
        """The file, or the first and how many more."""
        more = f" and {len(self.tables) - 1:,} more" if len(self.tables) > 1 else ""
        return f"{self.tables[0].path}{more}"

    def check(self, wanted: Mapping[str, str]) -> None:
        """Refuse columns that are not there.

        Args:
            wanted: Column to the option that names it, or to who says that it is there.

        Raises:
            DataError: Some are missing; all of them are counted.
        """
        missing = [column for column in wanted if column not in self.names]
        if not missing:
            return
        near: list[str] = []
        shown = [repr(column) for column in missing]
        change = f"path; it must be what {wanted[missing[0]]} describes"
        if wanted[missing[0]].startswith("--"):
            shown = [f"{column!r} ({wanted[column]})" for column in missing]
            near = [match for column in missing for match in did_you_mean(column, self.names)]
            change = wanted[missing[0]]
        raise DataError(
            f"{'a column is' if len(missing) == 1 else f'{len(missing)} columns are'} missing: {first_few(shown, 4)}",
            where=self.where,
            suggestions=dict.fromkeys(near),
            change=f"{change}; the table has: {', '.join(self.names)}",
        )

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """File name, number of the first row in that file (from 1) and some rows of ``columns``.

        Raises:
            DataError: A file cannot be read as what it claims to be.
        """
        for table in self.tables:
            row = 1
            for batch in _batches(table, list(dict.fromkeys(columns))):
                if batch.num_rows:
                    yield table.path.name, row, batch
                row += batch.num_rows


def find_files(path: Path, option: str = "path") -> dict[str, list[Path]]:
    """The tables of a folder by split: ``train.csv``, ``valid.parquet``, ``test/part-0.parquet``, ``train_0.csv``.

    A single file is the split ``""``.

    Raises:
        DataError: The path does not exist, or the folder holds no tables named after splits.
    """
    if not path.exists():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path} does not exist", suggestions=did_you_mean(path.name, near), change=option)
    if path.is_file():
        return {"": [path]}
    found: dict[str, list[Path]] = {}
    others: list[str] = []
    for entry in sorted(path.iterdir()):
        split = _split_of(entry)
        files = sorted(file for file in entry.rglob("*") if _is_table(file)) if entry.is_dir() else [entry]
        if split is not None and files and all(_is_table(file) for file in files):
            found.setdefault(split, []).extend(files)
        elif not entry.name.startswith("."):
            others.append(entry.name)
    if not found:
        raise DataError(
            f"no table in {path} is named after a split (found: {first_few(others) or 'nothing'})",
            change=f"{option}: a table, or a folder with train.csv, val.csv, test.csv (or .parquet, .jsonl)",
        )
    return found


def ordered(files: dict[str, list[Path]]) -> list[tuple[str, list[Path]]]:
    """Training first, as everything that is counted is counted there."""
    return sorted(files.items(), key=lambda pair: _ORDER.index(pair[0]) if pair[0] in _ORDER else -1)


def _split_of(entry: Path) -> str | None:
    stem = entry.name.lower().partition(".")[0]
    for mark in ("_", "-"):
        stem = stem.partition(mark)[0]
    return SPLIT_NAMES.get(stem)


def _is_table(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return path.is_file() and bool(suffixes) and suffixes[-1] in TABLE_SUFFIXES and not path.name.startswith(".")


def _batches(table: Table, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if isinstance(table, ParquetTable):
        yield from _parquet(table.path, columns)
    elif isinstance(table, CsvTable):
        yield from _csv(table, columns)
    else:
        rows = table.rows(columns)
        while chunk := [cells for _, cells in islice(rows, BATCH_ROWS)]:
            arrays = [_array([cells[place] for cells in chunk], name, table) for place, name in enumerate(columns)]
            yield pa.record_batch(arrays, names=columns)


def _parquet(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path), change="the file") from error


def _csv(table: CsvTable, columns: list[str]) -> Iterator[pa.RecordBatch]:
    convert = pa_csv.ConvertOptions(
        column_types={name: pa.string() for name in table.columns},
        include_columns=columns,
        null_values=[""],
        strings_can_be_null=True,
    )
    try:
        with pa_csv.open_csv(
            table.path,
            read_options=pa_csv.ReadOptions(encoding=table.encoding.removesuffix("-sig"), block_size=4 << 20),
            parse_options=pa_csv.ParseOptions(delimiter=table.delimiter, newlines_in_values=True),
            convert_options=convert,
        ) as reader:
            for batch in reader:
                for first in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(first, BATCH_ROWS)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = str(error).removeprefix("CSV parse error: ").strip()
        raise DataError(
            f"{table.path.name} cannot be read: {said}",
            where=str(table.path),
            change="the row (cells that contain the delimiter need quotes), --delimiter or --encoding",
        ) from error


def _array(values: list[Any], name: str, table: Table) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"the column {name} holds values of several types: {error}", where=str(table.path), change="the table"
        ) from error


def pairs(text: str, option: str, example: str) -> dict[str, str]:
    """``"a=b,c"`` to ``{"a": "b", "c": ""}``, in its order.

    Raises:
        UsageError: A part has no name, or a name comes twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not name or (equals and not value) or name in found:
            raise UsageError(
                f"{part!r} in {option} has no name, or one that comes twice", change=f"{option}, such as {example}"
            )
        found[name] = value
    return found


def listed(text: str, option: str) -> list[str]:
    """``"a, b"`` to ``["a", "b"]``.

    Raises:
        UsageError: A name comes twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{twice[0]!r} comes twice", change=option)
    return names
