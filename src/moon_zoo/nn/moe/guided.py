"""Guided mixture of experts in place of a decoder layer's feed-forward network.

Source: MOON, arXiv:2508.11999, section 3.3: each feed-forward network of the LLM becomes N experts, of which one takes category
tokens and one attribute tokens. See `moon_zoo.nn.moe.routing` for the router and what of it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.moe.experts import EXPERTS, FullExperts, LoraExperts, check_ffn
from moon_zoo.nn.moe.routing import Router, check_routing, general_experts, plain_tokens, route
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, TEXT

ROUTER_STD = 0.02
"""Standard deviation of a new router's weights, as of Qwen's other linear layers."""


@dataclass(frozen=True)
class RouterStatistics:
    """What a layer's router did, summed per sequence, so that batches, micro-batches and ranks add up exactly.

    Args:
        probability: Sums of plain tokens' softmax over the general experts, ``(batch, general)``, float32, with gradient.
        load: How many of plain tokens' slots went to each general expert, ``(batch, general)``.
        z: Sums of plain tokens' squared log-partition over the general experts, ``(batch,)``, float32, with gradient.
        tokens: Number of plain tokens, ``(batch,)``.
        type_load: How many slots went to each expert, by token type less 1, ``(batch, types, N)``; for logging.
    """

    probability: Tensor
    load: Tensor
    z: Tensor
    tokens: Tensor
    type_load: Tensor


class GuidedMoE(nn.Module):
    """A drop-in for a decoder layer's ``mlp``.

    Args:
        ffn: The network it replaces, with ``gate_proj``, ``up_proj`` and ``down_proj``; every expert starts as it.
        guidance: `hard`, `additive` or `none`.
        num_experts: N, with the two for category and attribute tokens.
        top_k: General experts of a token.
        experts: `full` or `lora`.
        lora_rank: Of low-rank experts.
        noise: On the copies of full experts, in standard deviations of the copied weights.
        seed: Of noise, factors and router.
    """

    def __init__(
        self,
        ffn: nn.Module,
        *,
        guidance: str = "hard",
        num_experts: int = 8,
        top_k: int = 2,
        experts: str = "full",
        lora_rank: int = 16,
        noise: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if guidance == "dense":
            raise ValueError("guidance dense is no mixture of experts: leave the network as it is")
        check_routing(guidance, num_experts, top_k)
        self.guidance, self.num_experts, self.top_k, self.seed = guidance, num_experts, top_k, seed
        check_ffn(ffn)
        like: Tensor = ffn.get_parameter("gate_proj.weight")
        generator = _generator(seed, like.device)
        self.experts: FullExperts | LoraExperts
        if experts == "full":
            self.experts = FullExperts(ffn, num_experts, noise=noise, generator=generator)
        elif experts == "lora":
            self.experts = LoraExperts(ffn, num_experts, rank=lora_rank, generator=generator)
        else:
            raise ValueError(f"experts must be one of {', '.join(EXPERTS)}, not {experts!r}")
        self.router = Router(like.shape[1], num_experts).to(device=like.device, dtype=like.dtype)
        if not like.is_meta:
            nn.init.normal_(self.router.weight, std=ROUTER_STD, generator=generator)
        self.token_type: Tensor | None = None
        self.statistics: RouterStatistics | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply.

        Args:
            hidden: ``(batch, length, dim)``. The fields of the tokens are read from the attribute ``token_type``
                ``(batch, length)``, which whoever calls sets right before; None means that all are text.

        Returns:
            As ``hidden``; zeros on pads. ``statistics`` are of this call.

        Raises:
            ValueError: ``token_type`` is of another shape.
        """
        batch, length, dim = hidden.shape
        token_type = self.token_type
        if token_type is None:
            token_type = torch.full((batch, length), TEXT, device=hidden.device)
        if token_type.shape != (batch, length):
            raise ValueError(f"token_type is {tuple(token_type.shape)}, the hidden states are {(batch, length)}")
        tokens, types = hidden.reshape(-1, dim), token_type.reshape(-1)
        logits = self.router(tokens)  # (batch * length, N)
        expert_ids, weights = route(logits, types, self.guidance, self.top_k)
        self.statistics = router_statistics(logits, expert_ids, token_type, self.guidance)
        return self.experts(tokens, expert_ids, weights).view(batch, length, dim)

    def plain(self, weights: Mapping[str, Tensor], expert: Literal["mean"] | int) -> dict[str, Tensor]:
        """One network's weights, an expert's or the experts' mean, from this mixture's (as ``state_dict`` names them)."""
        if expert != "mean" and not 0 <= expert < self.num_experts:
            raise ValueError(f"expert must be 'mean' or from 0 to {self.num_experts - 1}, not {expert!r}")
        return self.experts.plain({name.removeprefix("experts."): value for name, value in weights.items()}, expert)

    def filled(self, dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A dense network's weights (``gate_proj.weight`` and so on) as this mixture's; the router's are the present ones."""
        found = self.experts.filled(dense, _generator(self.seed, dense["gate_proj.weight"].device))
        return {"router.weight": self.router.weight.detach()} | {
            f"experts.{name}": value for name, value in found.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """What copies are made of: not what the last forward left, which belongs to its graph."""
        return {**self.__dict__, "statistics": None, "token_type": None}

    def extra_repr(self) -> str:
        """Guidance and numbers, for printing."""
        return f"guidance={self.guidance}, num_experts={self.num_experts}, top_k={self.top_k}"


def router_statistics(logits: Tensor, expert_ids: Tensor, token_type: Tensor, guidance: str) -> RouterStatistics:
    """Sum a router's decisions per sequence.

    Args:
        logits: ``(batch * length, N)``, float32.
        expert_ids: As `moon_zoo.nn.moe.routing.route` gives them.
        token_type: ``(batch, length)``.
        guidance: As given to `route`.
    """
    num_experts = logits.shape[1]
    general = general_experts(guidance, num_experts)
    logits = logits[:, :general].unflatten(0, token_type.shape)
    plain = plain_tokens(token_type, guidance)  # (batch, length)
    # One more column for slots without an expert, which is then left out.
    chosen = F.one_hot(expert_ids, num_experts + 1)[..., :num_experts].sum(1).float()  # (batch * length, N)
    chosen = chosen.unflatten(0, token_type.shape)
    types = torch.arange(1, ATTRIBUTE + 1, device=token_type.device)
    by_type = (token_type[:, None, :] == types[:, None]).float()  # (batch, types, length)
    return RouterStatistics(
        probability=(logits.softmax(-1) * plain[..., None]).sum(1),
        load=(chosen[..., :general] * plain[..., None]).sum(1),
        z=(logits.logsumexp(-1).square() * plain).sum(1),
        tokens=plain.sum(1).float(),
        type_load=by_type @ chosen,
    )


def _generator(seed: int, device: torch.device) -> torch.Generator | None:
    """A seeded generator; None on the meta device, where nothing is drawn."""
    return None if device.type == "meta" else torch.Generator(device).manual_seed(seed)
