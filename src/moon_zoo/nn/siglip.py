"""Sigmoid loss: every pair is a yes-or-no question of its own, over a similarity matrix that is never held.

``loss = 1/N sum_ij log(1 + exp(-z_ij (scale * <q_i, d_j> + bias)))``, with z = +1 for pairs of one group and -1 for
others, and N the number of queries.

Source: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training" (SigLIP), arXiv:2303.15343, equation 1. Where
we
differ: several documents may be positives of one query (the paper has one), and a queue may add negatives.

Since ``softplus(-x) = softplus(x) - x``, the loss is the sum of softplus over all pairs, tiled, minus the positives'
logits, which are linear in the embeddings (see `moon_zoo.nn.positives`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from moon_zoo.nn.gathering import gather_constants, gather_with_gradient, sum_over_ranks, world_size
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.pairs import groups_or_positions
from moon_zoo.nn.positives import Groups
from moon_zoo.nn.tiles import Exclusions, tiled_softplus_sum


def sigmoid_loss(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    query_ignore: Tensor | None = None,
    document_ignore: Tensor | None = None,
    extra_documents: ExtraDocuments | None = None,
    tile: int | None = None,
) -> Tensor:
    """Sigmoid loss of queries against this batch's documents, of all ranks, per query.

    Args:
        queries: Unit length, ``(queries, dim)``; any float dtype, sums are float32.
        documents: Unit length, ``(documents, dim)``.
        scale: ``1 / temperature``; a scalar tensor may have a gradient.
        bias: Added to every logit; a scalar tensor may have a gradient (see `moon_zoo.nn.heads.LogitBias`).
        query_groups: int64 ``(queries,)``; pairs of one group are positives. None, together with ``document_groups``:
            document i is the one positive of query i.
        document_groups: int64 ``(documents,)``.
        query_valid: True on queries that count, ``(queries,)``; None for all.
        document_valid: True on documents that count, ``(documents,)``; None for all.
        query_ignore: int64 ``(queries,)``, with ``document_ignore``: pairs of equal ids that are not positives are
        left out.
        document_ignore: int64 ``(documents,)``.
        extra_documents: Further negatives without gradient (a queue). Those of the query's group are left out.
        tile: Rows and columns of the matrix held at a time; None for what suits the device.

    Returns:
        A scalar; averaged over ranks it is the loss, and has the gradient, of one process with the whole batch.
    """
    if (query_ignore is None) != (document_ignore is None):
        raise ValueError("query_ignore and document_ignore must be given together")
    query_groups, document_groups = groups_or_positions(queries, documents, query_groups, document_groups)
    all_documents = gather_with_gradient(documents)
    all_groups = gather_constants(document_groups)
    all_valid = None if document_valid is None else gather_constants(document_valid)
    dtype = torch.promote_types(queries.dtype, torch.float32)
    scale = torch.as_tensor(scale, dtype=dtype, device=queries.device)
    bias = torch.as_tensor(bias, dtype=dtype, device=queries.device)

    exclusions = Exclusions(
        rows=query_valid,
        columns=all_valid,
        row_ids=query_ignore,
        column_ids=None if document_ignore is None else gather_constants(document_ignore),
        row_groups=query_groups,
        column_groups=all_groups,
    )
    total = tiled_softplus_sum(queries, all_documents, scale, bias, exclusions, tile=tile)
    if extra_documents is not None:
        beyond = Exclusions(query_valid, extra_documents.valid, query_groups, extra_documents.groups)
        constants = extra_documents.embeddings.detach()
        total = total + tiled_softplus_sum(queries, constants, scale, bias, beyond, tile=tile)

    positives = Groups.of(all_groups, all_valid)
    sums = positives.sum_for(query_groups, all_documents)  # (queries, dim)
    counts = positives.count_for(query_groups).to(sums.dtype)
    logits = scale * (queries.to(sums.dtype) * sums).sum(1) + bias * counts
    if query_valid is not None:
        logits = torch.where(query_valid, logits, logits.new_zeros(()))
        count = sum_over_ranks(query_valid.sum(dtype=dtype)).clamp_min(1.0)
    else:
        count = sum_over_ranks(logits.new_tensor(float(len(queries)))).clamp_min(1.0)
    return (total - logits.sum()) * (world_size() / count)
