"""What MOON's own figures mean, for tables and reports; those of what it writes are in `generation_evaluation`."""

from __future__ import annotations

from moon_zoo.metrics.catalogue import MetricInfo, register


def _info(pattern: str, unit: str, meaning: str, *, low: float | None = 0.0, high: float | None = None) -> MetricInfo:
    return MetricInfo(pattern, unit, "", meaning, low, high)


register(
    MetricInfo(
        "matryoshka/{size}/{task}/recall@{k}",
        "fraction",
        "higher",
        "recall@k by the first so many numbers of the embeddings alone, of unit length again.",
        0.0,
        1.0,
    ),
    _info(
        "negatives/{origin}",
        "documents",
        "Mean number of negatives of a query: in the batch, hard, of other ranks, queued.",
    ),
    _info(
        "expert_load/imbalance",
        "ratio",
        "Load of the most used general expert over the mean, of all layers; 1 is even.",
        low=1.0,
    ),
    _info(
        "expert_load/{type}/{expert}",
        "fraction",
        "Share of a field's tokens that went to an expert, of all layers.",
        high=1.0,
    ),
    _info("filtered_share", "fraction", "Share of queries that count less because their pair looks wrong.", high=1.0),
    _info(
        "mean_cosine/{side}",
        "cosine",
        "Mean cosine between different rows of a batch: 1 is collapse.",
        low=-1.0,
        high=1.0,
    ),
)
