"""Retrieval metrics over whole sets at once, with bounded memory and a stated rule for ties.

Two forms: `ranking_metrics` for a list of candidates per query with graded or binary relevance, and `retrieval_ranks`
for every query against every document, where a document is relevant if it is of the query's group.

Ties are resolved as if documents of one score came in random order, so a model that gives everything the same score
gets what chance gets, neither the best nor the worst. Recall and nDCG are the expectations over that order. A first
relevant document's rank is its expected rank, ``1 + better + tied_irrelevant / (1 + tied_relevant)``, and MRR is the
reciprocal of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STRIP_BYTES = 128 << 20
"""Memory for one strip of similarities, in bytes; masks and one copy come to twice as much again."""

LIST_BYTES = 1 << 20
"""Bytes of scores that `ranking_metrics` takes at a time on a CPU, so that all it makes of them stays in the cache."""

RESOLUTION = 2.0**-20
"""Cosines nearer than this are ties: products of equal vectors differ in their last bits with the place in a matrix."""


def ranking_metrics(
    scores: Tensor, relevance: Tensor, valid: Tensor | None = None, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, Tensor]:
    """Recall, reciprocal rank and nDCG of every query over its own list of candidates.

    Args:
        scores: Higher is better, ``(queries, candidates)``.
        relevance: Bool, or gains of at least 0 for nDCG (linear); relevant is what is above 0. ``(queries,
        candidates)``.
        valid: True on candidates that are there, ``(queries, candidates)``; None for all. Lists may differ in length.
        ks: Cut-offs.

    Returns:
        ``recall@k``, ``ndcg@k`` for each k, ``mrr`` and ``ndcg`` (no cut-off), each float32 ``(queries,)`` in ``[0,
        1]``; 0 for a query without a relevant candidate. The mean over queries is the metric.
    """
    if scores.ndim != 2 or scores.shape != relevance.shape:
        raise ValueError(
            f"scores and relevance must be (queries, candidates): {tuple(scores.shape)}, {tuple(relevance.shape)}"
        )
    _check_cut_offs(ks)
    strips = [
        _strip_metrics(scores[rows], relevance[rows], None if valid is None else valid[rows], ks)
        for rows in _strips(len(scores), scores.shape[1], LIST_BYTES if scores.device.type == "cpu" else STRIP_BYTES)
    ]
    if not strips:
        strips = [_strip_metrics(scores.new_zeros(0, 1), relevance.new_zeros(0, 1), None, ks)]
    return {name: torch.cat([strip[name] for strip in strips]) for name in strips[0]}


def _strip_metrics(scores: Tensor, relevance: Tensor, valid: Tensor | None, ks: Sequence[int]) -> dict[str, Tensor]:
    if bool(scores.isnan().any()):
        raise ValueError("a score is not a number: it has no place in an order")
    gains = relevance.float()
    if valid is not None:
        # Behind all others and without gain: they neither rank nor count.
        scores = scores.masked_fill(~valid, float("-inf"))
        gains = gains.masked_fill(~valid, 0.0)
    ordered, order = _descending(scores)
    gains = gains.gather(1, order)
    graded = relevance.dtype != torch.bool
    relevant = (gains > 0).float() if graded else gains
    ideal = gains.sort(dim=1, descending=True).values if graded else None
    first = relevant.argmax(dim=1).float() + 1.0
    same = ordered[:, 1:] == ordered[:, :-1]
    if bool(same.any()):
        tied = same.any(1).nonzero().squeeze(1)
        first[tied] = _first_among_ties(ordered[tied], relevant[tied])
        relevant = relevant.index_copy(0, tied, _spread_over_ties(ordered[tied], relevant[tied]))
        gains = gains.index_copy(0, tied, _spread_over_ties(ordered[tied], gains[tied])) if graded else relevant
    return _figures(relevant, gains, ideal, first, ks)


def _descending(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Each row sorted downwards, and where each value was."""
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        return scores.sort(dim=1, descending=True)
    # numpy sorts int64 with vector instructions, an order of magnitude faster than torch sorts pairs. So score and
    # place share one number: bits of a float read as an integer rise with it, if those of negative floats are turned
    # round.
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0, its equal
    falling = _rising(bits).bitwise_not_()
    keys = falling.to(torch.int64)
    keys.bitwise_left_shift_(32).bitwise_or_(torch.arange(scores.shape[1]))
    keys.numpy().sort(axis=1)
    order = keys & 0xFFFFFFFF
    falling = keys.bitwise_right_shift_(32).to(torch.int32)
    return _rising(falling.bitwise_not_()).view(torch.float32), order


