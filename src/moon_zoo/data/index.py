"""Where every member of a shard lies, so that any sample can be read by position without scanning the tar.

One ``.npz`` per shard, a few dozen bytes per member: ``keys`` (bytes) ``(samples,)``, ``starts`` int64 ``(samples +
1,)`` (the members of sample i are ``starts[i]:starts[i + 1]``), ``names`` (bytes): the distinct member names, and per
member ``name`` int32, ``offset`` int64 and ``size`` int64 of its data in the tar.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moon_zoo.errors import DataError

_ARRAYS = ("keys", "starts", "names", "name", "offset", "size")


@dataclass(frozen=True)
class ShardIndex:
    """Offsets of one shard's members; see the module for the arrays."""

    keys: np.ndarray
    starts: np.ndarray
    names: np.ndarray
    name: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, row: int) -> str:
        """The key of the shard's sample number ``row``."""
        return bytes(self.keys[row]).decode("utf-8")

    def members(self, row: int) -> list[tuple[str, int, int]]:
        """Name, offset and size of the members of sample ``row``, in the order of the tar."""
        starts, names, name, offset, size = self._lists
        members = slice(starts[row], starts[row + 1])
        return [(names[which], at, length) for which, at, length in zip(name[members], offset[members], size[members])]

    @cached_property
    def _lists(self) -> tuple[list[int], list[str], list[int], list[int], list[int]]:
        """The arrays as lists: taking a few numbers out of an array costs ten times as much as out of a list."""
        names = [name.decode("utf-8") for name in self.names.tolist()]
        return self.starts.tolist(), names, self.name.tolist(), self.offset.tolist(), self.size.tolist()

    def to_bytes(self) -> bytes:
        """The file's content; equal indexes give equal bytes."""
        stream = io.BytesIO()
        np.savez(stream, **{name: getattr(self, name) for name in _ARRAYS})
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, *, shard: str, shard_bytes: int, sha256: str | None = None) -> ShardIndex:
        """Read an index and check it against its shard.

        Args:
            data: Content of the index file.
            shard: The shard's name, for messages.
            shard_bytes: The shard's size; no member may lie outside.
            sha256: Hash the content must have; None to skip.

        Raises:
            DataError: It is damaged, or of another shard.
        """
        remedy = "run moon-zoo inspect --index on the folder, which writes the index again"
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"the index of {shard} is not the one the manifest names", where=shard, change=remedy)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                index = cls(**{name: arrays[name] for name in _ARRAYS})
        except (ValueError, OSError, KeyError, EOFError) as error:
            raise DataError(f"the index of {shard} cannot be read: {error}", where=shard, change=remedy) from error
        if not index._fits(shard_bytes):
            raise DataError(f"the index of {shard} points outside the shard", where=shard, change=remedy)
        return index

    def _fits(self, shard_bytes: int) -> bool:
        members = len(self.name)
        shapes = len(self.starts) == len(self.keys) + 1 and len(self.offset) == len(self.size) == members
        if not shapes or self.starts[0] != 0 or self.starts[-1] != members or np.any(np.diff(self.starts) < 0):
            return False
        if members == 0:
            return True
        inside = self.offset.min() >= 0 and self.size.min() >= 0 and int((self.offset + self.size).max()) <= shard_bytes
        return bool(inside and self.name.min() >= 0 and self.name.max() < len(self.names))


class IndexBuilder:
    """Collects members in the order of the tar; all members of a sample must follow one another."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._starts: list[int] = []
        self._names: dict[str, int] = {}
        self._name: list[int] = []
        self._offset: list[int] = []
        self._size: list[int] = []

    def __len__(self) -> int:
        return len(self._keys)

    def begin(self, key: str) -> None:
        """Start the next sample."""
        self._keys.append(key.encode("utf-8"))
        self._starts.append(len(self._name))

    def add(self, field: str, offset: int, size: int) -> None:
        """Add a member of the current sample: its data's offset in the tar, and size in bytes."""
        self._name.append(self._names.setdefault(field, len(self._names)))
        self._offset.append(offset)
        self._size.append(size)

    def build(self) -> ShardIndex:
        """The arrays."""
        return ShardIndex(
            keys=np.array(self._keys, dtype=np.bytes_),
            starts=np.array([*self._starts, len(self._name)], dtype=np.int64),
            names=np.array([name.encode("utf-8") for name in self._names], dtype=np.bytes_),
            name=np.array(self._name, dtype=np.int32),
            offset=np.array(self._offset, dtype=np.int64),
            size=np.array(self._size, dtype=np.int64),
        )
