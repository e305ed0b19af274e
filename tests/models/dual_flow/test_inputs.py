from __future__ import annotations

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from moon_zoo.data.identity import attribute_id
from moon_zoo.data.ids import stable_id
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.manifest import Manifest
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import RecipeError
from moon_zoo.models.dual_flow.inputs import DualFlowInputs

MANIFEST = Manifest(
    kind="product", shards=[], vocabularies={"category": ["mug"], "attributes": {"colour": ["red", "blue"]}}
)


def photo(colour: tuple[int, int, int], size: int = 24) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), colour, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


RED, GREEN, BLUE = photo((255, 0, 0)), photo((0, 255, 0)), photo((0, 0, 255))


def mug(**changes: object) -> Product:
    values: dict[str, object] = {
        "item_id": "mug-1",
        "spu_id": "mug",
        "title": "a red mug",
        "photos": [RED, GREEN, BLUE],
        "category": ("home", "mug"),
        "attributes": {"colour": "red"},
    }
    return Product(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def inputs() -> DualFlowInputs:
    made = DualFlowInputs(PhotoTransform(8), vocab_size=60, max_tokens=6)
    made.fit([mug()], MANIFEST)
    return made


def test_product_gives_customer_photo_as_query_and_catalogue_photo_as_item(inputs: DualFlowInputs) -> None:
    tensors = inputs.sample(mug(), Draw())
    assert tensors["item_photo"][:, 0, 0].tolist() == [255, 0, 0]
    assert tensors["query_photo"][:, 0, 0].tolist() == [0, 255, 0]
    assert tensors["spu_id"] == stable_id("mug") and tensors["item_id"] == stable_id("mug-1")
    assert tensors["category"] == stable_id("mug")
    assert tensors["attributes"].tolist() == [attribute_id("colour", "red")]


def test_training_draws_among_the_customer_photos_by_the_generator_alone(inputs: DualFlowInputs) -> None:
    def drawn(seed: int) -> list[int]:
        draw = Draw(training=True, generator=torch.Generator().manual_seed(seed))
        return inputs.sample(mug(), draw)["query_photo"][:, 0, 0].tolist()

    assert {tuple(drawn(seed)) for seed in range(12)} == {(0, 255, 0), (0, 0, 255)}
    assert drawn(3) == drawn(3)


def test_what_a_search_lacks_is_flagged_and_zero(inputs: DualFlowInputs) -> None:
    words = inputs.sample(Search(mug(photos=[]), query_text="red mug"), Draw())
    assert not words["has_query_photo"] and not words["has_item_photo"] and words["has_query_text"]
    assert words["query_photo"].sum() == 0
    picture = inputs.sample(Search(mug(title=""), query_photo=BLUE), Draw())
    assert picture["has_query_photo"] and not picture["has_query_text"] and not picture["has_item_text"]
    assert not picture["query_token_mask"].any()


def test_long_text_is_cut_and_keeps_its_end_token(inputs: DualFlowInputs) -> None:
    ids, mask = inputs.encode_text("red mug " * 20)
    short_ids, short_mask = inputs.encode_text("mug")
    assert ids.shape == (6,) and mask.all()
    assert ids[-1] == short_ids[short_mask.sum() - 1]


def test_text_fields_are_joined_in_the_order_of_the_recipe() -> None:
    made = DualFlowInputs(PhotoTransform(8), text_fields=["category", "title", "attributes"])
    assert made.product_text(mug()) == "home mug . a red mug . colour red"


def test_inputs_restored_from_a_checkpoint_or_a_worker_give_equal_tensors(inputs: DualFlowInputs) -> None:
    restored = DualFlowInputs(PhotoTransform(8), max_tokens=6)
    restored.load_state_dict(inputs.state_dict())
    for twin in (restored, pickle.loads(pickle.dumps(inputs))):
        for name, value in inputs.sample(mug(), Draw()).items():
            torch.testing.assert_close(twin.sample(mug(), Draw())[name], value)


def test_unknown_text_field_suggests_the_right_one() -> None:
    with pytest.raises(RecipeError, match="no text field 'titel'") as caught:
        DualFlowInputs(PhotoTransform(8), text_fields=["titel"])
    assert caught.value.suggestions == ("title",)


def test_every_process_learns_the_same_vocabulary_from_the_same_texts() -> None:
    """The texts are full of ties, which some trainers of the library break by the order of a hash map."""
    code = (
        "import hashlib; from moon_zoo.data.text import TextTokenizer;"
        "texts = [f'{a}{b} {b}{a} mug' for a in 'abcdefgh' for b in 'stuvwxyz'];"
        "state = TextTokenizer.train(texts, vocab_size=60).state_dict();"
        "print(hashlib.sha256(state['tokenizer'].encode()).hexdigest())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert len({run.stdout for run in runs}) == 1
