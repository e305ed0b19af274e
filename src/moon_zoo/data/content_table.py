"""Content embeddings served by item id: what a click model looks up for an item, trained on or not.

Source: the "representation center" of MIM, arXiv:2502.00321, section 3: embeddings are computed once and looked up by id. Rows
are numbered as ids are: 0 is padding, 1 stands for an item without embedding, and vectors begin at 2
(`moon_zoo.data.impressions.schema`). Vectors have length 1; one of zeros has no direction and counts as missing.

A table in a ``.npy`` file is mapped and never held: only the rows that a batch needs are read, in whichever process makes
the batch. Every other table is held in memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moon_zoo.data.embeddings import INDEX_NAME, Embeddings
from moon_zoo.data.impressions.schema import FIRST, OUT_OF_VOCABULARY, PADDING
from moon_zoo.errors import DataError, did_you_mean

FOLDER, FILE = "embeddings", "items.parquet"
"""Where a checkpoint carries its table: this file in this folder."""

MOST_HASHED_BYTES = 1 << 30
"""A mapped table beyond this is told apart by rows spread over it, not by all of them."""

_HASHED_ROWS = 1 << 16
_ITEM, _VECTOR = "item_id", "vector"


class ContentTable:
    """Unit vectors by item id.

    Args:
        item_ids: Of each vector. Of an id that comes twice the first vector counts.
        vectors: As they were made, of any length, ``(items, dim)``; a memory map is not read as a whole.
        model: Fingerprint of the model that made them, where it is known.
        modality: What they were made of, where it is known.
        source: Where they come from, for messages.

    Raises:
        DataError: Ids and vectors do not match, or a vector holds no numbers.

    Example:
        >>> table = ContentTable(["mug", "lamp"], np.array([[3.0, 4.0], [1.0, 0.0]], np.float32))
        >>> table.rows_of(["lamp", "sofa", "mug"]).tolist()
        [3, 1, 2]
        >>> table.gather(np.array([2, 1])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """

    def __init__(
        self,
        item_ids: Sequence[str] | pa.Array,
        vectors: np.ndarray,
        *,
        model: str | None = None,
        modality: str | None = None,
        source: str = "the content table",
    ) -> None:
        self.item_ids = _strings(item_ids)
        self.model, self.modality, self.source = model, modality, source
        self._file = str(vectors.filename) if isinstance(vectors, np.memmap) and vectors.filename else None
        self._raw: np.ndarray | None = vectors
        if vectors.ndim != 2 or len(vectors) != len(self.item_ids) or vectors.shape[1] == 0:
            raise DataError(
                f"{len(self.item_ids):,} item ids do not go with vectors of shape {tuple(vectors.shape)}",
                where=source,
                change="the embeddings",
            )
        self.dim = int(vectors.shape[1])
        # Rows by which ids are found: an index over the table for those that count, which are all but later duplicates.
        self._order = np.arange(len(vectors))
        if self._file is None:
            self._check_numbers(vectors, self._order)
            self._order = self._order[(vectors != 0).any(1)]

    # Opening ----------------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, source: str | os.PathLike[str], modality: str | None = None) -> ContentTable:
        """A table from a file or folder.

        Args:
            source: A folder that `moon-zoo embed` wrote; a checkpoint's folder that carries a table; a Parquet file with a
                column of item ids and one of lists; or a ``.npy`` file of ``(items, dim)`` with ``NAME.ids.txt`` (an id a
                line) or ``NAME.ids.npy`` beside it.
            modality: Which vectors of an embeddings folder, or which column of a Parquet file; None for the first.

        Raises:
            DataError: There is no such table.
        """
        path = Path(source)
        if path.is_dir():
            for folder in (path, path / FOLDER):
                if (folder / INDEX_NAME).is_file():
                    return _from_embeddings(folder, modality)
                if (folder / FILE).is_file():
                    return _from_parquet(folder / FILE, modality)
            raise DataError(
                f"{path} holds no embeddings: neither what moon-zoo embed writes, nor a checkpoint that carries a table",
                where=str(path),
                change="the embeddings; `moon-zoo embed CHECKPOINT SHARDS --to FOLDER` makes them",
            )
        if not path.is_file():
            raise DataError(f"there are no embeddings {path}", where=str(path), change="the embeddings")
        if path.suffix == ".npy":
            return _from_npy(path)
        if path.suffix == ".parquet":
            return _from_parquet(path, modality)
        raise DataError(
            f"{path.name} is no table of embeddings: such are folders of moon-zoo embed, .parquet and .npy files",
            where=str(path),
            change="the embeddings",
        )

    # Reading ----------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def is_mapped(self) -> bool:
        """Whether the vectors stay on the disk."""
        return self._file is not None

    @property
    def raw(self) -> np.ndarray:
        """The vectors as they were made, ``(items, dim)``."""
        if self._raw is None:  # in a process that the table was sent to
            self._raw = np.load(str(self._file), mmap_mode="r", allow_pickle=False)
        return self._raw

    def rows_of(self, values: Sequence[str] | pa.Array) -> np.ndarray:
        """Rows of items, int32 ``(len(values),)``: 1 for an item that has no vector."""
        found = pc.index_in(_strings(values), value_set=self.item_ids.take(pa.array(self._order)))
        places = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
        rows = np.full(len(places), OUT_OF_VOCABULARY, dtype=np.int32)
        there = places >= 0
        rows[there] = self._order[places[there]] + FIRST
        return rows

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors of rows, float32 ``(len(rows), dim)``; zeros for rows 0 and 1.

        Raises:
            DataError: A vector holds no numbers.
        """
        out = np.zeros((len(rows), self.dim), dtype=np.float32)
        there = np.asarray(rows) >= FIRST
        places = np.asarray(rows, dtype=np.int64)[there] - FIRST
        raw = np.asarray(self.raw[places], dtype=np.float32)
        if self.is_mapped:
            self._check_numbers(raw, places)
        lengths = np.sqrt(np.einsum("nd,nd->n", raw, raw, dtype=np.float64))
        lengths[lengths == 0] = 1.0
        out[there] = raw / lengths[:, None].astype(np.float32)
        return out

    def vectors(self) -> np.ndarray:
        """All unit vectors by row, float32 ``(items + 2, dim)``; the first two are zeros."""
        return self.gather(np.arange(PADDING, len(self) + FIRST))

    @property
    def fingerprint(self) -> str:
        """sha256 of ids and vectors, which is the same for a copy in another format: 64 hexadecimal digits."""
        if not hasattr(self, "_fingerprint"):
            self._fingerprint = self._hash()
        return self._fingerprint

    def shuffled(self, seed: int) -> ContentTable:
        """The same vectors dealt out to other items: a control without content, of equal size and statistics.

        Args:
            seed: Of the permutation.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        # Of a mapped table ids move instead, so that the vectors may stay where they are.
        ids = self.item_ids.take(pa.array(order)) if self.is_mapped else self.item_ids
        vectors = self.raw if self.is_mapped else self.raw[order]
        return ContentTable(ids, vectors, model=self.model, modality=self.modality, source=self.source)

    # Writing ----------------------------------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        """Write `FILE` into a folder, which `open` reads: ids and vectors as they were made, so that nothing is lost."""
        folder.mkdir(parents=True, exist_ok=True)
        raw = np.ascontiguousarray(self.raw)
        notes = {"moon_zoo.model": self.model or "", "moon_zoo.modality": self.modality or ""}
        with pq.ParquetWriter(folder / FILE, _schema(raw.dtype, self.dim, notes), compression="zstd") as writer:
            for first in range(0, len(self), 1 << 16):
                part = raw[first : first + (1 << 16)]
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), self.dim)
                writer.write_batch(
                    pa.record_batch([self.item_ids[first : first + len(part)], vectors], schema=writer.schema)
                )

    # Helpers ----------------------------------------------------------------------------------------------------------

    def _hash(self) -> str:
        digest = hashlib.sha256(f"{len(self)} {self.dim}\n".encode())
        size = len(self) * self.dim * 4
        rows = np.arange(len(self))
        if self.is_mapped and size > MOST_HASHED_BYTES:
            rows = np.linspace(0, len(self) - 1, _HASHED_ROWS).astype(np.int64)
        for first in range(0, len(rows), 1 << 14):
            some = rows[first : first + (1 << 14)]
            digest.update("\n".join(self.item_ids.take(pa.array(some)).to_pylist()).encode())
            digest.update(np.ascontiguousarray(self.raw[some], dtype="<f4").data)
        return digest.hexdigest()

    def _check_numbers(self, vectors: np.ndarray, places: np.ndarray) -> None:
        if vectors.dtype.kind in "iu":
            return
        if not np.isfinite(vectors.sum(dtype=np.float64)):  # one pass without a temporary array
            good = np.isfinite(vectors).all(1)
            if not good.all():
                item = self.item_ids[int(places[int(np.argmin(good))])].as_py()
                raise DataError(
                    f"the embedding of item {item} holds NaN or infinite numbers, and so do {int((~good).sum()) - 1:,} others",
                    where=self.source,
                    change="the embeddings",
                )

    def __getstate__(self) -> dict[str, Any]:
        # A mapped table is opened again where it arrives: pickling it would send all of the file.
        return self.__dict__ | ({"_raw": None} if self.is_mapped else {})


def _strings(values: Iterable[Any] | pa.Array) -> pa.Array:
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, pa.large_string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if array.type == pa.large_string() else array.cast(pa.large_string())


def _schema(dtype: np.dtype, dim: int, notes: dict[str, str]) -> pa.Schema:
    vector = pa.list_(pa.from_numpy_dtype(dtype), dim)
    return pa.schema([(_ITEM, pa.large_string()), (_VECTOR, vector)], metadata=notes)


# Formats -----------------------------------------------------------------------------------------------------------------


def _from_embeddings(folder: Path, modality: str | None) -> ContentTable:
    embeddings = Embeddings(folder)
    modality = embeddings.modalities[0] if modality is None else modality
    ids = embeddings.table([_ITEM], modality).column(0)
    return ContentTable(
        ids,
        embeddings.vectors(modality),
        model=str(embeddings.model["fingerprint"]),
        modality=modality,
        source=str(folder),
    )


def _from_parquet(path: Path, modality: str | None) -> ContentTable:
    try:
        schema = pq.read_schema(path)
        item, vector = _item_column(schema, path), _vector_column(schema, modality, path)
        table = pq.read_table(path, columns=[item, vector])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path), change="the embeddings") from error
    lists = table.column(vector).combine_chunks()
    if lists.null_count or table.column(item).null_count:
        raise DataError(f"{path.name} has empty cells among ids or vectors", where=str(path), change="that table")
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    if len(lengths) == 0 or (lengths != lengths[0]).any():
        found = ", ".join(map(str, sorted(set(lengths.tolist()))[:4])) or "none"
        raise DataError(f"{vector} of {path.name} has lists of lengths {found}", where=str(path), change="that table")
    numbers = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lengths), -1)
    notes = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if key.startswith(b"moon_")}
    own = path.name == FILE
    return ContentTable(
        table.column(item),
        numbers,
        model=notes.get("moon_zoo.model") or None,
        modality=(notes.get("moon_zoo.modality") or None) if own else vector,
        source=str(path),
    )


def _item_column(schema: pa.Schema, path: Path) -> str:
    if _ITEM in schema.names:
        return _ITEM
    likely = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_string(field.type)]
    if len(likely) == 1:
        return likely[0]
    raise DataError(
        f"{path.name} has no column {_ITEM}; it has {', '.join(schema.names)}",
        where=str(path),
        suggestions=did_you_mean(_ITEM, schema.names),
        change=f"the name of its column of item ids, to {_ITEM}",
    )


def _vector_column(schema: pa.Schema, modality: str | None, path: Path) -> str:
    lists = [field.name for field in schema if _is_numbers(field.type)]
    notes = schema.metadata or {}
    if modality is None or (path.name == FILE and notes.get(b"moon_zoo.modality", b"").decode() == modality):
        if len(lists) == 1 or (_VECTOR in lists):
            return _VECTOR if _VECTOR in lists else lists[0]
    elif modality in lists:
        return modality
    raise DataError(
        f"{path.name} has {len(lists)} columns of vectors{': ' + ', '.join(lists) if lists else ''}"
        + (f", none of them {modality!r}" if modality is not None else ""),
        where=str(path),
        suggestions=did_you_mean(modality or "", lists),
        change="modality, to the name of one" if lists else "the embeddings",
    )


def _is_numbers(kind: pa.DataType) -> bool:
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return listed and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _from_npy(path: Path) -> ContentTable:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path.name} is no array of numbers: {error}", where=str(path), change="the embeddings"
        ) from error
    text, array = path.with_suffix(".ids.txt"), path.with_suffix(".ids.npy")
    if text.is_file():
        ids: Sequence[str] = text.read_text("utf-8").splitlines()
    elif array.is_file():
        ids = [str(value) for value in np.load(array, allow_pickle=False).tolist()]
    else:
        raise DataError(
            f"{path.name} says not whose vectors it holds: there is neither {text.name} nor {array.name}",
            where=str(path),
            change=f"write the item ids to {text}, one a line in the order of the vectors",
        )
    if vectors.dtype.kind not in "fiu":
        raise DataError(f"{path.name} holds {vectors.dtype}, not numbers", where=str(path), change="the embeddings")
    return ContentTable(ids, vectors, source=str(path))
