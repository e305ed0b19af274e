"""Expert feed-forward networks on the tokens routed to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Dispatch:
    """Pairs of token and expert in the order of experts, those without an expert left out."""

    pairs: Tensor  # (pairs,), numbers of token * slots + slot
    tokens: Tensor  # (pairs,)
    bounds: list[int]  # num_experts + 1: rows [bounds[e], bounds[e + 1]) belong to expert e


def dispatch(expert_ids: Tensor, num_experts: int) -> Dispatch:
    """Sort pairs of token and expert by expert; ``expert_ids`` ``(tokens, slots)``, `num_experts` where a slot has none."""
    ids, pairs = expert_ids.flatten().sort(stable=True)
    experts = torch.arange(num_experts + 1, device=ids.device)
    bounds = torch.searchsorted(ids, experts).tolist()
    pairs = pairs[: bounds[-1]]
    return Dispatch(pairs, pairs // expert_ids.shape[1], bounds)


def grouped_linear(rows: Tensor, weight: Tensor, bounds: list[int]) -> Tensor:
    """Each expert's linear map on its rows: ``(pairs, in)`` and ``(experts, out, in)`` to ``(pairs, out)``."""
    return torch.cat([F.linear(rows[start:stop], one) for one, start, stop in zip(weight.unbind(), bounds, bounds[1:])])


def expert_ffn(hidden: Tensor, gate_up: Tensor, down: Tensor, expert_ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of SwiGLU experts."""
    plan = dispatch(expert_ids, len(gate_up))
    gate, up = grouped_linear(hidden[plan.tokens], gate_up, plan.bounds).chunk(2, 1)
    found = grouped_linear(F.silu(gate) * up, down, plan.bounds) * weights.flatten()[plan.pairs, None]
    return torch.zeros_like(hidden).index_add(0, plan.tokens, found.to(hidden.dtype))