def _rising(bits: Tensor) -> Tensor:
    """Bits of floats to integers of the same order; its own inverse."""
    return bits ^ (bits >> 31).bitwise_and_(0x7FFFFFFF)


def _figures(
    relevant: Tensor, gains: Tensor, ideal: Tensor | None, first: Tensor, ks: Sequence[int]
) -> dict[str, Tensor]:
    length = gains.shape[1]
    place = torch.arange(length, device=gains.device)
    discount = (place + 2.0).log2_().reciprocal_()
    cut_offs = (*ks, length)
    # One product gives the sums up to every cut-off: a column per cut-off, 1 (or the discount) above it and 0 below.
    up_to = (place[:, None] < torch.tensor(cut_offs, device=gains.device)).float()  # (candidates, cut-offs)
    discounted_up_to = up_to * discount[:, None]
    found = relevant @ up_to
    gained = gains @ discounted_up_to
    total = found[:, -1]
    if ideal is None:
        # The best order of n relevant ones gains the first n discounts.
        steps = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
        counts = total.round().to(torch.int64)
        best = torch.stack([steps[counts.clamp_max(k)] for k in cut_offs], 1)
    else:
        best = ideal @ discounted_up_to
    none = total == 0
    recall = (found / total.masked_fill(none, 1.0)[:, None]).unbind(1)
    ndcg = (gained / best.masked_fill(none[:, None], 1.0)).unbind(1)
    figures = {f"recall@{k}": values for k, values in zip(ks, recall)}
    figures |= {f"ndcg@{k}": values for k, values in zip(ks, ndcg)}
    return figures | {"ndcg": ndcg[-1], "mrr": first.reciprocal().masked_fill_(none, 0.0)}


def _first_among_ties(scores: Tensor, relevant: Tensor) -> Tensor:
    """The same, as the expectation over the order of ties."""
    best = scores.masked_fill(relevant == 0, float("-inf")).amax(1, keepdim=True)
    better = (scores > best).sum(1)
    tied = scores == best
    tied_relevant = (tied & (relevant > 0)).sum(1)
    tied_irrelevant = tied.sum(1) - tied_relevant
    return 1.0 + better + tied_irrelevant / (1.0 + tied_relevant)


def _spread_over_ties(scores: Tensor, gains: Tensor) -> Tensor:
    """Each place gets the mean gain of the places that share its score: what it holds on average."""
    starts = torch.ones_like(scores, dtype=torch.bool)
    starts[:, 1:] = scores[:, 1:] != scores[:, :-1]
    slot = starts.flatten().cumsum(0) - 1  # every row starts a slot of its own
    sums = gains.new_zeros(scores.numel()).index_add_(0, slot, gains.flatten())
    counts = gains.new_zeros(scores.numel()).index_add_(0, slot, torch.ones_like(gains).flatten())
    return (sums / counts.clamp_min(1.0))[slot].view_as(gains)


