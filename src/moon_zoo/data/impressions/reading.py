"""Random access to the rows of a set of impressions, thousands at a time, by memory map.

A shard's columns lie in its blocks as plain numpy members. Where each begins is found once, when a shard is first
used; after that the rows of a batch are one gather per column and shard, over all blocks at once, whatever the order of
the rows and the size of blocks. Nothing is decoded and nothing is kept but maps, whose pages the system takes back.
"""

from __future__ import annotations

import io
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moon_zoo.data import remote
from moon_zoo.data.cache import DEFAULT_CACHE_BYTES
from moon_zoo.data.impressions.block import ID, MARK, Impressions, column_types
from moon_zoo.data.impressions.columns import Columns, Ragged
from moon_zoo.data.impressions.pools import expand
from moon_zoo.data.impressions.schema import FIRST, Schema
from moon_zoo.data.impressions.vocabulary import Vocabulary, vocabularies_from_json
from moon_zoo.data.index import ShardIndex
from moon_zoo.data.manifest import Manifest, ShardEntry
from moon_zoo.data.publishing import MANIFEST_NAME
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.tables.logs import TABLE_SUFFIXES
from moon_zoo.errors import DataError

if TYPE_CHECKING:
    from moon_zoo.data.impressions.table import TableRows

KEPT_SHARDS = 24
"""Shards that stay mapped per process: several windows of `EpochOrder`."""

_READ_AT_ONCE = 65536
_PREFIX = 10
"""Bytes before a numpy file's header: magic, version and the header's size."""


