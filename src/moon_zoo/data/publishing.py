"""A folder that appears complete or not at all.

Everything is written into a hidden work folder beside the target, which becomes the target in one rename. A run that is
killed leaves only the work folder; the next run sees that nobody holds its lock any more and removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from moon_zoo.errors import DataError

MANIFEST_NAME = "manifest.json"
KNOWLEDGE_NAME = "knowledge.sqlite"
"""A store of knowledge that may lie beside sets of follow-ups."""
_LOCK_NAME = ".lock"


class Publication:
    """A work folder beside ``target`` that `publish` turns into ``target``.

    Args:
        target: The folder to be.
        overwrite: Whether what is at ``target`` already may be replaced, if it is of the same kind.
        replaces: Whether an existing folder is of that kind; a set of shards unless said otherwise.
        kind: What the folder is, for messages.

    Raises:
        DataError: Something is at ``target`` already that may not be replaced.

    Attributes:
        folder: The work folder. Write here.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        overwrite: bool = False,
        *,
        replaces: Callable[[Path], bool] | None = None,
        kind: str = "shards",
    ) -> None:
        self.target = Path(target).absolute()
        self.overwrite = overwrite
        self.replaces = _is_set if replaces is None else replaces
        self.kind = kind
        self._done = False
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._check_target()
            self.folder = self.target.parent / f".{self.target.name}.partial-{os.getpid()}-{secrets.token_hex(4)}"
            self.folder.mkdir()
        except OSError as error:
            raise DataError(
                f"cannot write beside {self.target}: {error.strerror or error}",
                where=str(self.target),
                change="the output folder",
            ) from error
        self._lock = FileLock(self.folder / _LOCK_NAME)
        self._lock.acquire()

    def publish(self) -> Path:
        """Make the work folder the target, in one rename.

        Raises:
            DataError: Another process published to the same target meanwhile, and it may not be replaced.
        """
        self._check_target()
        self._unlock()
        if not _occupied(self.target):
            self.folder.replace(self.target)  # onto nothing or onto an empty folder
        else:
            old = self.target.parent / f".{self.target.name}.replaced-{secrets.token_hex(4)}"
            self.target.replace(old)
            try:
                self.folder.replace(self.target)
            except OSError:
                old.replace(self.target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        self._done = True
        return self.target

    def discard(self) -> None:
        """Remove the work folder; nothing appears at the target."""
        if not self._done:
            self._unlock()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        elif not self._done:
            try:
                self.publish()
            finally:
                self.discard()

    def _unlock(self) -> None:
        self._lock.release(force=True)
        (self.folder / _LOCK_NAME).unlink(missing_ok=True)

    def _check_target(self) -> None:
        if not _occupied(self.target):
            return
        if not self.overwrite:
            raise DataError(
                f"{self.target} exists already; nothing was written",
                where=str(self.target),
                change="the output folder, or overwrite to replace what is there",
            )
        if not self.replaces(self.target):
            raise DataError(
                f"{self.target} holds no {self.kind} of ours, so it is not replaced",
                where=str(self.target),
                change="the output folder",
            )

    def _sweep(self) -> None:
        """Remove work folders of dead processes; put back a set whose replacement was cut off between two renames."""
        parent, name = self.target.parent, self.target.name
        for old in sorted(parent.glob(f".{name}.replaced-*")):
            if not self.target.exists():
                old.replace(self.target)
            else:
                shutil.rmtree(old, ignore_errors=True)
        for left in parent.glob(f".{name}.partial-*"):
            lock = FileLock(left / _LOCK_NAME, timeout=0)
            with contextlib.suppress(Timeout, OSError):
                lock.acquire()
                try:
                    shutil.rmtree(left, ignore_errors=True)
                finally:
                    lock.release(force=True)


def _occupied(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _is_set(path: Path) -> bool:
    """Whether a folder is a set of ours, or holds only such sets (the splits of `write_splits`)."""
    if not path.is_dir():
        return False
    if (path / MANIFEST_NAME).is_file():
        return True
    children = list(path.iterdir())
    sets = [child for child in children if child.name != KNOWLEDGE_NAME]
    return bool(sets) and all((child / MANIFEST_NAME).is_file() for child in sets)
