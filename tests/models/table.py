"""The table of models: one row each, and every verb, resume, two processes and import time are tested for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import pytest


@dataclass(frozen=True)
class Row:
    """A model as small as it can be and still learn.

    Args:
        name: Its name in the registry.
        kind: Kind of shards it is tested on: a fixture ``{kind}_shards`` with the splits train, val and test.
        init_args: Settings that make it tiny.
        metric: A figure that validation must log.
        columns: Columns that predict must write.
        exact_init_args: Further settings that leave nothing to chance and no statistics to a rank (no dropout, no batch
            norm), so that two processes must equal one.
        random_init_args: Further settings that draw at random in every training step (dropout, augmentation).
        files: Setting to the fixture whose path it takes.
    """

    name: str
    kind: str
    init_args: dict[str, Any] = field(default_factory=dict)
    metric: str = "val/loss"
    columns: tuple[str, ...] = ()
    exact_init_args: dict[str, Any] = field(default_factory=dict)
    random_init_args: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def filled(self, request: pytest.FixtureRequest) -> Self:
        """The row with the paths of its fixtures among its settings."""
        paths = {name: str(request.getfixturevalue(fixture)) for name, fixture in self.files.items()}
        return replace(self, init_args=self.init_args | paths)


TINY_TOWERS: dict[str, Any] = {
    "image_tower": "resnet10t",
    "image_tower_options": {"channels": [8, 8, 16, 16], "stem_width": 8},
    "image_size": 32,
    "text_tower_options": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
    "vocab_size": 200,
    "max_tokens": 12,
    "embedding_dim": 16,
}

TINY_MOON: dict[str, Any] = {
    "backbone_options": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
        "vision_config": {"hidden_size": 16, "depth": 1, "num_heads": 2, "intermediate_size": 32},
    },
    "photo_size": 32,
    "vocab_size": 300,
    "max_tokens": 24,
    "max_query_tokens": 12,
    "generation": {"attributes": 1.0, "title": 1.0},
    "generation_share": 0.5,
    "generation_samples": 4,
    "generation_tokens": 32,
    "answer_tokens": 8,
    "predict_tasks": ["attributes"],
}
"""As small as it can be and still have photos, experts and words of its own."""

TINY_DREAM: dict[str, Any] = {
    "backbone_options": TINY_MOON["backbone_options"],
    "photo_size": 32,
    "vocab_size": 300,
    "max_prompt_tokens": 128,
    "max_answer_tokens": 24,
    "generation_samples": 4,
}

TINY_FOLLOWUP: dict[str, Any] = {
    "backbone_options": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
    },
    "vocab_size": 300,
    "max_tokens": 80,
    "max_follow_up_tokens": 24,
    "generation_samples": 4,
    "beams": 2,
}

MODELS: tuple[Row, ...] = (
    Row(
        "dream",
        kind="instruction",
        init_args=TINY_DREAM,
        metric="val/loss",
        columns=("answer",),
        exact_init_args={"observation_task": 0.5, "observing_tokens": 300, "observation_tokens": 32},
        random_init_args={"augment": {}, "lora": {"rank": 2, "dropout": 0.1}},
    ),
    Row(
        "dual_flow",
        kind="search",
        init_args=TINY_TOWERS,
        metric="val/photo_to_product/recall@1",
        columns=("query", "item", "score"),
        exact_init_args={
            "image_tower": "test_vit",
            "image_tower_options": {"img_size": 32, "depth": 1},
            "text_tower_options": TINY_TOWERS["text_tower_options"]
            | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
            "objectives": {"query_to_product": 1.0, "photo_to_photo": 1.0, "photo_to_text": 0.5},
            "queue_size": 12,
            "micro_batch_size": 2,
        },
        random_init_args={
            "augment": {},
            "item_background": 0.5,
            "text_tower_options": TINY_TOWERS["text_tower_options"],
        },
    ),
    Row(
        "followup",
        kind="follow_up",
        init_args=TINY_FOLLOWUP,
        metric="val/follow_up/knowledge_use",
        columns=("follow_up", "knowledge", "concept"),
        exact_init_args={"knowledge": "none", "length_groups": 2},
        random_init_args={"lora": {"rank": 2, "dropout": 0.1}},
    ),
    Row(
        "mim",
        kind="impressions",
        init_args={
            "behaviour": "cube",
            "embedding_dim": 4,
            "hidden": [8, 4],
            "attention_hidden": [4],
            "max_history": 10,
        },
        metric="val/auc",
        columns=("probability", "user_id", "item_id", "cold", "label"),
        random_init_args={"dropout": 0.1, "item_dropout": 0.2},
        files={"embeddings": "content_file"},
    ),
    Row(
        "moon",
        kind="search",
        init_args=TINY_MOON,
        metric="val/photo_to_product/recall@1",
        columns=("query", "item", "score", "generated_attributes"),
        exact_init_args={
            "combinations": {"query_to_product": 2.0, "text_to_photo": 1.0, "title_to_photo": 1.0},
            "guidance": "additive",
            "hard_negatives": 1,
            "queue_size": 12,
            "dual_level": 0.3,
            "filter_threshold": 0.6,
            "micro_batch_size": 2,
            "matryoshka": [4, 8],
        },
        random_init_args={"augment": {}, "lora": {"rank": 2, "dropout": 0.1}},
    ),
)
