"""InfoNCE in which hard negatives weigh more.

Source: Robinson, Chuang, Sra, Jegelka 2021, "Contrastive Learning with Hard Negative Samples", arXiv:2010.04592, section 3
(importance weights ``w_j ~ exp(beta * s_j)`` over the negatives, mean 1), without the paper's correction for false negatives:
products of one group are known, and are no negatives of one another. Several positives are averaged outside the logarithm, as
in the zoo's own `moon_zoo.nn.info_nce`, which this equals at ``hardness = 0``.
"""

from __future__ import annotations

import torch
from moon_zoo.nn.gathering import gather_constants, gather_with_gradient
from torch import Tensor


def hard_negative_nce(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float,
    *,
    query_groups: Tensor,
    document_groups: Tensor,
    query_valid: Tensor,
    document_valid: Tensor,
    hardness: float,
) -> Tensor:
    """Mean loss of this process's queries against the documents of all processes.

    Args:
        queries: Unit length, ``(queries, dim)``.
        documents: Unit length, ``(documents, dim)``.
        scale: ``1 / temperature``.
        query_groups: int64 ``(queries,)``; documents of a query's group are its positives, all others its negatives.
        document_groups: int64 ``(documents,)``.
        query_valid: True on queries that count, ``(queries,)``.
        document_valid: True on documents that count, ``(documents,)``.
        hardness: At 0 all negatives weigh the same; the greater, the more the nearest ones count. At least 0.

    Returns:
        A scalar; 0 where no query counts or has a positive.
    """
    documents = gather_with_gradient(documents)
    document_groups, document_valid = gather_constants(document_groups), gather_constants(document_valid)
    scores = scale * queries.float() @ documents.float().T  # (queries, documents)
    same = query_groups[:, None] == document_groups
    positive, negative = same & document_valid, ~same & document_valid
    count = positive.sum(1)
    # Finite, so that a row without negatives has no NaN in its gradient; far below any score.
    nothing = torch.finfo(scores.dtype).min / 4
    weights = (hardness * scores).masked_fill(~negative, nothing)
    log_weights = weights - weights.logsumexp(1, keepdim=True) + negative.sum(1, keepdim=True).clamp(min=1).log()
    weighted = torch.where(negative, scores + log_weights, torch.where(positive, scores, nothing))
    pulled = torch.where(positive, scores, 0.0).sum(1) / count.clamp(min=1)
    losses = weighted.logsumexp(1) - pulled  # (queries,)
    counted = query_valid & (count > 0)
    return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp(min=1)
