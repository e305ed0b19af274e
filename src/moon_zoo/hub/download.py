"""A checkpoint of a hub, on this machine and verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

from moon_zoo.errors import CheckpointError
from moon_zoo.hub.index import INDEX, HubEntry, Index, parse_index
from moon_zoo.hub.stores import Store, open_store


def read_index(store: Store) -> Index:
    """A hub's index."""
    where = f"{store.location.rstrip('/')}/{INDEX}"
    try:
        return parse_index(store.read_bytes(INDEX).decode("utf-8"), where)
    except FileNotFoundError:
        raise CheckpointError(
            "this is no hub: it has no index.yaml", where=where, change="the hub's location"
        ) from None


def download(
    name: str, *, hub: str | None = None, to: Path | None = None, progress: bool = True, offline: bool | None = None
) -> Path:
    """The folder of a verified checkpoint."""
    from moon_zoo.hub.resolve import hubs

    for location in [hub] if hub is not None else hubs():
        store = open_store(location)
        index = read_index(store)
        if name in index.entries or name in index.faults:
            entry = index.entry(name)
            _verify(store, entry)
            folder = store.local_path(entry.path)
            assert folder is not None
            return folder
    raise CheckpointError(
        f"no hub has a checkpoint {name!r}", change="the name; `moon-zoo list checkpoints` shows them"
    )


def _verify(store: Store, entry: HubEntry) -> None:
    for path, file in entry.files.items():
        local = store.local_path(f"{entry.path}/{path}")
        assert local is not None
        with local.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise CheckpointError(f"{path} of {entry.name} is not the file the hub's index names", where=str(local))
