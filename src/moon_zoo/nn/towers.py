"""Image and text towers: any timm backbone, any transformers encoder, or a small text encoder built from numbers.

Towers turn tensors into features and know nothing of projections or losses. Weights are read as safetensors only: a hub or
folder that offers nothing but a pickle is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from moon_zoo.errors import CheckpointError, RecipeError, did_you_mean
from moon_zoo.nn.heads import masked_mean

Pooling = Literal["mean", "first", "pooler"]


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
        self.backbone = _create_backbone(name, pretrained, dict(options or {}))
        self.dim: int = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        config = self.backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1) * 255, persistent=False)

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
        self.encoder: Any
        if name is None:
            self.encoder = _build_small_encoder(vocab_size, max_tokens, {**self.SMALL, **(options or {})})
        else:
            self.encoder = _load_encoder(name, pretrained, dict(options or {}))
        self.dim = int(self.encoder.config.hidden_size)

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
        return timm.create_model(name, pretrained=pretrained or ":" in name, num_classes=0, **options)
    except TypeError as error:
        raise RecipeError(
            f"timm's {name} does not take these options: {error}", change="model.init_args.image_tower_options"
        ) from error
    except (OSError, RuntimeError, FileNotFoundError) as error:
        raise CheckpointError(
            f"the weights of image tower {name} cannot be loaded: {_first_line(error)}",
            change="model.init_args.image_tower to local-dir:FOLDER, which holds config.json and model.safetensors; "
            "or model.init_args.image_pretrained to false",
        ) from error


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

    try:
        config = AutoConfig.from_pretrained(name, **options)
        model = (
            AutoModel.from_pretrained(name, config=config, use_safetensors=True)
            if pretrained
            else AutoModel.from_config(config)
        )
    except (OSError, ValueError, KeyError) as error:
        kind = "folder" if Path(name).exists() else "hub name"
        raise CheckpointError(
            f"the text tower {name} ({kind}) cannot be loaded: {_first_line(error)}",
            change="model.init_args.text_tower to a folder that holds config.json and model.safetensors",
        ) from error
    # CLIP-like pairs: only their text half is wanted. Loading leaves a model in evaluation mode, its dropout switched off.
    return getattr(model, "text_model", model).train()


def _first_line(error: Exception) -> str:
    """The gist of a library's message, which may run to pages."""
    return str(error).strip().partition("\n")[0][:300]
