"""Indexes over 10,000, 200,000 and 1,000,000 vectors of 128 numbers: building, asking, recall@10, bytes.

python benchmarks/search.py                                   # about 20 minutes on two cores, most of it the largest graph
python benchmarks/search.py --sizes 10000 --rounds 3          # a quick look

Ours is what `moon-zoo search` takes by itself (flat to 200,000 items, then ivf, for a recall of .99); beside it the other
kinds for the same recall, and faiss's bare exact search. The vectors are clustered without gaps, as embeddings of a
catalogue are: 24 latent numbers, normal around 300 centres (standard deviation .8, the centres' is 1), mapped to 128 by one
random matrix, then scaled to length 1. Queries are drawn alike; none is a vector of the index, nor of the sample that an
index was tuned on. Recall counts what scores as well as the exact tenth.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import faiss
import numpy as np

from _harness import OURS, Row, alternate, compare, warn_if_busy, write_rows
from moon_zoo.search.choosing import TIE, choose_kind
from moon_zoo.search.index import INDEX, SearchIndex

DIM = 128
LATENT, CENTRES, SPREAD = 24, 300, 0.8
QUERIES = 1000
SINGLE = 100
"""Queries asked one after another, for the time of one."""
K = 10
TARGET = 0.99
KINDS = ("flat", "ivf", "hnsw")
BARE = "faiss.knn"


def make(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors ``(rows, DIM)`` and queries ``(QUERIES, DIM)``."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, LATENT), dtype=np.float32)
    lift = rng.standard_normal((LATENT, DIM), dtype=np.float32)

    def draw(count: int) -> np.ndarray:
        latent = centres[rng.integers(0, CENTRES, count)]
        latent += SPREAD * rng.standard_normal((count, LATENT), dtype=np.float32)
        vectors = latent @ lift
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return draw(rows), draw(QUERIES)


def label(kind: str, rows: int) -> str:
    """Ours is the default; the others are asked for."""
    return OURS if kind == choose_kind("auto", rows) else f"--index {kind}"


def build(vectors: np.ndarray) -> tuple[dict[str, SearchIndex], dict[str, list[float]]]:
    """An index of each kind, and the seconds it took, tuning included."""
    indexes, seconds = {}, {}
    for kind in KINDS:
        start = time.perf_counter()
        index = SearchIndex.build(vectors, kind, TARGET)
        name = label(kind, len(vectors))
        indexes[name], seconds[name] = index, [time.perf_counter() - start]
        print(f"  {name}: {index.parameters}, {index.recall}, {seconds[name][0]:.1f} s", flush=True)
    return indexes, seconds


def ask(
    indexes: Mapping[str, SearchIndex], vectors: np.ndarray, queries: np.ndarray
) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {
        name: (lambda index=index: index.search(queries, K)) for name, index in indexes.items()
    }
    return runs | {BARE: lambda: faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)}


def ask_singly(indexes: Mapping[str, SearchIndex], queries: np.ndarray) -> dict[str, Callable[[], object]]:
    def run(index: SearchIndex) -> None:
        for query in queries[:SINGLE]:
            index.search(query[None], K)

    return {name: (lambda index=index: run(index)) for name, index in indexes.items()}


def recalls(indexes: Mapping[str, SearchIndex], vectors: np.ndarray, queries: np.ndarray) -> dict[str, list[float]]:
    exact, _ = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    found = {name: index.search(queries, K)[0] for name, index in indexes.items()}
    return {name: [float((scores >= exact[:, -1:] - TIE).mean())] for name, scores in found.items()}


def sizes_on_disk(indexes: Mapping[str, SearchIndex]) -> dict[str, list[float]]:
    sizes = {}
    for name, index in indexes.items():
        with tempfile.TemporaryDirectory() as folder:
            sizes[name] = [(index.save(Path(folder)) / INDEX).stat().st_size / 1e6]
    return sizes


def measure(rows: int, rounds: int) -> list[Row]:
    """All rows of one size."""
    vectors, queries = make(rows)
    print(f"{rows:,} x {DIM}", flush=True)
    indexes, seconds = build(vectors)
    case, packages = f"{rows:,} x {DIM}, {faiss.omp_get_max_threads()} threads", ("faiss-cpu", "numpy")
    ours = indexes[OURS]
    said = f"{ours.kind} {ours.parameters or ''}".strip()
    at_once = alternate(ask(indexes, vectors, queries), rounds=rounds)
    singly = alternate(ask_singly(indexes, queries), rounds=rounds)
    found = recalls(indexes, vectors, queries) | {"exact": [1.0]}
    milliseconds = {name: [1e3 * value / SINGLE for value in values] for name, values in singly.items()}
    read = f"{vectors.nbytes / 1e6:.0f} MB: the vectors"
    made = [
        compare(f"{case}: index ({said})", seconds, ratio_of="peer / ours", packages=packages),
        compare(f"{case}: {QUERIES} queries at once", at_once, ratio_of="peer / ours", packages=packages),
        compare(f"{case}: one query", milliseconds, unit="ms", ratio_of="peer / ours", packages=packages),
        compare(f"{case}: recall@{K}", found, unit="", targets={"exact": f">= {TARGET}"}, packages=packages),
        compare(f"{case}: on disk", sizes_on_disk(indexes), unit="MB", floor=read, packages=packages),
    ]
    return [row for part in made for row in part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 200_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warn_if_busy()
    write_rows("search", [row for rows in arguments.sizes for row in measure(rows, arguments.rounds)])


if __name__ == "__main__":
    main()
