"""Losses that keep experts in use, and figures of how they are used, from sums that routers left.

Sources: the load balance loss of Fedus et al. 2021, "Switch Transformers", arXiv:2101.03961, section 2.2, for k experts per
token; the router z-loss of Zoph et al. 2022, "ST-MoE", arXiv:2202.08906, section 3.2. Only plain tokens and general experts
count, as MOON's field experts are not chosen (arXiv:2508.11999; its own auxiliary loss is unpublished).

Both are functions of sums over the whole batch of all ranks, not means of micro-batches' or ranks' losses: the load balance
is not linear. The value is that of the whole batch on every rank; the gradient is world size times that of this rank's
tokens, so that DDP's average is the gradient of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks, world_size
from moon_zoo.nn.moe.guided import RouterStatistics
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, IMAGE, TEXT

FIELDS = ("probability", "load", "z", "tokens", "type_load")
TYPE_NAMES = {IMAGE: "image", TEXT: "text", CATEGORY: "category", ATTRIBUTE: "attribute"}


def load_balance(statistics: Sequence[RouterStatistics]) -> Tensor:
    """Number of general experts times the sum of share of slots times mean probability, averaged over layers.

    Args:
        statistics: One per layer, of the same sequences.

    Returns:
        A scalar, float32: 1 where all experts are used alike, their number where one takes all; 0 without tokens.
    """
    layers = []
    for layer in statistics:
        probability, load = _whole_batch(layer.probability), sum_over_ranks(layer.load.sum(0))
        share = load / load.sum().clamp(min=1)
        mean = probability / sum_over_ranks(layer.tokens.sum()).clamp(min=1)
        layers.append(len(share) * (share * mean).sum())
    return torch.stack(layers).mean()


def z_loss(statistics: Sequence[RouterStatistics]) -> Tensor:
    """Mean squared log-partition of the router's logits over plain tokens, averaged over layers; 0 without tokens."""
    layers = [_whole_batch(layer.z) / sum_over_ranks(layer.tokens.sum()).clamp(min=1) for layer in statistics]
    return torch.stack(layers).mean()


def stack(statistics: Sequence[RouterStatistics]) -> dict[str, Tensor]:
    """Layers' statistics as plain tensors with a batch axis, as GradCache joins them.

    Returns:
        ``router/<field>``: ``(batch, layers, ...)``; empty without layers.
    """
    if len(statistics) == 0:
        return {}
    return {f"router/{field}": torch.stack([getattr(layer, field) for layer in statistics], 1) for field in FIELDS}


def unstack(tensors: Mapping[str, Tensor]) -> list[RouterStatistics]:
    """Layers' statistics from what `stack` made; names of other things are left alone."""
    if f"router/{FIELDS[0]}" not in tensors:
        return []
    layers = zip(*(tensors[f"router/{field}"].unbind(1) for field in FIELDS))
    return [RouterStatistics(**dict(zip(FIELDS, layer))) for layer in layers]


def expert_load(statistics: Sequence[RouterStatistics]) -> dict[str, Tensor]:
    """Where tokens went, over all layers and ranks.

    Returns:
        ``<type>/<expert>``: share of the slots of image, text, category or attribute tokens that went to an expert; types
        that did not occur are left out. ``imbalance``: the most used general expert's load over the mean, 1 where all are
        used alike. Scalars without gradient.
    """
    if len(statistics) == 0:
        return {}
    by_type = sum_over_ranks(torch.stack([layer.type_load.sum(0) for layer in statistics]).sum(0))  # (types, N)
    general = sum_over_ranks(torch.stack([layer.load.sum(0) for layer in statistics]).sum(0))
    figures = {"imbalance": general.max() / general.mean().clamp(min=1)}
    for number, name in TYPE_NAMES.items():
        slots = by_type[number - 1]
        total = slots.sum()
        if total > 0:
            figures |= {f"{name}/{expert}": share for expert, share in enumerate(slots / total)}
    return figures


def _whole_batch(sums: Tensor) -> Tensor:
    """Sum over sequences and ranks, with the gradient of this rank's times the number of ranks."""
    local = sums.sum(0)
    return sum_over_ranks(local) + world_size() * (local - local.detach())
