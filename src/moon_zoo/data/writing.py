"""Writing sets of shards: plain tars, an index of offsets beside each, and a manifest.

The tars are what the `webdataset` library writes (USTAR, members ``{key}.{field}.{ext}``, a sample's members together);
they are written through the standard library, which that library's writer wraps too, because importing `webdataset`
imports torch. Times and owners are zero, so the same samples always give the same bytes. Nothing appears at the target
before all is there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeGuard, cast

from moon_zoo.data.decoders import TYPES, encode_member, extension_of, refusal
from moon_zoo.data.impressions.block import Impressions
from moon_zoo.data.index import IndexBuilder
from moon_zoo.data.kinds import Sample, kind_of
from moon_zoo.data.manifest import Manifest, ShardEntry
from moon_zoo.data.publishing import MANIFEST_NAME, Publication
from moon_zoo.data.vocabulary import VocabularyBuilder
from moon_zoo.errors import DataError, ZooError

if TYPE_CHECKING:
    from moon_zoo.data.impressions.raw import RawImpressions
    from moon_zoo.data.impressions.spool import ImpressionsSpool

_KEY = re.compile(r"[A-Za-z0-9_\-]{1,80}")
_FIELD = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
_BLOCK = 512
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ShardWriter:
    """Writes samples of one kind into a set of shards at ``folder``.

    Args:
        folder: The set's folder; it must not exist, or be empty, or hold a set and ``overwrite`` be given.
        kind: Kind of the samples.
        source: Where the data come from, for the manifest.
        licence: Their licence.
        command: The command that makes the set.
        parents: Fingerprints or paths of the sets this one is made from.
        max_samples: Samples per shard at most.
        max_bytes: A shard is closed once it holds this many bytes of members.
        stem: Shards are called ``{stem}-000000.tar``; None takes the folder's name.
        overwrite: Replace a set that is at ``folder``.
        extra: Free JSON for the manifest; may be changed until the writer is closed.
        vocabularies: For the manifest; None gathers the categories and attributes of products.

    Example:
        >>> with ShardWriter("shards/mugs", kind="product", source="my shop", licence="mine") as writer:
        ...     writer.write("mug-1", Product(item_id="mug-1", title="a mug", photos=[jpeg]))

    Raises:
        DataError: The folder is taken, a key is bad or comes twice, a sample is of another kind, or the disk is full.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        kind: str,
        source: str = "",
        licence: str = "",
        command: str = "",
        parents: Sequence[str] = (),
        max_samples: int = 1000,
        max_bytes: int = 64 << 20,
        stem: str | None = None,
        overwrite: bool = False,
        extra: dict[str, Any] | None = None,
        vocabularies: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind_of(kind)
        self.extra = dict(extra or {})
        self.manifest: Manifest | None = None
        self.samples = 0
        self.bytes = 0
        self._about = {"source": source, "licence": licence, "command": command, "parents": list(parents)}
        self._max_samples, self._max_bytes = max_samples, max_bytes
        self._stem = stem if stem is not None else re.sub(r"[^A-Za-z0-9_\-]+", "_", Path(folder).absolute().name)
        self._keys: set[str] = set()
        self._fields: dict[str, str] = {}
        self._vocabulary = VocabularyBuilder()
        self._vocabularies = vocabularies
        self._shards: list[ShardEntry] = []
        self._shard: _OpenShard | None = None
        self._given_up = False
        self._publication = Publication(folder, overwrite=overwrite)

    def write(self, key: str, sample: Sample) -> None:
        """Add a sample.

        Args:
            key: Its name, unique in the set: letters, digits, ``_`` and ``-``.
            sample: A dataclass of `moon_zoo.data.kinds` of this writer's kind.
        """
        if not _KEY.fullmatch(key):
            raise DataError(f"the key {key!r} must be 1 to 80 letters, digits, _ or -", change="the sample's key")
        if key in self._keys:
            raise DataError(f"the key {key} comes twice", where=f"sample {self.samples}", change="one of the two keys")
        if type(sample) is not self.kind.sample:
            raise DataError(
                f"sample {key} is a {type(sample).__name__}, but the set is of kind {self.kind.name}",
                change=f"the kind, or the sample to {self.kind.sample.__name__}",
            )
        try:
            members = sorted((field, encode_member(field, value)) for field, value in sample.to_members().items())
        except ZooError as error:
            raise DataError(error.what, where=error.where or f"sample {key}", change=error.change) from error
        for field, _ in members:
            self._note(key, field)
        try:
            self._append(key, members, getattr(sample, "rows", None))
        except OSError as error:
            raise self._failed(error) from error
        self._keys.add(key)
        self._vocabulary.add(sample)

    def close(self) -> Manifest:
        """Finish the last shard, write the manifest and let the set appear.

        Returns:
            The manifest.
        """
        if self.manifest is not None:
            return self.manifest
        try:
            self._finish_shard()
            if self.samples == 0:
                raise DataError(
                    "no samples were written, so there is no set",
                    where=str(self._publication.target),
                    change="the source",
                )
            manifest = Manifest(
                kind=self.kind.name,
                shards=self._shards,
                fields=dict(sorted(self._fields.items())),
                vocabularies=self._vocabulary.build() if self._vocabularies is None else self._vocabularies,
                extra=self.extra,
                **self._about,  # type: ignore[arg-type]
            )
            write_file(self._publication.folder / MANIFEST_NAME, manifest.to_json().encode("utf-8"))
            self._publication.publish()
        except OSError as error:
            raise self._failed(error) from error
        except BaseException:
            self.abort()
            raise
        self.manifest = manifest
        return manifest

    def abort(self) -> None:
        """Give up: nothing appears."""
        self._given_up = True
        if self._shard is not None:
            self._shard.drop()
            self._shard = None
        self._publication.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif not self._given_up:
            self.close()

    def _note(self, key: str, field: str) -> None:
        """Record a member's name among the fields, once per pattern."""
        pattern = field_pattern(field)
        if pattern not in self._fields:
            why = refusal(field)
            if why is not None or not _FIELD.fullmatch(field):
                raise DataError(f"member {why or field + ' has a bad name'}", where=f"sample {key}")
            self._fields[pattern] = TYPES[extension_of(field)]

    def _append(self, key: str, members: list[tuple[str, bytes]], rows: int | None) -> None:
        if self._shard is None:
            name = f"{self._stem}-{len(self._shards):06d}.tar"
            self._shard = _OpenShard(self._publication.folder, name)
        self.bytes += self._shard.add(key, members, rows)
        self.samples += 1
        if len(self._shard.index) >= self._max_samples or self._shard.bytes >= self._max_bytes:
            self._finish_shard()

    def _finish_shard(self) -> None:
        if self._shard is not None:
            self._shards.append(self._shard.finish())
            self._shard = None

    def _failed(self, error: OSError) -> DataError:
        folder = self._publication.target
        self.abort()
        if error.errno in _FULL:
            return DataError(
                f"the disk is full after {self.samples:,} samples ({self.bytes / 1e6:,.0f} MB); nothing was kept",
                where=str(folder),
                change="the output folder, to a disk with more room, or free some; then run the same command again",
            )
        return DataError(f"cannot write the set: {error}", where=str(folder), change="the output folder")


