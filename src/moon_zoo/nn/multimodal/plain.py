"""A model's weights as a folder that transformers loads by itself: no experts, no adapters, no code of ours.

Adapters are merged and each layer's experts become one network (their mean, or a chosen one); a model that has neither is
written as it is. Serving is thereby left to what serves language models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from moon_zoo.nn.moe.install import plain_state_dict
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.lora import merged_state_dict
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer


def plain_weights(model: MultimodalLM, expert: Literal["mean"] | int = "mean") -> dict[str, Tensor]:
    """Weights by transformers' names; see `save_plain`. Tied ones share their memory still."""
    return merged_state_dict(model.lm, plain_state_dict(model.lm, expert))


def save_plain(
    model: MultimodalLM,
    folder: Path,
    *,
    tokenizer: MultimodalTokenizer | None = None,
    expert: Literal["mean"] | int = "mean",
) -> None:
    """Write configuration, safetensors, and with a tokenizer also that and how photos are read.

    Args:
        model: Not changed.
        folder: Made if need be.
        tokenizer: The model's.
        expert: Which expert stands for all of its layer; the mean of all of them otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.lm.save_pretrained(folder, state_dict=plain_weights(model, expert))
    if tokenizer is not None:
        tokenizer.save_plain(folder)
        model.save_photo_processor(folder)
