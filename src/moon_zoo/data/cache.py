"""Shards of remote sets on the local disk: fetched once, checked before use, bounded in size.

Files are named by the sha256 of their content, so two sets that share a shard share the file, and a set that changed
under its URL is fetched anew. Several processes may use one cache: a lock per file means one download each. A download that
broke off is taken up where it ended (`moon_zoo.data.fetch`).
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path

from filelock import FileLock

from moon_zoo.data.fetch import WrongContent, fetch
from moon_zoo.data.streams import open_url
from moon_zoo.errors import DataError

DEFAULT_CACHE_BYTES = 32 << 30


def cache_root() -> Path:
    """Where the zoo keeps what it can make or fetch again: ``MOON_ZOO_CACHE``, or ``~/.cache/moon_zoo``."""
    given = os.environ.get("MOON_ZOO_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "moon_zoo"


class ShardCache:
    """A bounded folder of fetched files.

    Args:
        root: The folder; None takes ``cache_root() / "shards"``.
        limit_bytes: The files last used are kept up to this size together. A file that is larger alone is still kept,
            as the only one.
    """

    def __init__(self, root: Path | None = None, limit_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.root = root if root is not None else cache_root() / "shards"
        self.limit_bytes = limit_bytes

    def fetch(self, url: str, *, sha256: str, size: int | None = None) -> Path:
        """The local path of a remote file, fetched if it is not here.

        A file that is dropped later stays readable for those who have it open.

        Args:
            url: Any fsspec URL.
            sha256: What its content must hash to.
            size: Its size where known, for a quicker message about cut files.

        Raises:
            DataError: It cannot be fetched, or is not what the manifest says.
        """
        path = self.root / f"{sha256}{Path(url).suffix}"
        if _touch(path):
            return path
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{sha256[:32]}.lock"):
                if not _touch(path):  # another process may have fetched it while we waited
                    self._download(url, path, sha256, size)
                    self._evict(keep=path)
        except OSError as error:
            raise DataError(
                f"cannot fetch {url}: {error or type(error).__name__}",
                where=url,
                change="the path of the shards, or try again",
            ) from error
        return path

    def _download(self, url: str, path: Path, sha256: str, size: int | None) -> None:
        for left in self.root.glob(f".{sha256[:32]}.*.part"):
            left.unlink(missing_ok=True)  # of versions that named their parts otherwise; nobody goes on with them
        try:
            fetch(partial(open_url, url), path, sha256=sha256, size=size)
        except WrongContent as error:
            raise DataError(
                f"{url} is not the file its manifest names: {error.reason}",
                where=url,
                change="the set at that URL: copy the shard again, or write its manifest again",
            ) from None

    def _evict(self, keep: Path) -> None:
        """Drop the files unused for longest until the rest fits; one process at a time."""
        with FileLock(self.root / ".evict.lock"):
            found = []
            for file in self.root.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if not file.name.startswith(".") and file != keep:
                        status = file.stat()
                        found.append((status.st_mtime_ns, status.st_size, file))
            room = self.limit_bytes - keep.stat().st_size
            for _, size, file in sorted(found, reverse=True):
                room -= size
                if room < 0:
                    file.unlink(missing_ok=True)


def _touch(path: Path) -> bool:
    """Mark a file as just used; False where it is not there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