@dataclass(frozen=True)
class Ranks:
    """Where each query found its best relevant document.

    Args:
        ranks: Rank from 1 (fractional among ties) of the best relevant document, NaN without one; float64
        ``(queries,)``.
        num_relevant: How many documents are relevant, int64 ``(queries,)``.
        num_documents: Among how many documents the query ranked, int64 ``(queries,)``.
    """

    ranks: Tensor
    num_relevant: Tensor
    num_documents: Tensor

    @property
    def answerable(self) -> Tensor:
        """True on queries with a relevant document; the others are skipped by all figures."""
        return self.num_relevant > 0

    @property
    def num_skipped(self) -> int:
        """How many queries have no relevant document."""
        return int((~self.answerable).sum())


@torch.no_grad()
def retrieval_ranks(
    queries: Tensor,
    documents: Tensor,
    query_groups: Tensor,
    document_groups: Tensor,
    *,
    query_items: Tensor | None = None,
    document_items: Tensor | None = None,
    strip_bytes: int = STRIP_BYTES,
) -> Ranks:
    """Rank every document for every query by inner product, a strip of queries at a time.

    Args:
        queries: Unit length, ``(queries, dim)``.
        documents: Unit length, ``(documents, dim)``.
        query_groups: int64 ``(queries,)``. Documents of a query's group are relevant.
        document_groups: int64 ``(documents,)``.
        query_items: int64 ``(queries,)``, with ``document_items``: documents of the query's own id are passed over,
            as a product must not find itself. None: none are.
        document_items: int64 ``(documents,)``.
        strip_bytes: Memory for similarities, in bytes.

    Returns:
        Ranks of all queries. Memory beside inputs and results is a few strips.
    """
    _check_pairs(queries, documents, query_items, document_items)
    documents = documents.float()  # once, not for every strip
    found, relevant_counts, document_counts = [], [], []
    for strip in _strips(len(queries), len(documents), strip_bytes):
        scores = _similarities(queries[strip], documents)
        relevant = query_groups[strip, None] == document_groups
        if query_items is not None and document_items is not None:
            own = query_items[strip, None] == document_items
            scores.masked_fill_(own, float("-inf"))
            relevant &= ~own
            document_counts.append(len(documents) - own.sum(1))
        else:
            document_counts.append(torch.full_like(query_groups[strip], len(documents)))
        best = scores.masked_fill(~relevant, float("-inf")).amax(1, keepdim=True)
        tied = scores == best
        tied_relevant = (tied & relevant).sum(1)
        tied_irrelevant = tied.sum(1) - tied_relevant
        better = (scores > best).sum(1)
        counts = relevant.sum(1)
        ranks = 1.0 + better + tied_irrelevant.double() / (1.0 + tied_relevant)
        found.append(ranks.masked_fill(counts == 0, math.nan))
        relevant_counts.append(counts)
    if not found:
        empty = query_groups.new_zeros(0)
        return Ranks(empty.double(), empty, empty)
    return Ranks(torch.cat(found), torch.cat(relevant_counts), torch.cat(document_counts))


@torch.no_grad()
def top_documents(
    queries: Tensor,
    documents: Tensor,
    k: int,
    *,
    query_items: Tensor | None = None,
    document_items: Tensor | None = None,
    strip_bytes: int = STRIP_BYTES,
) -> tuple[Tensor, Tensor]:
    """The best documents of every query.

    Args:
        queries: Unit length, ``(queries, dim)``.
        documents: Unit length, ``(documents, dim)``.
        k: How many; fewer where there are fewer documents.
        query_items: As in `retrieval_ranks`.
        document_items: As in `retrieval_ranks`.
        strip_bytes: Memory for similarities, in bytes.

    Returns:
        Similarities and positions among ``documents``, best first, both ``(queries, min(k, documents))``. A passed-over
        document that is needed to fill a row has similarity ``-inf``.
    """
    _check_pairs(queries, documents, query_items, document_items)
    documents = documents.float()
    k = min(k, len(documents))
    scores_of, places_of = [queries.new_zeros(0, k, dtype=torch.float32)], [queries.new_zeros(0, k, dtype=torch.int64)]
    for strip in _strips(len(queries), len(documents), strip_bytes):
        scores = _similarities(queries[strip], documents)
        if query_items is not None and document_items is not None:
            scores.masked_fill_(query_items[strip, None] == document_items, float("-inf"))
        best = scores.topk(k, dim=1)
        scores_of.append(best.values)
        places_of.append(best.indices)
    return torch.cat(scores_of), torch.cat(places_of)


