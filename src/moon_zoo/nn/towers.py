"""Image and text towers: any timm backbone, any transformers encoder, or a small text encoder built from numbers.

Towers turn tensors into features and know nothing of projections or losses. Weights are read as safetensors only: a hub or
folder that offers nothing but a pickle is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from moon_zoo.errors import CheckpointError, RecipeError, did_you_mean, gist
from moon_zoo.nn.heads import masked_mean

Pooling = Literal["mean", "first", "pooler"]

TIMM_CONFIG = ("mean", "std", "input_size", "fixed_input_size", "global_pool")
"""What of timm's configuration of pretrained weights decides how a model is built and fed."""

ATTENTIONS = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
"""Attention that is part of torch and transformers; they would fetch any other name from a hub, as code."""


class ImageTower(nn.Module):
    """A timm backbone without classifier, over uint8 photos.

    Args:
        name: A timm model such as ``resnet10t``, or ``local-dir:FOLDER`` / ``hf-hub:OWNER/NAME`` in timm's own notation.
        pretrained: Whether to load timm's weights for that name. A folder's or hub's weights are always loaded.
        options: Further keyword arguments of ``timm.create_model`` (``channels``, ``img_size``, ``drop_path_rate`` ...).

    Raises:
        RecipeError: timm knows no such model, or refuses the options.
        CheckpointError: The weights cannot be loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._name, self._pretrained = name, pretrained
        # read now: the folder may be gone when the model is saved
        self._options = {**_timm_arguments(name), **(options or {})}
        self._options.pop("num_classes", None)  # towers have no classifier
        self.backbone = _create_backbone(name, pretrained, dict(options or {}))
        self.dim: int = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        config = self.backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1) * 255, persistent=False)

    def rebuilt_by(self) -> tuple[str, dict[str, Any]]:
        """Name and options that build this backbone and its normalisation again without its weights, from timm alone."""
        config = self.backbone.pretrained_cfg
        if not self._pretrained and ":" not in self._name:
            return self._name, self._options
        # timm sizes a model by these and the tower normalises by them; its own values for the bare name may be others
        kept = {name: config[name] for name in TIMM_CONFIG if config.get(name) is not None}
        overlay = {**kept, **self._options.get("pretrained_cfg_overlay", {})}
        name = config["architecture"] if ":" in self._name else self._name
        return name, {**self._options, "pretrained_cfg_overlay": overlay}

    def forward(self, photos: Tensor) -> Tensor:
        """Features of photos.

        Args:
            photos: uint8 or float in ``[0, 255]``, ``(batch, 3, height, width)``.

        Returns:
            ``(batch, dim)``.
        """
        dtype = next(self.backbone.parameters()).dtype
        pixels = ((photos.float() - self.mean) / self.std).to(dtype)
        return self.backbone(pixels)


class TextTower(nn.Module):
    """A transformers encoder with pooling, or a small BERT built from numbers when no name is given.

    Args:
        name: A model of the transformers library, by hub name or local folder; None builds one from ``options``.
        pretrained: With a name: whether to load its weights or only its configuration.
        pooling: ``mean`` over real tokens, ``first`` token, or the model's own ``pooler`` output (SigLIP, CLIP).
        vocab_size: Rows of the token table of a built encoder.
        max_tokens: Longest text of a built encoder, in tokens.
        options: Of a built encoder: ``hidden_size``, ``num_hidden_layers``, ``num_attention_heads``,
            ``intermediate_size``, dropouts. With a name: overrides of its configuration.

    Raises:
        RecipeError: An option that the configuration does not know.
        CheckpointError: The model cannot be loaded.
    """

    SMALL: Mapping[str, Any] = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
    }

    def __init__(
        self,
        name: str | None = None,
        *,
        pretrained: bool = True,
        pooling: Pooling = "mean",
        vocab_size: int = 4096,
        max_tokens: int = 48,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.is_named = name is not None
        self.encoder: Any
        if name is None:
            self.encoder = _build_small_encoder(vocab_size, max_tokens, {**self.SMALL, **(options or {})})
        else:
            whole = _load_encoder(name, pretrained, dict(options or {}))
            self._whole_config = whole.config
            # CLIP-like pairs: only their text half is wanted. Loading leaves a model in evaluation mode, dropout off.
            self.encoder = getattr(whole, "text_model", whole).train()
        self.dim = int(self.encoder.config.hidden_size)

    def write_config(self, folder: Path) -> dict[str, Any]:
        """Write ``config.json`` of a named encoder, from which it is built again without its weights.

        Args:
            folder: Made if need be.

        Returns:
            The options that go with it.
        """
        from transformers import MODEL_MAPPING

        config = self.encoder.config
        if type(config) not in MODEL_MAPPING or MODEL_MAPPING[type(config)] is not type(self.encoder):
            config = self._whole_config  # transformers cannot build this half alone
        # defaults written out, which may change with the library; without the folder it came from
        values = json.loads(config.to_json_string(use_diff=False))
        values.pop("_name_or_path", None)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
        return {"attn_implementation": self.encoder.config._attn_implementation}

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Features of texts.

        Args:
            token_ids: int64, ``(batch, tokens)``.
            token_mask: Bool, True on real tokens, ``(batch, tokens)``.

        Returns:
            ``(batch, dim)``. A text without tokens gives zeros under ``mean``.
        """
        output = self.encoder(input_ids=token_ids, attention_mask=token_mask.long())
        if self.pooling == "pooler":
            if getattr(output, "pooler_output", None) is None:
                raise RecipeError(
                    "this text tower has no pooler output", change="model.init_args.text_pooling to mean or first"
                )
            return output.pooler_output
        if self.pooling == "first":
            return output.last_hidden_state[:, 0]
        return masked_mean(output.last_hidden_state, token_mask)


