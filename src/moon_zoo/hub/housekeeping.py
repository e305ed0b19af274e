"""What the zoo keeps in its cache, and removing it: checkpoints, shards, simulated shops, and what was left unfinished.

Only what the zoo writes itself is listed or removed; whatever else lies in the folder that ``MOON_ZOO_CACHE`` names is
not touched. What another process is writing just now is left alone.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from moon_zoo.data.cache import cache_root
from moon_zoo.hub import cached

CHECKPOINT, SHARDS, SHOP, UNFINISHED = "checkpoint", "shards", "shop", "unfinished"

_GOING = ".going"
"""Ending of a folder that is being removed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing in the cache that goes as a whole.

    Args:
        kind: ``checkpoint``, ``shards`` (one file of them), ``shop`` or ``unfinished``.
        name: What people call it, such as ``dual_flow/shop@1f2e3d4c5b6a``.
        path: Its file or folder.
        bytes: Its size.
        used: When it was last used, as far as the disk tells, in seconds since 1970.
        lock: The file that whoever writes it holds locked; None where nobody does.
        hub: Where a checkpoint came from.
    """

    kind: str
    name: str
    path: Path
    bytes: int
    used: float
    lock: Path | None = None
    hub: str = ""


def kept() -> list[Kept]:
    """Everything of the zoo's in the cache, checkpoints first."""
    return [*_checkpoints(), *_shops(), *_shards()]


def remove(things: list[Kept]) -> tuple[list[Kept], list[Kept]]:
    """Remove things from the cache.

    Returns:
        What was removed, and what was not because another process is writing it.

    Raises:
        OSError: The cache cannot be written to.
    """
    gone: list[Kept] = []
    busy: list[Kept] = []
    for thing in things:
        try:
            with _held(thing.lock):
                _delete(thing.path)
            _tidy(thing)
            gone.append(thing)
        except Timeout:
            busy.append(thing)
    return gone, busy


# what there is ---------------------------------------------------------------------------------------------------------


def _checkpoints() -> Iterator[Kept]:
    for one in cached.cached():
        name = f"{one.entry.name}@{one.entry.revision}"
        size, _ = _measure(one.folder)
        yield Kept(CHECKPOINT, name, one.folder, size, one.used, cached.lock_of(one.folder), one.hub)
    for part in sorted([*cached.root().rglob(".*.part"), *cached.root().rglob(f".*{_GOING}")]):
        if part.is_dir():
            folder = part.with_name(part.name.removeprefix(".").removesuffix(".part"))
            name = folder.relative_to(cached.root()).as_posix().partition("/")[2]
            yield Kept(UNFINISHED, name, part, *_measure(part), cached.lock_of(folder))


def _shops() -> Iterator[Kept]:
    top = cache_root() / "shop"
    for folder in sorted(top.iterdir()) if top.is_dir() else ():
        if not folder.is_dir():
            continue
        if folder.name.startswith("."):
            yield Kept(UNFINISHED, f"shop/{folder.name}", folder, *_measure(folder), folder / ".lock")
        else:
            yield Kept(SHOP, f"shop/{folder.name}", folder, *_measure(folder))


def _shards() -> Iterator[Kept]:
    top = cache_root() / "shards"
    for file in sorted(top.iterdir()) if top.is_dir() else ():
        if file.name.startswith("."):
            if file.suffix == ".part":
                lock = file.with_name(f".{file.name.split('.')[1]}.lock")
                yield Kept(UNFINISHED, f"shards/{file.name}", file, *_measure(file), lock)
        elif file.is_file():
            yield Kept(SHARDS, f"shards/{file.name}", file, *_measure(file), file.with_name(f".{file.name[:32]}.lock"))


def _measure(path: Path) -> tuple[int, float]:
    """Bytes, and the last time any file was read or written."""
    size, used = 0, 0.0
    for file in [path] if path.is_file() else path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process may be cleaning too
            status = file.stat()
            if file.is_file():
                size += status.st_size
                used = max(used, status.st_atime, status.st_mtime)
    return size, used or path.stat().st_mtime


# removing --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _held(lock: Path | None) -> Iterator[None]:
    if lock is None or not lock.exists():
        yield
        return
    with FileLock(lock, timeout=0):
        yield


def _delete(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Renamed first: nobody must find half of it under its name.
    going = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_GOING}")
    path.replace(going)
    shutil.rmtree(going)


def _tidy(thing: Kept) -> None:
    """Remove the lock and the folders that are left empty."""
    with contextlib.suppress(OSError):
        if thing.kind in (CHECKPOINT, UNFINISHED) and thing.lock is not None:
            # Who is waiting for it will find nothing under the name and fetch it; at worst, two do.
            thing.lock.unlink(missing_ok=True)
    for folder in thing.path.parents:
        if folder == cache_root() or any(folder.iterdir()):
            break
        folder.rmdir()
