"""A folder of embeddings: written part by part, readable once it is complete, gone on with after a break.

`embeddings.json` names the model, the sets and the parts (`moon_zoo.data.embedding_parts`: one per shard) with their
hashes. It is written last and removed first, so a folder that has it is whole. Nothing here knows models.

Rows are numbered per modality, in the order of parts: row ``i`` of `Embeddings.vectors` is row ``i`` of
`Embeddings.table` for the same modality.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from moon_zoo.data.embedding_parts import (
    FORMAT,
    DType,
    PartEntry,
    PartPlan,
    Precision,
    file_sha256,
    finished_part,
    part_metadata,
    part_schema,
)
from moon_zoo.errors import CheckpointError, DataError, UsageError, did_you_mean

INDEX_NAME = "embeddings.json"
_LOCK_NAME = ".embed.lock"
_PART_NAME = re.compile(r"part-\d{5,}\.parquet")


@dataclass(frozen=True, slots=True)
class SetPlan:
    """A set to embed.

    Args:
        path: Absolute path, or URL.
        fingerprint: Of its manifest; of its tars where it has none.
        kind: Of its samples.
        samples: How many there are; -1 where that is not known before they are read.
        shards: Name, sha256 and samples of each shard.
    """

    path: str
    fingerprint: str
    kind: str
    samples: int
    shards: tuple[tuple[str, str, int], ...]


class EmbeddingWriter:
    """Writes a folder of embeddings; a context manager that holds the folder against other writers.

    Make each part of `pending` with a `PartWriter` (in any order, in any process), hand it to `add`, and call `finish`. Parts
    of an earlier, broken run that were made from the same things are kept.

    Args:
        folder: Where to; made if it is not there.
        model: ``source``, ``class_path``, ``fingerprint``, ``embedding_dim``, ``moon_zoo``; and ``full_dim`` where only the
            first ``embedding_dim`` numbers of the model's vectors are stored.
        modalities: Which vectors each item gets, where it has them.
        sets: What is embedded, in order.
        dtype: Of the stored numbers.
        precision: The model runs in.
        keep_skipped: Whether finished parts that lack samples which could not be read are kept.
        overwrite: Whether parts of another model, or of sets that are not among ``sets``, are replaced.

    Raises:
        DataError: The folder cannot be written, holds something else, or would lose a set.
        CheckpointError: It holds another model's embeddings.

    Attributes:
        pending: Parts that are to be made.
        kept: Parts that are there already.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        model: Mapping[str, Any],
        modalities: Sequence[str],
        sets: Sequence[SetPlan],
        dtype: DType = "float32",
        precision: Precision = "32",
        keep_skipped: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.model, self.modalities, self.sets = dict(model), tuple(modalities), tuple(sets)
        self.dtype, self.precision = dtype, precision
        self._keep_skipped, self._overwrite = keep_skipped, overwrite
        self.plans = self._plans()
        self._numbers = {plan.file: plan.number for plan in self.plans}
        self.kept: dict[int, PartEntry] = {}
        self.pending: list[PartPlan] = []
        self._added: dict[int, PartEntry] = {}

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / _LOCK_NAME, timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"another process is writing embeddings to {self.folder}",
                where=str(self.folder),
                change="wait for it, or --to",
            ) from error
        except OSError as error:
            raise DataError(
                f"cannot write to {self.folder}: {error.strerror or error}",
                where=str(self.folder),
                change="--to, to a folder that can be written",
            ) from error
        try:
            self._look_around()
        except BaseException:
            self._lock.release(force=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The lock's file stays: whoever removed it could take it from under a process that holds it by now.
        self._lock.release(force=True)

    def add(self, entry: PartEntry) -> None:
        """Take a finished part of `pending`."""
        self._added[self._numbers[entry.file]] = entry

    @property
    def added(self) -> list[PartEntry]:
        """Parts made now."""
        return [self._added[number] for number in sorted(self._added)]

    @property
    def entries(self) -> list[PartEntry]:
        """All finished parts, in order."""
        entries = self.kept | self._added
        return [entries[number] for number in sorted(entries)]

    def finish(self) -> None:
        """Write `embeddings.json`, after which the folder counts as whole.

        Raises:
            RuntimeError: Parts are missing: a fault of the calling code.
        """
        parts = self.entries
        missing = {plan.file for plan in self.plans} - {part.file for part in parts}
        if missing:
            raise RuntimeError(f"{len(missing)} parts were not made, first {min(missing)}")
        # Parts of another plan: of a set that grew smaller, or of what `overwrite` allowed to replace.
        for name in self._found_parts() - {part.file for part in parts}:
            (self.folder / name).unlink()
        text = json.dumps(self._index(parts), indent=1, ensure_ascii=False) + "\n"
        path = self.folder / INDEX_NAME
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        temporary = self.folder / f".{INDEX_NAME}.partial"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)

    def _plans(self) -> list[PartPlan]:
        shards = [(one, shard) for one in self.sets for shard in one.shards]
        return [
            PartPlan(
                number=number,
                set=one.path,
                shard=name,
                shard_sha256=sha256,
                model=str(self.model["source"]),
                fingerprint=str(self.model["fingerprint"]),
                embedding_dim=int(self.model["embedding_dim"]),
                modalities=self.modalities,
                dtype=self.dtype,
                precision=self.precision,
                samples=samples,
            )
            for number, (one, (name, sha256, samples)) in enumerate(shards)
        ]

    def _look_around(self) -> None:
        """Sort the plans into what is there and what is to be made; refuse what may not be replaced."""
        self._check_folder()
        self._check_parts()
        found = {plan.number: finished_part(self.folder, plan, with_skipped=self._keep_skipped) for plan in self.plans}
        hashes = self._known_hashes()
        self.kept = {
            number: entry
            for number, entry in found.items()
            if entry is not None and hashes.get(entry.file, entry.sha256) == entry.sha256
        }
        self.pending = [plan for plan in self.plans if plan.number not in self.kept]
        if self.pending:
            # From here on parts may differ from what it says.
            (self.folder / INDEX_NAME).unlink(missing_ok=True)
        for left in self.folder.glob(".part-*.partial"):
            left.unlink()  # we hold the lock, so its writer is dead

    def _known_hashes(self) -> dict[str, str]:
        """Of the parts that a complete run left; whatever was altered since is made again."""
        try:
            return {part["file"]: part["sha256"] for part in _read_index(self.folder)["parts"]}
        except (DataError, KeyError, TypeError):
            return {}

    def _check_folder(self) -> None:
        own = {INDEX_NAME, _LOCK_NAME, f".{INDEX_NAME}.partial"}
        names = {child.name for child in self.folder.iterdir()}
        if self._found_parts() or names & own - {_LOCK_NAME} or any(name.startswith(".part-") for name in names):
            return
        if names - own:
            raise DataError(
                f"{self.folder} holds other things, such as {sorted(names - own)[0]}; nothing was written",
                where=str(self.folder),
                change="--to, to a new folder or to one of embeddings",
            )

    def _check_parts(self) -> None:
        """No other model's parts, and no sets that this run would drop, unless they may be replaced."""
        if self._overwrite:
            return
        wanted = {plan.set for plan in self.plans}
        for name in sorted(self._found_parts()):
            found = part_metadata(self.folder / name)
            if found is None or "fingerprint" not in found:
                continue  # broken: it will be made again
            if found["fingerprint"] != self.model["fingerprint"]:
                raise CheckpointError(
                    f"{self.folder} holds embeddings of {found.get('model')} ({found['fingerprint'][:12]}), which do "
                    f"not go together with those of {self.model['source']} ({self.model['fingerprint'][:12]})",
                    where=str(self.folder / name),
                    change="--to, to another folder; or --overwrite, to replace what is there",
                )
            if found.get("set") not in wanted:
                raise DataError(
                    f"{self.folder} holds embeddings of {found.get('set')}, which is not among the sets to embed",
                    where=str(self.folder / name),
                    change="name that set as well; or --to, to another folder; or --overwrite, to drop it",
                )

    def _found_parts(self) -> set[str]:
        return {child.name for child in self.folder.iterdir() if _PART_NAME.fullmatch(child.name)}

    def _index(self, parts: Sequence[PartEntry]) -> dict[str, Any]:
        sets = []
        for one in self.sets:
            samples = one.samples
            if samples < 0:
                samples = sum(part.samples for part in parts if part.set == one.path)
            sets.append({"path": one.path, "fingerprint": one.fingerprint, "kind": one.kind, "samples": samples})
        return {
            "format": FORMAT,
            "model": self.model,
            "modalities": list(self.modalities),
            "dtype": self.dtype,
            "precision": self.precision,
            "sets": sets,
            "parts": [asdict(part) for part in parts],
            "rows": sum(part.rows for part in parts),
            "complete": True,
        }


