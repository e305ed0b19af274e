"""Our way through Qwen2.5-VL against transformers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.nn.multimodal import tiny

WINDOWS: dict[str, dict[str, Any]] = {
    "no windows": {},
    "equal windows": {"patch_size": 4, "window_size": 16, "fullatt_block_indexes": [1]},
    "windows cut at the edge": {"patch_size": 4, "window_size": 24, "fullatt_block_indexes": [0]},
}


@pytest.mark.parametrize("windows", list(WINDOWS))
def test_photos_through_the_vision_tower_equal_those_of_transformers(windows: str) -> None:
    backbone = tiny.model(photo_size=tiny.PHOTO, vision_config=WINDOWS[windows])
    given = tiny.sequence(backbone, [[True, True, True]], [0])
    inputs = tiny.transformers_inputs(backbone, given)
    with torch.no_grad():
        theirs = backbone.lm.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
        ours = backbone.encode_photos(given.photos[0])
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours.flatten(0, 1), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_causal_logits_of_photos_and_text_equal_those_of_transformers(attention: str) -> None:
    backbone = tiny.model(attn_implementation=attention)
    given = tiny.sequence(backbone, [[True, True], [False, True]], [7, 3])
    with torch.no_grad():
        ours = backbone.logits(backbone(given, "causal"))
        theirs = backbone.lm(**tiny.transformers_inputs(backbone, given)).logits
    torch.testing.assert_close(ours[given.mask], theirs[given.mask], atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_transformers() -> None:
    backbone = tiny.model()
    given = tiny.sequence(backbone, [[True, True]], [7])
    backbone.logits(backbone(given, "causal")).square().mean().backward()
    ours = {name: weight.grad.clone() for name, weight in backbone.named_parameters() if weight.grad is not None}
    backbone.zero_grad()
    backbone.lm(**tiny.transformers_inputs(backbone, given)).logits.square().mean().backward()
    for name, weight in backbone.named_parameters():
        torch.testing.assert_close(
            ours[name], weight.grad, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: name + text
        )


def test_photos_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"photos must be \(n, 3, 32, 32\), not \(1, 3, 16, 32\)"):
        tiny.model().encode_photos(torch.zeros(1, 3, 16, 32, dtype=torch.uint8))


def test_attention_of_few_patches_equals_the_general_way() -> None:
    """In float32, where both are exact up to rounding; trainings in bfloat16 on a CPU take it."""
    from moon_zoo.nn.multimodal import qwen2_5_vl as module

    backbone = tiny.model()
    attn, patches = backbone.visual.blocks[0].attn, backbone.vision_cos.shape[0]
    hidden = torch.randn(3, patches, attn.num_heads * attn.head_dim, generator=torch.Generator().manual_seed(0))
    rotations = (backbone.vision_cos, backbone.vision_sin)
    expected = module._vision_attention(attn, hidden, rotations, None)
    found = attn.proj(module._few_patches(attn.qkv(hidden), rotations, attn.num_heads))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        halves = module._vision_attention(attn, hidden, rotations, None)
    torch.testing.assert_close(halves.float(), expected, atol=0.02, rtol=0.02)
