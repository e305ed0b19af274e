from __future__ import annotations

import pytest
import torch
from torch import nn

from moon_zoo.errors import CheckpointError, RecipeError
from moon_zoo.models.dual_flow.network import DualFlowNetwork
from moon_zoo.nn.towers import ImageTower, TextTower

SMALL_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def small_text_tower() -> TextTower:
    return TextTower(vocab_size=50, max_tokens=8, options=SMALL_TEXT).eval()


def test_padding_changes_no_text_embedding() -> None:
    tower = small_text_tower()
    ids = torch.tensor([[5, 6, 7, 0, 0, 0]])
    short = tower(ids[:, :3], torch.ones(1, 3, dtype=torch.bool))
    padded = tower(ids, ids > 0)
    other_padding = tower(torch.tensor([[5, 6, 7, 9, 9, 9]]), ids > 0)
    torch.testing.assert_close(padded, short)
    torch.testing.assert_close(other_padding, short)


def test_uint8_photos_are_normalised_on_the_device() -> None:
    tower = ImageTower("resnet10t", options={"channels": [8, 8, 8, 8], "stem_width": 8}).eval()
    photos = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = tower.backbone((photos / 255 - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(tower(photos), expected, rtol=1e-4, atol=1e-5)


def test_tower_loads_weights_from_a_local_folder(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import timm

    options = {"channels": [8, 8, 8, 8], "stem_width": 8}
    saved = timm.create_model("resnet10t", num_classes=0, **options)
    timm.models.save_for_hf(saved, str(tmp_path), model_config={"num_classes": 0}, safe_serialization=True)
    tower = ImageTower(f"local-dir:{tmp_path}", options=options)
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(tower.backbone.state_dict()[name], value)


def test_text_tower_loads_an_encoder_from_a_local_folder(tmp_path) -> None:  # type: ignore[no-untyped-def]
    built = small_text_tower()
    built.encoder.save_pretrained(tmp_path)
    loaded = TextTower(str(tmp_path)).eval()
    ids = torch.tensor([[5, 6, 7]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.testing.assert_close(loaded(ids, mask), built(ids, mask))


def test_folder_with_pickled_weights_alone_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    built = small_text_tower()
    built.encoder.config.save_pretrained(tmp_path)
    torch.save(built.encoder.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TextTower(str(tmp_path))


def test_unknown_backbone_names_the_close_ones() -> None:
    with pytest.raises(RecipeError, match="no model 'resnet19'") as caught:
        ImageTower("resnet19")
    assert "resnet18" in caught.value.suggestions


def test_unknown_text_option_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match="hiden_size") as caught:
        TextTower(options={"hiden_size": 3})
    assert "hidden_size" in caught.value.suggestions


def test_identity_head_needs_towers_of_the_embedding_size() -> None:
    tower = nn.Identity()
    tower.dim = 8  # type: ignore[assignment]
    with pytest.raises(RecipeError, match="embedding_dim 16, but one gives 8"):
        DualFlowNetwork(tower, tower, embedding_dim=16, head="identity")
