"""Options of a backbone: what a recipe may say about a configuration of transformers, checked before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from moon_zoo.errors import RecipeError, did_you_mean

WHERE: Final = "model.init_args.backbone_options"
ATTENTIONS: Final = ("sdpa", "eager", "flash_attention_2", "flash_attention_3")
"""Implementations that serve masks with pads anywhere; any other name would be fetched from a hub, as code."""
DTYPES: Final = ("float32", "bfloat16", "float16")


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Apart what a model is from how it is loaded.

    Returns:
        Values of the configuration; and ``attn_implementation`` and ``dtype``, by default sdpa and float32.

    Raises:
        RecipeError: A choice that does not exist, or remote code.
    """
    values = dict(options)
    if "trust_remote_code" in values:
        raise RecipeError(
            "code that comes with a backbone is never run",
            where=f"{WHERE}.trust_remote_code",
            change="model.init_args.backbone, to a model that transformers has itself",
        )
    how = {"attn_implementation": values.pop("attn_implementation", "sdpa"), "dtype": values.pop("dtype", "float32")}
    for name, choices in (("attn_implementation", ATTENTIONS), ("dtype", DTYPES)):
        if how[name] not in choices:
            raise RecipeError(
                f"{name} must be one of {', '.join(choices)}, not {how[name]!r}",
                suggestions=did_you_mean(str(how[name]), choices),
                where=f"{WHERE}.{name}",
                change="it",
            )
    return values, how


def split_parts(config_class: Any, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort values by the configuration they belong to.

    Args:
        config_class: Of the whole model; its ``sub_configs`` are those of its parts.
        values: ``text_config`` and ``vision_config``, values of the whole, and, flat, of the text model.

    Returns:
        Values under ``""`` (the whole model's own), ``text_config`` and ``vision_config``.

    Raises:
        RecipeError: A name that none of them knows.
    """
    parts: dict[str, dict[str, Any]] = {"": {}, "text_config": {}, "vision_config": {}}
    text_names, whole_names = _names(config_class.sub_configs["text_config"]), {"tie_word_embeddings"}
    for name, value in values.items():
        if name in ("text_config", "vision_config"):
            if not isinstance(value, Mapping):
                raise RecipeError(f"{name} must be a mapping, not {value!r}", where=f"{WHERE}.{name}", change="it")
            _known(value, _names(config_class.sub_configs[name]), f"{WHERE}.{name}")
            parts[name] |= value
        elif name in whole_names:
            parts[""][name] = value
        else:
            _known([name], text_names | whole_names | {"vision_config", "attn_implementation", "dtype"}, WHERE)
            parts["text_config"][name] = value
    return parts


def overridden(config: Any, values: Mapping[str, Any]) -> Any:
    """A configuration with some values changed.

    Raises:
        RecipeError: Names or types that it does not know.
    """
    parts = split_parts(type(config), values)
    base = config.to_dict()
    text, vision = parts["text_config"], parts["vision_config"]
    if "num_hidden_layers" in text:
        text.setdefault("layer_types", None)  # one per layer; worked out anew
    if "hidden_size" in text and "out_hidden_size" in base["vision_config"]:
        vision.setdefault("out_hidden_size", text["hidden_size"])
    return made(type(config), parts, base)


def made(config_class: Any, parts: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any]) -> Any:
    """A configuration from ``base`` and what `split_parts` found.

    Raises:
        RecipeError: Values of types that it does not take.
    """
    from huggingface_hub.errors import StrictDataclassError

    whole = {**base, **parts[""]}
    for name in ("text_config", "vision_config"):
        whole[name] = {**base.get(name, {}), **parts[name]}
    try:
        return config_class(**whole)
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecipeError(
            f"the backbone's configuration does not take these options: {' '.join(str(error).split())[:300]}",
            where=WHERE,
            change="it",
        ) from error


def _names(config_class: Any) -> set[str]:
    """What a configuration class itself declares; its base adds dozens that concern other things."""
    return set(config_class.__annotations__)


def _known(names: Iterable[str], known: set[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise RecipeError(
                f"the backbone has no option {name!r}",
                suggestions=did_you_mean(name, known),
                where=where,
                change="it; options are those of transformers' configuration",
            )
