"""Adapters, and folders for transformers: what is trained, and that merging and writing change nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from moon_zoo.errors import RecipeError
from moon_zoo.nn.moe.install import install, moe_modules
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.lora import add_lora, has_lora, merge_lora
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer
from tests.nn.multimodal import tiny


def trained(backbone: MultimodalLM) -> set[str]:
    """Last names of layers whose weights are trained, adapters as ``lora``."""
    names = [name for name, weight in backbone.named_parameters() if weight.requires_grad]
    return {"lora" if "lora_" in name else name.rpartition("mlp.")[2] for name in names}


def wake(backbone: MultimodalLM) -> None:
    """As if adapters had been trained: new ones are zero."""
    for name, weight in backbone.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(0))


def test_new_adapters_change_nothing_and_alone_are_trained() -> None:
    backbone = tiny.model()
    given = tiny.sequence(backbone, [[True]], [7])
    before = backbone(given)
    names = add_lora(backbone, rank=4, alpha=8)
    assert len(names) == 7 * 2 and trained(backbone) == {"lora"}
    assert torch.equal(backbone(given), before)
    backbone(given).sum().backward()
    assert all((weight.grad is not None) == ("lora_" in name) for name, weight in backbone.named_parameters())


@pytest.mark.parametrize(
    ("experts", "train_experts", "expected"),
    [
        ("full", True, {"lora", "router.weight", "experts.gate_up_proj", "experts.down_proj"}),
        ("lora", True, {"lora", "router.weight", *(f"experts.{n}_{f}" for n in ("gate", "up", "down") for f in "ab")}),
        ("full", False, {"lora"}),
    ],
)
def test_experts_have_no_adapters_and_are_trained_or_frozen_by_setting(
    experts: str, train_experts: bool, expected: set[str]
) -> None:
    backbone = tiny.model()
    install(backbone.layers, num_experts=4, top_k=1, which=[1], experts=experts, lora_rank=2)
    names = add_lora(backbone, rank=2, train_experts=train_experts)
    assert len(names) == 7 + 4  # the layer with experts: attention alone
    assert trained(backbone) == expected


def test_adapters_are_put_beside_chosen_layers_and_the_vision_tower_on_request() -> None:
    assert {name.rpartition(".")[2] for name in add_lora(tiny.model(), targets=["q_proj", "v_proj"])} == {
        "q_proj",
        "v_proj",
    }
    names = add_lora(tiny.model(), vision=True)
    assert {name.rpartition(".")[2] for name in names if "visual" in name} >= {"qkv", "proj", "gate_proj"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["q_porj"]}, "there is no linear layer called q_porj outside experts\n  did you mean: q_proj"),
        ({"rank": 0}, "LoRA wants a rank of at least 1"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_adapters_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        add_lora(tiny.model(), **options)
    assert message in str(caught.value)


def test_without_peft_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)  # what Python keeps for a package that is not there
    with pytest.raises(RecipeError, match="needs the package peft") as caught:
        add_lora(tiny.model())
    assert "pip install 'moon-zoo[llm]'" in str(caught.value)


def test_merged_adapters_compute_the_same_and_are_gone() -> None:
    backbone = tiny.model()
    add_lora(backbone, rank=4, vision=True)
    wake(backbone)
    backbone.double()  # rounding of single numbers would be as large as a small fault
    given = tiny.sequence(backbone, [[True]], [7])
    before = backbone(given)
    assert not torch.allclose(before, tiny.model().double()(given), atol=1e-3)
    merge_lora(backbone)
    assert not has_lora(backbone) and backbone.state_dict().keys() == tiny.model().state_dict().keys()
    torch.testing.assert_close(backbone(given), before, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("experts", ["none", "full", "lora"])
def test_transformers_alone_loads_a_plain_folder_and_computes_the_same(experts: str, tmp_path: Path) -> None:
    """Experts that are still copies of one network: their mean is that network."""
    from transformers import AutoModelForImageTextToText

    backbone = tiny.model()
    if experts != "none":
        install(backbone.layers, num_experts=4, top_k=2, experts=experts, noise=0.0)
    add_lora(backbone, rank=4, targets=["q_proj", "o_proj"])
    wake(backbone)
    given = tiny.sequence(backbone, [[True, True]], [7])
    with torch.no_grad():
        ours = backbone.logits(backbone(given, "causal"))
        backbone.save_plain(tmp_path)
        alone, found = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
        theirs = alone.eval()(**tiny.transformers_inputs(backbone, given)).logits
    assert not any(found.values())
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-4)
    assert has_lora(backbone) and len(moe_modules(backbone)) == (0 if experts == "none" else 2)  # itself unchanged


def test_a_plain_folder_with_its_tokenizer_serves_transformers_processors(tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer

    tokenizer = MultimodalTokenizer.train(["red shirt"] * 3, vocab_size=300)
    backbone = tiny.model()
    backbone.save_plain(tmp_path, tokenizer=tokenizer)
    photo = torch.randint(0, 256, (3, tiny.PHOTO, tiny.PHOTO), dtype=torch.uint8)
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(images=[photo], return_tensors="pt")
    theirs = backbone.lm.model.visual(pixels["pixel_values"], grid_thw=pixels["image_grid_thw"]).pooler_output
    torch.testing.assert_close(theirs, backbone.encode_photos(photo[None])[0], atol=1e-5, rtol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path)("Red shirt").input_ids == tokenizer.ids("Red shirt")
