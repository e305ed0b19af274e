"""A checkpoint folder into a hub: its files first, the index last, what it replaces removed at the very end.

An index that readers see therefore never names a file that is missing, whenever publishing stops. Nothing that an index may
name is ever overwritten: a checkpoint that replaces another lies under ``<name>@<revision>/``, and so does every one in object
storage, where two publishers cannot lock one another out. Only the first one of a name, in a folder, is at plain ``<name>/``.

Object storage has no compare-and-swap through fsspec: the index is read just before it is written and again afterwards, and
written anew where another publisher's copy lost ours. A repository of Hugging Face takes one commit on top of the index that
was read (`moon_zoo.hub.commits`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from moon_zoo.data.ids import file_sha256
from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.hub.index import INDEX, HubEntry, HubFile, Index, parse_index
from moon_zoo.hub.names import CONFIG, WEIGHTS, check_file, check_name, one_line
from moon_zoo.hub.stores import FolderStore, HuggingFaceStore, Store, open_store

LOCK = ".publish.lock"
LOCK_SECONDS = 600.0
ATTEMPTS = 5
"""How often a lost index entry is written again."""

Told = Callable[[str, int], None]
"""Called with a file's name and size before it is written."""


def publish_folder(
    folder: str | os.PathLike[str],
    name: str,
    hub: str | os.PathLike[str],
    *,
    summary: str = "",
    licence: str = "",
    keep_old: bool = False,
    told: Told | None = None,
) -> HubEntry:
    """Put a checkpoint folder into a hub.

    Args:
        folder: The checkpoint folder; all its files are published.
        name: Such as ``dual_flow/shop``.
        hub: A folder (made where there is none), ``s3://`` or any other fsspec URL that can be written, or
            ``hf://owner/repo``.
        summary: One line for lists.
        licence: Of the weights.
        keep_old: Whether files of the checkpoint that this one replaces stay where they are.
        told: Hears of every file.

    Returns:
        The hub's entry.

    Raises:
        CheckpointError: The folder is no checkpoint or holds a file that hubs do not offer; the hub's index is broken, or
            the hub cannot be written.
        UsageError: The hub cannot be written to by its kind.
    """
    store = writable_store(hub)
    entry = describe(Path(folder), name, summary=summary, licence=licence)
    if isinstance(store, HuggingFaceStore):
        from moon_zoo.hub.commits import publish_commit

        return publish_commit(store, entry, Path(folder), keep_old=keep_old, told=told)
    try:
        with _locked(store):
            return _publish(store, entry, Path(folder), keep_old, told)
    except OSError as error:
        raise CheckpointError(
            f"the hub cannot be written: {one_line(str(error)) or type(error).__name__}; its index names what it named before",
            where=store.location,
            change="--to; or what keeps you from writing there",
        ) from error


def writable_store(hub: str | os.PathLike[str]) -> Store:
    """The store at a hub's location.

    Raises:
        UsageError: It can only be read.
    """
    store = open_store(hub)
    if not store.writable:
        raise UsageError(
            f"{store.location} can be read, not written to",
            where=store.location,
            change="--to a folder, s3:// or hf:// location; a web server can serve such a folder",
        )
    return store


def describe(folder: Path, name: str, *, summary: str = "", licence: str = "") -> HubEntry:
    """The entry of a checkpoint folder, its files hashed; nothing is written.

    Raises:
        CheckpointError: It is no checkpoint folder, or holds a file that hubs do not offer.
    """
    where = str(folder)
    check_name(name, "--name")
    paths = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    names = [check_file(path.relative_to(folder).as_posix(), where) for path in paths]
    for needed in (CONFIG, WEIGHTS):
        if needed not in names:
            raise CheckpointError(
                f"{folder} is no checkpoint folder: it has no {needed}", where=where, change="the folder"
            )
    config = _config(folder / CONFIG)
    files = {}
    for file, path in zip(names, paths):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise CheckpointError(f"{file} is a link out of the checkpoint folder", where=where, change="the folder")
        files[file] = HubFile(path.stat().st_size, file_sha256(path))
    return HubEntry(
        name=name,
        path=name,
        summary=one_line(summary),
        class_path=config.get("class_path", ""),
        moon_zoo=config.get("moon_zoo", ""),
        licence=one_line(licence),
        files=files,
    )


def _config(path: Path) -> dict[str, str]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read: {one_line(str(error))}", where=str(path), change="the folder"
        ) from error
    values = values if isinstance(values, dict) else {}
    return {key: one_line(str(value)) for key, value in values.items() if isinstance(key, str)}


