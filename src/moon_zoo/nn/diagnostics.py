"""Figures to log beside a contrastive loss, cheap enough for every step."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def mean_pairwise_cosine(embeddings: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean cosine between different rows of a batch: collapse shows here first, as a climb towards 1.

    Taken from the length of the summed rows, so it costs ``batch * dim`` and never a similarity matrix:
    ``|sum_i x_i|^2`` holds all pairs twice and every row with itself once.

    Args:
        embeddings: Unit-length rows, ``(batch, dim)``.
        valid: True on rows that count, ``(batch,)``; None for all.

    Returns:
        A float32 scalar in ``[-1, 1]``; 0 with fewer than two rows.
    """
    rows = embeddings.float()
    if valid is not None:
        rows = torch.where(valid.unsqueeze(-1), rows, rows.new_zeros(()))
    count = rows.new_tensor(float(len(rows))) if valid is None else valid.sum(dtype=torch.float32)
    with_self = rows.sum(0).square().sum()
    itself = rows.square().sum()
    pairs = count * (count - 1)
    return torch.where(pairs > 0, (with_self - itself) / pairs.clamp_min(1.0), pairs.new_zeros(()))
