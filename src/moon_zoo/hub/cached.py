"""Checkpoints of remote hubs in the cache: ``checkpoints/<hub>/<name>@<revision>/``.

A folder has that name only when it is whole. ``.hub.json`` in it repeats the hub's entry, so that a checkpoint can be found
and checked again without the hub. Until it is whole it stands in a hidden folder beside, where any later process goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moon_zoo.data.cache import cache_root
from moon_zoo.data.ids import file_sha256
from moon_zoo.errors import CheckpointError
from moon_zoo.hub.index import HubEntry, Index, parse_index

RECORD = ".hub.json"


@dataclass(frozen=True, slots=True)
class CachedCheckpoint:
    """A whole checkpoint in the cache.

    Args:
        folder: Where it is.
        hub: The hub's location.
        entry: The hub's entry when it was fetched.
        used: When it was last asked for, in seconds since 1970.
    """

    folder: Path
    hub: str
    entry: HubEntry
    used: float


def root() -> Path:
    """The folder of all cached checkpoints."""
    return cache_root() / "checkpoints"


def hub_id(location: str) -> str:
    """A hub's folder in the cache: readable, and another for every other location."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", location).strip("-.")[:60]
    return f"{readable}-{hashlib.sha256(location.encode()).hexdigest()[:8]}"


def folder_of(hub: str, entry: HubEntry) -> Path:
    """Where a checkpoint of a hub is, or will be."""
    return root() / hub_id(hub) / f"{entry.name}@{entry.revision}"


def part_of(folder: Path) -> Path:
    """Where ``folder`` stands while it is not whole."""
    return folder.with_name(f".{folder.name}.part")


def lock_of(folder: Path) -> Path:
    """The file that whoever writes or removes ``folder`` holds locked."""
    return folder.with_name(f".{folder.name}.lock")


def write_record(folder: Path, hub: str, entry: HubEntry) -> None:
    """Note in a folder what it is."""
    record = {"hub": hub, **Index({entry.name: entry}).to_dict()}
    (folder / RECORD).write_text(json.dumps(record, indent=2), "utf-8")


def read_record(folder: Path) -> CachedCheckpoint | None:
    """What a folder is; None where that cannot be told."""
    path = folder / RECORD
    try:
        text = path.read_text("utf-8")
        (entry,) = parse_index(text, str(path)).entries.values()
        return CachedCheckpoint(folder, str(json.loads(text)["hub"]), entry, path.stat().st_mtime)
    except (OSError, ValueError, KeyError, CheckpointError):
        return None


def cached(hub: str | None = None) -> list[CachedCheckpoint]:
    """Whole checkpoints in the cache, of one hub or of all, sorted by name; those last used come first under each."""
    top = root() / hub_id(hub) if hub is not None else root()
    found = [record for path in _records(top) if (record := read_record(path.parent)) is not None]
    return sorted(found, key=lambda one: (one.entry.name, -one.used))


def _records(top: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(top):
        inner[:] = [name for name in inner if not name.startswith(".")]
        if RECORD in files:
            yield Path(folder, RECORD)


def touch(folder: Path) -> None:
    """Mark a checkpoint as just used, where the cache may be written to."""
    with contextlib.suppress(OSError):
        os.utime(folder / RECORD)


def fault_of(folder: Path, path: str, entry: HubEntry) -> str | None:
    """What is wrong with one file of a checkpoint's folder; None where it is what the hub's entry says."""
    expected = entry.files[path]
    try:
        size = (folder / path).stat().st_size
        if size != expected.bytes:
            return f"it has {size:,} bytes instead of {expected.bytes:,}"
        digest = file_sha256(folder / path)
    except OSError as error:
        return "it is missing" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})"
    return None if digest == expected.sha256 else f"its sha256 is {digest[:12]} instead of {expected.sha256[:12]}"


def faults_of(folder: Path, entry: HubEntry) -> dict[str, str]:
    """Path to fault, of every file that is not what the hub's entry says."""
    return {path: fault for path in entry.files if (fault := fault_of(folder, path, entry)) is not None}
