"""A checkpoint of a hub, on this machine and verified.

A hub in a folder is used in place. One elsewhere is fetched into the cache (`moon_zoo.hub.cached`): one process at a time,
taken up where an earlier one broke off, every file hashed before the folder gets its name, and again whenever it is used.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from moon_zoo.data.fetch import Patience, WrongContent, read_small
from moon_zoo.errors import CheckpointError, ZooError, did_you_mean
from moon_zoo.hub import cached
from moon_zoo.hub.filling import HubUnreachable, fill
from moon_zoo.hub.index import INDEX, HubEntry, Index, parse_index
from moon_zoo.hub.stores import MOST_SMALL_BYTES, FolderStore, Store, hubs, open_store

log = logging.getLogger(__name__)


class UnknownCheckpoint(CheckpointError):
    """A name that no hub knows."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A checkpoint that is here.

    Args:
        folder: Where.
        hub: The hub it is of.
        entry: The hub's entry.
        fetched: Whether anything had to be fetched.
    """

    folder: Path
    hub: str
    entry: HubEntry
    fetched: bool


def is_offline() -> bool:
    """Whether ``MOON_ZOO_OFFLINE`` forbids to ask other machines."""
    return os.environ.get("MOON_ZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def download(
    name: str,
    *,
    hub: str | None = None,
    to: str | os.PathLike[str] | None = None,
    progress: bool = True,
    offline: bool | None = None,
) -> Path:
    """The folder of a verified checkpoint; `obtain` tells more about it.

    Args:
        name: Such as ``dual_flow/shop``.
        hub: The hub's location; None asks those of `moon_zoo.hub.stores.hubs` in turn.
        to: A folder to put it into; None keeps it in the cache, or uses it in place where the hub is a folder.
        progress: Whether to show how it goes.
        offline: Whether to use nothing but the cache and hubs in folders; None does what ``MOON_ZOO_OFFLINE`` says.

    Raises:
        CheckpointError: No hub has it, it cannot be fetched, or it is not what the hub's index says.
    """
    return obtain(name, hub=hub, to=to, progress=progress, offline=offline).folder


def obtain(
    name: str,
    *,
    hub: str | None = None,
    to: str | os.PathLike[str] | None = None,
    progress: bool = True,
    offline: bool | None = None,
) -> Downloaded:
    """As `download`, with the hub's entry."""
    offline = is_offline() if offline is None else offline
    target = Path(to).expanduser().absolute() if to is not None else None
    locations = [hub] if hub is not None else hubs()
    missed: list[ZooError] = []
    known: dict[str, str] = {}
    for location in locations:
        store = open_store(location)
        if offline and not isinstance(store, FolderStore):
            held = cached.cached(store.location)
        else:
            try:
                index = read_index(store)
            except HubUnreachable as error:
                held = cached.cached(store.location)
                missed.append(error)
            else:
                known.update(dict.fromkeys([*index.entries, *index.faults], location))
                if name in index.entries or name in index.faults:
                    _tell_of_missed(missed, location)
                    return _obtain(store, index.entry(name), target, progress)
                continue
        known.update(dict.fromkeys((one.entry.name for one in held), location))
        for one in held:
            if one.entry.name == name:
                _tell_of_missed(missed, "the cache")
                return _from_cache(one, target)
    raise _unknown(name, locations, known, missed, offline)


def read_index(store: Store, attempts: int | None = None) -> Index:
    """A hub's index.

    Args:
        store: The hub.
        attempts: How often to ask; None asks as often as the store does.

    Raises:
        HubUnreachable: The hub does not answer.
        CheckpointError: There is none, or it cannot be read as one.
    """
    where = f"{store.location}/{INDEX}"
    try:
        if attempts is None:
            data = store.read_bytes(INDEX)
        else:
            data = read_small(partial(store.open_from, INDEX), MOST_SMALL_BYTES, Patience(attempts))
        return parse_index(data.decode("utf-8"), where)
    except FileNotFoundError:
        raise CheckpointError(
            f"{store.location} is no hub: there is no {INDEX}",
            where=where,
            change="the hub's location; `moon-zoo publish` makes a hub of a folder",
        ) from None
    except PermissionError as error:
        raise CheckpointError(
            f"the hub {store.location} does not let us in: {error}",
            where=where,
            change="the location, or log in: `hf auth login` for hf://, the usual AWS settings for s3://",
        ) from None
    except UnicodeDecodeError:
        raise CheckpointError("the hub's index is not UTF-8", where=where, change="the hub's location") from None
    except WrongContent as error:
        raise CheckpointError(f"the hub's index is refused: {error.reason}", where=where) from None
    except OSError as error:
        raise HubUnreachable(
            f"the hub {store.location} cannot be reached: {error or type(error).__name__}",
            where=where,
            change="MOON_ZOO_HUB or --hub, or try again later",
        ) from error