class _OpenShard:
    """A tar being written, hashed on its way to the disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self.index = IndexBuilder()
        self.bytes = 0
        self._rows: int | None = None
        self._folder, self._name = folder, name
        self._file = _HashingFile(folder / name)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[arg-type]

    def add(self, key: str, members: list[tuple[str, bytes]], rows: int | None) -> int:
        """Add a sample; ``rows`` of those that hold several."""
        self.index.begin(key)
        if rows is not None:
            self._rows = (self._rows or 0) + rows
        written = 0
        for field, data in members:
            info = tarfile.TarInfo(f"{key}.{field}")  # owner and time stay 0
            info.size = len(data)
            # USTAR has one header block before the data; names are short enough for it (see _KEY).
            self.index.add(field, self._tar.offset + _BLOCK, len(data))
            self._tar.addfile(info, BytesIO(data))
            written += len(data)
        self.bytes += written
        return written

    def finish(self) -> ShardEntry:
        self._tar.close()
        self._file.close()
        index = self.index.build().to_bytes()
        entry = ShardEntry(
            name=self._name,
            samples=len(self.index) if self._rows is None else self._rows,
            bytes=self._file.size,
            sha256=self._file.hash.hexdigest(),
            index_sha256=hashlib.sha256(index).hexdigest(),
            blocks=None if self._rows is None else len(self.index),
        )
        write_file(self._folder / entry.index_name, index)
        return entry

    def drop(self) -> None:
        with contextlib.suppress(OSError):  # the disk may be full, which is why we are here
            self._file.close()


class _HashingFile:
    """A file for writing that knows the sha256 and size of what went through."""

    def __init__(self, path: Path) -> None:
        self.hash = hashlib.sha256()
        self.size = 0
        self._file = path.open("wb", buffering=1 << 20)

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        self._file.close()


def field_pattern(field: str) -> str:
    """A member's name with its numbers as ``*``: ``photo_*.jpg`` of ``photo_12.jpg``."""
    return re.sub(r"\d+", "*", field)


