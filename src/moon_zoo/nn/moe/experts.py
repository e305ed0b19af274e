"""Experts that begin as copies of a trained feed-forward network (sparse up-cycling).

Source: Komatsuzaki et al. 2023, "Sparse Upcycling", arXiv:2212.05055: each expert starts as a copy of the dense network. The
noise on the copies, and experts as low-rank updates of one shared network (as LoRA, arXiv:2106.09685), are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.moe.dispatch import expert_ffn, grouped_linear, layout_of, to_rows, to_tokens

Experts = Literal["full", "lora"]
"""Whole networks, or low-rank updates of a shared one."""

EXPERTS: tuple[str, ...] = get_args(Experts)

FFN_LAYERS = ("gate_proj", "up_proj", "down_proj")
"""Linear layers of a SwiGLU network, as Llama, Mistral and Qwen name them."""


class FullExperts(nn.Module):
    """Networks of their own, stacked: ``down(silu(gate(x)) * up(x))``.

    Args:
        ffn: What every expert starts as; see `check_ffn`.
        num_experts: N.
        noise: Standard deviation of what is added to each copy, in standard deviations of the copied weights.
        generator: Draws the noise, on the weights' device; None draws from the global one.
    """

    def __init__(
        self, ffn: nn.Module, num_experts: int, *, noise: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_ffn(ffn)
        self.num_experts, self.noise = num_experts, noise
        dense = {f"{name}.weight": getattr(ffn, name).weight.detach() for name in FFN_LAYERS}
        copies = self.filled(dense, generator)
        self.gate_up_proj = nn.Parameter(copies["gate_up_proj"])
        self.down_proj = nn.Parameter(copies["down_proj"])

    def forward(self, hidden: Tensor, expert_ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of each token's experts, see `moon_zoo.nn.moe.dispatch.expert_ffn`."""
        return expert_ffn(hidden, self.gate_up_proj, self.down_proj, expert_ids, weights)

    def filled(self, dense: Mapping[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
        """A dense network's weights, copied into every expert, with noise."""
        gate_up = torch.cat([dense["gate_proj.weight"], dense["up_proj.weight"]])
        return {
            "gate_up_proj": _copies(gate_up, self.num_experts, self.noise, generator),
            "down_proj": _copies(dense["down_proj.weight"], self.num_experts, self.noise, generator),
        }

    def plain(self, weights: Mapping[str, Tensor], expert: Literal["mean"] | int) -> dict[str, Tensor]:
        """One network's weights from the experts' (as ``state_dict`` names them)."""
        gate_up, down = (_one(weights[name], expert) for name in ("gate_up_proj", "down_proj"))
        gate, up = gate_up.chunk(2)
        return {"gate_proj.weight": gate.clone(), "up_proj.weight": up.clone(), "down_proj.weight": down.clone()}


class LoraExperts(nn.Module):
    """One shared network, and for each expert a low-rank update of its three linear maps.

    The shared maps are applied once per token, not once per token and expert: gate and up before the experts part, down after
    they were summed. Updates start at zero, so all experts start as the shared network.

    Args:
        ffn: The shared network; it is kept, and trained or frozen as it comes.
        num_experts: N.
        rank: Of the updates; a multiple of 8 serves accelerators best.
        generator: Draws the first factors; None draws from the global one.
    """

    def __init__(
        self, ffn: nn.Module, num_experts: int, *, rank: int = 16, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_ffn(ffn)
        if rank < 1:
            raise ValueError(f"the rank of an expert's update must be at least 1, not {rank}")
        self.num_experts = num_experts
        self.shared = cast(Any, ffn)
        like: Tensor = self.shared.gate_proj.weight
        hidden_dim, dim = like.shape

        def factor(out: int, given: int, *, zero: bool) -> nn.Parameter:
            # torch draws on the device itself; the meta device draws nothing
            weight = like.new_zeros(num_experts, out, given)
            if not zero and not weight.is_meta:
                weight.uniform_(-1 / math.sqrt(given), 1 / math.sqrt(given), generator=generator)
            return nn.Parameter(weight)

        self.gate_a, self.gate_b = factor(rank, dim, zero=False), factor(hidden_dim, rank, zero=True)
        self.up_a, self.up_b = factor(rank, dim, zero=False), factor(hidden_dim, rank, zero=True)
        self.down_a, self.down_b = factor(rank, hidden_dim, zero=False), factor(dim, rank, zero=True)

    def forward(self, hidden: Tensor, expert_ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of each token's experts, see `moon_zoo.nn.moe.dispatch.expert_ffn`."""
        if torch.compiler.is_exporting():  # grouped products are in no exchange format
            gate_up = torch.cat([self._whole("gate"), self._whole("up")], 1)
            return expert_ffn(hidden, gate_up, self._whole("down"), expert_ids, weights)
        layout = layout_of(expert_ids, self.num_experts)
        rows = to_rows(hidden, layout)

        def update(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
            return grouped_linear(grouped_linear(rows, first, layout), second, layout)

        gate = to_rows(self.shared.gate_proj(hidden), layout) + update(rows, self.gate_a, self.gate_b)
        up = to_rows(self.shared.up_proj(hidden), layout) + update(rows, self.up_a, self.up_b)
        active = F.silu(gate) * up * layout.weights_of(weights).to(gate.dtype)  # (rows, hidden_dim)
        down = self.shared.down_proj(to_tokens(active, layout))
        return down + to_tokens(update(active, self.down_a, self.down_b), layout)

    def filled(self, dense: Mapping[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
        """A dense network's weights as the shared ones; the present updates stay."""
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("shared.")}
        return own | {f"shared.{name}": value for name, value in dense.items()}

    def plain(self, weights: Mapping[str, Tensor], expert: Literal["mean"] | int) -> dict[str, Tensor]:
        """One network's weights: the shared ones and an expert's update, or the mean of all updates."""
        updates = {
            f"{name}_proj.weight": _one(weights[f"{name}_b"] @ weights[f"{name}_a"], expert)
            for name in ("gate", "up", "down")
        }
        return {name: weights[f"shared.{name}"] + update for name, update in updates.items()}

    def _whole(self, name: str) -> Tensor:
        update = getattr(self, f"{name}_b") @ getattr(self, f"{name}_a")  # (experts, out, in)
        return getattr(self.shared, f"{name}_proj").weight + update


def check_ffn(ffn: nn.Module) -> None:
    """Refuse a network that is no SwiGLU without biases.

    Raises:
        ValueError: It is not, with what is missing or too much.
    """
    kind = type(ffn).__name__
    missing = [name for name in FFN_LAYERS if not hasattr(getattr(ffn, name, None), "weight")]
    if missing:
        raise ValueError(f"{kind} cannot become experts: it has no linear layer {' and no '.join(missing)}")
    biased = [name for name in FFN_LAYERS if getattr(getattr(ffn, name), "bias", None) is not None]
    if biased:
        raise ValueError(f"{kind} cannot become experts: {', '.join(biased)} has a bias, and experts have none")
    activation = getattr(ffn, "act_fn", None)
    if activation is not None and "silu" not in _activation_name(activation):
        raise ValueError(f"{kind} cannot become experts: its activation is {activation}, and that of experts is SiLU")


def _activation_name(activation: object) -> str:
    return getattr(activation, "__name__", type(activation).__name__).lower()


def _copies(weight: Tensor, num_experts: int, noise: float, generator: torch.Generator | None) -> Tensor:
    copies = weight.expand(num_experts, *weight.shape).clone()
    if noise > 0 and not copies.is_meta:
        for copy in copies:  # one at a time: the noise of all would take as much memory as the experts
            copy += torch.randn(copy.shape, dtype=copy.dtype, device=copy.device, generator=generator) * (
                noise * weight.std()
            )
    return copies


def _one(stacked: Tensor, expert: Literal["mean"] | int) -> Tensor:
    return stacked.mean(0) if expert == "mean" else stacked[expert]
