"""Twins of the mixture in plain loops, and small networks to up-cycle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, IMAGE, PAD, TEXT

DIM, HIDDEN = 16, 24

TYPES = torch.tensor(
    [
        [IMAGE, IMAGE, PAD, TEXT, TEXT, CATEGORY, CATEGORY, ATTRIBUTE],
        [TEXT, TEXT, CATEGORY, ATTRIBUTE, PAD, PAD, PAD, TEXT],
    ]
)
"""Two sequences with pads between other tokens."""


class SwiGLU(nn.Module):
    """The network that is replaced, with the names that Qwen gives its layers."""

    def __init__(self, dim: int = DIM, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=False)
        self.up_proj = nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Layer(nn.Module):
    """A decoder layer without attention."""

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.mlp = SwiGLU(dim)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.mlp(hidden)


def decoder(layers: int = 2, dim: int = DIM) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(Layer(dim) for _ in range(layers)))


def looped(hidden: Tensor, gate_up: Tensor, down: Tensor, expert_ids: Tensor, weights: Tensor) -> Tensor:
    """Experts one token and slot at a time."""
    rows = []
    for token, ids in enumerate(expert_ids.tolist()):
        total = 0 * hidden[token]  # has a gradient even where there is no expert
        for slot, expert in enumerate(ids):
            if expert < len(gate_up):
                gate, up = (gate_up[expert] @ hidden[token]).chunk(2)
                total = total + weights[token, slot] * (down[expert] @ (gate * torch.sigmoid(gate) * up))
        rows.append(total)
    return torch.stack(rows)
