"""A folder made into a checkpoint of a hub: fetched or copied into a hidden folder beside it, checked, renamed.

One process at a time; what has arrived stays when it breaks off, and the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from moon_zoo.data.fetch import WrongContent, fetch, part_of
from moon_zoo.data.streams import CHUNK_BYTES, Bytes
from moon_zoo.errors import CheckpointError
from moon_zoo.hub import cached
from moon_zoo.hub.index import HubEntry
from moon_zoo.hub.progress import ByteProgress
from moon_zoo.hub.stores import Store

log = logging.getLogger(__name__)


class HubUnreachable(CheckpointError):
    """A hub that does not answer; what is cached of it can still be used."""


def fill(folder: Path, entry: HubEntry, store: Store, source: Path | None, progress: bool) -> bool:
    """Make ``folder`` the checkpoint: from the folder ``source``, or fetched where that is None.

    Args:
        folder: In the cache, or wherever a person wants it.
        entry: What it is to be.
        store: The hub it is fetched from.
        source: A whole copy on this machine, where there is one.
        progress: Whether to show how it goes.

    Returns:
        Whether anything had to be done.

    Raises:
        WrongContent: The hub's file is not what the entry says.
        FileNotFoundError: The hub lacks a file.
        HubUnreachable: It broke off too often.
        CheckpointError: The folder is taken or cannot be written.
    """
    in_cache = folder.is_relative_to(cached.root())
    try:
        if in_cache or not _occupied(folder, entry):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _alone(folder):
                if not folder.is_dir() or cached.faults_of(folder, entry):  # else another process was quicker
                    _replace(folder, entry, store, source, progress, in_cache)
                    return True
    except OSError as error:
        if error.errno is None:  # the hub's answer: `moon_zoo.data.streams` gives its errors no number of this system
            if isinstance(error, FileNotFoundError):
                raise
            raise _broke_off(store, entry, error) from error
        place, other = ("cache", "MOON_ZOO_CACHE, or --to") if in_cache else ("folder", "--to")
        raise CheckpointError(
            f"{entry.name} cannot be written into the {place}: {error.strerror}",
            where=str(error.filename or folder),
            change=f"{other}, to a folder that can be written to",
        ) from error
    return False


def _broke_off(store: Store, entry: HubEntry, error: OSError) -> CheckpointError:
    if isinstance(error, PermissionError):
        return CheckpointError(f"{store.location} does not hand out {entry.name}: {error}", where=store.location)
    return HubUnreachable(
        f"fetching {entry.name} from {store.location} broke off: {error}",
        where=store.location,
        change="the hub, or try again later: what has arrived is kept, and the download goes on from there",
    )


def _occupied(folder: Path, entry: HubEntry) -> bool:
    """True where the very checkpoint is there; anything else that is there is left alone."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if folder.is_dir() and not cached.faults_of(folder, entry):
        return True
    raise CheckpointError(
        f"{folder} exists already and is not {entry.name} as the hub has it; nothing was written",
        where=str(folder),
        change="--to, to a folder that does not exist yet",
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``; say so when that means to wait."""
    lock = FileLock(cached.lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("another process is fetching %s; waiting for it", folder.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _replace(folder: Path, entry: HubEntry, store: Store, source: Path | None, progress: bool, in_cache: bool) -> None:
    part = cached.part_of(folder)
    if in_cache and folder.is_dir():  # damaged; what is good of it need not be fetched again
        shutil.rmtree(part, ignore_errors=True)
        folder.replace(part)
    part.mkdir(exist_ok=True)
    _drop_others(part, entry)
    _fill_part(part, entry, store, source, progress)
    if in_cache:
        cached.write_record(part, store.location, entry)
    part.replace(folder)
    if not in_cache:
        cached.lock_of(folder).unlink(missing_ok=True)  # a person's own folder is left tidy


def _drop_others(part: Path, entry: HubEntry) -> None:
    """Remove what an earlier download of another revision left."""
    wanted = {part / path for path in entry.files}
    wanted |= {part_of(part / path, file.sha256) for path, file in entry.files.items()}
    for found in part.rglob("*"):
        if not found.is_dir() and found not in wanted:
            found.unlink()


def _fill_part(part: Path, entry: HubEntry, store: Store, source: Path | None, progress: bool) -> None:
    waiting = [path for path in entry.files if cached.fault_of(part, path, entry) is not None]
    done = entry.bytes - sum(entry.files[path].bytes for path in waiting)
    _check_room(part, entry, entry.bytes - done)
    with ByteProgress(f"fetching {entry.name}", entry.bytes, progress) as bar:
        for path in waiting:
            read = partial(store.open_from, f"{entry.path}/{path}") if source is None else partial(_read, source / path)
            target, file = part / path, entry.files[path]
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                fetch(read, target, sha256=file.sha256, size=file.bytes, progress=partial(_advance, bar, done))
            except WrongContent as error:
                raise WrongContent(f"{path}: {error.reason}") from None
            done += file.bytes


def _read(path: Path, offset: int) -> Bytes:
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _advance(bar: ByteProgress, before: int, done: int) -> None:
    bar.update(before + done)


def _check_room(part: Path, entry: HubEntry, needed: int) -> None:
    free = shutil.disk_usage(part).free
    if needed > free:
        raise CheckpointError(
            f"{entry.name} needs {needed / 1e6:,.0f} MB more, and {free / 1e6:,.0f} MB are free",
            where=str(part),
            change="MOON_ZOO_CACHE or --to, or make room: `moon-zoo cache` lists what can go",
        )
