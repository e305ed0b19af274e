"""Building a model: from numbers, from a folder, without memory; and what is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from moon_zoo.errors import CheckpointError, RecipeError, ZooError
from moon_zoo.nn.multimodal.families import FAMILIES, build_backbone, family
from moon_zoo.nn.multimodal.special_tokens import QWEN2_5_VL
from tests.nn.multimodal import tiny


def build(**options: Any) -> Any:
    """The tiny model of the defaults with some options."""
    return build_backbone(None, vocab_size=tiny.VOCAB, special=tiny.SPECIAL, **options)


def refused(kind: type[ZooError], *args: Any, **options: Any) -> ZooError:
    with pytest.raises(kind) as caught:
        build_backbone(*args, **{"vocab_size": tiny.VOCAB, "special": tiny.SPECIAL, **options})
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.model().save_plain(tmp_path / "model")
    return tmp_path / "model"


def test_the_tiny_model_has_the_sizes_of_its_defaults() -> None:
    backbone = build()
    assert (backbone.hidden_size, len(backbone.layers), backbone.vocab_size) == (128, 4, tiny.VOCAB)
    assert (backbone.photo_size, backbone.photo_tokens, backbone.training) == (64, 16, True)
    assert backbone.num_parameters == sum(weight.numel() for weight in backbone.parameters())
    assert backbone.encode_photos(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 16, 128)


@pytest.mark.parametrize(
    ("name", "parameters", "tokens"),
    [("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976, 256), ("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656, 256)],
)
def test_published_sizes_are_known_without_network_or_memory(name: str, parameters: int, tokens: int) -> None:
    """Numbers of parameters as the hub counts them in the published safetensors."""
    backbone = build_backbone(name, photo_size=448, meta=True)
    assert backbone.num_parameters == parameters and backbone.photo_tokens == tokens
    assert backbone.special == QWEN2_5_VL
    assert all(tensor.is_meta for tensor in [*backbone.parameters(), *backbone.buffers()])


def test_a_model_without_memory_runs_forward_and_backward() -> None:
    backbone = build(meta=True)
    given = tiny.sequence(build(), [[True, False]], [7]).to("meta")
    hidden = backbone(given)
    assert hidden.shape == (1, 2 * 18 + 7, 128) and hidden.is_meta
    backbone.logits(hidden).sum().backward()
    with torch.device("meta"):
        assert build_backbone("Qwen/Qwen2.5-VL-3B-Instruct", photo_size=56).lm.device.type == "meta"


def test_a_folder_is_loaded_with_all_its_weights(folder: Path) -> None:
    loaded = build_backbone(str(folder), photo_size=tiny.PHOTO, special=tiny.SPECIAL)
    original = tiny.model().state_dict()
    assert loaded.training and loaded.lm.dtype == torch.float32
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, original[name]), name


def test_a_written_configuration_builds_the_same_model_without_weights(tmp_path: Path) -> None:
    backbone = tiny.model(dtype="bfloat16", attn_implementation="eager")
    options = backbone.write_config(tmp_path / "backbone")
    assert options == {"attn_implementation": "eager", "dtype": "bfloat16"}
    twin = build_backbone(
        str(tmp_path / "backbone"), pretrained=False, options=options, photo_size=tiny.PHOTO, special=tiny.SPECIAL
    )
    twin.load_state_dict(backbone.state_dict(), strict=True)
    given = tiny.sequence(backbone, [[True]], [7])
    assert torch.equal(twin.eval()(given), backbone(given))


def test_options_override_a_named_models_configuration(folder: Path) -> None:
    fewer = build_backbone(str(folder), options={"num_hidden_layers": 1}, photo_size=tiny.PHOTO, special=tiny.SPECIAL)
    assert len(fewer.layers) == 1
    assert torch.equal(fewer.layers[0].mlp.up_proj.weight, tiny.model().layers[0].mlp.up_proj.weight)
    other = build_backbone(
        str(folder), pretrained=False, options={"vision_config": {"depth": 3}}, photo_size=64, special=tiny.SPECIAL
    )
    assert len(other.visual.blocks) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hiden_size": 64}, "the backbone has no option 'hiden_size'\n  did you mean: hidden_size"),
        ({"vision_config": {"dept": 3}}, "the backbone has no option 'dept'\n  did you mean: depth?"),
        ({"vision_config": 3}, "vision_config must be a mapping, not 3"),
        ({"hidden_size": 100}, "a hidden size of 100 does not split into 4 heads of a multiple of 2 numbers"),
        ({"hidden_size": "x"}, "hidden_size must be a whole number of at least 1, not 'x'"),
        ({"vision_config": {"depth": 0}}, "vision_config.depth must be a whole number of at least 1, not 0"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3 keys"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"hidden_act": "nope"}, "'nope'"),
        ({"rope_parameters": 3}, "rope_parameters must be a mapping, not 3"),
        ({"rope_parameters": {"mrope_section": [1, 2, 3]}}, "mrope_section [1, 2, 3] must add up to 16"),
        ({"use_sliding_window": True}, "attention within a sliding window is not supported"),
        ({"attn_implementation": "someone/kernel"}, "attn_implementation must be one of sdpa, eager"),
        ({"dtype": "int8"}, "dtype must be one of float32, bfloat16, float16, not 'int8'"),
        ({"trust_remote_code": True}, "code that comes with a backbone is never run"),
    ],
)
def test_options_that_do_not_exist_or_fit_are_refused(options: dict[str, Any], message: str) -> None:
    assert message in str(refused(RecipeError, None, options=options))


def test_a_photo_size_that_patches_do_not_fill_is_refused_with_its_neighbours() -> None:
    error = refused(RecipeError, None, photo_size=60)
    assert "photo_size 60 is no multiple of 16" in error.what and error.change == "it to 48 or 64"


def test_another_family_is_refused_by_the_families_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}), "utf-8")
    error = refused(CheckpointError, str(tmp_path))
    assert error.what == "there is no adapter for models of the family 'llava'; known: qwen2_5_vl"
    assert error.where == str(tmp_path)


def test_every_family_has_its_adapter() -> None:
    assert all(issubclass(family(name, "here"), torch.nn.Module) for name in FAMILIES)


def test_a_pickle_is_not_read(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "model.safetensors" in str(refused(CheckpointError, str(folder)))


def test_a_folder_that_is_missing_broken_or_short_of_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path}" in str(refused(CheckpointError, str(tmp_path / "nothing")))
    more = refused(CheckpointError, str(folder), photo_size=tiny.PHOTO, options={"num_hidden_layers": 3})
    assert "12 of the backbone's weights are not there, such as model.language_model.layers.2" in more.what
    wider = refused(CheckpointError, str(folder), photo_size=tiny.PHOTO, options={"intermediate_size": 64})
    assert "6 of the backbone's weights are of other sizes than its configuration" in wider.what
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    assert "cannot be loaded" in str(refused(CheckpointError, str(folder), photo_size=tiny.PHOTO))
    (folder / "config.json").write_text("{", "utf-8")
    assert "cannot be loaded" in str(refused(CheckpointError, str(folder)))


def test_tokens_that_the_weights_did_not_learn_are_refused(folder: Path) -> None:
    error = refused(CheckpointError, str(folder), photo_size=tiny.PHOTO, vocab_size=tiny.VOCAB + 1)
    assert error.what == f"the tokenizer has {tiny.VOCAB + 1} tokens, the backbone only {tiny.VOCAB}"
    error = refused(CheckpointError, str(folder), photo_size=tiny.PHOTO, special=QWEN2_5_VL, vocab_size=None)
    assert error.what == "the tokenizer's image token is 151655, the backbone's 5"


def test_a_model_from_scratch_takes_the_tokenizers_size(folder: Path) -> None:
    larger = build_backbone(
        str(folder), pretrained=False, photo_size=tiny.PHOTO, special=tiny.SPECIAL, vocab_size=tiny.VOCAB + 9
    )
    assert larger.vocab_size == tiny.VOCAB + 9
