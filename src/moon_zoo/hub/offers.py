"""What the hubs have: every checkpoint by name, whether it is here already, and its card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

from moon_zoo.data.fetch import WrongContent, read_small
from moon_zoo.errors import CheckpointError, ZooError
from moon_zoo.hub import cached
from moon_zoo.hub.download import is_offline, read_index
from moon_zoo.hub.index import HubEntry
from moon_zoo.hub.names import CARD
from moon_zoo.hub.stores import MOST_SMALL_BYTES, FolderStore, Store, hubs, open_store

_TIMEOUT_SECONDS = 4.0
"""A list is looked at, so a hub that does not answer soon is a note in it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A checkpoint that a hub has.

    Args:
        entry: The hub's entry.
        hub: The hub's location.
        here: ``in place`` (the hub is a folder), ``cached``, or ``no``.
        path: Where it is on this machine; None where it is not.
    """

    entry: HubEntry
    hub: str
    here: str
    path: str | None


def offers(locations: list[str] | None = None) -> tuple[list[Offer], list[ZooError]]:
    """Every checkpoint of every hub, hub by hub, and what is wrong with hubs or entries.

    A hub that cannot be reached, or offline, shows what is cached of it.
    """
    found: list[Offer] = []
    notes: list[ZooError] = []
    for location in hubs() if locations is None else locations:
        try:
            store = open_store(location, timeout_seconds=_TIMEOUT_SECONDS)
        except ZooError as error:
            notes.append(error)
            continue
        try:
            if not is_offline() or isinstance(store, FolderStore):
                index = read_index(store, attempts=1)
                found += [_offer(store, entry) for entry in index.entries.values()]
                notes += index.faults.values()
                continue
        except ZooError as error:
            notes.append(error)
        found += [Offer(one.entry, one.hub, "cached", str(one.folder)) for one in cached.cached(store.location)]
    return found, notes


def _offer(store: Store, entry: HubEntry) -> Offer:
    local = store.local_path(entry.path)
    if local is not None:
        return Offer(entry, store.location, "in place", str(local))
    folder = cached.folder_of(store.location, entry)
    return Offer(entry, store.location, "cached" if folder.is_dir() else "no", str(folder) if folder.is_dir() else None)


def card_of(offer: Offer) -> str:
    """A checkpoint's card, read from the hub where it is not here; checked like any file of it.

    Raises:
        CheckpointError: It cannot be read, or is not what the hub's index says.
    """
    entry = offer.entry
    if CARD not in entry.files:
        return f"# {entry.name}\n\n{entry.summary}\n"
    store = open_store(offer.path or offer.hub, timeout_seconds=_TIMEOUT_SECONDS)
    where = CARD if offer.path is not None else f"{entry.path}/{CARD}"
    try:
        data = read_small(partial(store.open_from, where), MOST_SMALL_BYTES)
    except (OSError, WrongContent) as error:
        raise CheckpointError(f"the card of {entry.name} cannot be read: {error}", where=store.location) from error
    if hashlib.sha256(data).hexdigest() != entry.files[CARD].sha256:
        raise CheckpointError(
            f"the card of {entry.name} is not the one that the hub's index names",
            where=store.location,
            change="the hub: publish the checkpoint again, or tell its owner",
        )
    # It came from elsewhere: nothing in it may steer the terminal.
    return "".join(letter for letter in data.decode("utf-8", "replace") if letter.isprintable() or letter in "\n\t")
