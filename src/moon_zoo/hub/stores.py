"""Where a hub's files lie: a folder, a web server, S3-like storage through fsspec, a Hugging Face repository.

A store knows bytes and paths, nothing of checkpoints. Reading may begin anywhere in a file, so that a broken download
goes on where it ended.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from moon_zoo.errors import CheckpointError

_CHUNK_BYTES = 1 << 20


class Store(Protocol):
    """Files below one root.

    Attributes:
        location: The root, as people write it.
        writable: Whether this kind of store can be published to.
    """

    location: str
    writable: bool

    def read_bytes(self, path: str) -> bytes:
        """A small file's content.

        Raises:
            FileNotFoundError: It is not there.
            OSError: It cannot be read.
        """

    def open_from(self, path: str, offset: int) -> Iterator[bytes]:
        """A file's bytes from ``offset`` on, in chunks; raises as `read_bytes` does, and `moon_zoo.data.streams` says more."""

    def local_path(self, path: str) -> Path | None:
        """The file on this machine, where the store is a folder here."""

    def write_file(self, path: str, local: Path) -> None:
        """Put a local file at ``path``; a reader sees the old file or the new one, never half of it."""

    def write_bytes(self, path: str, data: bytes) -> None:
        """Put ``data`` at ``path``, as `write_file` does."""

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens where there is none."""


def open_store(location: str | os.PathLike[str]) -> Store:
    """The store at a folder, ``file://``, ``http(s)://``, ``hf://owner/repo[@revision]`` or any other fsspec URL."""
    return FolderStore(os.fspath(location))


class FolderStore:
    """A hub in a folder of this machine, or of a mounted disk."""

    writable = True

    def __init__(self, location: str) -> None:
        self.location = location
        self.root = Path(location).expanduser().absolute()

    def read_bytes(self, path: str) -> bytes:
        """See `Store`."""
        return self.local_path(path).read_bytes()

    def open_from(self, path: str, offset: int) -> Iterator[bytes]:
        """See `Store`."""
        with self.local_path(path).open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def local_path(self, path: str) -> Path:
        """See `Store`.

        Raises:
            CheckpointError: A link at ``path`` leads out of the hub.
        """
        found = self.root / path
        if not found.resolve().is_relative_to(self.root.resolve()):
            raise CheckpointError(
                f"{path} leads out of the hub to {found.resolve()}",
                where=str(found),
                change="the hub: copy the file there instead of linking to it",
            )
        return found

    def write_file(self, path: str, local: Path) -> None:
        """See `Store`."""
        with self._replacing(path) as temporary:
            shutil.copyfile(local, temporary)

    def write_bytes(self, path: str, data: bytes) -> None:
        """See `Store`."""
        with self._replacing(path) as temporary:
            temporary.write_bytes(data)

    def delete(self, path: str) -> None:
        """See `Store`; folders left empty go too."""
        found = self.local_path(path)
        found.unlink(missing_ok=True)
        for folder in found.parents:
            if folder == self.root:
                break
            with contextlib.suppress(OSError):
                folder.rmdir()

    @contextlib.contextmanager
    def _replacing(self, path: str) -> Iterator[Path]:
        target = self.local_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())  # the index must not reach the disk before the files that it names
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
