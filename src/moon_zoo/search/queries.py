"""What is asked: words, a photo or both; one at a time or from a table; embedded by the model that embedded the items.

A query goes through the model's own inputs as the `Search` samples of training do, so what was trained is what is asked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.tables.rows import Table, open_table
from moon_zoo.errors import CheckpointError, DataError, UsageError, ZooError, did_you_mean
from moon_zoo.sources.tree import FolderTree, OutsideRootError

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule

COLUMNS = ("text", "photo", "id")
BATCH = 64


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    Args:
        id: Its name in tables of results.
        text: Words, None for a photo alone.
        photo: The encoded photo or its file, None for words alone. A file is read when it is needed.
        where: Where the query was written, for messages.
    """

    id: str = "1"
    text: str | None = None
    photo: bytes | Path | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        text = " ".join((self.text or "").split()) or None
        object.__setattr__(self, "text", text)
        if text is None and self.photo is None:
            raise UsageError("a query needs words, a photo or both", where=self.where, change="--text, --photo")

    @property
    def photo_name(self) -> str | None:
        """The photo's path where it is a file, something short where it is bytes."""
        if isinstance(self.photo, bytes):
            return f"{len(self.photo):,} bytes, sha256 {hashlib.sha256(self.photo).hexdigest()[:12]}"
        return None if self.photo is None else str(self.photo)

    def photo_bytes(self) -> bytes | None:
        """The encoded photo.

        Raises:
            DataError: The file cannot be read.
        """
        if not isinstance(self.photo, Path):
            return self.photo
        try:
            return self.photo.read_bytes()
        except OSError as error:
            raise DataError(
                f"the photo {self.photo} cannot be read: {error.strerror}",
                where=self.where or "--photo",
                suggestions=_beside(self.photo),
                change="the path of the photo",
            ) from error

    def __str__(self) -> str:
        photo = None if self.photo is None else f"photo {self.photo_name}"
        return " + ".join(part for part in (self.text and f'"{self.text}"', photo) if part)


def _beside(path: Path) -> tuple[str, ...]:
    folder = path.parent
    return did_you_mean(path.name, [child.name for child in folder.iterdir()]) if folder.is_dir() else ()


def read_queries(path: str | os.PathLike[str]) -> list[Query]:
    """Queries of a table with the columns ``text`` and/or ``photo``, and perhaps ``id``.

    Photos are files below the table's folder. Without ``id``, queries are numbered from 1.

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file.

    Raises:
        DataError: No such table or columns, a row with nothing to ask, an ``id`` twice, a photo that is not there.
    """
    table = open_table(Path(path))
    columns = [column for column in COLUMNS if column in table.columns]
    if not {"text", "photo"} & set(columns):
        raise DataError(
            f"{table.path.name} has neither a column text nor a column photo, but {', '.join(table.columns)}",
            where=str(path),
            change="the header of the table; its columns text, photo and id are read",
        )
    tree = FolderTree(table.path.parent)
    queries: dict[str, Query] = {}
    for number, cells in table.rows(columns):
        query = _row(table, tree, number, len(queries) + 1, dict(zip(columns, cells)))
        if query.id in queries:
            raise DataError(
                f"the id {query.id!r} names two queries",
                where=f"{queries[query.id].where} and {query.where}",
                change="the column id, or leave it out",
            )
        queries[query.id] = query
    if not queries:
        raise DataError(f"{table.path.name} holds no query", where=str(path), change="--queries")
    return list(queries.values())


def _row(table: Table, tree: FolderTree, number: int, count: int, cells: dict[str, Any]) -> Query:
    where = table.where(number)
    for column, cell in cells.items():
        if cell is not None and not isinstance(cell, str):
            raise DataError(f"the {column} of a query is no text: {cell!r}", where=where, change="the row")
    if not cells.get("text") and not cells.get("photo"):
        raise DataError("a query with neither text nor photo", where=where, change="the row")
    photo = None
    if cells.get("photo"):
        photo = tree.root / cells["photo"]
        try:
            there = tree.exists(cells["photo"])
        except OutsideRootError as error:
            raise DataError(
                f"{error.what}; photos of queries are read from below the folder of their table alone",
                where=where,
                change=f"the path, to one relative to {tree.root}",
            ) from error
        if not there:
            raise DataError(
                f"there is no photo {cells['photo']}",
                where=where,
                suggestions=_beside(photo),
                change=f"the path; it is relative to {tree.root}",
            )
    return Query(cells.get("id") or str(count), cells.get("text"), photo, where)


class QueryEncoder:
    """Embeds queries with a model's own inputs.

    Args:
        module: The model, in evaluation mode.
        name: What people call it, for messages.
        dim: Numbers taken of each vector, its first, as was done with the items; None for all.
    """

    def __init__(self, module: ZooModule, name: str, dim: int | None = None) -> None:
        self.module = module
        self.name = name
        self.dim = dim
        if not module.modalities:
            raise CheckpointError(
                f"the model {name} embeds nothing, so nothing can be searched with it", change="the checkpoint"
            )

    def encode(self, queries: Sequence[Query], advance: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Unit vectors, float32 ``(len(queries), dim)``.

        Args:
            queries: What is asked.
            advance: Told how many more are done, and of how many.

        Raises:
            DataError: A photo cannot be read or decoded.
            UsageError: The model has no embedding for a query of this make.
        """
        parts = []
        for batch in _batches(queries):
            parts.append(self._encode(batch))
            if advance is not None:
                advance(len(batch), len(queries))
        return np.concatenate(parts)

    def _encode(self, queries: Sequence[Query]) -> np.ndarray:
        import torch

        inputs, modality = self.module.inputs, self.module.modalities[0]
        batch = inputs.batch([self._sample(query) for query in queries])
        with torch.inference_mode():
            batch = {name: values.to(self.module.device) for name, values in batch.items()}
            vectors, present = self.module.embed(batch, (modality,), side="query")[modality]
        for query, known in zip(queries, present.tolist()):
            if not known:
                raise UsageError(
                    f"the model {self.name} has no embedding for the query {query}",
                    where=query.where,
                    change="the query: words, a photo or both",
                )
        from moon_zoo.nn.matryoshka import prefix

        made: np.ndarray = prefix(vectors.float(), self.dim or vectors.shape[-1]).cpu().numpy()
        return made

    def _sample(self, query: Query) -> dict[str, Any]:
        # The item is what is looked for: an empty one has the shapes that a batch needs.
        search = Search(Product("query"), query_text=query.text, query_photo=query.photo_bytes())
        try:
            return self.module.inputs.sample(search, Draw())
        except ZooError as error:
            raise DataError(
                f"the query {query} cannot be used: {error.what}", where=query.where or error.where, change=error.change
            ) from error


def _batches(queries: Sequence[Query]) -> Iterator[Sequence[Query]]:
    return (queries[start : start + BATCH] for start in range(0, len(queries), BATCH))