class Embeddings:
    """A complete folder of embeddings, for reading.

    Args:
        folder: The folder.
        verify: Whether to hash all parts now. Sizes are always compared, and whatever is read later is compared with the
            checksums inside the parts.

    Raises:
        DataError: There are none, they are not complete, or not what `embeddings.json` says.

    Attributes:
        model: ``source``, ``class_path``, ``fingerprint``, ``embedding_dim``, ``moon_zoo``.
        modalities: What there are vectors of.
        dtype: Of the stored numbers.
        sets: ``path``, ``fingerprint``, ``kind`` and ``samples`` of each set.
        parts: The parts, in order.
        rows: Vectors of all modalities together.

    Example:
        >>> embeddings = Embeddings("embeddings/grocery")
        >>> embeddings.vectors("product").shape
        (2640, 128)
    """

    def __init__(self, folder: str | os.PathLike[str], *, verify: bool = False) -> None:
        self.folder = Path(folder)
        values = _read_index(self.folder)
        try:
            self.model: dict[str, Any] = dict(values["model"])
            self.modalities: tuple[str, ...] = tuple(values["modalities"])
            self.dtype: DType = values["dtype"]
            self.precision: str = values["precision"]
            self.sets: list[dict[str, Any]] = list(values["sets"])
            self.parts = [PartEntry(**part) for part in values["parts"]]
            self.rows: int = int(values["rows"])
            self.embedding_dim: int = int(self.model["embedding_dim"])
        except (KeyError, TypeError, ValueError) as error:
            raise _no_index(self.folder, f"{type(error).__name__} {error}") from error
        self._check_parts()
        if verify:
            self.verify()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of model and parts: equal exactly when the same vectors stand in the same order."""
        words = [self.model["fingerprint"], *(part.sha256 for part in self.parts)]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()

    def count(self, modality: str) -> int:
        """How many vectors there are of a modality."""
        self._check_modality(modality)
        return sum(part.modalities.get(modality, 0) for part in self.parts)

    def verify(self) -> None:
        """Hash every part.

        Raises:
            DataError: One was altered.
        """
        for part in self.parts:
            if file_sha256(self.folder / part.file) != part.sha256:
                raise _altered(self.folder / part.file, "its sha256 is another")

    def table(self, columns: Sequence[str] | None = None, modality: str | None = None) -> pa.Table:
        """Columns as one table, all in memory.

        Args:
            columns: Their names; None for all.
            modality: Whose rows; None for all rows, part by part.
        """
        batches = list(self.batches(columns, modality))
        whole = part_schema(self.embedding_dim, self.dtype)  # of no part in particular, so without metadata
        schema = pa.schema([whole.field(name) for name in columns]) if columns is not None else whole
        return pa.Table.from_batches(batches, schema).unify_dictionaries()

    def vectors(self, modality: str) -> np.ndarray:
        """Vectors of a modality, float32 ``(rows, embedding_dim)``."""
        out = np.empty((self.count(modality), self.embedding_dim), dtype=np.float32)
        done = 0
        for batch in self.batches(["vector"], modality):
            rows = batch.num_rows
            out[done : done + rows] = _numbers(batch.column(0), self.embedding_dim)
            done += rows
        return out

    def batches(
        self, columns: Sequence[str] | None = None, modality: str | None = None, batch_rows: int = 16384
    ) -> Iterator[pa.RecordBatch]:
        """Rows a few at a time, in order.

        Args:
            columns: Their names; None for all.
            modality: Whose rows; None for all rows, part by part.
            batch_rows: At most so many at a time.
        """
        if modality is not None:
            self._check_modality(modality)
        for part in self.parts:
            path = self.folder / part.file
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    self._check_columns(file, columns)
                    groups = _groups(file, modality)
                    if groups:
                        yield from file.iter_batches(batch_rows, row_groups=groups, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise _altered(path, str(error)) from error

    def _check_modality(self, modality: str) -> None:
        if modality not in self.modalities:
            raise UsageError(
                f"{self.folder} holds no {modality!r} vectors; it holds {', '.join(self.modalities)}",
                where=str(self.folder),
                suggestions=did_you_mean(modality, self.modalities),
                change="--modality; or run moon-zoo embed with it",
            )

    def _check_columns(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> None:
        known = file.schema_arrow.names
        for column in columns or ():
            if column not in known:
                raise UsageError(
                    f"embeddings have no column {column!r}; columns are {', '.join(known)}",
                    suggestions=did_you_mean(column, known),
                )

    def _check_parts(self) -> None:
        for part in self.parts:
            path = self.folder / part.file
            # A name is joined to the folder: anything but a part's name could point outside of it.
            if not _PART_NAME.fullmatch(part.file):
                raise _no_index(self.folder, f"{part.file!r} is no name of a part")
            try:
                size = path.stat().st_size
            except FileNotFoundError as error:
                raise DataError(
                    f"the part {part.file} is missing",
                    where=str(path),
                    change="run the same moon-zoo embed again: it makes what is missing",
                ) from error
            if size != part.bytes:
                raise _altered(path, f"it has {size:,} bytes instead of {part.bytes:,}")


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(folder) from error
    except (OSError, ValueError) as error:
        raise _no_index(folder, str(error)) from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise _no_index(folder, f"it has format {found!r}, this version of moon-zoo reads format {FORMAT}")
    if values.get("complete") is not True:
        raise _unfinished(folder)
    return values


def _missing(folder: Path) -> DataError:
    if not folder.exists():
        return DataError(f"{folder} does not exist", where=str(folder), change="the folder of embeddings")
    if folder.is_dir() and any(_PART_NAME.fullmatch(child.name.removeprefix(".")) for child in folder.iterdir()):
        return _unfinished(folder)
    if folder.is_dir() and any(child.name.startswith(".part-") for child in folder.iterdir()):
        return _unfinished(folder)
    return DataError(
        f"{folder} holds no embeddings: there is no {INDEX_NAME}",
        where=str(folder),
        change="the folder, to one that moon-zoo embed wrote",
    )


def _unfinished(folder: Path) -> DataError:
    return DataError(
        f"the embeddings in {folder} are not complete: a run was broken off, or is still under way",
        where=str(folder),
        change="run the same moon-zoo embed again: it goes on where it was",
    )


def _no_index(folder: Path, reason: str) -> DataError:
    return DataError(
        f"{folder / INDEX_NAME} cannot be used: {reason}",
        where=str(folder / INDEX_NAME),
        change="run moon-zoo embed again",
    )


def _altered(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path.name} is not as it was written: {reason}",
        where=str(path),
        change="run the same moon-zoo embed again: it makes such parts anew",
    )


def _groups(file: pq.ParquetFile, modality: str | None) -> list[int]:
    """Row groups that hold a modality; each holds one alone."""
    groups = range(file.metadata.num_row_groups)
    if modality is None:
        return list(groups)
    column = file.schema_arrow.names.index("modality")  # only the vector, which comes after it, has leaves of its own
    return [group for group in groups if file.metadata.row_group(group).column(column).statistics.min == modality]


def _numbers(vectors: pa.Array, dim: int) -> np.ndarray:
    numbers: np.ndarray = vectors.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(-1, dim)
