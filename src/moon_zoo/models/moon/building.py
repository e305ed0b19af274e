"""What a recipe says about MOON's language model, checked and built: experts, numbers, generative tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moon_zoo.errors import RecipeError
from moon_zoo.nn.moe.install import install
from moon_zoo.nn.multimodal.backbone import MultimodalLM

FIELD_SEPARATOR = "\n"
"""Between a product's text fields, where a tokenizer does not set texts apart by itself as a trained one does."""


def install_experts(built: MultimodalLM, **settings: Any) -> None:
    """Experts in the layers of a backbone; see `moon_zoo.nn.moe.install.install`.

    Raises:
        RecipeError: Numbers that do not fit, or a backbone whose networks cannot become experts.
    """
    try:
        install(built.layers, **settings)
    except ValueError as error:
        raise RecipeError(
            f"experts cannot be put into the backbone: {error}",
            change="model.init_args.guidance, num_experts, top_k, moe_layers or experts",
        ) from error


def check_generation(
    generation: Mapping[str, float] | None, share: float, contrastive_weight: float, predict_tasks: object
) -> None:
    """Refuse settings of the generative tasks that contradict one another.

    Raises:
        RecipeError: Nothing to train for, answers wanted without tasks, or a share out of range.
    """
    if contrastive_weight == 0 and generation is None:
        raise RecipeError(
            "there is nothing to train for: contrastive_weight is 0 and generation is null",
            change="model.init_args.contrastive_weight or model.init_args.generation",
        )
    if generation is None and predict_tasks:
        raise RecipeError(
            "predict_tasks are answered by a model that was set up for generation",
            change="model.init_args.generation, such as {attributes: 1.0}",
        )
    if not 0 < share <= 1:
        raise RecipeError(
            f"generation_share is {share}, but must be above 0 and at most 1",
            change="model.init_args.generation_share",
        )
