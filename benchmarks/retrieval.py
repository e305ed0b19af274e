"""Recall, MRR and nDCG of 10,000 queries with 40 candidates each, beside torchmetrics: time, equal values.

python benchmarks/retrieval.py
python benchmarks/retrieval.py --queries 1000 --rounds 3        # a quick look
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from _harness import OURS, compare, warn_if_busy, write_rows

PEER = "torchmetrics"
TARGET = ">= 300"
CALLS_PER_ROUND = 20
"""Ours takes milliseconds: one round is the median of that many calls, between two rounds of the peer."""


def inputs(queries: int, candidates: int) -> tuple[Tensor, Tensor]:
    """Scores above 0 (torchmetrics drops relevant candidates scored 0 or less) and three relevant candidates each."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(queries, candidates, generator=generator) + 0.1
    relevance = torch.zeros(queries, candidates, dtype=torch.bool)
    chosen = torch.rand(queries, candidates, generator=generator).argsort(1)[:, :3]
    return scores, relevance.scatter_(1, chosen, True)


def ours(scores: Tensor, relevance: Tensor, k: int) -> Callable[[], dict[str, float]]:
    from moon_zoo.metrics.retrieval import ranking_metrics

    def run() -> dict[str, float]:
        found = ranking_metrics(scores, relevance, ks=(k,))
        return {"recall": found[f"recall@{k}"].mean(), "mrr": found["mrr"].mean(), "ndcg": found["ndcg"].mean()}

    return run


def theirs(scores: Tensor, relevance: Tensor, k: int) -> Callable[[], dict[str, float]]:
    from torchmetrics.retrieval import RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

    indexes = torch.arange(len(scores)).repeat_interleave(scores.shape[1])

    def run() -> dict[str, float]:
        metrics = {"recall": RetrievalRecall(top_k=k), "mrr": RetrievalMRR(), "ndcg": RetrievalNormalizedDCG()}
        for metric in metrics.values():
            metric.update(scores.flatten(), relevance.flatten(), indexes=indexes)
        return {name: metric.compute() for name, metric in metrics.items()}

    return run


def timed(run: Callable[[], object], calls: int) -> float:
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[calls // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warn_if_busy()
    scores, relevance = inputs(arguments.queries, arguments.candidates)
    runs = {OURS: ours(scores, relevance, 10), PEER: theirs(scores, relevance, 10)}
    found, expected = runs[OURS](), runs[PEER]()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
    print("values are equal", {name: round(float(value), 6) for name, value in found.items()}, flush=True)
    seconds: dict[str, list[float]] = {OURS: [], PEER: [], "sort": []}
    for _ in range(arguments.rounds):
        seconds[OURS].append(timed(runs[OURS], CALLS_PER_ROUND))
        seconds[PEER].append(timed(runs[PEER], 1))
        seconds["sort"].append(timed(lambda: scores.numpy().copy().sort(axis=1), CALLS_PER_ROUND))
    floor = sorted(seconds.pop("sort"))[arguments.rounds // 2]
    case = f"recall@10, MRR and nDCG of {arguments.queries} x {arguments.candidates}, {torch.get_num_threads()} threads"
    rows = compare(
        case,
        seconds,
        ratio_of="peer / ours",
        targets={PEER: TARGET},
        floor=f"{floor:.2g} s: numpy sorting the scores alone",
        packages=("torchmetrics", "numpy"),
    )
    write_rows("retrieval", rows)


if __name__ == "__main__":
    main()
