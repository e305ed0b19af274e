"""Pairs that look wrong count less: a query whose item is no nearer to it than other items is probably noise.

``phi = sigmoid(kappa ((<q, p> - <q, n>) - m))``; pairs of ``phi`` under a threshold are down-weighted, and m decays, so
that hard but right pairs come back once the model can tell them. Source: MOON2.0's dynamic sample filtering,
arXiv:2511.12449 (phi and the threshold 0.6). Ours: kappa, the course of m, the weight ``phi / threshold`` under the
threshold (1 above it), and what n is where a sample has no hard negative: the mean over the other items of all ranks'
batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks
from moon_zoo.nn.pairs import Pairs

THRESHOLD = 0.6


def decayed_margin(step: int, *, start: float = 0.2, half_life_steps: float = 1000.0) -> float:
    """m at a step: halved every ``half_life_steps``.

    Args:
        step: Steps done, at least 0.
        start: m at step 0.
        half_life_steps: Above 0.
    """
    return start * 0.5 ** (step / half_life_steps)


@torch.no_grad()
def pair_weights(
    queries: Tensor,
    documents: Tensor,
    *,
    margin: float,
    sharpness: float = 10.0,
    threshold: float = THRESHOLD,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    hard_negatives: Tensor | None = None,
    hard_valid: Tensor | None = None,
) -> Tensor:
    """How much each query should count, for ``query_weights`` of a loss.

    Args:
        queries: Unit length, ``(queries, dim)``.
        documents: This rank's items, unit length, ``(documents, dim)``; without hard negatives.
        margin: m: how much nearer than a negative the positive must be for ``phi`` to be 1/2.
        sharpness: kappa, above 0.
        threshold: ``phi`` from which a pair counts fully, in ``(0, 1)``.
        query_groups: See `moon_zoo.nn.info_nce.info_nce`, as the next three.
        document_groups: See `info_nce`.
        query_valid: See `info_nce`.
        document_valid: See `info_nce`.
        hard_negatives: Unit length, ``(queries, negatives, dim)``; the most similar one is compared with.
        hard_valid: True on those that are there, ``(queries, negatives)``; None for all.

    Returns:
        float32 ``(queries,)`` in ``(0, 1]``; 1 where there is nothing to compare.

    Raises:
        ValueError: The threshold or the sharpness is out of range.
    """
    if not 0 < threshold < 1 or not sharpness > 0:
        raise ValueError(f"threshold must be between 0 and 1 and sharpness above 0, not {threshold} and {sharpness}")
    pairs = Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid)
    summed, counts = pairs.positives()
    negative, compared = _mean_negative(pairs, summed, counts)
    if hard_negatives is not None:
        similarity = torch.einsum("qd,qnd->qn", queries.float(), hard_negatives.float())
        if hard_valid is not None:
            similarity = similarity.masked_fill(~hard_valid, float("-inf"))
        hardest = similarity.amax(1)
        has_hard = ~hardest.isneginf()
        negative = torch.where(has_hard, hardest.to(negative.dtype), negative)
        compared = compared | has_hard
    gap = summed / counts.clamp_min(1.0) - negative
    phi = torch.sigmoid(sharpness * (gap - margin))
    weights = (phi / threshold).clamp_max(1.0)
    return torch.where(compared & (counts > 0), weights, torch.ones_like(weights)).float()


def _mean_negative(pairs: Pairs, summed: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity of each query to documents of other groups, and whether there is one."""
    documents = pairs.documents.to(summed.dtype)
    if pairs.document_valid is not None:
        documents = torch.where(pairs.document_valid[:, None], documents, documents.new_zeros(()))
        total = pairs.document_valid.sum()
    else:
        total = counts.new_tensor(float(len(documents)))
    others = total - counts
    similarity = pairs.queries.to(summed.dtype) @ documents.sum(0) - summed
    return similarity / others.clamp_min(1.0), others > 0


def share_below(weights: Tensor, valid: Tensor | None = None) -> Tensor:
    """Share of all ranks' valid queries that were down-weighted, a scalar in ``[0, 1]``, for logging.

    Args:
        weights: Of `pair_weights`, ``(queries,)``.
        valid: True on queries that count, ``(queries,)``; None for all.
    """
    valid = torch.ones_like(weights, dtype=torch.bool) if valid is None else valid
    sums = sum_over_ranks(torch.stack([((weights < 1) & valid).sum(), valid.sum()]).float())
    return sums[0] / sums[1].clamp_min(1.0)
