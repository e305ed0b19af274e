"""The shop's follow-ups: what is asked next needs knowledge that neither question nor answer holds, and it can be looked up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.words import content_words, words
from moon_zoo.errors import UsageError
from moon_zoo.knowledge.store import KnowledgeStore
from moon_zoo.shop.datamodule import ShopDataModule
from moon_zoo.shop.follow_ups.concepts import ASPECTS, CONCEPTS, GROUPS, PER_CELL
from moon_zoo.shop.follow_ups.facts import STORE_FILE, facts, write_encyclopedia
from moon_zoo.shop.follow_ups.plan import FollowUpPlan
from moon_zoo.shop.follow_ups.samples import dealt
from moon_zoo.shop.vocabulary import LEAVES
from moon_zoo.shop.writing import write_shop

SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))
PLAN = FollowUpPlan(3800, 0, SPLITS)


def test_every_thing_of_the_catalogue_is_known_and_every_cell_has_as_many_concepts() -> None:
    assert sorted(thing for things in GROUPS.values() for thing in things) == sorted(leaf.name for leaf in LEAVES)
    assert set(CONCEPTS) == {(group, aspect) for group in GROUPS for aspect in ASPECTS}
    assert {len(concepts) for concepts in CONCEPTS.values()} == {PER_CELL}
    titles = [concept.title for concepts in CONCEPTS.values() for concept in concepts]
    assert len(titles) == len(set(titles)) == 160


def test_the_concept_is_said_in_the_follow_up_and_in_neither_question_nor_answer() -> None:
    vocabulary: Counter[str] = Counter()
    for _, _, one in PLAN.samples():
        concept = set(content_words(one.truth["concept"]))
        assert concept <= set(content_words(one.follow_up))
        assert not concept & set(content_words(f"{one.question} {one.answer}")), one
        assert len(words(one.follow_up)) <= 25
        assert one.follow_up.endswith("?")
        assert one.knowledge is not None and one.knowledge.concept == one.truth["concept"]
        vocabulary.update(words(f"{one.question} {one.answer} {one.follow_up} {one.knowledge.text}"))
    assert len(vocabulary) < 900


def test_what_val_and_test_ask_about_never_occurs_in_train_while_product_and_concept_do() -> None:
    split = dealt(0, SPLITS)
    train = {fact.key for fact in split["train"]}
    products = {fact.product for fact in split["train"]}
    concepts = {fact.concept.title for fact in split["train"]}
    for name in ("val", "test"):
        assert len(split[name]) == 168
        for fact in split[name]:
            assert fact.key not in train
            assert fact.product in products and fact.concept.title in concepts
    seen = {name: {one.truth["combination"] for which, _, one in PLAN.samples() if which == name} for name in split}
    assert (
        seen["train"] == train and not seen["train"] & (seen["val"] | seen["test"]) and not seen["val"] & seen["test"]
    )


def test_a_concept_cannot_be_guessed_since_all_of_a_cell_are_had_equally_often() -> None:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for fact in facts(0):
        counts.setdefault((fact.group, fact.aspect), Counter())[fact.concept.title] += 1
    for cell in counts.values():
        assert max(cell.values()) - min(cell.values()) <= 1
    # who learns from train what a cell's commonest concept is, is right in test about once in PER_CELL
    split = dealt(0, SPLITS)
    known: dict[tuple[str, str], Counter[str]] = {}
    for fact in split["train"]:
        known.setdefault((fact.group, fact.aspect), Counter())[fact.concept.title] += 1
    right = sum(known[fact.group, fact.aspect].most_common(1)[0][0] == fact.concept.title for fact in split["test"])
    assert right / len(split["test"]) < 2 / PER_CELL


def test_another_seed_is_another_encyclopedia_and_the_same_seed_the_same() -> None:
    assert facts(1) != facts(2)
    assert facts(1) == facts.__wrapped__(1)


def test_the_shop_writes_its_encyclopedia_beside_the_shards(tmp_path: Path) -> None:
    manifests = write_shop(tmp_path / "shop", kind="follow_up", num_follow_ups=100, progress=False)
    assert {name: one.samples for name, one in manifests.items()} == {"train": 80, "val": 10, "test": 10}
    assert manifests["test"].extra["shop"]["right_without_knowledge"] == 1 / PER_CELL
    store = KnowledgeStore(tmp_path / "shop" / STORE_FILE)
    for one in IndexedShards(tmp_path / "shop" / "test"):
        product = store.search(one.truth["topic"].lower(), ())[0]
        edges = store.neighbours(product, len(ASPECTS))
        assert one.truth["page"] in [edge.target for edge in edges]
        assert one.knowledge.text == f"{one.truth['concept']}: {store.describe(one.truth['page'])}"
    again = write_shop(tmp_path / "shop", kind="follow_up", num_follow_ups=100, progress=False, overwrite=True)
    assert again["train"].fingerprint == manifests["train"].fingerprint
    assert write_encyclopedia(tmp_path / "own.sqlite", 0).is_file()
    assert KnowledgeStore(tmp_path / "own.sqlite").fingerprint() == store.fingerprint()


def test_the_data_module_writes_them_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_CACHE", str(tmp_path))
    data = ShopDataModule(kind="follow_up", num_follow_ups=60)
    data.prepare_data()
    assert len(IndexedShards(data.folder / "val")) == 6
    store = KnowledgeStore(data.knowledge)
    data.knowledge.unlink()  # a writer that was killed between the two
    data.prepare_data()
    assert KnowledgeStore(data.knowledge).fingerprint() == store.fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"), [((0, 0), "num_follow_ups is 0"), ((3, 0), "leave none for the split")]
)
def test_a_plan_that_cannot_be_written_is_refused(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FollowUpPlan(*arguments, SPLITS).check()
