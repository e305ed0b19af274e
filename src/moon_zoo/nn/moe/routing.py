"""Which experts a token goes to: a softmax router, guided by the field that the token comes from.

Sources: the sparse top-k router of Shazeer et al. 2017, arXiv:1701.06538, with weights renormalised over the chosen experts as
in Mixtral, arXiv:2401.04088; the experts for category and attribute tokens are MOON's, arXiv:2508.11999, section 3.3. MOON
publishes neither N, k nor the formula: ``hard`` is our reading of it, ``additive`` and ``none`` are alternatives.

Of N experts, 0 to N - 3 are general, N - 2 is for category tokens and N - 1 for attribute tokens; without guidance all are
general.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, PAD

Guidance = Literal["hard", "additive", "none", "dense"]
"""How a token's field decides: alone (`hard`), beside the router (`additive`), not at all (`none`); `dense` is no mixture."""

GUIDANCES: tuple[str, ...] = get_args(Guidance)

FIELD_EXPERTS: Final = 2
"""Experts that guidance sets aside: the last but one for category tokens, the last for attribute tokens."""


class Router(nn.Module):
    """A linear map to one logit per expert, in float32 whatever surrounds it.

    No ``nn.Linear``, so that adapters put on "all linear layers" leave it alone.

    Args:
        dim: Of the tokens.
        num_experts: N.
    """

    weight: nn.Parameter

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, dim))

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits ``(tokens, N)``, float32, of hidden states ``(tokens, dim)``."""
        # Half precision here moves tokens between experts: near-ties are common, as experts begin as copies.
        kind = "cpu" if hidden.is_meta else hidden.device.type  # the meta device knows no autocast
        with torch.autocast(kind, enabled=False):
            return F.linear(hidden.float(), self.weight.float())


def check_routing(guidance: str, num_experts: int, top_k: int) -> None:
    """Refuse numbers that no routing fits.

    Raises:
        ValueError: An unknown guidance, or fewer general experts than a token is to have.
    """
    if guidance not in GUIDANCES:
        raise ValueError(f"guidance must be one of {', '.join(GUIDANCES)}, not {guidance!r}")
    general = general_experts(guidance, num_experts)
    if not 1 <= top_k <= general:
        experts = (
            "experts"
            if guidance == "none"
            else "general experts (num_experts less one for category, one for attributes)"
        )
        raise ValueError(
            f"top_k must be from 1 to the number of {experts}: top_k {top_k}, of {general} of {num_experts}"
        )


def general_experts(guidance: str, num_experts: int) -> int:
    """How many of N experts plain tokens are routed among."""
    return num_experts if guidance == "none" else num_experts - FIELD_EXPERTS


def plain_tokens(token_type: Tensor, guidance: str) -> Tensor:
    """Bool, True where the router alone decides: photos and text, and without guidance all that is no pad."""
    if guidance == "none":
        return token_type != PAD
    return (token_type != PAD) & (token_type != CATEGORY) & (token_type != ATTRIBUTE)


def route(logits: Tensor, token_type: Tensor, guidance: str, top_k: int) -> tuple[Tensor, Tensor]:
    """Choose experts and their weights.

    Args:
        logits: ``(tokens, N)``, float32.
        token_type: `moon_zoo.nn.multimodal.token_types`, ``(tokens,)``.
        guidance: `hard`, `additive` or `none`.
        top_k: General experts of a token.

    Returns:
        Expert numbers, int64, and weights that sum to 1 per token, both ``(tokens, slots)``: ``top_k`` slots, one more if
        additive. A slot without an expert has the number N and weight 0; all slots of a pad are so.
    """
    num_experts = logits.shape[1]
    chosen, ids = logits[:, : general_experts(guidance, num_experts)].topk(top_k, dim=1)
    real = (token_type != PAD)[:, None]
    if guidance == "none":
        # A softmax over the chosen equals the softmax over all, renormalised over the chosen.
        return ids.masked_fill(~real, num_experts), chosen.softmax(1) * real
    field = ((token_type == CATEGORY) | (token_type == ATTRIBUTE))[:, None]
    own = torch.where(token_type == CATEGORY, num_experts - 2, num_experts - 1)[:, None]  # (tokens, 1)
    if guidance == "additive":
        own_logit = logits.gather(1, own).masked_fill(~field, float("-inf"))
        ids = torch.cat([own.masked_fill(~field, num_experts), ids], 1)
        return ids.masked_fill(~real, num_experts), torch.cat([own_logit, chosen], 1).softmax(1) * real
    first = torch.arange(top_k, device=ids.device) == 0  # (slots,)
    alone = torch.where(first, own, num_experts)  # (tokens, slots)
    weights = torch.where(field, first.to(chosen.dtype), chosen.softmax(1))
    return torch.where(field, alone, ids).masked_fill(~real, num_experts), weights * real
