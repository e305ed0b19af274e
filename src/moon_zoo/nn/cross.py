"""Cross layers: products of features, of a degree that grows with each layer.

Source: Wang et al. 2021, "DCN V2", arXiv:2008.13535, equation 1: ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``; with a rank,
``W = U V`` (equation 2, one expert).
"""

from __future__ import annotations

from torch import Tensor, nn


class CrossNetwork(nn.Module):
    """Cross layers over features.

    Args:
        dim: Size of the features, which is kept.
        num_layers: How many; products of up to ``num_layers + 1`` features.
        rank: Of their matrices; None for full ones.
    """

    def __init__(self, dim: int, *, num_layers: int = 2, rank: int | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(dim, dim)
            if rank is None
            else nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, dim))
            for _ in range(num_layers)
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, dim)`` to ``(batch, dim)``."""
        crossed = features
        for layer in self.layers:
            crossed = features * layer(crossed) + crossed
        return crossed