def _create_backbone(name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    import timm

    if ":" not in name and not timm.is_model(name):
        raise RecipeError(
            f"timm has no model {name!r}",
            suggestions=did_you_mean(name, timm.list_models()),
            change="model.init_args.image_tower",
        )
    try:
        if _without_memory() and ":" not in name:
            pretrained = False
        return timm.create_model(name, pretrained=pretrained or ":" in name, num_classes=0, **options)
    except TypeError as error:
        raise RecipeError(
            f"timm's {name} does not take these options: {error}", change="model.init_args.image_tower_options"
        ) from error
    except (OSError, RuntimeError, FileNotFoundError) as error:
        raise CheckpointError(
            f"the weights of image tower {name} cannot be loaded: {gist(error)}",
            change="model.init_args.image_tower to local-dir:FOLDER, which holds config.json and model.safetensors; "
            "or model.init_args.image_pretrained to false",
        ) from error


def _timm_arguments(name: str) -> dict[str, Any]:
    """Arguments that the config of a folder or hub repository adds to those of its architecture."""
    source, _, place = name.partition(":")
    try:
        if source == "local-dir":
            return dict(json.loads((Path(place) / "config.json").read_text("utf-8")).get("model_args") or {})
        if source == "hf-hub":
            from timm.models import load_model_config_from_hf

            return dict(load_model_config_from_hf(place)[2] or {})
    except (OSError, ValueError, AttributeError):
        pass  # building the model says what is wrong
    return {}


def _build_small_encoder(vocab_size: int, max_tokens: int, options: dict[str, Any]) -> nn.Module:
    from transformers import BertConfig, BertModel

    known = BertConfig().to_dict()
    for option in options:
        if option not in known:
            raise RecipeError(
                f"the small text tower has no option {option!r}",
                suggestions=did_you_mean(option, known),
                change="model.init_args.text_tower_options",
            )
    config = BertConfig(vocab_size=vocab_size, max_position_embeddings=max_tokens, pad_token_id=0, **options)
    return BertModel(config, add_pooling_layer=False)


def _load_encoder(name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModel

    if "trust_remote_code" in options:
        raise RecipeError(
            "code that comes with a text tower is never run",
            where="model.init_args.text_tower_options.trust_remote_code",
            change="model.init_args.text_tower, to an encoder that transformers has itself",
        )
    safe = {"trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(name, **options, **safe)
        return (
            AutoModel.from_pretrained(name, config=config, use_safetensors=True, **safe)
            if pretrained and not _without_memory()
            else AutoModel.from_config(config, **safe)
        )
    except (OSError, ValueError, KeyError) as error:
        kind = "folder" if Path(name).exists() else "hub name"
        raise CheckpointError(
            f"the text tower {name} ({kind}) cannot be loaded: {gist(error)}",
            change="model.init_args.text_tower to a folder that holds config.json and model.safetensors",
        ) from error


def _without_memory() -> bool:
    """Whether modules are made on torch's meta device: shapes alone, so that no weights are wanted."""
    return torch.get_default_device().type == "meta"
