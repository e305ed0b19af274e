"""Circle loss over whole batches: every similarity pulls as hard as it is far from where it should be.

``L_i = softplus(logsumexp_n gamma a_n (s_in - m) + logsumexp_p -gamma a_p (s_ip - (1 - m)))`` with
``a_p = [1 + m - s_ip]_+`` and ``a_n = [s_in + m]_+``, both constants for the gradient.

Source: Sun et al. 2020, "Circle Loss: A Unified Perspective of Pair Similarity Optimization", arXiv:2002.10857,
equations 6 and 8; the loss of MOON's second post-training stage (arXiv:2511.11305). As in `moon_zoo.nn.info_nce` the
matrix of similarities exists one tile at a time, positives come from groups, and documents from all ranks.

The gradient of a pair's logit is ``gamma a``: larger the worse the pair. So unlike in InfoNCE several positives are
not averaged; the least similar one leads.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from moon_zoo.nn.info_nce import log_add
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.pairs import Pairs, extra_exclusions
from moon_zoo.nn.tiles import Exclusions, LogSumGradient, TiledGradients, TiledMatrix, tile_side


def circle_loss(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float = 128.0,
    *,
    margin: float = 0.25,
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
    """Mean circle loss of queries against this batch's documents, of all ranks.

    Takes what `moon_zoo.nn.info_nce.info_nce` takes, and treats hard negatives, masks, queue and ranks alike.

    Args:
        queries: Unit length, ``(queries, dim)``; any float dtype, sums are float32.
        documents: Unit length, ``(documents, dim)``.
        scale: Gamma, above 0; a constant (a tensor gets no gradient).
        margin: m, in ``(0, 1)``: positives should be above ``1 - m``, negatives below ``m``.
        query_groups: See `info_nce`, as all others.
        document_groups: See `info_nce`.
        query_valid: See `info_nce`.
        document_valid: See `info_nce`.
        query_ignore: See `info_nce`.
        document_ignore: See `info_nce`.
        query_weights: See `info_nce`.
        extra_documents: See `info_nce`.
        similarity_ceiling: See `info_nce`.
        gather: See `info_nce`.
        tile: See `info_nce`.

    Returns:
        A scalar. Queries that are invalid or have no positive are left out of the mean; one without a negative adds 0.

    Raises:
        ValueError: The margin or the scale is out of range.
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin must be between 0 and 1, not {margin}")
    gamma = float(scale)
    if not gamma > 0:
        raise ValueError(f"scale must be above 0, not {gamma}")
    pairs = Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid, gather)
    positives = pairs.positives()
    ceilings = pairs.query_ceilings(similarity_ceiling, positives)
    exclusions = pairs.exclusions(query_ignore, document_ignore, ceilings=(ceilings, None))
    negative, positive = _circle_sums(pairs.queries, pairs.documents, gamma, margin, exclusions, tile)
    if extra_documents is not None:
        beyond = extra_exclusions(pairs.query_groups, query_ignore, extra_documents, ceilings)
        constants = extra_documents.embeddings.detach()
        further, _ = _circle_sums(pairs.queries, constants, gamma, margin, beyond, tile)
        negative = log_add(negative, further)
    return pairs.mean_over_queries(F.softplus(negative + positive), pairs.counted(positives[1]), query_weights)


def _circle_sums(
    rows: Tensor, columns: Tensor, gamma: float, margin: float, exclusions: Exclusions, tile: int | None
) -> tuple[Tensor, Tensor]:
    """Per row the log-sums of negative and of positive pairs' logits, each ``(rows,)``, ``-inf`` where there is none."""
    return _CircleSums.apply(rows, columns, gamma, margin, exclusions, tile_side(rows, tile))


class _CircleSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, gamma: float, margin: float, exclusions: Exclusions, tile: int
    ) -> tuple[Tensor, Tensor]:
        matrix = TiledMatrix(rows, columns, rows.new_ones(()), exclusions, tile)
        negative = matrix.rows.new_full((len(rows),), float("-inf"))
        positive = negative.clone()
        for similarity, row_slice, column_slice in matrix.tiles():
            is_positive = exclusions.same_group(row_slice, column_slice)
            logits, _ = _negative_logits(similarity, is_positive, gamma, margin)
            negative[row_slice] = torch.logaddexp(negative[row_slice], logits.logsumexp(1))
            if is_positive is not None:
                logits, _ = _positive_logits(similarity, is_positive, gamma, margin)
                positive[row_slice] = torch.logaddexp(positive[row_slice], logits.logsumexp(1))
        ctx.save_for_backward(rows, columns, negative, positive)
        ctx.gamma, ctx.margin, ctx.exclusions, ctx.tile = gamma, margin, exclusions, tile
        return negative, positive

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_negative: Tensor, of_positive: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        rows, columns, negative, positive = ctx.saved_tensors
        one = rows.new_ones(())
        matrix = TiledMatrix(rows, columns, one, ctx.exclusions, ctx.tile)
        gradients = TiledGradients(matrix, ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        negatives, positives = LogSumGradient(of_negative, negative), LogSumGradient(of_positive, positive)
        for similarity, row_slice, column_slice in matrix.tiles():
            is_positive = ctx.exclusions.same_group(row_slice, column_slice)
            axis = (row_slice, None)
            logits, slope = _negative_logits(similarity, is_positive, ctx.gamma, ctx.margin)
            gradient = negatives.share(logits, axis).mul_(slope)
            if is_positive is not None:
                logits, slope = _positive_logits(similarity, is_positive, ctx.gamma, ctx.margin)
                gradient += positives.share(logits, axis).mul_(slope)
            gradients.add(gradient, row_slice, column_slice)
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], False)
        of_rows, of_columns, _ = gradients.results(rows, columns, one, wanted)
        return of_rows, of_columns, None, None, None, None


def _negative_logits(
    similarity: Tensor, is_positive: Tensor | None, gamma: float, margin: float
) -> tuple[Tensor, Tensor]:
    """Logits of a tile's negatives, ``-inf`` elsewhere, and their slope in the similarity."""
    slope = (similarity + margin).clamp_min_(0).mul_(gamma)
    # A pair left out is -inf: its slope is 0, and 0 times -inf would be NaN.
    left_out = similarity.isneginf() if is_positive is None else similarity.isneginf() | is_positive
    return (slope * (similarity - margin)).masked_fill_(left_out, float("-inf")), slope


def _positive_logits(similarity: Tensor, is_positive: Tensor, gamma: float, margin: float) -> tuple[Tensor, Tensor]:
    """Logits of a tile's positives, ``-inf`` elsewhere, and their slope in the similarity."""
    left_out = similarity.isneginf() | ~is_positive
    slope = (1 + margin - similarity).clamp_min_(0).mul_(-gamma).masked_fill_(left_out, 0.0)
    return (slope * (similarity - (1 - margin))).masked_fill_(left_out, float("-inf")), slope
