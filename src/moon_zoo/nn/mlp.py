"""A multi-layer perceptron that can tell what its hidden layers held."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU and dropout after each.

    Args:
        in_dim: Size of the features.
        hidden: Widths of the layers; at least one.
        dropout: Probability of dropping a unit after each layer.
    """

    def __init__(self, in_dim: int, hidden: Sequence[int], *, dropout: float = 0.0) -> None:
        super().__init__()
        if len(hidden) == 0:
            raise ValueError("the deep part needs at least one hidden layer: hidden is empty")
        widths = [in_dim, *hidden]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.dropout = dropout
        self.out_dim = widths[-1]

    def forward(self, features: Tensor) -> list[Tensor]:
        """``(batch, in_dim)`` to what every layer gives, the last ``(batch, hidden[-1])``."""
        given = []
        for layer in self.layers:
            features = F.dropout(F.relu(layer(features)), self.dropout, self.training)
            given.append(features)
        return given
