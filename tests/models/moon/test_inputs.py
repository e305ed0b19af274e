"""Samples as MOON's tensors: what is read first, what is cut, what a product without something gives."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from moon_zoo.data.ids import stable_id
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.manifest import Manifest
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import RecipeError
from moon_zoo.models.moon.inputs import MoonInputs
from moon_zoo.models.moon.module import Moon
from moon_zoo.models.moon.photos import MARGIN, PhotoBlocks, item_photos, square_around
from moon_zoo.models.moon.texts import TextBlock
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, PAD, TEXT

MANIFEST = Manifest(kind="search", shards=[], vocabularies={"attributes": {"colour": ["red"], "size": ["s"]}})
FIELDS = ("title", "category", "attributes")


def photo(colour: tuple[int, int, int], size: tuple[int, int] = (24, 24)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), colour, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def halves(left: int, right: int, side: int = 32) -> bytes:
    """Grey on the left, another grey on the right."""
    pixels = np.full((side, side, 3), left, np.uint8)
    pixels[:, side // 2 :] = right
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


RED, GREEN, BLUE = photo((255, 0, 0)), photo((0, 255, 0)), photo((0, 0, 255))


def mug(**changes: object) -> Product:
    values: dict[str, object] = {
        "item_id": "mug-1",
        "spu_id": "mug",
        "title": "a red mug",
        "photos": [RED, GREEN, BLUE],
        "category": ("home", "mug"),
        "attributes": {"colour": "red", "glaze": "matt"},
    }
    return Product(**(values | changes))  # type: ignore[arg-type]


def made(
    *, max_photos: int = 2, crop: str = "first", max_tokens: int = 24, priority: tuple[str, ...] = FIELDS, hard: int = 0
) -> MoonInputs:
    transform = PhotoTransform(8)
    inputs = MoonInputs(
        PhotoBlocks(transform, 1, crop=crop),  # type: ignore[arg-type]
        PhotoBlocks(transform, max_photos, crop=crop),  # type: ignore[arg-type]
        query_text=TextBlock(6, ("title",), ("title",)),
        item_text=TextBlock(max_tokens, FIELDS, priority),
        vocab_size=300,
        hard_negatives=hard,
    )
    inputs.fit([mug()], MANIFEST)
    return inputs


def colours(pixels: torch.Tensor) -> list[list[int]]:
    return pixels[:, :, 4, 4].tolist()


def words(inputs: MoonInputs, tensors: dict[str, torch.Tensor], kind: int, side: str = "item") -> str:
    chosen = tensors[f"{side}_token_type"] == kind
    return inputs.tokenizer.decode(tensors[f"{side}_token_ids"][chosen].tolist())


# Photos ------------------------------------------------------------------------------------------------------------------


def test_customers_photo_asks_and_the_item_answers_without_it() -> None:
    tensors = made(crop="none").sample(mug(), Draw())
    assert colours(tensors["query_photos"]) == [[0, 255, 0]]
    assert colours(tensors["item_photos"]) == [[255, 0, 0], [0, 0, 255]]
    assert tensors["photos_cut"] == 0


def test_only_photo_asks_and_answers() -> None:
    tensors = made(crop="none").sample(mug(photos=[RED]), Draw())
    assert colours(tensors["query_photos"]) == [[255, 0, 0]]
    assert tensors["item_photo_mask"].tolist() == [True, False]
    assert colours(tensors["item_photos"]) == [[255, 0, 0], [0, 0, 0]]


def test_catalogue_photos_come_first_whatever_their_place() -> None:
    product = mug(photo_roles=["user", "user", "catalogue"])
    assert [one.encoded for one in item_photos(product)] == [BLUE, RED, GREEN]
    assert [one.encoded for one in item_photos(product, without=1)] == [BLUE, RED]


def test_search_gives_all_photos_of_the_item_and_cuts_are_counted() -> None:
    tensors = made(crop="none").sample(Search(item=mug(photos=[RED] * 30), query_photo=BLUE), Draw())
    assert tensors["item_photos"].shape == (2, 3, 8, 8)
    assert tensors["photos_cut"] == 28
    assert colours(tensors["query_photos"]) == [[0, 0, 255]]


@pytest.mark.parametrize(("crop", "blocks"), [("none", 2), ("first", 3), ("all", 4)])
def test_crops_follow_their_photos(crop: str, blocks: int) -> None:
    left, right = (0.0, 0.375, 0.25, 0.625), (0.75, 0.375, 1.0, 0.625)
    product = mug(photos=[halves(10, 200), halves(60, 120)], core_boxes=[right, left])
    tensors = made(crop=crop).sample(Search(item=product, query_text="mug"), Draw())
    assert tensors["item_photo_mask"].tolist() == [True] * blocks
    seen = tensors["item_photos"][:, 0].float().mean((1, 2)).tolist()
    whole, cropped = [105, 90], [200, 60]
    expected = {
        "none": whole,
        "first": [whole[0], cropped[0], whole[1]],
        "all": [whole[0], cropped[0], whole[1], cropped[1]],
    }[crop]
    assert seen == pytest.approx(expected, abs=12)


@pytest.mark.parametrize("box", [None, (0.9, 0.9, 1.0, 1.0)])
def test_missing_or_tiny_box_gives_the_whole_photo_once_more(box: tuple[float, ...] | None) -> None:
    product = mug(photos=[halves(10, 200)], core_boxes=[box])
    tensors = made(max_photos=1).sample(Search(item=product, query_text="mug"), Draw())
    assert torch.equal(tensors["item_photos"][0], tensors["item_photos"][1])


def test_missing_box_is_found_by_the_detector_where_it_is_set_so() -> None:
    pixels = np.full((64, 64, 3), 250, np.uint8)
    pixels[24:44, 20:44] = (180, 20, 20)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    blocks = PhotoBlocks(PhotoTransform(16), 1, crop="first", missing_boxes="saliency")
    found, _ = blocks(item_photos(mug(photos=[buffer.getvalue()])), Draw())
    reddish = (found[:, 0].float() - found[:, 1].float() > 80).float().mean((1, 2))
    assert reddish[1] > 2 * reddish[0]


def test_crop_is_a_square_of_pixels_inside_the_photo() -> None:
    left, top, right, bottom = square_around((0.4, 0.4, 0.6, 0.6), 100, 200, Draw())
    side = 0.2 * 200 * (1 + 2 * MARGIN)
    assert ((right - left) * 200, (bottom - top) * 100) == pytest.approx((side, side))
    assert square_around((0.0, 0.0, 1.0, 0.5), 50, 50, Draw()) == (0.0, 0.0, 1.0, 1.0)
    for seed in range(20):
        box = square_around((0.7, 0.7, 1.0, 1.0), 60, 40, Draw(True, torch.Generator().manual_seed(seed)))
        assert 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1


def test_training_draws_by_the_generator_alone() -> None:
    inputs = made(hard=1)
    search = Search(item=mug(), query_photo=GREEN, hard_negatives=[mug(item_id="a"), mug(item_id="b")])
    first, again, other = (inputs.sample(search, Draw(True, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first.keys() == other.keys()


# Texts -------------------------------------------------------------------------------------------------------------------


def test_every_token_carries_its_field() -> None:
    inputs = made()
    tensors = inputs.sample(Search(item=mug(), query_text="a MUG, please"), Draw())
    assert words(inputs, tensors, TEXT) == "a red mug"
    assert words(inputs, tensors, CATEGORY) == "home mug"
    assert words(inputs, tensors, ATTRIBUTE) == "colour red, glaze matt"  # glaze is unknown to the training shards
    assert (tensors["item_token_mask"] == (tensors["item_token_type"] != PAD)).all()
    assert (tensors["item_token_title"] == (tensors["item_token_type"] == TEXT)).all()
    assert set(tensors["query_token_type"].tolist()) <= {TEXT, PAD}
    assert words(inputs, tensors, TEXT, "query").startswith("a mug")


@pytest.mark.parametrize(("priority", "kept"), [(FIELDS, "title"), (("attributes", "category", "title"), "attributes")])
def test_text_beyond_the_budget_is_cut_by_priority(priority: tuple[str, ...], kept: str) -> None:
    whole = made()
    length = {
        name: int((whole.sample(mug(), Draw())["item_token_type"] == kind).sum())
        for name, kind in (("title", TEXT), ("category", CATEGORY), ("attributes", ATTRIBUTE))
    }
    budget = length[kept] + 1
    tensors = made(max_tokens=budget, priority=priority).sample(mug(), Draw())
    types = tensors["item_token_type"].tolist()
    kinds = {"title": TEXT, "category": CATEGORY, "attributes": ATTRIBUTE}
    assert types.count(kinds[kept]) == length[kept]
    assert types.count(CATEGORY) == 1  # the next in line gets what is left
    assert tensors["tokens_cut"] == sum(length.values()) - budget
    assert bool(tensors["item_token_mask"].all())


# What may be missing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "has"),
    [
        ({"photos": []}, (False, True)),
        ({"title": "", "category": (), "attributes": {}}, (True, False)),
        ({"photos": [], "title": "", "category": (), "attributes": {}}, (False, False)),
        ({"title": ""}, (True, True)),
    ],
)
def test_what_a_product_lacks_is_false_and_keeps_its_shape(changes: dict[str, object], has: tuple[bool, bool]) -> None:
    inputs = made(hard=1)
    full, poor = (inputs.sample(product, Draw()) for product in (mug(), mug(**changes)))
    assert {name: value.shape for name, value in full.items()} == {name: value.shape for name, value in poor.items()}
    assert (bool(poor["has_item_photo"]), bool(poor["has_item_text"])) == has
    assert not poor["has_query_text"]


def test_hard_negatives_are_read_in_training_alone_and_missing_ones_are_empty() -> None:
    inputs = made(hard=2)
    search = Search(item=mug(), query_text="mug", hard_negatives=[mug(item_id="other", spu_id="o", title="a blue mug")])
    tensors = inputs.sample(search, Draw(True, torch.Generator().manual_seed(0)))
    assert tensors["negative_mask"].tolist() == [True, False]
    assert tensors["negative_item_id"][0] == stable_id("other") and tensors["negative_spu_id"][0] == stable_id("o")
    assert tensors["negative_photos"].shape == (2, 3, 3, 8, 8)
    assert not tensors["negative_photo_mask"][1].any() and not tensors["negative_token_mask"][1].any()
    assert not [name for name in inputs.sample(search, Draw()) if name.startswith("negative")]


# Settings and state ------------------------------------------------------------------------------------------------------


def test_state_restores_tokenizer_and_attribute_names_in_loader_workers_too() -> None:
    first = made()
    second = MoonInputs(
        PhotoBlocks(PhotoTransform(8), 1),
        PhotoBlocks(PhotoTransform(8), 2),
        query_text=first.query_text,
        item_text=first.item_text,
    )
    second.load_state_dict(first.state_dict())
    sent = pickle.loads(pickle.dumps(first))
    for other in (second, sent):
        expected, found = first.sample(mug(), Draw()), other.sample(mug(), Draw())
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert other.attribute_names == ("colour", "size")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"text_fields": ["titel"]}, "products have no text field 'titel'"),
        ({"text_priority": ["title", "title"]}, "the text field title is named twice"),
        ({"combinations": {"foto_to_text": 1.0}}, "unknown combination 'foto_to_text'"),
        ({"combinations": {"photo_to_text": 0.0}}, "no combination has a ratio above 0"),
        ({"combinations": {"photo_to_text": -1.0}}, "has the ratio -1.0"),
        ({"max_photos": 0}, "max_photos is 0, but must be at least 1"),
        ({"behaviours": ["buy"]}, "unknown behaviour 'buy'"),
        ({"num_experts": 2}, "experts cannot be put into the backbone"),
        ({"moe_layers": 9}, "experts in the last 9 layers, but there are 4"),
        ({"matryoshka": [64, 999]}, "must differ and lie between 1 and the size of the embedding"),
        ({"contrastive_weight": 0.0}, "there is nothing to train for"),
        ({"predict_tasks": ["title"]}, "predict_tasks are answered by a model that was set up for generation"),
        ({"generation": {"titel": 1.0}}, "there is no generation task 'titel'"),
        ({"generation": {"title": 1.0}, "generation_share": 0.0}, "generation_share is 0.0"),
        ({"filter_threshold": 0.6, "symmetric": True}, "samples are filtered by query"),
        ({"lora": {"rang": 4}}, "lora has no setting 'rang'"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(setting: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Moon(**setting)  # type: ignore[arg-type]
    assert said in str(caught.value)