class RowShards:
    """The rows of a set of impressions, by position; positions number the rows shard after shard.

    Args:
        path: The set's folder, its ``manifest.json``, or an fsspec URL of either.
        cache_bytes: Room for shards fetched from URLs.

    Raises:
        DataError: There is no manifest, or it is none of impressions. Shards are checked when they are first used.

    Example:
        >>> rows = RowShards("shards/clicks/train")
        >>> rows.take(np.array([5, 2]), {"history": 50}).values["item_id"]
        array([17, 4], dtype=int32)
    """

    def __init__(self, path: str | os.PathLike[str], *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.path = os.fspath(path)
        self._groups = IndexedShards(path, cache_bytes=cache_bytes)
        self.manifest: Manifest = self._groups.manifest
        self.folder = self._groups.folder
        if self.manifest.kind != Impressions.kind:
            raise DataError(
                f"{path} holds samples of kind {self.manifest.kind}, not rows of impressions",
                where=self.path,
                change="the path, to a set of kind impressions",
            )
        self.schema = schema_of(self.manifest, self.path)
        self.sizes: np.ndarray = self.manifest.shard_sizes
        self._ends: np.ndarray = np.cumsum(self.sizes)
        self._maps: OrderedDict[int, _MappedShard] = OrderedDict()

    @cached_property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """The values of each vocabulary of the schema."""
        try:
            found = vocabularies_from_json(self.manifest.vocabularies)
        except DataError as error:
            raise DataError(error.what, where=self.path, change="write the set again") from error
        missing = [name for name in self.schema.vocabularies if name not in found]
        if missing:
            raise DataError(f"the manifest lacks the vocabulary {missing[0]}", where=self.path)
        return found

    def __len__(self) -> int:
        return self.manifest.samples

    def __iter__(self) -> Iterator[Columns]:
        """All rows in order, many at a time."""
        for start in range(0, len(self), _READ_AT_ONCE):
            yield self.take(np.arange(start, min(start + _READ_AT_ONCE, len(self))))

    def take(self, positions: np.ndarray, limits: Mapping[str, int] | None = None) -> Columns:
        """Some rows.

        Args:
            positions: Which, in any order, also repeatedly, int64 ``(rows,)``.
            limits: Sequence to its longest wanted length; of longer ones the newest are kept. Others come whole.

        Returns:
            Their columns, in the order asked for.

        Raises:
            DataError: A shard cannot be read, or is not what the manifest says.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"positions {positions.min()} to {positions.max()} of {len(self)} rows")
        number = np.searchsorted(self._ends, positions, side="right")
        # Which rows come from which shard; all of them, where it is one.
        parts = [(int(one), np.flatnonzero(number == one)) for one in np.unique(number)]
        whole = len(parts) == 1
        values = {name: np.empty(len(positions), dtype) for name, dtype in column_types(self.schema).items()}
        lengths = {one.name: np.empty(len(positions), np.int64) for one in self.schema.sequences}
        found: list[tuple[_MappedShard, Any, dict[str, tuple[np.ndarray, np.ndarray]]]] = []
        cut = dict.fromkeys(lengths, 0)
        for one, places in parts:
            shard = self._shard(one)
            target: Any = slice(None) if whole else places
            first = int(self._ends[one] - self.sizes[one])
            block, row = shard.find(positions[target] - first)
            for name, out in values.items():
                out[target] = shard.column(name, block, row)
            starts = {}
            for name, out in lengths.items():
                start, length = shard.ranges(name, block, row)
                limit = None if limits is None else limits.get(name)
                if limit is not None:
                    over = np.maximum(length - limit, 0)
                    cut[name] += int((over > 0).sum())
                    start, length = start + over, length - over
                out[target] = length
                starts[name] = (block, start)
            found.append((shard, target, starts))
        sequences = {
            one.name: Ragged(
                lengths[one.name], self._pools(one.name, one.fields, lengths[one.name], found), cut[one.name]
            )
            for one in self.schema.sequences
        }
        return Columns(values, sequences)

    def locate(self, position: int) -> tuple[str, str]:
        """Shard name, and key of the block with the row in it, for messages."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        entry = self.manifest.shards[number]
        block, row = self._shard(number).find(np.array([position - int(self._ends[number]) + entry.samples]))
        return entry.name, f"{self._groups.open_shard(entry).key(int(block[0]))}, row {int(row[0])}"

    def close(self) -> None:
        """Let go of all maps; they are made again when needed."""
        self._maps.clear()
        self._groups.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": OrderedDict()}

    def _pools(
        self,
        name: str,
        fields: tuple[str, ...],
        lengths: np.ndarray,
        found: list[tuple[_MappedShard, Any, dict[str, tuple[np.ndarray, np.ndarray]]]],
    ) -> dict[str, np.ndarray]:
        ends = np.cumsum(lengths)
        out = {field: np.empty(int(ends[-1]) if len(ends) else 0, ID) for field in fields}
        for shard, target, starts in found:
            block, start = starts[name]
            length = lengths[target]
            places: Any = slice(None) if len(found) == 1 else expand((ends - lengths)[target], length)
            elements = expand(start, length)
            for field in fields:
                out[field][places] = shard.elements(name, field, block, length, elements)
        return out

    def _shard(self, number: int) -> _MappedShard:
        shard = self._maps.get(number)
        if shard is None:
            entry = self.manifest.shards[number]
            index = self._groups.open_shard(entry)  # checks size and index
            sizes = {name: FIRST + len(one) for name, one in self.vocabularies.items()}
            location = remote.join(self.folder, entry.name)
            shard = _MappedShard(self._groups.file(entry), entry, index, self.schema, sizes, location)
            self._maps[number] = shard
            if len(self._maps) > KEPT_SHARDS:
                self._maps.popitem(last=False)
        else:
            self._maps.move_to_end(number)
        return shard


def schema_of(manifest: Manifest, where: str) -> Schema:
    """The schema in a manifest.

    Raises:
        DataError: There is none.
    """
    try:
        return Schema.from_json(manifest.extra.get("schema", {}))
    except DataError as error:
        raise DataError(f"the manifest has no schema of its rows: {error.what}", where=where) from error


class _MappedShard:
    """One shard: a map of its tar, and where each column of each block begins in it.

    Args:
        path: The tar.
        entry: Its line in the manifest.
        index: Its index.
        schema: Of its rows.
        sizes: Vocabulary to the number of its ids, padding included.
        location: For messages.
    """

    def __init__(
        self, path: Path, entry: ShardEntry, index: ShardIndex, schema: Schema, sizes: Mapping[str, int], location: str
    ) -> None:
        self._location = location
        with path.open("rb") as file:
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
        self._views: dict[int, np.ndarray] = {
            size: data[: len(data) // size * size].view(f"u{size}") for size in (1, 4, 8)
        }
        self._types = column_types(schema)
        self._top = {column: sizes[schema.vocabulary_of(column)] for column in schema.id_columns}
        ranges = [f"{one.name}.{part}" for one in schema.sequences for part in ("start", "length")]
        pools = [column for one in schema.sequences for column in one.columns]
        wanted = self._types | dict.fromkeys((*ranges, *pools), ID)
        blocks = [{name: (at, size) for name, at, size in index.members(row)} for row in range(len(index))]
        self._begin: dict[str, np.ndarray] = {}
        counts: dict[str, np.ndarray] = {}
        for name, dtype in wanted.items():
            places = [self._member(block, f"{name}.npy", dtype, data) for block in blocks]
            self._begin[name] = np.array([at // dtype.itemsize for at, _ in places], dtype=np.int64)
            counts[name] = np.array([count for _, count in places], dtype=np.int64)
        rows = counts[schema.label]
        for name in (*self._types, *ranges):
            if not np.array_equal(counts[name], rows):
                self._fail(f"the column {name} has another number of rows than the label")
        for one in schema.sequences:
            for column in one.columns[1:]:
                if not np.array_equal(counts[column], counts[one.columns[0]]):
                    self._fail(f"{column} and {one.columns[0]} are not equally long")
        if int(rows.sum()) != entry.samples:
            self._fail(f"its blocks have {int(rows.sum()):,} rows, the manifest says {entry.samples:,}")
        self._pool_sizes = {one.name: counts[one.columns[0]] for one in schema.sequences}
        self._ends = np.cumsum(rows)
        self._starts = self._ends - rows

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Block, and row in it, of rows of the shard."""
        block = np.searchsorted(self._ends, rows, side="right")
        return block, rows - self._starts[block]

    def column(self, name: str, block: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Values of a column."""
        values = self._gather(self._types[name], self._begin[name][block] + row)
        if name in self._top:
            self._check_ids(name, values)
        return values

    def ranges(self, sequence: str, block: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start in the block's pool, and length, of the rows' sequences, int64."""
        start = self._gather(ID, self._begin[f"{sequence}.start"][block] + row).astype(np.int64)
        length = self._gather(ID, self._begin[f"{sequence}.length"][block] + row).astype(np.int64)
        if ((start < 0) | (length < 0) | (start + length > self._pool_sizes[sequence][block])).any():
            self._fail(f"a range of the sequence {sequence} lies outside of its pool")
        return start, length

    def elements(
        self, sequence: str, field: str, block: np.ndarray, length: np.ndarray, elements: np.ndarray
    ) -> np.ndarray:
        """Ids at elements of the pools of the rows' blocks; ``elements`` are those of all rows one after another."""
        column = f"{sequence}.{field}"
        values = self._gather(ID, elements + np.repeat(self._begin[column][block], length))
        self._check_ids(column, values)
        return values

    def _gather(self, dtype: np.dtype, places: np.ndarray) -> np.ndarray:
        # All places were checked before; "clip" only saves a second check, a third of the time.
        return self._views[dtype.itemsize].take(places, mode="clip").view(dtype)

    def _check_ids(self, column: str, values: np.ndarray) -> None:
        # Ids index tables of embeddings: a damaged file must not read beyond them.
        if len(values) and not 0 <= values.min() <= values.max() < self._top[column]:
            self._fail(f"{column} holds ids beyond its vocabulary of {self._top[column] - FIRST:,} values")

    def _member(
        self, block: Mapping[str, tuple[int, int]], name: str, dtype: np.dtype, data: np.ndarray
    ) -> tuple[int, int]:
        """Where a member's values begin in the tar, in bytes, and how many there are."""
        if name not in block:
            self._fail(f"a block has no {name}" if MARK in block else "a sample is no block of impressions")
        at, size = block[name]
        try:
            begin = bytes(data[at : at + min(_PREFIX, size)])
            header, stored, count = _header(
                bytes(data[at : at + min(_PREFIX + int.from_bytes(begin[8:], "little"), size)])
            )
        except ValueError as error:
            self._fail(f"{name} is no column: {error}")
        if stored != dtype or header + count * dtype.itemsize != size:
            self._fail(f"{name} holds {count:,} values of type {stored} in {size:,} bytes, not of type {dtype}")
        if (at + header) % dtype.itemsize:
            self._fail(f"{name} does not begin at a multiple of {dtype.itemsize} bytes")
        return at + header, count

    def _fail(self, what: str) -> Any:
        raise DataError(
            what, where=self._location, change="write the set again, or run moon-zoo inspect --verify on it"
        )


@lru_cache(maxsize=256)
def _header(begin: bytes) -> tuple[int, np.dtype, int]:
    """Size of a numpy file's header, and type and number of the values of the column it holds."""
    stream = io.BytesIO(begin)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("its version is not 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if len(shape) != 1:
        raise ValueError(f"its shape is {shape}")
    return stream.tell(), dtype, shape[0]


def open_shards(
    path: str | os.PathLike[str],
    *,
    schema: Schema | None = None,
    history_log: str | None = None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> IndexedShards | RowShards | TableRows:
    """What is at a path: samples, rows of impressions, or raw rows of a table.

    Args:
        path: A set's folder, its ``manifest.json``, an fsspec URL of either, or a table file.
        schema: What a table's columns are; a model that has learned knows it.
        history_log: See `TableRows`.
        cache_bytes: Room for shards fetched from URLs.

    Raises:
        DataError: It cannot be read, or is a table of which no schema is known.
    """
    from moon_zoo.data.impressions.table import TableRows  # readers of tables, which sets need not

    text = os.fspath(path)
    if not is_table(text):
        shards = IndexedShards(path, cache_bytes=cache_bytes)
        return RowShards(path, cache_bytes=cache_bytes) if shards.manifest.kind == Impressions.kind else shards
    if schema is None:
        raise needs_packing(text, text)
    return TableRows(path, schema, history_log=history_log)


def is_table(path: str) -> bool:
    """Whether a path names a table file by its suffix, not a set of shards."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() != ".gz"]
    return bool(suffixes) and suffixes[-1] in TABLE_SUFFIXES and Path(path).name != MANIFEST_NAME


def needs_packing(path: str, where: str) -> DataError:
    """What is said of a table where only a set will do: its columns are not declared."""
    return DataError(
        f"{path} is a table, whose columns nobody has declared; only a model that has learned them reads tables",
        where=where,
        change=f"the path, to a set of impressions: moon-zoo pack impressions {path} --to DIR",
    )
