"""Boxes from a model's words: what answers become, and real models that are asked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moon_zoo.cli.main import main
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import CheckpointError
from moon_zoo.models.moon.module import Moon
from moon_zoo.nn.multimodal.families import build_backbone
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer
from moon_zoo.regions.grounding import Answer, GroundingDetector, TransformersWriter, ZooWriter, question
from tests.models.moon.writer import PHOTO_SIZE, TINY, make_inputs
from tests.sources.making import photo


class Recited:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, list[str]]] = []

    def about(self) -> dict[str, object]:
        return {"model": "recited"}

    def answer(self, photos: Sequence[bytes], titles: Sequence[str]) -> list[Answer]:
        self.asked.append((len(photos), list(titles)))
        return [self.answers.pop(0) for _ in photos]


def test_answers_become_regions_in_the_order_of_photos_and_in_batches():
    writer = Recited(
        Answer("[56, 28, 112, 56]", "pixels", (56, 112)),
        Answer("nothing there"),
        Answer("[100, 200, 300, 400]", "thousandths"),
    )
    detector = GroundingDetector(writer, batch_size=2)
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    regions = detector.detect_all([photo("red"), b"broken", photo("blue"), pixels], ["a", "b", "c", "d"])
    assert writer.asked == [(2, ["a", "c"]), (1, ["d"])]  # what cannot be decoded is never asked about
    assert regions[0].box == (0.5, 0.5, 1.0, 1.0)
    assert "cannot be decoded" in regions[1].reason
    assert (regions[2].box, regions[2].raw, regions[2].reason) == (
        None,
        "nothing there",
        "the answer names no four corners",
    )
    assert regions[3].box == (0.1, 0.2, 0.3, 0.4)
    assert regions[3].raw == "[100, 200, 300, 400]"
    assert detector.about() == {"name": "grounding", "model": "recited"}


def test_the_question_names_the_title_in_one_line():
    assert 'calls it "red mug, large"' in question("red\n mug,  large")
    assert "calls it" not in question("  ")


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL as transformers writes it, which babbles."""
    tokenizer = MultimodalTokenizer.train([question("a red mug"), "[100, 200, 300, 400]"], vocab_size=300)
    torch.manual_seed(0)
    size = tokenizer.vocab_size
    backbone = build_backbone(None, options=TINY, photo_size=PHOTO_SIZE, vocab_size=size, special=tokenizer.special)
    folder = tmp_path_factory.mktemp("plain") / "tiny-qwen"
    backbone.save_plain(folder, tokenizer=tokenizer)
    return folder


def test_a_folder_of_transformers_is_asked_with_the_size_that_it_saw(plain_folder):
    """Photos of 32 x 32 pixels' area in patches of 8, merged by twos: sides are multiples of 16."""
    writer = TransformersWriter(plain_folder)
    wide = photo("red", (96, 24))
    answers = writer.answer([photo("blue", (50, 50)), wide], ["a red mug", ""])
    assert [answer.scale for answer in answers] == ["pixels", "pixels"]
    assert answers[0].shown_size == (32, 32)
    height, width = answers[1].shown_size
    assert (height % 16, width % 16) == (0, 0)
    assert width > height
    assert all(answer.text for answer in answers)
    assert writer.about() == {"model": "tiny-qwen", "family": "qwen2_5_vl"}
    alone = writer.answer([wide], [""])  # padding on the left changes no answer
    assert alone[0].text == answers[1].text


def test_boxes_are_packed_by_asking_a_folder_of_transformers(plain_folder, item_set, tmp_path):
    words = [
        "pack",
        "boxes",
        str(item_set),
        "--detector",
        "grounding",
        "--model",
        str(plain_folder),
        "--batch-size",
        "8",
    ]
    assert main([*words, "--to", str(tmp_path / "out"), "--device", "cpu"]) == 0
    record = IndexedShards(tmp_path / "out" / "items").manifest.extra["boxes"]
    assert record["detector"] == {"name": "grounding", "model": "tiny-qwen", "family": "qwen2_5_vl"}
    assert record["found"] + record["failed"] + record["too_small"] == 11


def test_boxes_are_packed_by_asking_a_checkpoint_of_this_zoo(item_set, tmp_path):
    """An untrained one: it says nothing that is a box, which is counted."""
    inputs = make_inputs("main_subject")
    assert inputs.tokenizer is not None
    torch.manual_seed(0)
    size = inputs.tokenizer.vocab_size
    module = Moon(
        backbone_options=TINY,
        photo_size=PHOTO_SIZE,
        vocab_size=size,
        max_photos=1,
        crop="none",
        guidance="dense",
        contrastive_weight=0.0,
        generation={"main_subject": 1.0},
    )
    module.inputs.load_state_dict({**module.inputs.state_dict(), "tokenizer": inputs.tokenizer.state_dict()})
    folder = module.eval().save_pretrained(tmp_path / "moon")
    words = ["pack", "boxes", str(item_set), "--detector", "grounding", "--model", str(folder)]
    assert main([*words, "--to", str(tmp_path / "out")]) == 0
    record = IndexedShards(tmp_path / "out" / "items").manifest.extra["boxes"]
    assert record["detector"]["fingerprint"] == module.fingerprint()
    assert record["found"] + record["failed"] + record["too_small"] == 11


def test_models_that_cannot_be_asked_say_so(tmp_path, plain_folder):
    with pytest.raises(CheckpointError, match="does not write"):
        ZooWriter(torch.nn.Linear(1, 1), "x")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        TransformersWriter(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="cannot be loaded as a multimodal model"):
        TransformersWriter(tmp_path)


def test_pickled_weights_are_not_read(plain_folder, tmp_path):
    for file in plain_folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TransformersWriter(tmp_path)


def test_pixels_and_bytes_ask_about_the_same_picture():
    """A tensor is handed over as PNG, which loses nothing."""
    from moon_zoo.data.images import decode_photo
    from moon_zoo.regions.grounding import _readable

    pixels = torch.from_numpy(np.array(Image.effect_noise((9, 7), 50).convert("RGB"))).permute(2, 0, 1)
    encoded = _readable(pixels)
    assert isinstance(encoded, bytes)
    assert torch.equal(decode_photo(encoded), pixels)
