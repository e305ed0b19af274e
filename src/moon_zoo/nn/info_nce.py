"""InfoNCE with several positives per query, over a similarity matrix that is never held.

``loss_i = logsumexp_j s_ij - mean_{p in P(i)} s_ip``, with ``s_ij = scale * <q_i, d_j>`` and P(i) the documents of
query i's group. With one positive it is the cross-entropy of CLIP.

Sources: van den Oord et al. 2018, arXiv:1807.03748 (InfoNCE); Radford et al. 2021, "CLIP", arXiv:2103.00020 (both
directions); Khosla et al. 2020, "Supervised Contrastive Learning", arXiv:2004.11362, equation 2: the mean over
positives is taken *outside* the logarithm ("out"), and all positives stay in the denominator.

Under several processes every rank keeps its own rows of the matrix and gathers the documents. A symmetric loss
gathers no
queries: each rank sums its part of every column, and the parts are joined. Averaged over ranks, values and gradients
are those of one process with the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moon_zoo.nn.gathering import logsumexp_over_ranks, sum_over_ranks, world_size
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.pairs import Pairs, extra_exclusions
from moon_zoo.nn.tiles import Exclusions, tiled_logsumexp


def info_nce(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float,
    *,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    query_ignore: Tensor | None = None,
    document_ignore: Tensor | None = None,
    query_weights: Tensor | None = None,
    extra_documents: ExtraDocuments | None = None,
    similarity_ceiling: float | None = None,
    gather: bool = True,
    tile: int | None = None,
) -> Tensor:
    """Mean loss of queries against this batch's documents, of all ranks.

    Hard negatives are documents like any other, with a gradient: put them behind the positives, with groups of their
    own. A hard negative of the same group as another query is then that query's positive, as it should be.

    Args:
        queries: Unit length, ``(queries, dim)``; any float dtype, sums are float32.
        documents: Unit length, ``(documents, dim)``.
        scale: ``1 / temperature``; a scalar tensor may have a gradient (see `moon_zoo.nn.heads.LogitScale`).
        query_groups: int64 ``(queries,)``. Documents of a query's group are its positives. None, together with
            ``document_groups``: document i is the one positive of query i, and documents beyond the queries are
            negatives.
        document_groups: int64 ``(documents,)``.
        query_valid: True on queries that count, ``(queries,)``; None for all.
        document_valid: True on documents that count, ``(documents,)``; None for all.
        query_ignore: int64 ``(queries,)``, with ``document_ignore``: pairs of equal ids that are not positives are left
            out, as items too alike to be called negatives. Or ``(queries, kinds)``: pairs of which any kind of id is
            equal, as item and SPU.
        document_ignore: int64 ``(documents,)`` or ``(documents, kinds)``.
        query_weights: How much each query counts in the mean, not negative and without gradient, ``(queries,)``; a
            weight of 2 is as the query twice (in the mean, not among the negatives). None for equal ones.
        extra_documents: Further negatives without gradient (a queue). Those of the query's group are left out.
        similarity_ceiling: Negatives of a cosine above that of the query's positive plus this are left out as probably
            false, e.g. 0.1; see `moon_zoo.nn.pairs`. None for no ceiling.
        gather: False for this rank's documents alone: no negatives of other ranks in this step (a queue still holds those
            of past steps). The mean is that of all ranks' queries either way.
        tile: Rows and columns of the matrix held at a time; None for what suits the device.

    Returns:
        A scalar. Queries that are invalid or have no positive are left out of the mean; 0 if none is left.
    """
    pairs = Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid, gather)
    scale = _scalar(scale, queries)
    similarity, counts = pairs.positives()
    ceilings = _logits(pairs.query_ceilings(similarity_ceiling, (similarity, counts)), scale)
    exclusions = pairs.exclusions(query_ignore, document_ignore, ceilings=(ceilings, None))
    log_sums, _ = tiled_logsumexp(pairs.queries, pairs.documents, scale, exclusions, tile=tile)
    if extra_documents is not None:
        beyond = extra_exclusions(pairs.query_groups, query_ignore, extra_documents, ceilings)
        log_sums = _with_extra(log_sums, pairs.queries, scale, extra_documents, beyond, tile)
    return _row_loss(pairs, log_sums, (scale * similarity, counts), query_weights)


def symmetric_info_nce(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float,
    *,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    query_ignore: Tensor | None = None,
    document_ignore: Tensor | None = None,
    extra_documents: ExtraDocuments | None = None,
    extra_queries: ExtraDocuments | None = None,
    similarity_ceiling: float | None = None,
    gather: bool = True,
    tile: int | None = None,
) -> Tensor:
    """Mean of `info_nce` from queries to documents and from documents to queries, in one pass over the matrix.

    Args:
        queries: See `info_nce`, as all others.
        documents: See `info_nce`.
        scale: See `info_nce`.
        query_groups: See `info_nce`.
        document_groups: See `info_nce`.
        query_valid: See `info_nce`.
        document_valid: See `info_nce`.
        query_ignore: See `info_nce`.
        document_ignore: See `info_nce`.
        extra_documents: Further negatives of queries.
        extra_queries: Further negatives of documents.
        similarity_ceiling: See `info_nce`; a pair above the ceiling of its query or of its document is left out of both
            directions.
        gather: See `info_nce`.
        tile: See `info_nce`.

    Returns:
        A scalar.
    """
    pairs = Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid, gather)
    scale = _scalar(scale, queries)
    similarity, counts = pairs.positives()
    row_ceilings = _logits(pairs.query_ceilings(similarity_ceiling, (similarity, counts)), scale)
    column_ceilings = _logits(pairs.document_ceilings(similarity_ceiling), scale)
    exclusions = pairs.exclusions(
        query_ignore, document_ignore, by_column=True, ceilings=(row_ceilings, column_ceilings)
    )
    row_sums, column_sums = tiled_logsumexp(
        pairs.queries, pairs.documents, scale, exclusions, by_column=True, tile=tile
    )
    if extra_documents is not None:
        beyond = extra_exclusions(pairs.query_groups, query_ignore, extra_documents, row_ceilings)
        row_sums = _with_extra(row_sums, pairs.queries, scale, extra_documents, beyond, tile)
    if extra_queries is not None:
        # Each rank adds the queue to its own documents' part of the sum; the parts of all ranks are joined below.
        before, own, after = column_sums.tensor_split([pairs.own.start, pairs.own.stop])
        own_ceilings = None if column_ceilings is None else column_ceilings[pairs.own]
        beyond = extra_exclusions(pairs.document_groups[pairs.own], document_ignore, extra_queries, own_ceilings)
        own = _with_extra(own, documents, scale, extra_queries, beyond, tile)
        column_sums = torch.cat([before, own, after])
    if gather:
        column_sums = logsumexp_over_ranks(column_sums)
    positives = (scale * similarity, counts)
    return 0.5 * (_row_loss(pairs, row_sums, positives) + _column_loss(pairs, column_sums, positives))


def _row_loss(
    pairs: Pairs, log_sums: Tensor, positives: tuple[Tensor, Tensor], weights: Tensor | None = None
) -> Tensor:
    """Of queries: ``(queries,)`` log-sums and the summed logits of their positives to a scalar."""
    logits, counts = positives
    return pairs.mean_over_queries(log_sums - logits / counts.clamp_min(1.0), pairs.counted(counts), weights)


def _column_loss(pairs: Pairs, log_sums: Tensor, positives: tuple[Tensor, Tensor]) -> Tensor:
    """Of documents: ``(all documents,)`` joined log-sums to a scalar.

    Document j's mean over its positive queries is spread over ranks: a query adds ``s_ij / |queries of the group|``
    for each of its positive documents.
    """
    all_queries = pairs.all_query_groups()
    counted = all_queries.count_for(pairs.document_groups) > 0
    if pairs.document_valid is not None:
        counted = counted & pairs.document_valid
    total, weight = counted.sum(dtype=log_sums.dtype), 1
    if not pairs.gathered:  # every rank has other columns: the mean is over all of them
        total, weight = sum_over_ranks(total), world_size()
    logits, document_counts = positives
    share = logits / all_queries.count_for(pairs.query_groups).clamp_min(1.0)
    pulled = torch.where(pairs.counted(document_counts), share, share.new_zeros(())).sum() * world_size()
    pushed = torch.where(counted, log_sums, log_sums.new_zeros(())).sum() * weight
    return (pushed - pulled) / total.clamp_min(1.0)


def _scalar(value: Tensor | float, like: Tensor) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype, device=like.device)


def _logits(ceilings: Tensor | None, scale: Tensor) -> Tensor | None:
    return None if ceilings is None else scale.detach() * ceilings


def _with_extra(
    log_sums: Tensor, rows: Tensor, scale: Tensor, extra: ExtraDocuments, exclusions: Exclusions, tile: int | None
) -> Tensor:
    """Log-sums with those of constants added."""
    further, _ = tiled_logsumexp(rows, extra.embeddings.detach(), scale, exclusions, tile=tile)
    return log_add(log_sums, further)


def log_add(first: Tensor, second: Tensor) -> Tensor:
    """Logarithm of the sum of two exponentials, elementwise, with gradient also where both are ``-inf``."""
    # logaddexp's gradient is NaN where both are -inf (nothing summed at all).
    nothing = first.isinf() & second.isinf()
    zero = first.new_zeros(())
    joined = torch.logaddexp(torch.where(nothing, zero, first), torch.where(nothing, zero, second))
    return torch.where(nothing, first, joined)
