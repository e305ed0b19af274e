"""Sizes of Qwen2.5-VL: the published ones, and a tiny one that learns on a laptop.

Source: Bai et al. 2025, "Qwen2.5-VL", arXiv:2502.13923, table 1, and the configuration files beside the published weights (Qwen
Research License for 3B, Apache-2.0 for 7B). The tiny one is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moon_zoo.errors import RecipeError
from moon_zoo.nn.multimodal.config_options import WHERE, made, split_parts
from moon_zoo.nn.multimodal.special_tokens import QWEN2_5_VL, SpecialTokens

_TEXT: Final[Mapping[str, Any]] = {
    "max_position_embeddings": 128000,
    "rms_norm_eps": 1e-6,
    "bos_token_id": QWEN2_5_VL.end,
    "eos_token_id": QWEN2_5_VL.im_end,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [16, 24, 24]},
}
_VISION: Final[Mapping[str, Any]] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "tokens_per_second": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}

PUBLISHED: Final[Mapping[str, Mapping[str, Any]]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "tie_word_embeddings": True,
        "text_config": {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "intermediate_size": 11008,
        },
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "tie_word_embeddings": False,
        "text_config": {
            "vocab_size": 152064,
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18944,
        },
    },
}
"""What differs between the published sizes, by hub name."""

TINY_TEXT: Final[Mapping[str, Any]] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 384,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
}
TINY_VISION: Final[Mapping[str, Any]] = {
    "hidden_size": 128,
    "depth": 4,
    "num_heads": 4,
    "intermediate_size": 384,
    "patch_size": 8,
    "spatial_merge_size": 2,
}
ROPE_THETA: Final = 10000.0
"""Of a tiny model: its sequences have hundreds of tokens, not thousands."""


def published_config(name: str) -> Any | None:
    """transformers' configuration of a published model; None for any other name."""
    from transformers import Qwen2_5_VLConfig

    if name not in PUBLISHED:
        return None
    own = PUBLISHED[name]
    return Qwen2_5_VLConfig(
        text_config={**_TEXT, **own["text_config"]},
        vision_config={**_VISION, "out_hidden_size": own["text_config"]["hidden_size"]},
        image_token_id=QWEN2_5_VL.image,
        vision_start_token_id=QWEN2_5_VL.vision_start,
        vision_end_token_id=QWEN2_5_VL.vision_end,
        tie_word_embeddings=own["tie_word_embeddings"],
    )


def tiny_config(values: Mapping[str, Any], *, vocab_size: int, special: SpecialTokens, photo_size: int) -> Any:
    """A configuration from numbers; what is not given is that of the tiny model.

    Raises:
        RecipeError: Names or sizes that do not fit.
    """
    from transformers import Qwen2_5_VLConfig

    parts = split_parts(Qwen2_5_VLConfig, values)
    text, vision = {**TINY_TEXT, **parts["text_config"]}, {**TINY_VISION, **parts["vision_config"]}
    _whole_numbers({**text, **{f"vision_config.{name}": value for name, value in vision.items()}})
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": sections(text)}
    text["rope_parameters"] = {**rope, **_mapping(text.get("rope_parameters") or {}, "rope_parameters")}
    vision.setdefault("fullatt_block_indexes", list(range(vision["depth"])))  # photos are small: no windows
    vision.setdefault("window_size", photo_size)
    vision["out_hidden_size"] = text["hidden_size"]
    for part in (text, vision):
        # the published 0.02 belongs to thousands of numbers: a narrow model with it attends to everything alike for long
        part.setdefault("initializer_range", part["hidden_size"] ** -0.5)
    text |= {"vocab_size": vocab_size, "pad_token_id": special.end, "bos_token_id": special.end}
    text["eos_token_id"] = special.im_end
    base = {
        "tie_word_embeddings": True,
        "image_token_id": special.image,
        "vision_start_token_id": special.vision_start,
        "vision_end_token_id": special.vision_end,
    }
    return made(Qwen2_5_VLConfig, {"": parts[""], "text_config": text, "vision_config": vision}, base)


def sections(text: Mapping[str, Any]) -> list[int]:
    """How many of a head's rotations turn with time, height and width: a quarter and three eighths each, as published."""
    pairs = text["hidden_size"] // text["num_attention_heads"] // 2
    spatial = pairs * 3 // 8
    return [pairs - 2 * spatial, spatial, spatial]


def check_sizes(config: Any, photo_size: int) -> None:
    """Refuse numbers with which the model could not be built or run.

    Raises:
        RecipeError: Which they are, and what would fit.
    """
    text, vision = config.text_config, config.vision_config
    square = vision.patch_size * vision.spatial_merge_size
    if photo_size < square or photo_size % square != 0:
        lower = max(photo_size // square, 1) * square
        raise RecipeError(
            f"photo_size {photo_size} is no multiple of {square} (patch_size {vision.patch_size} x spatial_merge_size "
            f"{vision.spatial_merge_size})",
            where="model.init_args.photo_size",
            change=f"it to {lower} or {lower + square}",
        )
    if text.use_sliding_window:
        raise RecipeError(
            "attention within a sliding window is not supported: a product's tokens see one another",
            where=f"{WHERE}.use_sliding_window",
            change="it to false",
        )
    _heads(text.hidden_size, text.num_attention_heads, "num_attention_heads", 2)
    _heads(vision.hidden_size, vision.num_heads, "vision_config.num_heads", 4)
    pairs = text.hidden_size // text.num_attention_heads // 2
    section = text.rope_parameters.get("mrope_section", [])
    if sum(section) != pairs:
        raise RecipeError(
            f"mrope_section {section} must add up to {pairs}, half of a head's numbers",
            where=f"{WHERE}.rope_parameters",
            change="mrope_section"
            if section
            else f"it to hold mrope_section: [{', '.join(map(str, sections(vars(text))))}]",
        )
    if text.num_attention_heads % text.num_key_value_heads != 0:
        raise RecipeError(
            f"{text.num_attention_heads} heads cannot share {text.num_key_value_heads} keys",
            where=f"{WHERE}.num_key_value_heads",
            change=f"it to a divisor of {text.num_attention_heads}",
        )


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{name} must be a mapping, not {value!r}", where=f"{WHERE}.{name}", change="it")
    return value


def _heads(hidden_size: int, heads: int, name: str, multiple: int) -> None:
    if heads < 1 or hidden_size % (heads * multiple) != 0:
        raise RecipeError(
            f"a hidden size of {hidden_size} does not split into {heads} heads of a multiple of {multiple} numbers",
            where=f"{WHERE}.{name}",
            change="it, or the hidden size",
        )


def _whole_numbers(values: Mapping[str, Any]) -> None:
    """Sizes must be whole and positive before they are reckoned with."""
    sizes = {name.rpartition(".")[2] for name in (*TINY_TEXT, *TINY_VISION)} - {"rms_norm_eps"}
    for name, value in values.items():
        if name.rpartition(".")[2] in sizes and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise RecipeError(
                f"{name} must be a whole number of at least 1, not {value!r}", where=f"{WHERE}.{name}", change="it"
            )
