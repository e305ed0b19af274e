"""Build a language model that writes: from numbers, or by name from a hub or folder.

Any encoder-decoder or decoder of transformers. Weights are read as safetensors only; code that comes with a model is never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from moon_zoo.errors import CheckpointError, RecipeError, did_you_mean
from moon_zoo.nn.multimodal.config_options import split_options
from moon_zoo.nn.pretrained_lm import OPTIONS, cannot_load, from_config, from_weights
from moon_zoo.nn.writing.sizes import PUBLISHED, TINY, Architecture


def build_lm(
    name: str | None = None,
    *,
    pretrained: bool = True,
    options: Mapping[str, Any] | None = None,
    architecture: Architecture = "seq2seq",
    vocab_size: int | None = None,
    pad_id: int = 0,
    end_id: int = 0,
) -> Any:
    """A language model.

    Args:
        name: A hub name or local folder; None builds a tiny one from numbers.
        pretrained: With a name: whether to load its weights or only its configuration. Those of `PUBLISHED` are known.
        options: Overrides of the configuration, and ``attn_implementation`` and ``dtype``.
        architecture: Of a tiny one: ``seq2seq`` reads both ways and then writes; ``causal`` goes on with what it reads.
        vocab_size: Rows of a tiny one's table of tokens.
        pad_id: Of a tiny one: what fills, and opens what is written.
        end_id: Of a tiny one: what ends a text.

    Returns:
        A ``PreTrainedModel`` of transformers with a head for words, in training mode.

    Raises:
        RecipeError: An option that the configuration does not know, or numbers that do not fit.
        CheckpointError: The model cannot be loaded, or lacks weights.
    """
    meta = torch.get_default_device().type == "meta"
    values, how = split_options(options or {})
    if name is None:
        if architecture not in TINY:
            raise RecipeError(
                f"unknown architecture {architecture!r}",
                suggestions=did_you_mean(architecture, TINY),
                change=f"model.init_args.architecture to one of {', '.join(TINY)}",
            )
        config = _tiny(architecture, values, vocab_size, pad_id, end_id)
    else:
        config = _overridden(_named(name, weights=pretrained and not meta), values)
    with torch.device("meta") if meta else nullcontext():
        kind = lm_class(config)
        if name is None or not pretrained or meta:
            lm = from_config(kind.from_config, config, how)
        else:
            lm = from_weights(kind, name, config, how)
    return lm.train()


def lm_class(config: Any) -> Any:
    """The class with a head for words that serves a configuration."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM if getattr(config, "is_encoder_decoder", False) else AutoModelForCausalLM


def write_config(lm: Any, folder: Path) -> dict[str, Any]:
    """Write what builds a model again, without weights.

    Returns:
        The options that go with it.
    """
    lm.config.save_pretrained(folder)
    dtype = str(lm.dtype).removeprefix("torch.")
    return {"attn_implementation": lm.config._attn_implementation, "dtype": dtype}


def _tiny(architecture: str, values: Mapping[str, Any], vocab_size: int | None, pad_id: int, end_id: int) -> Any:
    if vocab_size is None:
        raise ValueError("a model built from numbers needs vocab_size")
    model_type, numbers = TINY[architecture]
    whole = {**numbers, **values}
    if model_type == "qwen2":
        # the published 0.02 belongs to thousands of numbers: a narrow model with it attends to everything alike for long
        whole.setdefault("initializer_range", float(whole["hidden_size"]) ** -0.5)
        whole.setdefault("rope_parameters", {"rope_type": "default", "rope_theta": 10000.0})
    else:
        whole.setdefault("decoder_start_token_id", pad_id)
    fixed = {"vocab_size": vocab_size, "pad_token_id": pad_id, "bos_token_id": pad_id, "eos_token_id": end_id}
    return _made(model_type, {**whole, **fixed}, given=values)


def _named(name: str, *, weights: bool) -> Any:
    from transformers import AutoConfig

    if not weights and not Path(name).exists() and name in PUBLISHED:
        return _made(*PUBLISHED[name])
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load(name, error) from error
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if not any(type(config) in one._model_mapping for one in (AutoModelForCausalLM, AutoModelForSeq2SeqLM)):
        raise CheckpointError(
            f"models of the family {config.model_type!r} write no texts",
            where=name,
            change="model.init_args.backbone, to an encoder-decoder (BART, T5) or a decoder (Qwen2.5, Llama); or to null",
        )
    return config


def _overridden(config: Any, values: Mapping[str, Any]) -> Any:
    if not values:
        return config
    base = config.to_dict()
    if "num_hidden_layers" in values:
        base.pop("layer_types", None)  # one per layer; worked out anew
    return _made(config.model_type, {**base, **values}, given=values)


def _made(model_type: str, values: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    known = {*kind.__annotations__, *kind.attribute_map, "tie_word_embeddings", "decoder_start_token_id"}
    unknown = sorted(set(given or {}) - known)
    if unknown:
        raise RecipeError(
            f"the backbone ({model_type}) has no option {unknown[0]!r}",
            suggestions=did_you_mean(unknown[0], known),
            where=OPTIONS,
            change="it; options are those of transformers' configuration",
        )
    try:
        return kind(**{name: value for name, value in values.items() if name != "model_type"})
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecipeError(
            f"the backbone's configuration does not take these options: {' '.join(str(error).split())[:300]}",
            where=OPTIONS,
            change="it",
        ) from error