def write_file(path: Path, data: bytes) -> None:
    """Write a small file and bring it to the disk, through a temporary name."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_splits(
    out: str | os.PathLike[str],
    samples: Iterable[tuple[str, str, Sample | RawImpressions]],
    *,
    kind: str | None = None,
    overwrite: bool = False,
    extra: dict[str, Any] | None = None,
    extras: Mapping[str, Mapping[str, Any]] | None = None,
    parents_of: Mapping[str, Sequence[str]] | None = None,
    min_count: int = 1,
    block_rows: int = 16384,
    **about: Any,
) -> dict[str, Manifest]:
    """Write several sets side by side, ``out/<split>`` each; ``out`` appears as a whole or not at all.

    Args:
        out: The folder to make.
        samples: ``(split, key, sample)`` in any order; keys are unique within their split. Raw rows of impressions
            (`moon_zoo.data.impressions.raw.RawImpressions`) are written as blocks that share vocabularies, ordered by
            how often values come in the split ``train``, or in all of them where none is called so.
        kind: Kind of the samples; None takes it from each split's first sample, so splits may differ.
        overwrite: Replace the sets that are at ``out``.
        extra: Free JSON for every manifest.
        extras: Split to more of it for that split's manifest; may be filled while samples are drawn.
        parents_of: Split to the sets it is made from (see ``parents`` of `ShardWriter`), of samples that are no rows of
            impressions; may be filled before the split's first sample.
        min_count: Of impressions: a value that fewer training rows have counts as out of vocabulary, unless a model
            says otherwise. All values are written.
        block_rows: Of impressions: rows of a block.
        **about: What else `ShardWriter` takes: source, licence, command, parents, max_samples, max_bytes. Of
            impressions, ``max_samples`` counts blocks.

    Returns:
        The manifest of each split, in the order in which they first came.
    """
    writers: dict[str, ShardWriter] = {}
    manifests: dict[str, Manifest] = {}
    spool: ImpressionsSpool | None = None
    order: dict[str, None] = {}
    with Publication(out, overwrite=overwrite) as publication:

        def writer(split: str, **more: Any) -> ShardWriter:
            return ShardWriter(publication.folder / split, **{**about, **more})

        try:
            for split, key, sample in samples:
                if split not in order:
                    if not _KEY.fullmatch(split):
                        raise DataError(
                            f"the split {split!r} must be letters, digits, _ or -", change="the split's name"
                        )
                    order[split] = None
                if is_raw(sample):
                    if split in writers:
                        raise DataError(f"the split {split} holds {writers[split].kind.name}s and rows of impressions")
                    spool = spool or _spool(publication.folder, block_rows, min_count)
                    spool.add(split, key, sample)
                    continue
                if split not in writers:
                    parents = {"parents": parents_of[split]} if parents_of is not None and split in parents_of else {}
                    writers[split] = writer(split, kind=kind or sample.kind, extra=extra, **parents)
                writers[split].write(key, cast(Sample, sample))
            for split, one in writers.items():
                one.extra |= (extras or {}).get(split, {})
                manifests[split] = one.close()
            if spool is not None:
                manifests |= _write_impressions(spool, writer, extra or {}, extras or {}, publication.folder)
        except BaseException as error:
            for one in writers.values():
                one.abort()
            if isinstance(error, DataError) and error.where is not None:
                # The writers know only the hidden work folder, which is gone by the time this is read.
                error.where = error.where.replace(os.fspath(publication.folder), os.fspath(publication.target))
            raise
    return {split: manifests[split] for split in order if split in manifests}


def is_raw(sample: Any) -> TypeGuard[RawImpressions]:
    """Whether a sample is raw rows of impressions, which become blocks only when all of them are there."""
    return sample.kind == Impressions.kind and not isinstance(sample, Impressions)


def _spool(folder: Path, block_rows: int, min_count: int) -> ImpressionsSpool:
    from moon_zoo.data.impressions.spool import ImpressionsSpool  # pyarrow, which nothing else here needs

    return ImpressionsSpool(folder / ".rows", block_rows=block_rows, min_count=min_count)


def _write_impressions(
    spool: ImpressionsSpool,
    writer: Callable[..., ShardWriter],
    extra: Mapping[str, Any],
    extras: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> dict[str, Manifest]:
    """The sets of all splits with rows."""
    try:
        schema = spool.order().to_json()
        vocabularies = {name: one.to_json() for name, one in spool.vocabularies.items()}
        manifests = {}
        for split in spool.splits:
            statistics = spool.statistics()
            more = {**extra, "schema": schema, "min_count": spool.min_count, **extras.get(split, {})}
            with writer(split, kind=Impressions.kind, extra=more, vocabularies=vocabularies) as one:
                for number, block in enumerate(spool.blocks(split)):
                    one.write(f"{number:06d}", block)
                    statistics.add(block)
                one.extra["impressions"] = statistics.to_json()
                manifests[split] = one.close()
        spool.close()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DataError(
            "the disk is full; nothing was kept",
            where=os.fspath(folder),
            change="the output folder, to a disk with more room, or free some; then run the same command again",
        ) from error
    return manifests
