"""One part of a set of embeddings: the Parquet file that holds the vectors of one shard.

A part is written under a hidden name and renamed at its end, so a part that has its name is whole. Its metadata say what
it was made from (model, shard, modalities, number formats): who finds the same answers there need not make it again.
Row groups hold one modality each, so a reader of one modality reads nothing of the others, and are cut by size, not by
batch: equal rows give equal bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from moon_zoo.data.ids import file_sha256
from moon_zoo.errors import DataError

FORMAT = 1
DTYPES = ("float32", "float16")
PRECISIONS = ("32", "bf16")
DType = Literal["float32", "float16"]
Precision = Literal["32", "bf16"]

_GROUP_BYTES = 16 << 20  # of vectors; a writer holds up to one group of each modality
_TEXT_COLUMNS = ("key", "item_id", "spu_id", "category", "title")


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an item beside its vectors.

    Args:
        index: Position of its sample in the set; -1 where the set is streamed and has no positions.
        key: Key of its sample in the shard.
        item_id: Identity of the item.
        spu_id: Identity shared by its variants.
        category: Path from the root to the leaf, joined by ``/``.
        title: What the seller calls it.
    """

    index: int
    key: str
    item_id: str
    spu_id: str
    category: str
    title: str


@dataclass(frozen=True, slots=True)
class PartPlan:
    """What a part is to hold, and what it is made from.

    Args:
        number: Of the part, in the order of sets and shards.
        set: Path or URL of the set.
        shard: Name of the shard in it.
        shard_sha256: Of the shard's bytes.
        model: The checkpoint, as people name it.
        fingerprint: Of the model.
        embedding_dim: Numbers per vector.
        modalities: Which vectors each item gets, where it has them.
        dtype: Of the stored numbers, one of `DTYPES`.
        precision: The model ran in, one of `PRECISIONS`.
        samples: In the shard; -1 where that is not known before it is read.
    """

    number: int
    set: str
    shard: str
    shard_sha256: str
    model: str
    fingerprint: str
    embedding_dim: int
    modalities: tuple[str, ...]
    dtype: DType = "float32"
    precision: Precision = "32"
    samples: int = -1

    @property
    def file(self) -> str:
        """Name of the part's file."""
        return f"part-{self.number:05d}.parquet"

    def metadata(self) -> dict[str, str]:
        """What the file says of itself, as texts."""
        return {
            "format": str(FORMAT),
            "model": self.model,
            "fingerprint": self.fingerprint,
            "set": self.set,
            "shard": self.shard,
            "shard_sha256": self.shard_sha256,
            "embedding_dim": str(self.embedding_dim),
            "modalities": ",".join(self.modalities),
            "dtype": self.dtype,
            "precision": self.precision,
        }

    def matches(self, found: Mapping[str, str]) -> bool:
        """Whether a file with these metadata is this part; the model counts by its fingerprint, not by its name."""
        return all(found.get(name) == value for name, value in self.metadata().items() if name != "model")


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A finished part.

    Args:
        file: Its name.
        rows: How many vectors it holds.
        bytes: Its size.
        sha256: Of its bytes.
        set: Path or URL of the set it was made from.
        shard: The shard.
        samples: Samples of the shard that gave an item, also where that has none of the modalities.
        skipped: Samples that could not be read.
        modalities: Modality to how many vectors it has.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    set: str
    shard: str
    samples: int
    skipped: int = 0
    modalities: dict[str, int] = field(default_factory=dict)


