"""Random access to a set of shards: any sample by its position, without scanning a tar.

Positions number the samples shard after shard, in the manifest's order. (Of impressions a sample is a block of rows
here; `moon_zoo.data.impressions.reading` reads rows.) A sample is one ``pread`` of the stretch that
its members share in the tar. Indexes and file handles of the shards last used are kept; a set of any size needs no more
memory.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from moon_zoo.data import remote
from moon_zoo.data.cache import DEFAULT_CACHE_BYTES, ShardCache
from moon_zoo.data.decoders import decode_member
from moon_zoo.data.index import ShardIndex
from moon_zoo.data.kinds import kind_of
from moon_zoo.data.manifest import Manifest, ShardEntry, manifest_location, read_manifest
from moon_zoo.errors import DataError, ZooError

KEPT_SHARDS = 24
"""Shards whose index and handle stay open per process: several windows of `EpochOrder`, far below the limit of
handles."""


class IndexedShards:
    """The samples of a set, by position.

    Args:
        path: The set's folder, its ``manifest.json``, or an fsspec URL of either.
        cache_bytes: Room for shards fetched from URLs.

    Raises:
        DataError: There is no manifest, or it cannot be read. Shards are checked when they are first opened.

    Example:
        >>> shards = IndexedShards("shards/grocery/train")
        >>> shards[0].title
        'Golden Delicious'
    """

    def __init__(self, path: str | os.PathLike[str], *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.path = os.fspath(path)
        self.manifest: Manifest = read_manifest(path)
        self.kind = kind_of(self.manifest.kind)
        self.folder = remote.parent(manifest_location(path))
        self._cache_bytes = cache_bytes
        self._ends: list[int] = np.cumsum([entry.stored for entry in self.manifest.shards]).tolist()
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, position: int) -> Any:
        """The sample at ``position``, a dataclass of its kind."""
        members = self.members(position)
        try:
            return self.kind.sample.from_members(members)
        except ZooError as error:
            raise DataError(error.what, where=error.where or self._where(position), change=error.change) from error
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            # Members of the right names whose JSON has other types than a sample of this kind.
            raise DataError(f"no {self.kind.name}: {error}", where=self._where(position)) from error

    def __iter__(self) -> Iterator[Any]:
        """All samples in order."""
        return (self[position] for position in range(len(self)))

    def members(self, position: int) -> dict[str, Any]:
        """Member name to decoded value of one sample; photos stay encoded bytes."""
        shard, row = self._find(position)
        key = shard.index.key(row)
        return {field: decode_member(field, data, shard=shard.entry.name, key=key) for field, data in shard.read(row)}

    def member(self, position: int, field: str) -> Any:
        """The decoded value of one member of a sample, without reading the others; None where there is no such member."""
        shard, row = self._find(position)
        data = shard.read_member(row, field)
        return None if data is None else decode_member(field, data, shard=shard.entry.name, key=shard.index.key(row))

    def locate(self, position: int) -> tuple[str, str]:
        """Shard name and key of the sample at ``position``, for messages."""
        shard, row = self._find(position)
        return shard.entry.name, shard.index.key(row)

    def open_shard(self, entry: ShardEntry) -> ShardIndex:
        """Open one of the shards, which checks its size and index, and return the index.

        Raises:
            DataError: It is missing, or not what the manifest says.
        """
        return self._shard(self.manifest.shards.index(entry)).index

    def file(self, entry: ShardEntry) -> Path:
        """One of the shards as a file of this machine, fetched where the set is at a URL.

        Raises:
            DataError: It cannot be fetched.
        """
        return self._files(entry)[0]

    def close(self) -> None:
        """Close all handles; they open again when needed."""
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes open their own handles: a shared file descriptor does not survive pickling.
        return {**self.__dict__, "_open": OrderedDict()}

    def _where(self, position: int) -> str:
        shard, key = self.locate(position)
        return f"sample {key} in {remote.join(self.folder, shard)}"

    def _find(self, position: int) -> tuple[_OpenShard, int]:
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} samples")
        number = bisect_right(self._ends, position)
        first = self._ends[number] - self.manifest.shards[number].stored
        return self._shard(number), position - first

    def _shard(self, number: int) -> _OpenShard:
        shard = self._open.get(number)
        if shard is None:
            shard = self._open[number] = self._open_shard(number)
            if len(self._open) > KEPT_SHARDS:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(number)
        return shard

    def _open_shard(self, number: int) -> _OpenShard:
        entry = self.manifest.shards[number]
        path, index_path = self._files(entry)
        return _OpenShard(entry, path, index_path, remote.join(self.folder, entry.name))

    def _files(self, entry: ShardEntry) -> tuple[Path, Path]:
        location = remote.join(self.folder, entry.name)
        if remote.is_url(self.folder):
            cache = ShardCache(limit_bytes=self._cache_bytes)
            path = cache.fetch(location, sha256=entry.sha256, size=entry.bytes)
            return path, cache.fetch(remote.join(self.folder, entry.index_name), sha256=entry.index_sha256)
        return Path(location), Path(self.folder) / entry.index_name


class _OpenShard:
    """One shard's handle and index."""

    def __init__(self, entry: ShardEntry, path: Path, index_path: Path, location: str) -> None:
        self.entry = entry
        self._location = location
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise DataError(
                f"the shard {entry.name} is missing",
                where=location,
                change="bring the file back beside its manifest, or write the set again",
            ) from error
        except OSError as error:
            raise DataError(f"the shard {entry.name} cannot be opened: {error}", where=location) from error
        try:
            self._check_size()
            self.index = self._read_index(index_path)
        except BaseException:
            os.close(self._handle)
            raise

    def read(self, row: int) -> list[tuple[str, bytes]]:
        """Name and bytes of a sample's members."""
        members = self.index.members(row)
        if not members:
            return []
        start = members[0][1]
        stretch = self._stretch(row, start, members[-1][1] + members[-1][2])
        return [(field, stretch[offset - start : offset - start + size]) for field, offset, size in members]

    def read_member(self, row: int, wanted: str) -> bytes | None:
        """Bytes of one of a sample's members; None where there is no such member."""
        for field, offset, size in self.index.members(row):
            if field == wanted:
                return self._stretch(row, offset, offset + size)
        return None

    def close(self) -> None:
        os.close(self._handle)

    def _stretch(self, row: int, start: int, stop: int) -> bytes:
        stretch = os.pread(self._handle, stop - start, start)
        if len(stretch) != stop - start:
            raise DataError(
                f"{self.entry.name} ends after {start + len(stretch):,} bytes while it is read",
                where=f"sample {self.index.key(row)} in {self._location}",
                change="the file: it was changed or cut since it was opened",
            )
        return stretch

    def _check_size(self) -> None:
        size = os.fstat(self._handle).st_size
        if size != self.entry.bytes:
            raise DataError(
                f"{self.entry.name} has {size:,} bytes, its manifest says {self.entry.bytes:,}: "
                f"it was {'cut' if size < self.entry.bytes else 'changed'} after it was written",
                where=self._location,
                change="copy the file again, or write the set again",
            )

    def _read_index(self, path: Path) -> ShardIndex:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"the index {self.entry.index_name} of {self.entry.name} cannot be read: {error.strerror}",
                where=self._location,
                change="run moon-zoo inspect --index on the folder, which writes it again",
            ) from error
        index = ShardIndex.from_bytes(
            data, shard=self.entry.name, shard_bytes=self.entry.bytes, sha256=self.entry.index_sha256
        )
        if len(index) != self.entry.stored:
            raise DataError(
                f"the index of {self.entry.name} has {len(index)} samples, the manifest says {self.entry.stored}",
                where=self._location,
                change="run moon-zoo inspect --index on the folder",
            )
        return index
