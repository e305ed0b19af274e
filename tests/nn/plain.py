"""Contrastive losses written out with the whole matrix of pairs, for comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(rows: int, dim: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=dtype), dim=1).requires_grad_()


def one_direction(logits: Tensor, positive: Tensor, counts: Tensor) -> Tensor:
    """Mean over rows with a positive of ``log sum_j exp(s_j) - mean_p s_p``, over pairs that count."""
    losses = []
    for row, is_positive, is_there in zip(logits, positive & counts, counts):
        if is_positive.any():
            losses.append(row[is_there].exp().sum().log() - row[is_positive].mean())
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def there(
    positive: Tensor,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    ignored: Tensor | None = None,
) -> Tensor:
    counts = torch.ones_like(positive)
    if query_valid is not None:
        counts = counts & query_valid[:, None]
    if document_valid is not None:
        counts = counts & document_valid
    if ignored is not None:
        counts = counts & ~(ignored & ~positive)
    return counts


def info_nce(queries: Tensor, documents: Tensor, scale: Tensor, positive: Tensor, counts: Tensor) -> Tensor:
    return one_direction(scale * queries @ documents.T, positive, counts)


def symmetric(queries: Tensor, documents: Tensor, scale: Tensor, positive: Tensor, counts: Tensor) -> Tensor:
    logits = scale * queries @ documents.T
    return (one_direction(logits, positive, counts) + one_direction(logits.T, positive.T, counts.T)) / 2


def siglip(logits: Tensor, positive: Tensor, counts: Tensor, num_queries: int) -> Tensor:
    signs = positive.to(logits.dtype) * 2 - 1
    return -(F.logsigmoid(signs * logits) * counts).sum() / num_queries


def same(first: Tensor, second: Tensor) -> Tensor:
    return first[:, None] == second[None, :]


def gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs, retain_graph=True))


def circle(queries: Tensor, documents: Tensor, gamma: float, margin: float, positive: Tensor, counts: Tensor) -> Tensor:
    """Mean over queries with a positive of Sun et al.'s circle loss, pair by pair."""
    losses = []
    for row, is_positive, is_there in zip(queries @ documents.T, positive & counts, counts):
        if not is_positive.any():
            continue
        pull = [-gamma * max(float(1 + margin - s.detach()), 0.0) * (s - (1 - margin)) for s in row[is_positive]]
        push = [gamma * max(float(s.detach() + margin), 0.0) * (s - margin) for s in row[is_there & ~is_positive]]
        if push:
            losses.append(F.softplus(torch.stack(push).logsumexp(0) + torch.stack(pull).logsumexp(0)))
        else:
            losses.append(row.sum() * 0)
    return torch.stack(losses).mean()
