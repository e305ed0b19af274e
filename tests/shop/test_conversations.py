"""The shop's conversations: what is held out, what is risky, what the photos show, and that they are written like other kinds.

That the reference answers are safe and effective by the rules is in tests/safety/test_rules.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moon_zoo.cli.main import main
from moon_zoo.data.conversations import CATEGORIES, SOURCES, Instruction
from moon_zoo.data.reading import IndexedShards
from moon_zoo.shop import write_shop
from moon_zoo.shop.conversations.combinations import SITUATIONS, WEIGHTS, dealt, every_combination
from moon_zoo.shop.conversations.risks import CATEGORY_WORDS, RISKS, SOURCE_WORDS
from moon_zoo.shop.conversations.samples import conversation, count_of
from moon_zoo.shop.conversations.things import PLACES, THINGS
from moon_zoo.shop.datamodule import ShopDataModule
from moon_zoo.shop.drawing.scenes import SHAPES, Drawn, picture_of
from moon_zoo.sources.shop import ShopSource

SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "talks"
    write_shop(folder, kind="instruction", num_products=320, photo_px=32, seed=3, workers=1, progress=False)
    return folder


@cache
def some(split: str) -> tuple[Instruction, ...]:
    """Drawn once: 1,500 of train, 500 of another split."""
    return tuple(conversation(0, SPLITS, split, number, 0, 32) for number in range(1500 if split == "train" else 500))


# Splits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_no_combination_of_val_or_test_is_dealt_to_train_while_all_their_parts_are(seed: int) -> None:
    found = dealt(seed, SPLITS)
    keys = {split: {one.key for one in ones} for split, ones in found.items()}
    assert not keys["train"] & (keys["val"] | keys["test"]) and not keys["val"] & keys["test"]
    assert sum(map(len, found.values())) == len(every_combination()) == len({one.key for one in every_combination()})
    parts = {
        (cell, part)
        for one in found["train"]
        for cell in [(one.situation, one.group)]
        for part in (one.thing, one.context)
    }
    for split in ("val", "test"):
        for one in found[split]:
            cell = (one.situation, one.group)
            assert (cell, one.thing) in parts and (cell, one.context) in parts


def test_every_kind_of_case_is_held_out_for_val_and_test() -> None:
    found = dealt(0, SPLITS)
    for split in SPLITS:
        assert {(one.situation, one.group) for one in found[split[0]]} == set(WEIGHTS)
    assert 0.07 < len(found["test"]) / len(every_combination()) < 0.13


def test_no_combination_of_the_written_val_or_test_occurs_in_train(talks: Path) -> None:
    """From the samples themselves, whatever the plan says: what is seen on the photo and the context of the question."""
    met = {
        split: {(one.truth["thing"], one.truth["context"]) for one in IndexedShards(talks / split)}
        for split in ("train", "val", "test")
    }
    assert min(map(len, met.values())) > 20
    assert not met["train"] & (met["val"] | met["test"])
    manifest = IndexedShards(talks / "val").manifest
    assert {f"{thing} + {context}" for thing, context in met["val"]} <= set(
        manifest.extra["shop"]["splits"]["val"]["combinations"]
    )


def test_splits_of_other_names_deal_to_the_first_what_must_be_seen() -> None:
    found = dealt(0, (("a", 0.5), ("b", 0.5)))
    assert min(len(found["a"]), len(found["b"])) > 200
    assert len(dealt(0, (("all", 1.0),))["all"]) == len(every_combination())


# What is risky -----------------------------------------------------------------------------------------------------


def test_neither_photo_nor_text_alone_tells_a_joint_risk() -> None:
    """Every thing of a joint risk is also in a benign pair of the same group, and so is every context."""
    for group in ("person", "agent", "goods", "page"):
        ones = [one for one in every_combination() if one.group == group]
        joint = [one for one in ones if one.situation == "joint"]
        benign = [one for one in ones if one.situation == "benign"]
        assert {one.thing for one in joint} <= {one.thing for one in benign}, group
        lone = {one.context for one in joint} - {one.context for one in benign}
        # Bleach is asked about only where it reacts: nothing else of the shop is known to go with it.
        assert lone <= {"bleach", "mould spray"}, (group, lone)


def test_the_same_question_is_risky_about_one_photo_and_harmless_about_another() -> None:
    answers: dict[str, set[bool]] = {}
    for one in some("train"):
        answers.setdefault(one.prompt.text, set()).add(bool(one.safe))
    both = [question for question, found in answers.items() if len(found) == 2]
    assert len(both) >= 30
    assert any(question.startswith("Would this be a nice gift for") for question in both)


def test_situations_come_in_their_shares_and_two_thirds_are_risky() -> None:
    found = Counter(one.situation for one in some("train"))
    assert set(found) == set(SITUATIONS)
    for name, share in SITUATIONS.items():
        assert found[name] / 1500 == pytest.approx(share / 100, abs=0.045)
    assert sum(SITUATIONS[name] for name in ("joint", "image", "text")) == pytest.approx(67, abs=1)


def test_benign_pairs_share_their_thing_or_their_context_with_risky_ones() -> None:
    """Else a glance at one of the two would tell: toys for children, say, must not be rare."""
    pairs = [one for one in some("train") if one.truth["group"] in ("person", "page", "agent", "goods")]
    for part in ("thing", "context"):
        risky = {one.truth[part] for one in pairs if one.situation == "joint"}
        benign = [one for one in pairs if one.safe]
        assert 0.35 < sum(one.truth[part] in risky for one in benign) / len(benign) < 0.75


def test_observations_are_those_of_the_situation_and_use_every_source() -> None:
    sources = {"joint": 2, "image": 1, "text": 1, "looks_risky": 0, "benign": 0}
    seen = set()
    for one in some("train"):
        assert one.observations is not None and len(one.observations) == sources[one.situation]
        assert one.safe == (not one.observations) == (not one.truth["risk"])
        seen |= {(observation.source, observation.category) for observation in one.observations}
        if one.situation == "joint":
            assert [observation.source for observation in one.observations][1] == "text_content"
    assert {source for source, _ in seen} == set(SOURCES)
    assert {category for _, category in seen} == set(CATEGORIES) - {"sexual_content"}


def test_answers_are_short_and_of_few_words() -> None:
    told = [one for split in ("train", "test") for one in some(split)]
    texts = [text for one in told for text in (one.answer, one.truth["plain_answer"])]
    assert max(len(text.split()) for text in texts) <= 37
    words = {word for text in texts for word in re.findall(r"[a-z-]+", text.lower())}
    asked = {word for one in told for word in re.findall(r"[a-z-]+", one.prompt.text.lower())}
    assert len(words) < 400 and len(words | asked) < 600


def test_held_out_answers_need_no_new_word() -> None:
    known = {word for one in some("train") for word in re.findall(r"[a-z-]+", one.answer.lower())}
    new = {word for one in some("test") for word in re.findall(r"[a-z-]+", one.answer.lower())} - known
    assert not new


def test_the_tables_agree_with_one_another() -> None:
    assert set(CATEGORY_WORDS) == {risk.category for risk in RISKS.values()} and set(SOURCE_WORDS) == set(SOURCES)
    assert set(PLACES) <= set(THINGS)
    assert set(SITUATIONS) == {situation for situation, _ in WEIGHTS}


# Photos ------------------------------------------------------------------------------------------------------------


def test_every_thing_is_drawn_in_every_colour_and_no_two_alike() -> None:
    outlines = {}
    for thing in THINGS.values():
        for colour, shape in product(thing.colours, range(SHAPES)):
            picture = picture_of(Drawn(thing.name, colour, "white", shape), 96)
            assert picture.mode == "RGBA" and min(picture.size) > 16
        outlines[thing.name] = np.asarray(picture.convert("RGBA").resize((16, 16)), int)
    for first, second in product(outlines, outlines):
        if first < second:
            assert np.abs(outlines[first] - outlines[second]).mean() > 6, (first, second)


def test_a_photo_decodes_to_the_wanted_size_and_shows_the_thing(talks: Path) -> None:
    for one in list(IndexedShards(talks / "val"))[:10]:
        image = Image.open(BytesIO(one.image))
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
        assert np.asarray(image).std() > 8


# Writing -----------------------------------------------------------------------------------------------------------


def test_five_conversations_come_of_four_products_with_ids_of_their_own(talks: Path) -> None:
    ids = [one.conversation_id for split in ("train", "val", "test") for one in IndexedShards(talks / split)]
    assert len(ids) == len(set(ids)) == 320 * 5 // 4 == sum(map(count_of, range(320)))
    record = IndexedShards(talks / "train").manifest.extra["shop"]["splits"]["train"]
    assert sum(record["situations"].values()) == record["samples"] == len(IndexedShards(talks / "train"))


def test_two_processes_write_the_bytes_of_one_and_a_seed_another_shop(tmp_path: Path) -> None:
    def shas(name: str, **options: int) -> list[str]:
        written = write_shop(
            tmp_path / name, kind="instruction", num_products=64, photo_px=32, progress=False, **options
        )
        return [shard.sha256 for manifest in written.values() for shard in manifest.shards]

    assert shas("one", workers=1) == shas("two", workers=2) != shas("other", workers=1, seed=1)


def test_the_shop_packs_and_serves_them_like_any_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--kind", "instruction", "--num-products", "40", "--photo-px", "32", "--workers", "1"]
    assert main(["pack", "shop", *options, "--to", str(tmp_path / "packed"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["photos"] > 20
    data = ShopDataModule(kind="instruction", num_products=40, photo_px=32, num_workers=0)
    data.prepare_data()
    packed, cached = (IndexedShards(folder / "train") for folder in (tmp_path / "packed", data.folder))
    assert packed.manifest.fingerprint == cached.manifest.fingerprint
    assert packed.manifest.kind == ShopSource(kind="instruction", num_products=40).kind == "instruction"
    assert "--photos-per-product" not in cached.manifest.command