def part_schema(embedding_dim: int, dtype: DType, metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Columns of a part."""
    number = pa.float16() if dtype == "float16" else pa.float32()
    fields = [pa.field("set", pa.dictionary(pa.int32(), pa.string())), pa.field("index", pa.int64())]
    fields += [pa.field(name, pa.string()) for name in _TEXT_COLUMNS]
    fields += [
        pa.field("modality", pa.dictionary(pa.int8(), pa.string())),
        # Not nullable: Parquet then stores the numbers alone, without a level for each.
        pa.field("vector", pa.list_(pa.field("element", number, nullable=False), embedding_dim), nullable=False),
    ]
    return pa.schema(fields, metadata=dict(metadata) if metadata is not None else None)


class PartWriter:
    """Writes one part; a context manager that leaves the whole part, or nothing.

    Args:
        folder: Of the embeddings.
        plan: What the part is.

    Attributes:
        entry: The finished part, after the context has ended without an error.
    """

    def __init__(self, folder: Path, plan: PartPlan) -> None:
        self.plan = plan
        self.path = folder / plan.file
        self.entry: PartEntry | None = None
        self._temporary = folder / f".{plan.file}.partial"
        self._schema = part_schema(plan.embedding_dim, plan.dtype, plan.metadata())
        self._group_rows = max(_GROUP_BYTES // (plan.embedding_dim * np.dtype(plan.dtype).itemsize), 1)
        self._waiting: dict[str, list[pa.Table]] = {modality: [] for modality in plan.modalities}
        self._counts = dict.fromkeys(plan.modalities, 0)
        self._samples = self._skipped = 0

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(
            self._temporary,
            self._schema,
            # Vectors do not compress; trying would cost more than writing them.
            compression={**dict.fromkeys(self._schema.names[:-1], "zstd"), "vector.list.element": "none"},
            use_dictionary=["set", "modality", "category"],
            write_page_checksum=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._writer.close()
            self._temporary.unlink(missing_ok=True)

    def write(self, records: Sequence[Record], vectors: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Append items.

        Args:
            records: The items.
            vectors: Modality to vectors ``(items, embedding_dim)`` and bool ``(items,)``, False where an item lacks it.
        """
        self._samples += len(records)
        for modality in self.plan.modalities:
            values, present = vectors[modality]
            kept = np.flatnonzero(present)
            if len(kept):
                chosen = records if len(kept) == len(records) else [records[row] for row in kept.tolist()]
                self._append(modality, self._table(modality, chosen, values[kept]))

    def skip(self, count: int) -> None:
        """Count samples that could not be read."""
        self._skipped += count

    def _table(self, modality: str, records: Sequence[Record], values: np.ndarray) -> pa.Table:
        rows = len(records)
        numbers = np.ascontiguousarray(values, dtype=self.plan.dtype)
        if numbers.shape != (rows, self.plan.embedding_dim):
            raise ValueError(f"{modality} vectors of shape {values.shape} for {rows} x {self.plan.embedding_dim}")
        if not np.isfinite(numbers).all():
            raise DataError(
                f"the model gives {modality} vectors that are not finite, first for item {records[0].item_id} or one "
                f"of the {rows - 1} after it",
                where=f"{self.plan.shard} of {self.plan.set}",
                change=f"the checkpoint {self.plan.model}: its weights may be broken; or --precision 32",
            )
        arrays = [
            self._constant("set", self.plan.set, rows),
            pa.array([record.index for record in records], pa.int64()),
            *(pa.array([getattr(record, name) for record in records], pa.string()) for name in _TEXT_COLUMNS),
            self._constant("modality", modality, rows),
            pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), type=self._schema.field("vector").type),
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _constant(self, column: str, value: str, rows: int) -> pa.Array:
        kind = self._schema.field(column).type
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, kind.index_type), rows), pa.array([value]))

    def _append(self, modality: str, table: pa.Table) -> None:
        waiting = self._waiting[modality]
        waiting.append(table)
        self._counts[modality] += table.num_rows
        if sum(part.num_rows for part in waiting) >= self._group_rows:
            whole = pa.concat_tables(waiting)
            full = whole.num_rows // self._group_rows * self._group_rows
            self._writer.write_table(whole.slice(0, full), row_group_size=self._group_rows)
            # A slice would keep all of the group's memory for its few last rows.
            rest = whole.slice(full).take(pa.array(range(whole.num_rows - full), pa.int64()))
            self._waiting[modality] = [rest] if rest.num_rows else []

    def _finish(self) -> None:
        for waiting in self._waiting.values():
            if waiting:
                self._writer.write_table(pa.concat_tables(waiting), row_group_size=self._group_rows)
        found = {"samples": self._samples, "skipped": self._skipped, "modalities": self._counts}
        self._writer.add_key_value_metadata({"found": json.dumps(found)})
        self._writer.close()
        with self._temporary.open("rb+") as file:
            os.fsync(file.fileno())  # the name must not outlive the bytes in a power cut
        entry = _entry(self._temporary, self.plan, found)
        self._temporary.replace(self.path)
        self.entry = entry


def part_metadata(path: Path) -> dict[str, str] | None:
    """What a part says of itself; None where the file is no part, or is cut."""
    try:
        found = pq.read_metadata(path).metadata or {}
        return {name.decode(): value.decode() for name, value in found.items() if name != b"ARROW:schema"}
    except (pa.ArrowException, OSError, ValueError):
        return None


def finished_part(folder: Path, plan: PartPlan, *, with_skipped: bool) -> PartEntry | None:
    """The part of this plan, where it is there already.

    Args:
        folder: Of the embeddings.
        plan: What it must have been made from.
        with_skipped: Whether one that lacks samples which could not be read will do.
    """
    path = folder / plan.file
    metadata = part_metadata(path) if path.is_file() else None
    if metadata is None or not plan.matches(metadata):
        return None
    try:
        found = json.loads(metadata["found"])
        return _entry(path, plan, found) if with_skipped or not found["skipped"] else None
    except (KeyError, ValueError, TypeError):
        return None


def _entry(path: Path, plan: PartPlan, found: Mapping[str, Any]) -> PartEntry:
    return PartEntry(
        file=plan.file,
        rows=sum(found["modalities"].values()),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        set=plan.set,
        shard=plan.shard,
        samples=found["samples"],
        skipped=found["skipped"],
        modalities=dict(found["modalities"]),
    )
