"""SimTier: how many behaviours are how similar to the item shown.

Source: Sheng et al. 2024, "Enhancing Taobao Display Advertising with Multimodal Representations", arXiv:2407.19467:
similarities fall into tiers of equal width, and the histogram, ``log(count + 1)`` of each tier times the tier's learned
vector, goes into the network. Ours: pairs without an embedding are counted in a tier of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SimTier(nn.Module):
    """Histogram of similarities to a vector.

    Args:
        dim: Size of the vector.
        num_tiers: Tiers of equal width over ``[-1, 1]``; 20 are the paper's width of 0.1.
    """

    def __init__(self, dim: int, *, num_tiers: int = 20) -> None:
        super().__init__()
        self.num_tiers = num_tiers
        self.tiers = nn.Linear(num_tiers + 1, dim, bias=False)
        self.dim = dim

    def forward(self, cosine: Tensor, missing: Tensor, mask: Tensor) -> Tensor:
        """Cosines, where an embedding is missing, and what is there, all ``(batch, length)``, to ``(batch, dim)``."""
        return self.tiers(self.counts(cosine, missing, mask).log1p())

    def counts(self, cosine: Tensor, missing: Tensor, mask: Tensor) -> Tensor:
        """The histogram, ``(batch, num_tiers + 1)``: tiers from -1 upwards, then pairs without an embedding.

        A tier holds its lower border; the last one holds 1 as well.
        """
        tier = ((cosine.float() + 1) * (self.num_tiers / 2)).floor().long().clamp(0, self.num_tiers - 1)
        tier = tier.masked_fill(missing, self.num_tiers)
        counts = torch.zeros(
            cosine.shape[0], self.num_tiers + 1, device=cosine.device
        )  # len() would be a constant in exports
        return counts.scatter_add(1, tier, mask.float())
