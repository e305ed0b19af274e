"""A faiss index over unit vectors: built with a stated recall, searched whole or within chosen rows, kept in a folder.

Scores are inner products, cosines where the vectors have length 1. Within chosen rows (`among`) results are always
exact: faiss's ID selectors, with every list visited, or the graph's stored vectors scanned. A graph searched under a
filter finds too few, and lists chosen for all items may hold none of the wanted.

A kept index is two files: ``index.faiss``, and ``index.json``, written last, with the sha256 that the first must have. What
was altered since, or cut short, is never given to faiss.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from moon_zoo.data.ids import file_sha256
from moon_zoo.errors import DataError, UsageError
from moon_zoo.search.choosing import (
    GRAPH_BUILD_EFFORT,
    GRAPH_LINKS,
    HELD_OUT_SHARE,
    MOST_GRAPH_EFFORT,
    RECALL_AT,
    SAMPLE,
    TRAINED_PER_LIST,
    Kind,
    Probe,
    Recall,
    check_recall,
    choose_kind,
    draw_sample,
    least_effort,
    num_lists,
)

FORMAT = 1
INDEX, ABOUT = "index.faiss", "index.json"
ADDED_AT_ONCE = 20_000
"""Vectors between two calls of ``progress``; a graph takes seconds for that many."""

COMPARED_AT_ONCE = 100_000

Advance = Callable[[int, int], None]
"""Called with the vectors indexed since the last call, and all there are."""


class SearchIndex:
    """Nearest neighbours among rows of unit vectors.

    Args:
        index: The faiss index.
        kind: ``flat``, ``ivf`` or ``hnsw``.
        parameters: What it was built with, and ``visited`` lists or ``effort`` of a search.
        recall: What was asked for and measured.
        held_out: Rows that recall was measured on, sorted; they stand behind all others in ``index``.

    Example:
        >>> index = SearchIndex.build(vectors, recall=0.99)
        >>> scores, rows = index.search(queries, k=10)
    """

    def __init__(
        self, index: Any, kind: Kind, parameters: Mapping[str, int], recall: Recall, held_out: np.ndarray
    ) -> None:
        self._index = index
        self.kind = kind
        self.parameters = dict(parameters)
        self.recall = recall
        self._held_out = held_out
        self._rows: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Size of the vectors."""
        return int(self._index.d)

    # Building ---------------------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        kind: str = "auto",
        recall: float = 0.99,
        seed: int = 0,
        *,
        queries: Mapping[str, np.ndarray] | None = None,
        progress: Advance | None = None,
    ) -> Self:
        """Index vectors, and look as hard as the recall asks.

        Args:
            vectors: Unit vectors ``(rows, dim)``, float32 or float16.
            kind: ``flat``, ``ivf``, ``hnsw``, or ``auto`` to choose by the number of rows.
            recall: Recall@10 that the average query shall have against exact search, in ``(0, 1]``.
            seed: Of the sample that recall is measured on, and of k-means. A graph built by several threads still
                differs from build to build.
            queries: More sample queries than rows that are held out, name to unit vectors ``(num, dim)``, each name a group
                that must reach the recall: what is asked with may lie elsewhere than what is found.
            progress: Told what is done, first of nothing.

        Raises:
            DataError: There are no vectors, or some are not finite.
            UsageError: An unknown kind, or a recall outside ``(0, 1]``.
        """
        check_recall(recall)
        vectors = _checked(vectors, "vectors")
        if not len(vectors):
            raise DataError("there are no vectors to search in", change="the embeddings: embed more")
        chosen = choose_kind(kind, len(vectors))
        told = progress if progress is not None else _untold
        told(0, len(vectors))
        size = 0 if chosen == "flat" else min(SAMPLE, len(vectors) // HELD_OUT_SHARE)
        held_out = draw_sample(len(vectors), seed, size)
        others = np.setdiff1d(np.arange(len(vectors)), held_out, assume_unique=True)
        index, parameters = _MAKERS[chosen](vectors, others, seed)
        made = cls(index, chosen, parameters, Recall(recall, seed=seed), held_out)
        made._add(vectors, others, told)
        if chosen != "flat":
            groups = {"items": vectors[held_out], **(queries or {})}
            made._tune(vectors, others, {name: group for name, group in groups.items() if len(group)})
        # Only now: a vector that is in a graph finds its own neighbours far more surely than a query does.
        made._add(vectors, held_out, told)
        return made

    def _add(self, vectors: np.ndarray, rows: np.ndarray, told: Advance) -> None:
        for start in range(0, len(rows), ADDED_AT_ONCE):
            part = rows[start : start + ADDED_AT_ONCE]
            self._index.add(vectors[part])
            told(len(part), len(vectors))

    def _tune(self, vectors: np.ndarray, rows: np.ndarray, groups: Mapping[str, np.ndarray]) -> None:
        """Raise the effort of a search until every group of sample queries reaches the target."""
        probes = {}
        for name, group in groups.items():
            sample = _checked(group[draw_sample(len(group), self.recall.seed)], f"sample queries {name}")
            probes[name] = _probe(vectors, rows, sample)
        key, most = ("visited", self.parameters["lists"]) if self.kind == "ivf" else ("effort", MOST_GRAPH_EFFORT)

        def recalls(effort: int) -> list[np.ndarray]:
            self.parameters[key] = effort
            return [probe.recalls(self._all(probe.queries, probe.k)[0]) for probe in probes.values()]

        if not probes:
            self.parameters[key] = most
            return
        effort, means = least_effort(recalls, self.recall.target, most)
        if self.kind == "hnsw":
            effort = max(effort, RECALL_AT)  # a search never keeps fewer candidates than it returns
        self.parameters[key] = effort
        asked = max(len(probe.queries) for probe in probes.values())
        self.recall = replace(self.recall, measured=dict(zip(probes, means)), sample=asked)

    # Searching --------------------------------------------------------------------------------------------------------

    def search(
        self, queries: np.ndarray, k: int = 10, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows nearest to each query.

        Args:
            queries: Unit vectors ``(num, dim)``.
            k: How many of them, at least 1.
            among: Only these: bool ``(rows,)``, or row numbers. Results are then exact. None for all rows.

        Returns:
            Scores, float32 ``(num, k)``, best first, and row numbers, int64 ``(num, k)``. Where there are fewer than
            ``k`` rows, the rest is -inf and -1. Equal scores come in the order of rows.

        Raises:
            DataError: Queries of another dimension, or not finite.
            UsageError: ``k`` is below 1.
        """
        if k < 1:
            raise UsageError(f"{k} results cannot be shown; at least 1", change="--k")
        queries = _checked(queries, "queries")
        if queries.shape[1] != self.dim:
            raise DataError(
                f"the queries have {queries.shape[1]} dimensions, the indexed vectors {self.dim}",
                change="the model: queries and items must be embedded by the same",
            )
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        found = min(k, len(self))
        if len(queries):
            scores[:, :found], rows[:, :found] = (
                self._all(queries, found) if among is None else self._exact(queries, found, self._selector(among))
            )
            if among is None:
                # Lists that hold too little for many results, or a graph that ends: nobody shall see fewer than there are.
                lacking = (rows[:, :found] < 0).any(1)
                if lacking.any():
                    scores[lacking, :found], rows[lacking, :found] = self._exact(queries[lacking], found)
        scores[rows < 0] = -np.inf  # faiss fills with the least float instead
        if self._order is not None:
            rows = np.where(rows >= 0, self._order[rows], -1)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def _all(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        options = None
        if self.kind == "ivf":
            options = faiss.SearchParametersIVF(nprobe=self.parameters["visited"])
        elif self.kind == "hnsw":
            options = faiss.SearchParametersHNSW(efSearch=max(self.parameters["effort"], k))
        found: tuple[np.ndarray, np.ndarray] = self._index.search(queries, k, params=options)
        return found

    def _exact(self, queries: np.ndarray, k: int, selector: Any = None) -> tuple[np.ndarray, np.ndarray]:
        index, options = self._index, faiss.SearchParameters(sel=selector)
        if self.kind == "ivf":
            options = faiss.SearchParametersIVF(sel=selector, nprobe=self.parameters["lists"])
        elif self.kind == "hnsw":
            index = faiss.downcast_index(index.storage)
        found: tuple[np.ndarray, np.ndarray] = index.search(queries, k, params=options)
        return found

    def _selector(self, among: np.ndarray) -> Any:
        chosen = np.asarray(among)
        if chosen.dtype != bool:
            mask = np.zeros(len(self), bool)
            mask[chosen.astype(np.int64)] = True
            chosen = mask
        if chosen.shape != (len(self),):
            raise ValueError(f"a mask of shape {chosen.shape} for {len(self)} rows")
        stored = chosen if self._order is None else chosen[self._order]
        return faiss.IDSelectorBitmap(np.packbits(stored, bitorder="little"))

    @property
    def _order(self) -> np.ndarray | None:
        """The row of each vector as faiss numbers them; None where the numbers are equal."""
        if self._rows is None and len(self._held_out):
            rows = np.arange(len(self))
            self._rows = np.concatenate([np.setdiff1d(rows, self._held_out, assume_unique=True), self._held_out])
        return self._rows

    # Keeping ----------------------------------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """What ``index.json`` says of the index itself, and what ``--json`` shows."""
        return {
            "kind": self.kind,
            "rows": len(self),
            "dim": self.dim,
            "parameters": self.parameters,
            "recall": {"at": RECALL_AT, **asdict(self.recall)},
        }

    def save(self, folder: Path, **facts: Any) -> Path:
        """Write the index into ``folder``; a reader sees the old one, the new one, or none.

        Args:
            folder: Made when it is not there.
            facts: Kept in ``index.json`` beside the rest: whose vectors these are.
        """
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{INDEX}.{secrets.token_hex(4)}.partial"
        try:
            faiss.write_index(self._index, str(temporary))
            said = {
                "format": FORMAT,
                **facts,
                **self.about(),
                "held_out": self._held_out.tolist(),
                "faiss": faiss.__version__,
                "bytes": temporary.stat().st_size,
                "sha256": file_sha256(temporary),
            }
            (folder / ABOUT).unlink(missing_ok=True)
            temporary.replace(folder / INDEX)
            beside = temporary.with_name(f".{ABOUT}.{secrets.token_hex(4)}.partial")
            beside.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
            beside.replace(folder / ABOUT)
        finally:
            temporary.unlink(missing_ok=True)
        return folder

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The index that `save` wrote.

        Raises:
            DataError: There is none, or it is not what its ``index.json`` says.
        """
        said = read_about(folder)
        path = folder / INDEX
        try:
            found = file_sha256(path)
        except OSError as error:
            raise _unusable(folder, f"{INDEX} cannot be read: {error.strerror}") from error
        if found != said["sha256"]:
            raise _unusable(folder, f"{INDEX} was altered or cut since it was written")
        index = faiss.read_index(str(path))
        recall = {name: value for name, value in said["recall"].items() if name != "at"}
        held_out = np.asarray(said["held_out"], np.int64)
        made = cls(index, said["kind"], said["parameters"], Recall(**recall), held_out)
        if (len(made), made.dim) != (said["rows"], said["dim"]):
            raise _unusable(folder, f"{ABOUT} speaks of {said['rows']} vectors, {INDEX} holds {len(made)}")
        return made


_SAID = {"sha256", "rows", "dim", "parameters", "recall", "held_out"}


def read_about(folder: Path) -> dict[str, Any]:
    """What ``index.json`` of a kept index says.

    Raises:
        DataError: There is none, or it is of another format.
    """
    try:
        said = json.loads((folder / ABOUT).read_text("utf-8"))
    except FileNotFoundError:
        raise DataError("no index is kept here", where=str(folder), change="--rebuild") from None
    except (OSError, ValueError) as error:
        raise _unusable(folder, f"{ABOUT} cannot be read: {error}") from None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise _unusable(folder, f"{ABOUT} is not of format {FORMAT}, which this version reads")
    if said.get("kind") not in _MAKERS or not said.keys() >= _SAID:
        raise _unusable(folder, f"{ABOUT} is incomplete")
    return said


def _unusable(folder: Path, why: str) -> DataError:
    return DataError(f"the index cannot be used: {why}", where=str(folder), change="add --rebuild, to index again")


def _checked(vectors: np.ndarray, name: str) -> np.ndarray:
    """Contiguous float32 ``(rows, dim)``, as faiss reads it."""
    made = np.ascontiguousarray(vectors, np.float32)
    if made.ndim != 2:
        raise ValueError(f"{name} of shape {made.shape}; (rows, dim) is needed")
    if not np.isfinite(made).all():
        raise DataError(
            f"{int((~np.isfinite(made).all(1)).sum()):,} of {len(made):,} {name} are not finite numbers",
            change="the model that made them, or embed again",
        )
    return made


def _flat(vectors: np.ndarray, others: np.ndarray, seed: int) -> tuple[Any, dict[str, int]]:
    return faiss.IndexFlatIP(vectors.shape[1]), {}


def _ivf(vectors: np.ndarray, others: np.ndarray, seed: int) -> tuple[Any, dict[str, int]]:
    rows, dim = len(others), vectors.shape[1]
    lists = num_lists(rows)
    # METRIC_INNER_PRODUCT makes faiss's k-means spherical: centroids are directions, as the vectors are.
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed + 1
    index.cp.min_points_per_centroid = (
        1  # `num_lists` sees to that; a handful of vectors would be warned about on stderr
    )
    index.train(vectors[others[draw_sample(rows, seed, TRAINED_PER_LIST * lists)]])
    return index, {"lists": lists, "visited": 1}


def _hnsw(vectors: np.ndarray, others: np.ndarray, seed: int) -> tuple[Any, dict[str, int]]:
    index = faiss.IndexHNSWFlat(vectors.shape[1], GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = GRAPH_BUILD_EFFORT
    return index, {"links": GRAPH_LINKS, "build_effort": GRAPH_BUILD_EFFORT, "effort": 16}


_MAKERS: dict[str, Callable[[np.ndarray, np.ndarray, int], tuple[Any, dict[str, int]]]] = {
    "flat": _flat,
    "ivf": _ivf,
    "hnsw": _hnsw,
}


def _probe(vectors: np.ndarray, rows: np.ndarray, queries: np.ndarray) -> Probe:
    """Exact answers among ``rows``, a part of them at a time: no second copy of all vectors."""
    k = min(RECALL_AT, len(rows))
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(rows), COMPARED_AT_ONCE):
        part = vectors[rows[start : start + COMPARED_AT_ONCE]]
        scores, _ = faiss.knn(queries, part, min(k, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :k]
    return Probe(queries, best[:, -1], k)


def _untold(count: int, total: int) -> None:
    """Progress that nobody watches."""
