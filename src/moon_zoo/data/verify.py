"""Whether a set of shards is what its manifest says; and a manifest for tars that have none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from moon_zoo.data import remote
from moon_zoo.data.cache import DEFAULT_CACHE_BYTES, ShardCache
from moon_zoo.data.decoders import IMAGE_EXTENSIONS, TYPES, decode_member, extension_of
from moon_zoo.data.ids import file_sha256
from moon_zoo.data.impressions.block import Impressions
from moon_zoo.data.impressions.reading import RowShards
from moon_zoo.data.index import ShardIndex
from moon_zoo.data.kinds import detect_kind, kind_of, refuse_rows
from moon_zoo.data.manifest import Manifest, ShardEntry, read_manifest
from moon_zoo.data.publishing import MANIFEST_NAME
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.scanning import scan_tar
from moon_zoo.data.vocabulary import VocabularyBuilder
from moon_zoo.data.writing import field_pattern, write_file
from moon_zoo.errors import DataError, Faults, ZooError

Progress = Callable[[int], None]
"""Called with the number of samples done since the last call."""

_ROWS_AT_ONCE = 16384

MOST_FAULTS = 100
"""Checking stops after this many faults: a set that has them is broken as a whole."""


def verify(path: str | os.PathLike[str], *, deep: bool = False, progress: Progress | None = None) -> list[ZooError]:
    """Everything that is wrong with a set of shards.

    Sizes, hashes, tars and indexes are compared with the manifest and with one another, and every sample is read as its
    kind.

    Args:
        path: A folder, its manifest or an fsspec URL, as for `IndexedShards`.
        deep: Decode every photo as well.
        progress: For a progress bar.

    Returns:
        The faults, the gravest of each shard first; empty for a sound set. At most `MOST_FAULTS`.
    """
    try:
        shards = IndexedShards(path)
    except ZooError as error:
        return [error]
    faults: list[ZooError] = []
    first = 0
    for entry in shards.manifest.shards:
        found: Iterable[ZooError] = _shard_faults(shards, entry)
        if not found:
            positions = range(first, first + entry.stored)
            if shards.manifest.kind == Impressions.kind:
                found = _row_faults(shards, entry, positions, progress)
            else:
                found = _sample_faults(shards, positions, deep, progress)
        for fault in found:
            faults.append(fault)
            if len(faults) >= MOST_FAULTS:
                return faults
        first += entry.stored
    shards.close()
    return faults + _strangers(shards)


def build_index(
    path: str | os.PathLike[str], *, kind: str | None = None, source: str = "", licence: str = "", command: str = ""
) -> Manifest:
    """Make a folder of plain tars an indexed set: an index beside each tar, then the manifest.

    Where there is a manifest already, only the index files are written again, and the tars must still be the ones it
    names.

    Args:
        path: A folder with ``*.tar``.
        kind: Kind of the samples; None finds it out from the names of the members.
        source: For the manifest.
        licence: For the manifest.
        command: For the manifest.

    Raises:
        Faults: What is wrong with the tars; nothing was written then.
    """
    folder = Path(path)
    if folder.name == MANIFEST_NAME:
        folder = folder.parent
    tars = sorted(folder.glob("*.tar")) if folder.is_dir() else []
    if not tars:
        compressed = any(folder.glob("*.tar.*")) if folder.is_dir() else False
        raise DataError(
            f"{folder} holds no .tar files"
            + (", only compressed ones, which cannot be read by position" if compressed else ""),
            where=str(folder),
            change="the folder" + (", after unpacking them to plain .tar" if compressed else ""),
        )
    old = read_manifest(folder) if (folder / MANIFEST_NAME).is_file() else None
    scans = []
    faults: list[ZooError] = []
    for tar in tars:
        index, found = scan_tar(tar)
        scans.append((tar, index))
        faults += found
    if faults:
        raise Faults(faults[:MOST_FAULTS])
    if old is not None:
        return _index_again(folder, old, dict(scans))
    return _first_index(folder, scans, kind, source, licence, command)


def _first_index(
    folder: Path, scans: list[tuple[Path, ShardIndex]], kind: str | None, source: str, licence: str, command: str
) -> Manifest:
    vocabulary, fields = VocabularyBuilder(), dict[str, str]()
    faults: list[ZooError] = []
    for tar, index in scans:
        for key, members in _raw_samples(tar, index):
            where = f"sample {key} in {tar}"
            try:
                values = {field: decode_member(field, data, shard=tar.name, key=key) for field, data in members}
                kind = detect_kind(values) if kind is None else kind
                refuse_rows(kind, str(folder))
                vocabulary.add(kind_of(kind).sample.from_members(values))
            except ZooError as error:
                if kind == Impressions.kind:
                    raise
                faults.append(DataError(error.what, where=error.where or where, change=error.change))
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                faults.append(DataError(f"no sample of kind {kind}: {error}", where=where))
            if len(faults) >= MOST_FAULTS:
                raise Faults(faults)
            fields |= {field_pattern(field): TYPES[extension_of(field)] for field, _ in members}
    if faults:
        raise Faults(faults)
    if kind is None:
        raise DataError(f"the tars in {folder} hold no samples", where=str(folder), change="the folder")
    entries = [_write_index(tar, index) for tar, index in scans]
    manifest = Manifest(
        kind=kind,
        shards=entries,
        fields=dict(sorted(fields.items())),
        vocabularies=vocabulary.build(),
        source=source,
        licence=licence,
        command=command,
    )
    _write(folder / MANIFEST_NAME, manifest.to_json().encode("utf-8"))
    return manifest


def _index_again(folder: Path, manifest: Manifest, scans: dict[Path, ShardIndex]) -> Manifest:
    for entry in manifest.shards:
        tar = folder / entry.name
        if tar not in scans or file_sha256(tar) != entry.sha256:
            raise DataError(
                f"{entry.name} is not the shard that {MANIFEST_NAME} names",
                where=str(tar),
                change=f"bring that shard back; or remove {MANIFEST_NAME} and index again, to take the tars as they are",
            )
    entries = [
        replace(entry, index_sha256=_write_index(folder / entry.name, scans[folder / entry.name]).index_sha256)
        for entry in manifest.shards
    ]
    manifest = Manifest(**{**manifest.__dict__, "shards": entries})
    _write(folder / MANIFEST_NAME, manifest.to_json().encode("utf-8"))
    return manifest


def _write_index(tar: Path, index: ShardIndex) -> ShardEntry:
    data = index.to_bytes()
    entry = ShardEntry(tar.name, len(index), tar.stat().st_size, file_sha256(tar), hashlib.sha256(data).hexdigest())
    _write(tar.with_name(entry.index_name), data)
    return entry


def _write(path: Path, data: bytes) -> None:
    try:
        write_file(path, data)
    except OSError as error:
        raise DataError(
            f"cannot write {path.name}: {error.strerror or error}", where=str(path), change="the folder's permissions"
        ) from error


def _raw_samples(tar: Path, index: ShardIndex) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    with tar.open("rb") as file:
        for row in range(len(index)):
            members = []
            for field, offset, size in index.members(row):
                file.seek(offset)
                members.append((field, file.read(size)))
            yield index.key(row), members


def _shard_faults(shards: IndexedShards, entry: ShardEntry) -> list[ZooError]:
    """Faults of one shard as a file; empty where its samples can be looked at."""
    location = remote.join(shards.folder, entry.name)
    try:
        if remote.is_url(shards.folder):
            # Fetching checks size and hash.
            path = ShardCache(limit_bytes=DEFAULT_CACHE_BYTES).fetch(location, sha256=entry.sha256, size=entry.bytes)
        else:
            path = Path(location)
        shards.open_shard(entry)
    except ZooError as error:
        return [error]
    if file_sha256(path) != entry.sha256:
        return [
            DataError(
                f"{entry.name} was changed after it was written: its sha256 is not the one in the manifest",
                where=location,
                change="copy the file again, or write the set again",
            )
        ]
    scanned, faults = scan_tar(path)
    if faults:
        return list(faults)
    stored = shards.open_shard(entry)
    if len(scanned) != len(stored) or any(not _same_sample(scanned, stored, row) for row in range(len(stored))):
        return [
            DataError(
                f"the index of {entry.name} does not say where its members are",
                where=location,
                change="run moon-zoo inspect --index on the folder, which writes it again",
            )
        ]
    return []


def _same_sample(one: ShardIndex, other: ShardIndex, row: int) -> bool:
    return one.key(row) == other.key(row) and one.members(row) == other.members(row)


def _row_faults(
    shards: IndexedShards, entry: ShardEntry, positions: range, progress: Progress | None
) -> Iterator[ZooError]:
    """Faults of a shard of impressions: every block as such, then every row as training would read it."""
    faults = list(_sample_faults(shards, positions, deep=False, progress=None))
    yield from faults
    if faults:
        return
    try:
        rows = RowShards(shards.path)
        number = rows.manifest.shards.index(entry)
        first = int(rows.sizes[:number].sum())
        for start in range(first, first + entry.samples, _ROWS_AT_ONCE):
            some = np.arange(start, min(start + _ROWS_AT_ONCE, first + entry.samples))
            labels = rows.take(some).values[rows.schema.label]
            for place in np.flatnonzero(labels > 1)[:1].tolist():
                shard, key = rows.locate(int(some[place]))
                yield DataError(
                    f"the label {rows.schema.label} is {labels[place]}, but must be 0 or 1",
                    where=f"{key} in {remote.join(shards.folder, shard)}",
                    change="write the set again",
                )
            if progress is not None:
                progress(len(some))
    except ZooError as error:
        yield error


def _sample_faults(
    shards: IndexedShards, positions: range, deep: bool, progress: Progress | None
) -> Iterator[ZooError]:
    for position in positions:
        try:
            _ = shards[position]
            if deep:
                yield from _photo_faults(shards, position)
        except ZooError as error:
            yield error
        if progress is not None:
            progress(1)


def _photo_faults(shards: IndexedShards, position: int) -> Iterator[ZooError]:
    from moon_zoo.data.images import decode_photo  # torch, which nothing else here needs

    for field, value in shards.members(position).items():
        if extension_of(field) in IMAGE_EXTENSIONS:
            try:
                decode_photo(value)
            except DataError as error:
                shard, key = shards.locate(position)
                where = f"{field} of sample {key} in {remote.join(shards.folder, shard)}"
                yield DataError(error.what, where=where, change="the photo, and write the set again")


def _strangers(shards: IndexedShards) -> list[ZooError]:
    """Tars beside the manifest that it does not name: whoever put them there expects them to be read."""
    if remote.is_url(shards.folder):
        return []
    named = {entry.name for entry in shards.manifest.shards}
    return [
        DataError(
            f"{tar.name} lies beside the manifest but is not in it, so it is never read",
            where=str(tar),
            change="move it away, or remove the manifest and run moon-zoo inspect --index on the folder",
        )
        for tar in sorted(Path(shards.folder).glob("*.tar"))
        if tar.name not in named
    ]
