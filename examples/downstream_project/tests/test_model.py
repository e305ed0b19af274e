"""The model: its arguments, its loss, its head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from moon_zoo.data.identity import attribute_id
from moon_zoo.errors import RecipeError

from acme_products.model import IGNORED, AcmeDualFlow

TINY: dict[str, Any] = {
    "image_tower_options": {"channels": [8, 8, 8, 8], "stem_width": 8},
    "image_size": 32,
    "text_tower_options": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    },
    "embedding_dim": 16,
    "attribute_values": ["red", "blue"],
}


def test_labels_are_places_among_the_values_and_unknown_ones_are_ignored() -> None:
    module = AcmeDualFlow(**TINY)
    module.inputs.attribute_names = ("colour", "size")
    ids = [attribute_id("colour", "blue"), attribute_id("colour", "mauve"), 0, attribute_id("colour", "red")]
    batch = {
        "attributes": torch.tensor([[one, 5] for one in ids]),
        "valid": torch.tensor([True, True, True, False]),
    }
    assert module.attribute_labels(batch).tolist() == [1, IGNORED, IGNORED, IGNORED]


def test_an_attribute_that_the_data_lack_is_named_with_those_they_have() -> None:
    module = AcmeDualFlow(attribute="color", **TINY)
    module.inputs.attribute_names = ("colour", "size")
    with pytest.raises(RecipeError) as caught:
        module.attribute_labels({})
    assert "no attribute 'color'; they have: colour, size" in caught.value.what
    assert caught.value.suggestions == ("colour",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hardness": -1.0}, "hardness is -1.0"),
        ({"attribute_values": ["red", "red"]}, "two different values"),
        ({"queue_size": 8}, "no queue"),
        ({"loss": "siglip"}, "no other loss"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        AcmeDualFlow(**TINY | options)


def test_the_head_and_both_towers_learn_from_the_objective() -> None:
    torch.manual_seed(0)
    module = AcmeDualFlow(**TINY)
    module.inputs.attribute_names = ("colour",)
    rows = 4
    flags = {f"has_{part}": torch.ones(rows, dtype=torch.bool) for part in ("query_photo", "item_photo", "item_text")}
    batch = flags | {
        "has_query_text": torch.zeros(rows, dtype=torch.bool),
        "valid": torch.ones(rows, dtype=torch.bool),
        "query_photo": torch.randint(0, 255, (rows, 3, 32, 32), dtype=torch.uint8),
        "item_photo": torch.randint(0, 255, (rows, 3, 32, 32), dtype=torch.uint8),
        "item_token_ids": torch.randint(1, 50, (rows, 6)),
        "item_token_mask": torch.ones(rows, 6, dtype=torch.bool),
        "spu_id": torch.arange(rows),
        "item_id": torch.arange(rows),
        "attributes": torch.tensor([[attribute_id("colour", "red")]] * rows),
    }
    module.objective(module(batch), batch).backward()
    silent = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert silent == []
    assert module.attribute_head.weight.grad is not None and module.attribute_head.weight.grad.abs().sum() > 0
