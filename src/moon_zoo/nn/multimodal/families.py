"""Build a multimodal language model: from numbers, or by name from a hub or folder, through its family's adapter.

A family is one adapter file and one line in `FAMILIES`. Weights are read as safetensors only, and code that comes with a model
is never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch

from moon_zoo.errors import CheckpointError, RecipeError, did_you_mean
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.special_tokens import SpecialTokens

TINY_TEXT: Mapping[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 384,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
}
TINY_VISION: Mapping[str, Any] = {
    "hidden_size": 128,
    "depth": 4,
    "num_heads": 4,
    "intermediate_size": 384,
    "patch_size": 8,
    "spatial_merge_size": 2,
}


def build_backbone(
    name: str | None = None,
    *,
    pretrained: bool = True,
    options: Mapping[str, Any] | None = None,
    photo_size: int = 64,
    vocab_size: int | None = None,
    special: SpecialTokens | None = None,
    meta: bool = False,
) -> MultimodalLM:
    """A multimodal language model.

    Args:
        name: A hub name or local folder; None builds a tiny Qwen2.5-VL from numbers.
        pretrained: With a name: whether to load its weights or only its configuration.
        options: Overrides of the configuration: names of the text model's, and a dict ``vision_config``.
        photo_size: Side of a photo in pixels.
        vocab_size: Rows of the token table; None keeps a named model's own.
        special: Ids of the special tokens; None: those of the named model's tokenizer.
        meta: Without memory for its weights (torch's meta device).
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from moon_zoo.nn.multimodal.qwen2_5_vl import Qwen25VL

    if name is not None or special is None or vocab_size is None:
        raise NotImplementedError("models by name")
    text = {**TINY_TEXT, **(options or {})}
    vision = {**TINY_VISION, **text.pop("vision_config", {})}
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    text.setdefault(
        "rope_parameters",
        {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [half - 2 * (half * 3 // 8)] + [half * 3 // 8] * 2,
        },
    )
    vision.setdefault("fullatt_block_indexes", list(range(vision["depth"])))
    vision.setdefault("window_size", photo_size)
    vision["out_hidden_size"] = text["hidden_size"]
    config = Qwen2_5_VLConfig(
        text_config={
            **text,
            "vocab_size": vocab_size,
            "pad_token_id": special.end,
            "eos_token_id": special.im_end,
            "bos_token_id": special.end,
        },
        vision_config=vision,
        image_token_id=special.image,
        vision_start_token_id=special.vision_start,
        vision_end_token_id=special.vision_end,
        tie_word_embeddings=True,
    )
    with torch.device("meta") if meta else nullcontext():
        lm = Qwen2_5_VLForConditionalGeneration(config)
    return Qwen25VL(lm, special=special, photo_size=photo_size)
