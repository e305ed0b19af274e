"""Interests of a user by content similarity: which behaviours look like the item shown, and how alike they are.

Source: MIM (arXiv:2502.00321), CiUBM: with ``s_b = cos(h_b, h_target)`` of frozen content embeddings, the content interest is
``sum_b W(s_b) h_b`` and the fusion interest ``sum_b W(s_b) e_b`` over the ids' embeddings. The paper does not say what ``W``
is; ours is ``softmax(s / tau)`` with a learnable tau, or the similarity itself. Ours, too, is to hand on ``sum_b W(s_b) s_b``:
a deep network of concatenated features cannot find the similarity of two vectors of which it sees only one.

CUBE (arXiv:2511.11305) adds the raw similarities; we hand them on from the largest down, since their order says little that
the ids' attention does not, and a fixed number of them suits histories of any length.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.behaviour.attention import masked_softmax
from moon_zoo.nn.heads import LogitScale

Weighting = Literal["softmax", "raw"]


class SimilarityWeights(nn.Module):
    """Weights of behaviours by their content similarity to the target.

    Args:
        weighting: ``softmax`` with a learnable temperature, or ``raw``: the similarity over the number of behaviours.
        temperature: Where the learnable temperature starts.
    """

    def __init__(self, weighting: Weighting = "softmax", *, temperature: float = 0.1) -> None:
        super().__init__()
        if weighting not in ("softmax", "raw"):
            raise ValueError(f"weighting must be softmax or raw, not {weighting!r}")
        self.scale = LogitScale(temperature) if weighting == "softmax" else None

    def forward(self, similarity: Tensor, mask: Tensor) -> Tensor:
        """Similarities and mask ``(batch, length)`` to weights of that shape, 0 on padding."""
        if self.scale is not None:
            return masked_softmax(similarity * self.scale(), mask)
        return similarity * mask / mask.sum(dim=1, keepdim=True).clamp_min(1)


def largest_similarities(similarity: Tensor, mask: Tensor, count: int) -> Tensor:
    """The largest similarities of a history, descending; -1, the least there is, where there are no more.

    Args:
        similarity: ``(batch, length)``.
        mask: True on real behaviours.
        count: How many.

    Returns:
        ``(batch, count)``.
    """
    there = similarity.masked_fill(~mask, -1.0)
    kept = there.topk(min(count, there.shape[1]), dim=1).values
    return F.pad(kept, (0, count - kept.shape[1]), value=-1.0)
