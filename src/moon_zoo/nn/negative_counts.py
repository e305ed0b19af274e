"""How many negatives a query is compared with, and where they come from: what the number of negatives is worth
(arXiv:2511.11305) can only be told if it is known.

Counted as the losses see them: without positives, invalid rows, ignored ids and what lies above the similarity
ceiling.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.pairs import Pairs, extra_exclusions
from moon_zoo.nn.tiles import Exclusions, TiledMatrix, tile_side

ORIGINS = ("in_batch", "hard", "other_ranks", "queue")
"""Where a negative can come from: the batch's own positives of others, hard negatives in it, other ranks, past steps."""


@torch.no_grad()
def count_negatives(
    queries: Tensor,
    documents: Tensor,
    *,
    hard: int = 0,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    query_ignore: Tensor | None = None,
    document_ignore: Tensor | None = None,
    extra_documents: ExtraDocuments | None = None,
    similarity_ceiling: float | None = None,
    gather: bool = True,
    tile: int | None = None,
) -> dict[str, Tensor]:
    """Mean number of negatives per query over all ranks' queries that have a positive.

    Args:
        queries: Unit length, ``(queries, dim)``; only with a ceiling do their values matter.
        documents: Unit length, ``(documents, dim)``.
        hard: How many of the last documents are hard negatives.
        query_groups: See `moon_zoo.nn.info_nce.info_nce`, as all others.
        document_groups: See `info_nce`.
        query_valid: See `info_nce`.
        document_valid: See `info_nce`.
        query_ignore: See `info_nce`.
        document_ignore: See `info_nce`.
        extra_documents: See `info_nce`.
        similarity_ceiling: See `info_nce`.
        gather: See `info_nce`.
        tile: See `info_nce`.

    Returns:
        Float scalars, the same on all ranks: one for each of `ORIGINS`, and ``all``, their sum.
    """
    pairs = Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid, gather)
    positives = pairs.positives()
    ceilings = pairs.query_ceilings(similarity_ceiling, positives)
    if ceilings is None:  # similarities decide nothing: products of no columns cost nothing
        queries, columns = queries[:, :0], pairs.documents[:, :0]
    else:
        columns = pairs.documents
    origins = torch.full((len(columns),), ORIGINS.index("other_ranks"), device=queries.device)
    origins[pairs.own] = ORIGINS.index("in_batch")
    origins[pairs.own.stop - hard : pairs.own.stop] = ORIGINS.index("hard")
    exclusions = pairs.exclusions(query_ignore, document_ignore, ceilings=(ceilings, None))
    counts = _per_row(queries, columns, origins, exclusions, tile)
    if extra_documents is not None:
        beyond = extra_exclusions(pairs.query_groups, query_ignore, extra_documents, ceilings)
        constants = extra_documents.embeddings[:, : queries.shape[1]]
        queue = torch.full((len(constants),), ORIGINS.index("queue"), device=queries.device)
        counts += _per_row(queries, constants, queue, beyond, tile)
    counted = pairs.counted(positives[1]).to(counts.dtype)
    sums = sum_over_ranks(torch.cat([counted @ counts, counted.sum().unsqueeze(0)]))
    means = sums[:-1] / sums[-1].clamp_min(1.0)
    return {**dict(zip(ORIGINS, means.unbind(), strict=True)), "all": means.sum()}


def _per_row(rows: Tensor, columns: Tensor, origins: Tensor, exclusions: Exclusions, tile: int | None) -> Tensor:
    """Number of negatives of each row by origin, ``(rows, origins)``."""
    matrix = TiledMatrix(rows, columns, rows.new_ones(()), exclusions, tile_side(rows, tile))
    counts = torch.zeros(len(rows), len(ORIGINS), device=rows.device)
    from_origin = torch.nn.functional.one_hot(origins, len(ORIGINS)).float()
    for similarity, row_slice, column_slice in matrix.tiles():
        negative = ~similarity.isneginf()
        positive = exclusions.same_group(row_slice, column_slice)
        if positive is not None:
            negative &= ~positive
        counts[row_slice] += negative.float() @ from_origin[column_slice]
    return counts
