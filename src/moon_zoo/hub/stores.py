"""Where a hub's files lie: a folder, a web server, S3-like storage through fsspec, a Hugging Face repository.

A store knows bytes and paths, nothing of checkpoints. Reading may begin anywhere in a file, so that a broken download
goes on where it ended. What goes wrong is told apart as in `moon_zoo.data.streams`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from moon_zoo import recipes
from moon_zoo.data import remote
from moon_zoo.data.fetch import Patience, read_small
from moon_zoo.data.streams import CHUNK_BYTES, Bytes, open_url
from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.hub.index import INDEX

MOST_SMALL_BYTES = 32 << 20
"""Of a file that is read into memory as a whole: an index, a card."""

PATIENCE_WITH_SMALL_FILES = Patience(attempts=3)
"""Less than with large ones: who asks for an index may have a cached checkpoint to fall back on."""

_HF = re.compile(r"hf://(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")


class Store(Protocol):
    """Files below one root.

    Attributes:
        location: The root, as people write it, without a password.
        writable: Whether this kind of store can be published to.
    """

    location: str
    writable: bool

    def read_bytes(self, path: str) -> bytes:
        """A small file's content; tried several times where that may help.

        Raises:
            FileNotFoundError: It is not there.
            OSError: It cannot be read; `moon_zoo.data.streams` has the kinds.
            WrongContent: It is larger than `MOST_SMALL_BYTES`.
        """

    def open_from(self, path: str, offset: int) -> Generator[bytes, None, None]:
        """A file's bytes from ``offset`` on, in chunks; raises as `moon_zoo.data.streams.open_url` does."""

    def local_path(self, path: str) -> Path | None:
        """The file on this machine, where the store is a folder here; None elsewhere."""

    def write_file(self, path: str, local: Path) -> None:
        """Put a local file at ``path``; a reader sees the old file or the new one, never half of it."""

    def write_bytes(self, path: str, data: bytes) -> None:
        """Put ``data`` at ``path``, as `write_file` does."""

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens where there is none."""


def open_store(location: str | os.PathLike[str], *, timeout_seconds: float | None = None) -> Store:
    """The store at a folder, ``file://``, ``http(s)://``, ``hf://owner/repo[@revision]`` or any other fsspec URL.

    Nothing is read yet.

    Args:
        location: The hub's root.
        timeout_seconds: How long web servers are waited for; None takes what `moon_zoo.data.streams` does.

    Raises:
        UsageError: It is none of these.
    """
    text = os.fspath(location)
    text = text if text.endswith("://") else text.rstrip("/") or "/"
    if not remote.is_url(text):
        return FolderStore(text)
    scheme = text.partition("://")[0].lower()
    if scheme == "file":
        return FolderStore(unquote(urlsplit(text).path))
    if scheme in ("http", "https"):
        return HttpStore(text, timeout_seconds=timeout_seconds)
    if scheme == "hf":
        return HuggingFaceStore(text, timeout_seconds=timeout_seconds)
    return FsspecStore(text)


class FolderStore:
    """A hub in a folder of this machine, or of a mounted disk."""

    writable = True

    def __init__(self, location: str) -> None:
        self.location = location
        self.root = Path(location).expanduser().absolute()

    def read_bytes(self, path: str) -> bytes:
        """See `Store`."""
        return self.local_path(path).read_bytes()

    def open_from(self, path: str, offset: int) -> Bytes:
        """See `Store`."""
        with self.local_path(path).open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
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


class _Remote:
    """What stores on other machines share."""

    location: str
    writable = False

    def read_bytes(self, path: str) -> bytes:
        """See `Store`."""
        return read_small(partial(self.open_from, path), MOST_SMALL_BYTES, PATIENCE_WITH_SMALL_FILES)

    def open_from(self, path: str, offset: int) -> Bytes:
        """See `Store`."""
        raise NotImplementedError

    def local_path(self, path: str) -> Path | None:
        """See `Store`."""
        return None

    def write_file(self, path: str, local: Path) -> None:
        """See `Store`."""
        raise self._read_only()

    def write_bytes(self, path: str, data: bytes) -> None:
        """See `Store`."""
        raise self._read_only()

    def delete(self, path: str) -> None:
        """See `Store`."""
        raise self._read_only()

    def _read_only(self) -> UsageError:
        return UsageError(
            f"{self.location} can be read, not written to",
            where=self.location,
            change="the hub to a folder, s3:// or hf:// location; a web server can serve such a folder",
        )


class HttpStore(_Remote):
    """A hub behind a web server; read only.

    Args:
        location: Its root's URL. A name and password in it are sent, never shown.
        timeout_seconds: How long to wait for the next byte; None takes the usual time.
    """

    def __init__(self, location: str, *, timeout_seconds: float | None = None) -> None:
        parts = urlsplit(location)
        if not parts.hostname or parts.query or parts.fragment:
            raise UsageError(
                f"{_without_password(location)} is no hub's URL: it needs a host, and neither '?' nor '#'",
                change="the hub to the folder that holds index.yaml, such as https://host/checkpoints",
            )
        # In a header instead of the URL: messages name URLs, and a header does not follow to another host.
        self.location = self._root = _without_password(location)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode() if parts.username else None
        self._timeout_seconds = timeout_seconds

    def open_from(self, path: str, offset: int) -> Bytes:
        """See `Store`."""
        url = f"{self._root}/{quote(path, safe='/@')}"
        return open_url(url, offset, headers=self._headers(), timeout_seconds=self._timeout_seconds)

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Basic {self._login}"} if self._login else {}


class HuggingFaceStore(HttpStore):
    """A hub in a model repository of Hugging Face, or of a server that answers alike (``HF_ENDPOINT``).

    It is read over plain http(s), so that breaks, hashes and the cache are those of any other hub. The token of
    `huggingface_hub` is sent to that server alone.

    Args:
        location: ``hf://owner/repo`` or ``hf://owner/repo@revision``.
        timeout_seconds: How long to wait for the next byte; None takes the usual time.

    Attributes:
        repo: ``owner/repo``.
        revision: A branch, tag or commit; ``main`` unless given.
        endpoint: The server.
    """

    writable = True  # through commits: `moon_zoo.hub.publish`

    def __init__(self, location: str, *, timeout_seconds: float | None = None) -> None:
        match = _HF.fullmatch(location)
        if match is None:
            raise UsageError(
                f"{location} is no repository of Hugging Face",
                change="the hub to hf://owner/repo or hf://owner/repo@revision",
            )
        self.repo = match["repo"]
        self.revision = match["revision"] or "main"
        self.endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        super().__init__(
            f"{self.endpoint}/{self.repo}/resolve/{quote(self.revision, safe='')}", timeout_seconds=timeout_seconds
        )
        self.location = location

    def _headers(self) -> Mapping[str, str]:
        from huggingface_hub import get_token

        token = get_token()
        return {"Authorization": f"Bearer {token}"} if token else {}


class FsspecStore(_Remote):
    """A hub in object storage, such as ``s3://bucket/hub``, where a file put appears whole."""

    writable = True

    def __init__(self, location: str) -> None:
        self.location = location

    def open_from(self, path: str, offset: int) -> Bytes:
        """See `Store`."""
        return open_url(f"{self.location}/{path}", offset)

    def write_file(self, path: str, local: Path) -> None:
        """See `Store`."""
        fs, target = remote.file_system(f"{self.location}/{path}")
        fs.put_file(os.fspath(local), target)

    def write_bytes(self, path: str, data: bytes) -> None:
        """See `Store`."""
        fs, target = remote.file_system(f"{self.location}/{path}")
        fs.pipe_file(target, data)

    def delete(self, path: str) -> None:
        """See `Store`."""
        fs, target = remote.file_system(f"{self.location}/{path}")
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(target)


def _without_password(url: str) -> str:
    head, at, host = url.partition("://")[2].partition("/")[0].rpartition("@")
    return url.replace(f"{head}{at}{host}", host, 1) if at else url


def hubs() -> list[str]:
    """Where names are looked up, first hub first: those in ``MOON_ZOO_HUB``, then the one that ships with the package."""
    given = os.environ.get("MOON_ZOO_HUB", "").split()
    shipped = recipes.own_root().parent / "checkpoints"
    return [*given, *([str(shipped)] if (shipped / INDEX).is_file() else [])]
