"""A catalogue one can ask: embeddings, the index over them, the model that made both, and the items' photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from moon_zoo.data.embeddings import Embeddings
from moon_zoo.errors import CheckpointError, UsageError, did_you_mean
from moon_zoo.search.index import Advance, SearchIndex
from moon_zoo.search.kept import Say, kept_index
from moon_zoo.search.photos import Photos
from moon_zoo.search.queries import Query, QueryEncoder
from moon_zoo.search.results import Answer, Result

if TYPE_CHECKING:
    import pyarrow as pa

    from moon_zoo.models.base import ZooModule

COLUMNS = ("item_id", "spu_id", "title", "category", "set", "index", "key")


class Catalogue:
    """Items that can be searched by words, by a photo, or both.

    Args:
        embeddings: Of the items.
        index: Over the vectors of one modality.
        modality: Which.
        model: Checkpoint that queries are embedded with; None for the one that the embeddings name.
        device: Where queries are embedded, as `moon_zoo.search.embedding.pick_device` takes it.

    Example:
        >>> catalogue = Catalogue.open("embeddings/shop")
        >>> [result.title for result in catalogue.search("red shoe", k=3)]
    """

    def __init__(
        self,
        embeddings: Embeddings,
        index: SearchIndex,
        modality: str,
        *,
        model: str | None = None,
        device: str = "auto",
    ) -> None:
        self.embeddings = embeddings
        self.index = index
        self.modality = modality
        self.model = str(embeddings.model["source"]) if model is None else model
        self.device = device
        self.photos = Photos(embeddings)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        modality: str | None = None,
        kind: str = "auto",
        recall: float = 0.99,
        model: str | None = None,
        device: str = "auto",
        rebuild: bool = False,
        say: Say = lambda text: None,
        progress: Advance | None = None,
    ) -> Self:
        """Open what `moon-zoo embed` wrote, and build the index if none is kept there.

        Args:
            folder: The embeddings.
            modality: Whose vectors are searched; None for the most complete there is.
            kind: ``auto``, ``flat``, ``ivf`` or ``hnsw``.
            recall: Recall@10 that the index shall have, in ``(0, 1]``.
            model: See the class.
            device: See the class.
            rebuild: Whether to build the index anew.
            say: Told what a person should know.
            progress: Told what is indexed.

        Raises:
            DataError: The embeddings cannot be read.
            CheckpointError: The index kept there is of another model.
            UsageError: An unknown modality or kind, or a recall that cannot be.
        """
        embeddings = Embeddings(folder)
        chosen = modality if modality is not None else embeddings.modalities[0]
        index = kept_index(embeddings, chosen, kind=kind, recall=recall, rebuild=rebuild, say=say, progress=progress)
        return cls(embeddings, index, chosen, model=model, device=device)

    def __len__(self) -> int:
        return len(self.index)

    # Asking -----------------------------------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        photo: bytes | str | os.PathLike[str] | None = None,
        k: int = 10,
        category: str | Sequence[str] | None = None,
    ) -> list[Result]:
        """The items that suit words, a photo, or both.

        Args:
            text: Words.
            photo: Encoded photo, or its file.
            k: At most so many items.
            category: Only items in these; see `in_categories`.

        Returns:
            Results, best first.
        """
        given = Path(photo) if isinstance(photo, (str, os.PathLike)) else photo
        categories = [category] if isinstance(category, str) else list(category or ())
        return self.answer([Query(text=text, photo=given)], k, categories)[0].results

    def answer(
        self,
        queries: Sequence[Query],
        k: int = 10,
        categories: Sequence[str] = (),
        advance: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """Results of several queries.

        Args:
            queries: What is asked.
            k: At most so many items each.
            categories: Only items in any of these; empty for all.
            advance: Told how many more queries are embedded, and how many there are.

        Raises:
            CheckpointError: The model is not the one that embedded the items.
            DataError: A photo cannot be read.
            UsageError: An unknown category, or ``k`` below 1.
        """
        among = self.in_categories(categories) if categories else None
        vectors = self.encoder.encode(queries, advance)
        return [
            Answer(query, self._results(scores, rows))
            for query, scores, rows in zip(queries, *self._distinct(vectors, k, among))
        ]

    @cached_property
    def encoder(self) -> QueryEncoder:
        """The model, loaded on first use.

        Raises:
            CheckpointError: It cannot be loaded, or is not the one that embedded the items.
        """
        from moon_zoo.search.embedding import pick_device

        module = self._load()
        self._check(module)
        return QueryEncoder(module.to(pick_device(self.device)), self.model, self.embeddings.embedding_dim)

    def _load(self) -> ZooModule:
        from moon_zoo.models.pretrained import load

        try:
            return load(self.model)
        except CheckpointError as error:
            raise CheckpointError(
                f"the model that made these embeddings cannot be loaded: {error.what}",
                where=error.where or self.model,
                suggestions=error.suggestions,
                change=f"--model, to where it is now (fingerprint {self.embeddings.model['fingerprint'][:12]}); "
                "or embed the items again with another",
            ) from error

    def _check(self, module: ZooModule) -> None:
        """Vectors of different models lie in different spaces, even if they have the same size."""
        made, dim = self.embeddings.model, getattr(module, "embedding_dim", None)
        fingerprint = module.fingerprint()
        full = made.get("full_dim", self.embeddings.embedding_dim)  # items may have been cut to their first numbers
        if fingerprint != made["fingerprint"] or dim != full:
            now = " as it is now" if self.model == made["source"] else ""
            raise CheckpointError(
                f"the items were embedded by {made['source']} ({made['fingerprint'][:12]}, "
                f"{full} dimensions), and queries would be by {self.model}{now} "
                f"({fingerprint[:12]}, {dim} dimensions): their vectors cannot be compared",
                where=str(self.embeddings.folder),
                change="--model, to the model that embedded the items; or embed them again with this one",
            )

    # Rows to results --------------------------------------------------------------------------------------------------

    def in_categories(self, names: Sequence[str]) -> np.ndarray:
        """Which rows are in any of the categories, bool ``(rows,)``.

        A name is a whole path (``clothing/shirt``), or any stretch of one (``clothing``, ``shirt``); case does not
        matter.

        Raises:
            UsageError: No item is in one of them.
        """
        paths, codes = self._categories
        wanted: set[int] = set()
        for name in names:
            found = {number for number, path in enumerate(paths) if _covers(path, name)}
            if not found:
                known = sorted({*paths, *(part for path in paths for part in path.split("/"))} - {""})
                raise UsageError(
                    f"no item is in the category {name!r}",
                    where="--category",
                    suggestions=did_you_mean(name.casefold(), known),
                    change=f"--category; there are {_some(sorted(set(paths) - {''}))}",
                )
            wanted |= found
        return np.isin(codes, sorted(wanted))

    @cached_property
    def _categories(self) -> tuple[list[str], np.ndarray]:
        """Paths, and which of them each row has."""
        column = self._table.column("category").combine_chunks().dictionary_encode()
        return column.dictionary.to_pylist(), column.indices.to_numpy()

    @cached_property
    def _table(self) -> pa.Table:
        return self.embeddings.table(list(COLUMNS), self.modality)

    def _distinct(
        self, vectors: np.ndarray, k: int, among: np.ndarray | None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Scores and rows per query; an item that several sets hold is found once, where it suits best."""
        asked = k
        while True:
            scores, rows = self.index.search(vectors, min(asked, max(len(self), k)), among)
            if len(self.embeddings.sets) == 1:
                kept = rows >= 0
                break
            kept = self._first_of_item(rows)
            if asked >= len(self) or bool(((kept.sum(1) >= k) | (rows[:, -1] < 0)).all()):
                break
            asked *= 2
        return (
            [score[keep][:k] for score, keep in zip(scores, kept)],
            [row[keep][:k] for row, keep in zip(rows, kept)],
        )

    def _first_of_item(self, rows: np.ndarray) -> np.ndarray:
        """Where an item appears first in its query's results, bool of the shape of ``rows``."""
        there = np.unique(rows[rows >= 0])
        found = self._table.select(["item_id", "title", "category"]).take(there).to_pylist()
        item_of = dict(zip(there.tolist(), (tuple(record.values()) for record in found)))
        kept = np.zeros(rows.shape, bool)
        for number, line in enumerate(rows.tolist()):
            seen = set()
            for place, row in enumerate(line):
                if row >= 0 and item_of[row] not in seen:
                    seen.add(item_of[row])
                    kept[number, place] = True
        return kept

    def _results(self, scores: np.ndarray, rows: np.ndarray) -> list[Result]:
        records: list[dict[str, Any]] = self._table.take(rows).to_pylist()
        return [
            Result(rank=rank, score=float(score), **record)
            for rank, (score, record) in enumerate(zip(scores, records), 1)
        ]


def _covers(path: str, name: str) -> bool:
    """Whether the parts of ``name`` stand in ``path`` one after another."""
    wanted = name.strip("/").casefold()
    return bool(wanted) and f"/{wanted}/" in f"/{path.casefold()}/"


def _some(names: Sequence[str], limit: int = 12) -> str:
    if not names:
        return "none: these items have no category"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")
