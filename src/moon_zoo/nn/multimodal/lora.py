"""Low-rank adapters (LoRA) on a language model's linear layers, by peft.

Source: Hu et al. 2021, arXiv:2106.09685; the library is Hugging Face's peft. Only adapters are trained, and, where wanted, the
guided experts beside them, which are no linear layers and get no adapters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from torch import Tensor, nn

from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.nn.moe.install import moe_modules
from moon_zoo.nn.multimodal.backbone import MultimodalLM

TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of a decoder layer, as Llama, Mistral and Qwen name them."""

WHERE: Final = "model.init_args.lora"


def add_lora(
    model: MultimodalLM,
    *,
    rank: int = 16,
    alpha: int = 32,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
    vision: bool = False,
    train_experts: bool = True,
) -> list[str]:
    """Put adapters beside linear layers and freeze all other weights. Experts must be installed before.

    Args:
        model: Changed in place. New adapters change nothing until they are trained.
        rank: Of an adapter.
        alpha: Its output is multiplied by ``alpha / rank``.
        dropout: On its input while training.
        targets: Last names of linear layers; None takes those of `TARGETS` that are there.
        vision: Whether layers of the vision tower with these names, or any linear ones of its blocks when ``targets`` is None,
            get adapters too.
        train_experts: Whether guided experts and their routers are trained too (of low-rank experts their updates, not the
            network that they share), or frozen as well.

    Returns:
        Names of the layers with adapters.

    Raises:
        RecipeError: peft is not installed, numbers out of range, or layers that are not there.
    """
    if rank < 1 or not 0 <= dropout < 1 or alpha <= 0:
        raise RecipeError(
            f"LoRA wants a rank of at least 1, a positive alpha and a dropout in [0, 1): rank {rank}, alpha {alpha}, "
            f"dropout {dropout}",
            where=WHERE,
            change="it",
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise RecipeError(
            "LoRA needs the package peft, which is not installed",
            where=WHERE,
            change="pip install 'moon-zoo[llm]', or set it to null",
        ) from error
    chosen = _chosen(model, targets, vision)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen)
    inject_adapter_in_model(config, model.lm)  # freezes all else
    if train_experts:
        for mixture in moe_modules(model):
            for name, weight in mixture.named_parameters():
                weight.requires_grad_(not name.startswith("experts.shared."))
    return chosen


def has_lora(model: nn.Module) -> bool:
    """Whether a model has adapters."""
    return len(_adapted(model)) > 0


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The model as it was before it got adapters, for a while.

    peft's own switch also freezes adapters, and forgets which of them were trained.
    """
    layers = _adapted(model).values()
    before = [layer._disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer._disable_adapters = was


def merge_lora(model: nn.Module) -> None:
    """Add adapters to the weights they stand beside and take them out, in place; the model computes the same as before."""
    for name, layer in _adapted(model).items():
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())


def merged_state_dict(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they would be after `merge_lora`, without changing the model.

    Args:
        model: Has the adapters, or none.
        weights: Its ``state_dict``.
    """
    merged = dict(weights)
    for name, layer in _adapted(model).items():
        for key in [key for key in merged if key.startswith(f"{name}.")]:
            value, rest = merged.pop(key), key.removeprefix(f"{name}.")
            if rest == "base_layer.weight":
                update = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
                merged[f"{name}.weight"] = value + update.to(value.dtype)
            elif rest == "base_layer.bias":
                merged[f"{name}.bias"] = value
    return merged


def _chosen(model: MultimodalLM, targets: Sequence[str] | None, vision: bool) -> list[str]:
    """Full names, within ``model.lm``, of the linear layers to adapt."""
    within_experts = {id(module) for mixture in moe_modules(model) for module in mixture.modules()}
    places = [(model.layers, TARGETS if targets is None else tuple(targets))]
    if vision:
        places.append((model.visual, targets and tuple(targets)))  # type: ignore[arg-type]
    names = {id(module): name for name, module in model.lm.named_modules()}
    found, there = [], set()
    for place, wanted in places:
        for name, module in place.named_modules():
            if not isinstance(module, nn.Linear) or id(module) in within_experts:
                continue
            last = name.rpartition(".")[2]
            there.add(last)
            if wanted is None or last in wanted:
                found.append(names[id(module)])
    strange = sorted(set(targets or ()) - there)
    if strange or not found:
        raise RecipeError(
            f"there is no linear layer called {', '.join(strange) or 'as wanted'} outside experts",
            suggestions=[name for target in strange for name in did_you_mean(target, there)],
            where=f"{WHERE}.targets",
            change=f"it; layers: {', '.join(sorted(there))}",
        )
    return found


def _adapted(model: nn.Module) -> dict[str, Any]:
    """Layers with adapters, by name."""
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError:
        return {}
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
