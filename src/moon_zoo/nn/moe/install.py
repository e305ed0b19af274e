"""Guided experts put into a decoder's layers, and plain weights got back out of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from moon_zoo.nn.moe.experts import FFN_LAYERS
from moon_zoo.nn.moe.guided import GuidedMoE

Which = Literal["all"] | int | list[int]
"""Layers that get experts: all, the last so many, or those of these numbers (from 0)."""

_LAYERS = 10_007  # more than any model has: layers of different seeds draw different numbers


def install(
    layers: Sequence[nn.Module] | nn.ModuleList,
    *,
    guidance: str = "hard",
    num_experts: int = 8,
    top_k: int = 2,
    which: Which = "all",
    experts: str = "full",
    lora_rank: int = 16,
    noise: float = 0.01,
    seed: int = 0,
) -> list[GuidedMoE]:
    """Replace decoder layers' feed-forward networks by mixtures of experts that start as their copies.

    Args:
        layers: Decoder layers, each with ``.mlp``.
        guidance: `hard`, `additive`, `none`, or `dense`, which replaces nothing.
        num_experts: See `GuidedMoE`.
        top_k: See `GuidedMoE`.
        which: Layers that get experts.
        experts: `full` or `lora`.
        lora_rank: See `GuidedMoE`.
        noise: See `GuidedMoE`.
        seed: Of noise, factors and routers; each layer draws its own.

    Returns:
        The mixtures, first layer first.

    Raises:
        ValueError: Numbers that do not fit, layers that are not there, or networks that cannot become experts.
    """
    if guidance == "dense":
        return []
    mixtures = []
    for number in chosen_layers(which, len(layers)):
        layer = layers[number]
        ffn = layer.get_submodule("mlp")
        if isinstance(ffn, GuidedMoE):
            raise ValueError(f"layer {number} has experts already")
        mixture = GuidedMoE(
            ffn,
            guidance=guidance,
            num_experts=num_experts,
            top_k=top_k,
            experts=experts,
            lora_rank=lora_rank,
            noise=noise,
            seed=seed * _LAYERS + number,
        )
        layer.mlp = mixture
        mixtures.append(mixture)
    return mixtures


def chosen_layers(which: Which, num_layers: int) -> list[int]:
    """Numbers of layers in ascending order.

    Raises:
        ValueError: Not all of them are there.
    """
    if which == "all":
        return list(range(num_layers))
    if isinstance(which, int) and not isinstance(which, bool):
        if not 1 <= which <= num_layers:
            raise ValueError(f"experts in the last {which} layers, but there are {num_layers}")
        return list(range(num_layers - which, num_layers))
    if not isinstance(which, list) or any(not isinstance(number, int) for number in which):
        raise ValueError(
            f"layers with experts must be 'all', how many of the last, or a list of numbers, not {which!r}"
        )
    strange = sorted(number for number in which if not 0 <= number < num_layers)
    if strange:
        raise ValueError(f"there is no layer {', '.join(map(str, strange))}: layers are 0 to {num_layers - 1}")
    return sorted(set(which))


def moe_modules(model: nn.Module) -> list[GuidedMoE]:
    """All mixtures of experts of a model, first layer first."""
    return [module for module in model.modules() if isinstance(module, GuidedMoE)]


def plain_state_dict(model: nn.Module, expert: Literal["mean"] | int = "mean") -> dict[str, Tensor]:
    """A model's weights with one feed-forward network in each mixture's place: what the plain model loads with strict=True.

    Args:
        model: Any, with mixtures of experts or without.
        expert: Which expert stands for all; the mean of all of them otherwise.
    """
    weights = dict(model.state_dict())
    for path, mixture in _mixtures(model):
        own = {name: weights.pop(path + name) for name in mixture.state_dict()}
        weights |= {path + name: value for name, value in mixture.plain(own, expert).items()}
    return weights


def upcycled(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A dense checkpoint's weights as a model with experts takes them: each network fills every expert of its layer.

    Args:
        weights: Name to tensor; not changed. Layers that have experts there already are left alone.
        model: Has the experts; its routers' (and low-rank factors') weights fill in what a dense checkpoint lacks.
    """
    filled = dict(weights)
    for path, mixture in _mixtures(model):
        names = [f"{path}{layer}.weight" for layer in FFN_LAYERS]
        if all(name in filled for name in names):
            dense = {name.removeprefix(path): filled.pop(name) for name in names}
            filled |= {path + name: value for name, value in mixture.filled(dense).items()}
    return filled


def _mixtures(model: nn.Module) -> list[tuple[str, GuidedMoE]]:
    return [
        (f"{name}." if name else "", module) for name, module in model.named_modules() if isinstance(module, GuidedMoE)
    ]