@torch.no_grad()
def nearest_accuracy(embeddings: Tensor, labels: Tensor, class_embeddings: Tensor) -> tuple[float, int]:
    """Zero-shot classification: how often the nearest class embedding is that of the right class.

    Args:
        embeddings: Unit length, ``(samples, dim)``.
        labels: int64 ``(samples,)``, rows of ``class_embeddings``; below 0 where unknown, which is skipped.
        class_embeddings: Unit length, ``(classes, dim)``.

    Returns:
        Share of right answers in ``[0, 1]`` (0 if nothing is known), and how many samples it is of. A sample whose
        right class ties with t others counts ``1 / (1 + t)``, or 0 if any class is nearer.
    """
    known = labels >= 0
    right, count = 0.0, int(known.sum())
    embeddings, labels, class_embeddings = embeddings[known], labels[known], class_embeddings.float()
    for strip in _strips(count, len(class_embeddings), STRIP_BYTES):
        scores = _similarities(embeddings[strip], class_embeddings)
        own = scores.gather(1, labels[strip, None])
        first = ~(scores > own).any(1)
        right += float((first / (scores == own).sum(1).double()).sum())
    return right / max(count, 1), count


def chance_recall(k: int | Tensor, num_relevant: Tensor, num_documents: Tensor) -> Tensor:
    """Probability that k documents drawn at random hold a relevant one: recall@k of a model that knows nothing.

    Args:
        k: Cut-off, or a tensor of them.
        num_relevant: int64, broadcast with ``k``.
        num_documents: int64, broadcast with both.

    Returns:
        ``1 - C(documents - relevant, k) / C(documents, k)`` (hypergeometric), float64.
    """
    total, irrelevant = num_documents.double(), (num_documents - num_relevant).double()
    drawn = torch.minimum(total, torch.as_tensor(k, dtype=torch.float64, device=total.device))
    missed = (
        torch.lgamma(irrelevant + 1)
        - torch.lgamma((irrelevant - drawn).clamp_min(0) + 1)
        - torch.lgamma(total + 1)
        + torch.lgamma(total - drawn + 1)
    ).exp()
    return 1.0 - torch.where(irrelevant < drawn, missed.new_zeros(()), missed)


def _similarities(queries: Tensor, documents: Tensor) -> Tensor:
    """Inner products with float32 documents on a grid of `RESOLUTION`, float32 ``(queries, documents)``."""
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries.float() @ documents.T
    return scores.mul_(1 / RESOLUTION).round_().mul_(RESOLUTION)


def _strips(num_queries: int, num_documents: int, strip_bytes: int) -> Iterator[slice]:
    rows = max(1, strip_bytes // (4 * max(1, num_documents)))
    if num_documents == 0:
        raise ValueError("there are no documents to rank")
    for start in range(0, num_queries, rows):
        yield slice(start, min(start + rows, num_queries))


def _check_pairs(queries: Tensor, documents: Tensor, query_items: Tensor | None, document_items: Tensor | None) -> None:
    if queries.shape[1:] != documents.shape[1:]:
        raise ValueError(
            f"queries and documents must have one size: {tuple(queries.shape)} and {tuple(documents.shape)}"
        )
    if (query_items is None) != (document_items is None):
        raise ValueError("query_items and document_items must be given together")


def _check_cut_offs(ks: Sequence[int]) -> None:
    if any(k < 1 for k in ks):
        raise ValueError(f"cut-offs must be at least 1, not {min(ks)}")