def _tell_of_missed(missed: Iterable[ZooError], instead: str) -> None:
    for error in missed:
        log.warning("%s; taken from %s instead", error.what, instead)


def _unknown(
    name: str, locations: list[str], known: dict[str, str], missed: list[ZooError], offline: bool
) -> CheckpointError:
    if missed and len(locations) == 1:
        return HubUnreachable(
            f"{missed[0].what}; the cache has no {name} of it", where=missed[0].where, change=missed[0].change
        )
    asked = ", ".join(open_store(location).location for location in locations) or "none: MOON_ZOO_HUB is empty"
    what = f"no hub has a checkpoint {name!r}"
    if offline:
        what = f"offline, and the checkpoint {name!r} is not in the cache"
    if missed:
        what += "; not asked, because they cannot be reached: " + "; ".join(error.what for error in missed)
    here = ", ".join(sorted(known)) or "nothing"
    return UnknownCheckpoint(
        what,
        where=f"hubs: {asked}",
        suggestions=did_you_mean(name, known),
        change=(f"MOON_ZOO_OFFLINE or --offline; here are {here}" if offline else f"the name; known are {here}"),
    )


# getting it here -------------------------------------------------------------------------------------------------------


def _obtain(store: Store, entry: HubEntry, to: Path | None, progress: bool) -> Downloaded:
    try:
        return _bring(store, entry, to, progress)
    except (FileNotFoundError, WrongContent) as error:
        # The hub may have been published to since we read its index.
        again = read_index(store).entries.get(entry.name)
        if again is not None and (again.revision, again.path) != (entry.revision, entry.path):
            with contextlib.suppress(FileNotFoundError, WrongContent):
                return _bring(store, again, to, progress)
        raise _broken(store, entry, error) from error


def _broken(store: Store, entry: HubEntry, error: Exception) -> CheckpointError:
    what = error.reason if isinstance(error, WrongContent) else f"a file that its index names is not there ({error})"
    return CheckpointError(
        f"{entry.name} is not what the hub's index says: {what}",
        where=store.location,
        change="the hub: publish the checkpoint again, or tell its owner; nothing of it was used",
    )


def _bring(store: Store, entry: HubEntry, to: Path | None, progress: bool) -> Downloaded:
    in_place = store.local_path(entry.path)
    if in_place is not None:
        _verify(store, in_place, entry)
        done = to is not None and fill(to, entry, store, in_place, False)
        return Downloaded(to or in_place, store.location, entry, done)
    held = cached.folder_of(store.location, entry)
    whole = held.is_dir() and not cached.faults_of(held, entry)
    if whole:
        cached.touch(held)
    if to is None:
        done = not whole and fill(held, entry, store, None, progress)
        return Downloaded(held, store.location, entry, done)
    done = fill(to, entry, store, held if whole else None, progress)
    return Downloaded(to, store.location, entry, done)


def _verify(store: Store, folder: Path, entry: HubEntry) -> None:
    for path in entry.files:
        store.local_path(f"{entry.path}/{path}")  # refuses links that lead out of the hub
    for path, fault in cached.faults_of(folder, entry).items():
        raise WrongContent(f"{path}: {fault}")


def _from_cache(one: cached.CachedCheckpoint, to: Path | None) -> Downloaded:
    for path, fault in cached.faults_of(one.folder, one.entry).items():
        raise CheckpointError(
            f"{one.entry.name} in the cache is damaged ({path}: {fault}), and its hub cannot be asked now",
            where=str(one.folder),
            change="MOON_ZOO_OFFLINE or --offline, so that it can be fetched again",
        )
    cached.touch(one.folder)
    done = to is not None and fill(to, one.entry, open_store(one.hub), one.folder, False)
    return Downloaded(to or one.folder, one.hub, one.entry, done)
