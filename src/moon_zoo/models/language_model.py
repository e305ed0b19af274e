"""What a recipe says about a multimodal language model, for every model that is one: special tokens, adapters, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.models.base import ZooModule
from moon_zoo.models.checkpoint_config import HERE
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.config_options import ATTENTIONS
from moon_zoo.nn.multimodal.lora import add_lora
from moon_zoo.nn.multimodal.special_tokens import NAMES, SpecialTokens

FOLDER = "backbone"
"""Of a checkpoint: the configuration of a named backbone."""

SPECIAL_TOKENS = "special_tokens.json"
"""File of that folder with the ids of its special tokens."""

LORA_SETTINGS = ("rank", "alpha", "dropout", "targets", "vision", "train_experts")


def special_tokens(backbone: str | None, tokenizer: str | None) -> SpecialTokens | None:
    """Ids of the special tokens, as far as they must be known before the backbone is.

    Args:
        backbone: Hub name, folder, or the folder of a checkpoint that `write_backbone` wrote; None for one built from numbers.
        tokenizer: Hub name or folder; None for the backbone's, or one that will be trained.

    Returns:
        None for those that come with the backbone.

    Raises:
        CheckpointError: The tokenizer cannot be loaded, or lacks them.
    """
    if tokenizer is not None:
        from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

        return MultimodalTokenizer.from_pretrained(tokenizer).special
    if backbone is None:
        return SpecialTokens(**{name: number for number, name in enumerate(NAMES)})
    stored = Path(backbone) / SPECIAL_TOKENS
    return SpecialTokens(**json.loads(stored.read_text("utf-8"))) if stored.is_file() else None


def tokenizer_of(backbone: str | None) -> str | None:
    """Whose tokenizer a backbone comes with: its own, or none where it is a mere configuration of a checkpoint."""
    return None if backbone is None or (Path(backbone) / SPECIAL_TOKENS).is_file() else backbone


def write_backbone(built: MultimodalLM, folder: Path) -> dict[str, Any]:
    """Write what builds a named backbone again, without weights or tokenizer.

    Args:
        built: The backbone.
        folder: Of the checkpoint.

    Returns:
        The arguments that go with it.
    """
    options = built.write_config(folder / FOLDER)
    (folder / FOLDER / SPECIAL_TOKENS).write_text(json.dumps(asdict(built.special), indent=2) + "\n", "utf-8")
    return {"backbone": f"{HERE}/{FOLDER}", "backbone_pretrained": False, "backbone_options": options}


class LanguageModelModule(ZooModule):
    """A module over a language model, which its arguments name ``backbone``: what goes into its checkpoints and comes out."""

    left_out: ClassVar[tuple[str, ...]] = ("tokenizer",)
    """Arguments that a checkpoint folder does without: the tokenizer is in the inputs' state."""

    def write_backbone(self, folder: Path) -> dict[str, Any]:
        """Write what builds the named backbone again; see `write_backbone`."""
        return write_backbone(self.network.backbone, folder)

    def fitted_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights without adapters go beside the adapters that this model has."""
        return with_adapters(weights, self)

    def write_parts(self, folder: Path) -> dict[str, Any]:
        """The configuration of a named backbone; and arguments that build it without fetching weights or a tokenizer."""
        changed: dict[str, Any] = dict.fromkeys(self.left_out)
        return changed if self.init_args()["backbone"] is None else changed | self.write_backbone(folder)

    def pretrained_names(self) -> tuple[str, ...]:
        """The backbone, where it was loaded."""
        given = self.init_args()
        return (given["backbone"],) if given["backbone"] is not None and given["backbone_pretrained"] else ()

    @classmethod
    def unsealed(cls, init_args: Mapping[str, Any]) -> str | None:
        """Weights, a configuration or a tokenizer from elsewhere."""
        return from_elsewhere(init_args)


def from_elsewhere(init_args: Mapping[str, Any]) -> str | None:
    """What a checkpoint's arguments would read from outside of it; None where nothing."""
    backbone, options = init_args.get("backbone"), init_args.get("backbone_options") or {}
    if init_args.get("tokenizer") is not None:
        return f"the tokenizer {init_args['tokenizer']}"
    if "trust_remote_code" in options:
        return "code that comes with the backbone"
    if options.get("attn_implementation", ATTENTIONS[0]) not in ATTENTIONS:
        return f"the attention {options['attn_implementation']}"
    if backbone is not None:
        inside = str(backbone).startswith(f"{HERE}/") and not init_args.get("backbone_pretrained", True)
        if not inside or options.keys() - {"attn_implementation", "dtype"}:
            return f"the backbone {backbone}"
    return None


def add_adapters(built: MultimodalLM, settings: Mapping[str, Any]) -> None:
    """Low-rank adapters as a recipe says; see `moon_zoo.nn.multimodal.lora.add_lora`.

    Raises:
        RecipeError: A setting that does not exist, or what `add_lora` refuses.
    """
    unknown = sorted(settings.keys() - set(LORA_SETTINGS))
    if unknown:
        raise RecipeError(
            f"lora has no setting {', '.join(map(repr, unknown))}; settings are {', '.join(LORA_SETTINGS)}",
            suggestions=did_you_mean(unknown[0], LORA_SETTINGS),
            change="model.init_args.lora",
        )
    add_lora(built, **settings)


def with_adapters(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights trained without adapters as a model with adapters takes them; its own adapters stay as they are.

    Args:
        weights: Name to tensor; not changed.
        model: Has adapters, or none.
    """
    found = dict(weights)
    own = model.state_dict()
    for name in own:
        plain, marked, last = name.rpartition(".base_layer.")
        if marked and name not in found and f"{plain}.{last}" in found:
            found[name] = found.pop(f"{plain}.{last}")
            found |= {key: own[key] for key in own if key.startswith((f"{plain}.lora_A.", f"{plain}.lora_B."))}
    return found