def read_index(store: Store) -> Index:
    """A hub's index; an empty one where there is none yet.

    Raises:
        CheckpointError: It is broken.
        OSError: It cannot be read.
    """
    where = f"{store.location}/{INDEX}"
    try:
        text = store.read_bytes(INDEX).decode("utf-8")
    except FileNotFoundError:
        return Index(where=where)
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"the hub's index is no text: {error}", where=where, change="the hub's index.yaml"
        ) from error
    return parse_index(text, where)


def placed(entry: HubEntry, index: Index, *, plain: bool) -> HubEntry:
    """The entry with the folder its files go to, in which nothing lies that the index names.

    Args:
        entry: The new entry.
        index: The hub's index as it is.
        plain: Whether ``<name>/`` may be used.
    """
    before = index.entries.get(entry.name)
    if before is not None and before.files == entry.files:
        return replace(entry, path=before.path)  # the very same files: they are there
    used = named_files(index)
    if plain and before is None and used.isdisjoint(_paths(entry)):
        return entry
    return replace(entry, path=f"{entry.name}@{entry.revision}")


def named_files(index: Index) -> set[str]:
    """Every file that an index names, as paths below the hub's root."""
    return {path for entry in index.entries.values() for path in _paths(entry)}


def with_entry(index: Index, entry: HubEntry) -> Index:
    """The index with ``entry`` in place of its namesake; faults of other entries stay, and keep it from being written."""
    faults = {name: fault for name, fault in index.faults.items() if name != entry.name}
    return Index({**index.entries, entry.name: entry}, faults, index.where)


def superseded(before: Index, after: Index) -> list[str]:
    """Files that only the earlier index names."""
    return sorted(named_files(before) - named_files(after))


def _paths(entry: HubEntry) -> Iterable[str]:
    return [f"{entry.path}/{file}" for file in entry.files]


def _publish(store: Store, entry: HubEntry, folder: Path, keep_old: bool, told: Told | None) -> HubEntry:
    index = read_index(store)
    with_entry(index, entry).to_yaml()  # refuses a spoilt index before anything is written
    entry = placed(entry, index, plain=isinstance(store, FolderStore) and _free(store, entry))
    already = named_files(index)
    for file, content in entry.files.items():
        path = f"{entry.path}/{file}"
        if path in already:
            continue
        if told is not None:
            told(file, content.bytes)
        store.write_file(path, folder / file)
    before = _write_index(store, entry)
    if not keep_old:
        for path in superseded(before, with_entry(before, entry)):
            store.delete(path)
    return entry


def _write_index(store: Store, entry: HubEntry) -> Index:
    """Put ``entry`` into the index as it is now; returns what it was."""
    before = read_index(store)
    for _ in range(ATTEMPTS):
        index = read_index(store)
        store.write_bytes(INDEX, with_entry(index, entry).to_yaml().encode("utf-8"))
        if read_index(store).entries.get(entry.name) == entry:
            return before
    raise CheckpointError(
        f"others publish to this hub at the same time, and {entry.name} got lost {ATTEMPTS} times",
        where=store.location,
        change="nothing: publish it again",
    )


def _free(store: FolderStore, entry: HubEntry) -> bool:
    """Whether plain ``<name>/`` holds nothing but what a broken publication of such a checkpoint left; that is swept."""
    folder = store.local_path(entry.path)
    if not folder.is_dir():
        return not folder.exists()
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    half = [path for path in found if path.name.startswith(".") and path.suffix == ".part"]
    if not {path.relative_to(folder).as_posix() for path in found if path not in half} <= entry.files.keys():
        return False
    for path in half:
        path.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def _locked(store: Store) -> Iterator[None]:
    """One publisher at a time, where the hub is a folder."""
    if not isinstance(store, FolderStore):
        yield
        return
    store.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.root / LOCK)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise CheckpointError(
            f"another process has been publishing to this hub for {LOCK_SECONDS / 60:.0f} minutes",
            where=str(store.root),
            change="nothing: wait for it, or end it",
        ) from None
    try:
        yield
    finally:
        # While it is held: whoever waits sees that the file it locked has no name any more, and asks again. A hub is
        # copied and packed as it lies, so nothing is left in it.
        with contextlib.suppress(OSError):  # Windows: filelock removes it by itself
            (store.root / LOCK).unlink()
        lock.release()
