"""A faiss index over unit vectors: built with a stated recall, searched whole or within chosen rows, kept in a folder.

Scores are inner products, cosines where the vectors have length 1. Within chosen rows (`among`) results are always
exact: faiss's ID selectors, with every list visited, or the graph's stored vectors scanned. A graph searched under a
filter finds too few, and lists chosen for all items may hold none of the wanted.

A kept index is two files: ``index.faiss``, and ``index.json``, written last, with the sha256 that the first must have. What
was altered since, or cut short, is never given to faiss.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from moon_zoo.errors import DataError, UsageError
from moon_zoo.search.choosing import (
    GRAPH_BUILD_EFFORT,
    GRAPH_LINKS,
    MOST_GRAPH_EFFORT,
    RECALL_AT,
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

Advance = Callable[[int, int], None]
"""Called with the vectors indexed since the last call, and all there are."""


class SearchIndex:
    """Nearest neighbours among rows of unit vectors.

    Args:
        index: The faiss index.
        kind: ``flat``, ``ivf`` or ``hnsw``.
        parameters: What it was built with, and ``visited`` lists or ``effort`` of a search.
        recall: What was asked for and measured.

    Example:
        >>> index = SearchIndex.build(vectors, recall=0.99)
        >>> scores, rows = index.search(queries, k=10)
    """

    def __init__(self, index: Any, kind: Kind, parameters: Mapping[str, int], recall: Recall) -> None:
        self._index = index
        self.kind = kind
        self.parameters = dict(parameters)
        self.recall = recall

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
            queries: More sample queries than the rows themselves, name to unit vectors ``(num, dim)``, each name a group
                that must reach the recall: what is asked with may lie elsewhere than what is found.
            progress: Told what is done.

        Raises:
            DataError: There are no vectors, or some are not finite.
            UsageError: An unknown kind, or a recall outside ``(0, 1]``.
        """
        check_recall(recall)
        vectors = _checked(vectors, "vectors")
        if not len(vectors):
            raise DataError("there are no vectors to search in", change="the embeddings: embed more")
        chosen = choose_kind(kind, len(vectors))
        index, parameters = _MAKERS[chosen](vectors, seed)
        for start in range(0, len(vectors), ADDED_AT_ONCE):
            part = vectors[start : start + ADDED_AT_ONCE]
            index.add(part)
            if progress is not None:
                progress(len(part), len(vectors))
        made = cls(index, chosen, parameters, Recall(recall, seed=seed))
        made._tune(vectors, recall, seed, queries or {})
        return made

    def _tune(self, vectors: np.ndarray, target: float, seed: int, queries: Mapping[str, np.ndarray]) -> None:
        """Raise the effort of a search until every group of sample queries reaches the target."""
        if self.kind == "flat" or len(self) < 2:  # of a lone vector every search finds everything
            return
        rows = draw_sample(len(vectors), seed)
        probes = {"items": _probe(vectors, vectors[rows], rows)}
        for name, group in queries.items():
            if len(group):
                chosen = _checked(group[draw_sample(len(group), seed)], f"sample queries {name}")
                probes[name] = _probe(vectors, chosen, np.full(len(chosen), -1))
        key, most = ("visited", self.parameters["lists"]) if self.kind == "ivf" else ("effort", MOST_GRAPH_EFFORT)

        def recalls(effort: int) -> list[np.ndarray]:
            self.parameters[key] = effort
            return [probe.recalls(*self.search(probe.queries, probe.k + 1)) for probe in probes.values()]

        effort, means = least_effort(recalls, target, most)
        if self.kind == "hnsw":
            effort = max(effort, RECALL_AT + 1)  # a search never keeps fewer candidates than it returns
        self.parameters[key] = effort
        self.recall = Recall(target, dict(zip(probes, means)), len(rows), seed)

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
                self._all(queries, found) if among is None else self._within(queries, found, self._selector(among))
            )
        scores[rows < 0] = -np.inf  # faiss fills with the least float instead
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

    def _within(self, queries: np.ndarray, k: int, selector: Any) -> tuple[np.ndarray, np.ndarray]:
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
        return faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))

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
                "faiss": faiss.__version__,
                "bytes": temporary.stat().st_size,
                "sha256": _sha256(temporary),
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
            found = _sha256(path)
        except OSError as error:
            raise _unusable(folder, f"{INDEX} cannot be read: {error.strerror}") from error
        if found != said["sha256"]:
            raise _unusable(folder, f"{INDEX} was altered or cut since it was written")
        index = faiss.read_index(str(path))
        recall = {name: value for name, value in said["recall"].items() if name != "at"}
        made = cls(index, said["kind"], said["parameters"], Recall(**recall))
        if (len(made), made.dim) != (said["rows"], said["dim"]):
            raise _unusable(folder, f"{ABOUT} speaks of {said['rows']} vectors, {INDEX} holds {len(made)}")
        return made


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
    if said.get("kind") not in _MAKERS or not {"sha256", "rows", "dim", "parameters", "recall"} <= said.keys():
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


def _flat(vectors: np.ndarray, seed: int) -> tuple[Any, dict[str, int]]:
    return faiss.IndexFlatIP(vectors.shape[1]), {}


def _ivf(vectors: np.ndarray, seed: int) -> tuple[Any, dict[str, int]]:
    rows, dim = vectors.shape
    lists = num_lists(rows)
    # METRIC_INNER_PRODUCT makes faiss's k-means spherical: centroids are directions, as the vectors are.
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed + 1
    index.cp.min_points_per_centroid = (
        1  # `num_lists` sees to that; a handful of vectors would be warned about on stderr
    )
    index.train(vectors[draw_sample(rows, seed, TRAINED_PER_LIST * lists)])
    return index, {"lists": lists, "visited": 1}


def _hnsw(vectors: np.ndarray, seed: int) -> tuple[Any, dict[str, int]]:
    index = faiss.IndexHNSWFlat(vectors.shape[1], GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = GRAPH_BUILD_EFFORT
    return index, {"links": GRAPH_LINKS, "build_effort": GRAPH_BUILD_EFFORT, "effort": 16}


_MAKERS: dict[str, Callable[[np.ndarray, int], tuple[Any, dict[str, int]]]] = {
    "flat": _flat,
    "ivf": _ivf,
    "hnsw": _hnsw,
}


def _probe(vectors: np.ndarray, queries: np.ndarray, own_rows: np.ndarray) -> Probe:
    """Exact answers for sample queries."""
    own = int((own_rows >= 0).any())
    k = min(RECALL_AT, len(vectors) - own)
    scores, rows = faiss.knn(queries, vectors, k + own, metric=faiss.METRIC_INNER_PRODUCT)
    scores[rows == own_rows[:, None]] = -np.inf
    return Probe(queries, own_rows, -np.sort(-scores, axis=1)[:, k - 1], k)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
