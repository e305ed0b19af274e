"""Build a multimodal language model: from numbers, or by name from a hub or folder, through its family's adapter.

A family is one adapter file and one line in `FAMILIES`. Weights are read as safetensors only, and code that comes with a model
is never run.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import torch

from moon_zoo.errors import CheckpointError
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.config_options import overridden, split_options
from moon_zoo.nn.multimodal.special_tokens import SpecialTokens
from moon_zoo.nn.pretrained_lm import cannot_load, from_config, from_weights

FAMILIES: Final[Mapping[str, str]] = {
    "qwen2_5_vl": "moon_zoo.nn.multimodal.qwen2_5_vl:Qwen25VL",
}
"""transformers' ``model_type`` to the adapter."""

TINY: Final = "qwen2_5_vl"
"""The family that is built from numbers."""


def family(model_type: str, where: str) -> type[MultimodalLM]:
    """The adapter of a family.

    Raises:
        CheckpointError: There is none.
    """
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"there is no adapter for models of the family {model_type!r}; known: {', '.join(sorted(FAMILIES))}",
            where=where,
            change="model.init_args.backbone, to a model of a known family, or to null for a tiny one",
        )
    module, _, name = FAMILIES[model_type].partition(":")
    found: type[MultimodalLM] = getattr(importlib.import_module(module), name)
    return found


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
        name: A hub name or local folder; None builds a tiny model from numbers, which needs ``vocab_size`` and ``special``.
        pretrained: With a name: whether to load its weights or only its configuration. The configurations of
            Qwen/Qwen2.5-VL-3B-Instruct and -7B-Instruct are known without a network.
        options: Overrides of the configuration: names of the text model's (``hidden_size``, ``num_hidden_layers`` ...), a
            dict ``vision_config``, ``attn_implementation`` (``sdpa``, ``eager``, ``flash_attention_2``) and ``dtype``.
        photo_size: Side of a photo in pixels.
        vocab_size: Rows of the token table; None keeps a named model's own.
        special: Ids of the special tokens; None: those of the named model's tokenizer.
        meta: Without memory for its weights (torch's meta device), and without reading any.

    Raises:
        RecipeError: An option that the configuration does not know, or sizes that do not fit.
        CheckpointError: The model cannot be loaded, lacks weights, is of another family, or its tokens are not ours.
    """
    meta = meta or torch.get_default_device().type == "meta"
    values, how = split_options(options or {})
    if name is None:
        adapter = family(TINY, "tiny")
        if vocab_size is None or special is None:
            raise ValueError("a model built from numbers needs vocab_size and special")
        config = adapter.tiny_config(values, vocab_size=vocab_size, special=special, photo_size=photo_size)
    else:
        config = _named_config(name, weights=pretrained and not meta)
        adapter = family(config.model_type, name)
        config = overridden(config, values)
        special = special or _special_of(adapter, name)
        _fit_tokens(config, name, vocab_size, special, weights=pretrained)
    adapter.check(config, photo_size)
    with torch.device("meta") if meta else nullcontext():
        if name is None or not pretrained or meta:
            lm = from_config(adapter.lm_class()._from_config, config, how)
        else:
            lm = from_weights(adapter.lm_class(), name, config, how)
        return adapter(lm.train(), special=special, photo_size=photo_size)  # type: ignore[call-arg]


def _named_config(name: str, *, weights: bool) -> Any:
    """The configuration of a hub name or folder; published sizes are known, if their weights are not wanted anyway."""
    from transformers import AutoConfig

    if not weights and not Path(name).exists():
        for model_type in FAMILIES:
            known = family(model_type, name).known_config(name)
            if known is not None:
                return known
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load(name, error) from error


def _special_of(adapter: type[MultimodalLM], name: str) -> SpecialTokens:
    from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

    known = None if Path(name).exists() else adapter.known_special(name)
    return known or MultimodalTokenizer.from_pretrained(name).special


def _fit_tokens(config: Any, name: str, vocab_size: int | None, special: SpecialTokens, *, weights: bool) -> None:
    """Make a configuration speak of our tokens, or refuse when its weights learnt others."""
    rows = config.text_config.vocab_size
    change = "model.init_args.tokenizer, to that of the backbone (or null, to take it by itself)"
    if vocab_size is not None and vocab_size > rows:
        if weights:
            raise CheckpointError(
                f"the tokenizer has {vocab_size} tokens, the backbone only {rows}", where=name, change=change
            )
        config.text_config.vocab_size = vocab_size
    if weights and config.image_token_id != special.image:
        raise CheckpointError(
            f"the tokenizer's image token is {special.image}, the backbone's {config.image_token_id}",
            where=name,
            change=change,
        )
    config.image_token_id = special.image
    config.vision_start_token_id, config.vision_end_token_id = special.vision_start, special.vision_end
