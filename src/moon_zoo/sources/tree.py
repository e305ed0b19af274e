"""Files under one root, in a folder or inside a tar, read without ever leaving that root.

Tables name their photos, and a table may come from anyone: absolute paths, ``..`` and symbolic links that lead
outside are refused. A tar is read member by member through its offsets; nothing is extracted, and links and devices
in it do not exist for us.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from moon_zoo.errors import DataError, did_you_mean


class OutsideRootError(DataError):
    """A path that leads outside the folder or tar it was to be read from."""


class FileTree(Protocol):
    """Reads files by their path relative to the root, written with ``/``. Reading is safe from several threads."""

    root: Path

    def names(self) -> list[str]:
        """Every regular file below the root, sorted."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is such a file. Raises `OutsideRootError` for a path that is refused."""
        ...

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises `DataError` when it is missing and `OutsideRootError` when its path is refused."""
        ...


def open_tree(path: Path | str, option: str = "path") -> FileTree:
    """A tree over a folder, or over an uncompressed or compressed tar.

    Args:
        path: The folder or tar.
        option: The command-line option that gave it, for messages.

    Raises:
        DataError: It is neither.
    """
    path = Path(path)
    if path.is_dir():
        return FolderTree(path)
    if not path.exists():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path} does not exist", suggestions=did_you_mean(path.name, near), change=option)
    if path.is_file() and tarfile.is_tarfile(path):
        return TarTree(path)
    raise DataError(f"{path} is neither a folder nor a tar", change=option)


def relative(name: str) -> str:
    """``name`` without ``.`` parts and doubled slashes.

    Raises:
        OutsideRootError: The path is absolute, climbs with ``..`` or holds a NUL.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise OutsideRootError(f"the path {name!r} does not stay below its folder")
    return str(path)


class FolderTree:
    """A folder on disk.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = str(root.resolve())

    def names(self) -> list[str]:
        """See `FileTree`."""
        found = (
            os.path.relpath(os.path.join(folder, file), self.root)  # noqa: PTH118 (a million Path objects are slow)
            for folder, _, files in os.walk(self.root)
            for file in files
        )
        return sorted(name.replace(os.sep, "/") for name in found)

    def exists(self, name: str) -> bool:
        """See `FileTree`."""
        return os.path.isfile(self._locate(name))  # noqa: PTH113

    def read(self, name: str) -> bytes:
        """See `FileTree`."""
        try:
            return Path(self._locate(name)).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {name}: {error.strerror}", where=str(self.root)) from error

    def _locate(self, name: str) -> str:
        path = os.path.join(self._real_root, relative(name))  # noqa: PTH118
        real = os.path.realpath(path)
        if real != self._real_root and not real.startswith(self._real_root + os.sep):
            raise OutsideRootError(f"the path {name!r} is a link that leads outside its folder", where=str(self.root))
        return real


class TarTree:
    """The regular files of a tar.

    An uncompressed tar is read at the members' offsets; a compressed one is unpacked once into an anonymous temporary
    file.

    Args:
        root: The tar.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._members: dict[str, tuple[int, int]] = {}
        self._file = _uncompressed(root)
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                for member in archive:
                    if member.isreg():
                        self._add(member)
        except tarfile.TarError as error:
            raise DataError(f"{root} is no readable tar: {error}", change="the file; it may be cut short") from error

    def _add(self, member: tarfile.TarInfo) -> None:
        try:
            self._members[relative(member.name)] = (member.offset_data, member.size)
        except OutsideRootError:
            return  # nothing can ask for it, since every path asked for is checked too

    def names(self) -> list[str]:
        """See `FileTree`."""
        return sorted(self._members)

    def exists(self, name: str) -> bool:
        """See `FileTree`."""
        return relative(name) in self._members

    def read(self, name: str) -> bytes:
        """See `FileTree`."""
        place = self._members.get(relative(name))
        if place is None:
            raise DataError(f"cannot read {name}: no such member", where=str(self.root))
        offset, size = place
        content = os.pread(self._file.fileno(), size, offset)  # pread keeps no position, so threads may share the file
        if len(content) != size:
            raise DataError(f"cannot read {name}: the tar ends after {len(content):,} of its {size:,} bytes")
        return content

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def _uncompressed(path: Path) -> BinaryIO:
    """The tar's plain bytes: the file itself, or a temporary copy (deleted on closing) of a compressed one."""
    for opener in (gzip.open, bz2.open, lzma.open):
        try:
            with opener(path, "rb") as packed:
                packed.read(1)
                packed.seek(0)
                plain = tempfile.TemporaryFile()  # noqa: SIM115 (the tree closes it)
                shutil.copyfileobj(packed, plain, 1 << 20)
                plain.seek(0)
                return cast(BinaryIO, plain)
        except (gzip.BadGzipFile, lzma.LZMAError, OSError):
            continue
    return path.open("rb")


def images(tree: FileTree) -> Iterator[str]:
    """The tree's photo files by their extension, without hidden ones such as macOS's ``._x.jpg``."""
    for name in tree.names():
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith((".", "__MACOSX")) for part in path.parts):
            yield name


IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
