"""Each step of cleaning keeps the pairs that its rule, worked out by hand, keeps."""

from __future__ import annotations

from collections import Counter

import pytest

from moon_zoo.data.cleaning import (
    Cleaning,
    Pair,
    enough_entities,
    histogram_distance,
    least_similar_per_item,
    merge_skus,
    only_behaviours,
    rebalance,
)
from moon_zoo.data.entities import Entities


def pair(key: str, item: str = "", *, spu: str = "", similarity: float | None = None, **more: object) -> Pair:
    values = {"category": "shirt", "behaviour": "purchase", "text": None, "has_photo": True, **more}
    return Pair(key, item or key, spu or item or key, similarity=similarity, **values)  # type: ignore[arg-type]


def of_categories(counts: dict[str, int]) -> list[Pair]:
    return [pair(f"{name}-{number}", category=name) for name, count in counts.items() for number in range(count)]


def kept_of(pairs: list[Pair], places: list[int]) -> dict[str, int]:
    return dict(Counter(pairs[place].category for place in places))


def test_only_the_named_behaviours_stay() -> None:
    pairs = [pair("a"), pair("b", behaviour="click"), pair("c", behaviour="cart")]
    assert only_behaviours(pairs, ["purchase"]) == ([0], {"no purchase": 2})
    assert only_behaviours(pairs, ["purchase", "cart"]) == ([0, 2], {"no purchase or cart": 1})


def test_the_least_similar_pair_of_each_item_stays() -> None:
    pairs = [
        pair("a", "1", similarity=0.9),
        pair("b", "1", similarity=0.2),
        pair("c", "2", similarity=0.5),
        pair("d", "1", similarity=0.2),
        pair("e", "2"),
    ]
    assert least_similar_per_item(pairs).places == [1, 2]


def test_of_pairs_without_similarity_the_first_of_each_item_stays() -> None:
    assert least_similar_per_item([pair("a", "1"), pair("b", "2"), pair("c", "1")]).places == [0, 1]


def test_one_pair_of_all_variants_of_a_product_stays() -> None:
    pairs = [pair("a", "1", spu="x", similarity=0.4), pair("b", "2", spu="x", similarity=0.3), pair("c", "3", spu="y")]
    assert merge_skus(pairs) == ([1, 2], {"another pair of the same SPU": 1})


def test_words_alone_must_name_two_different_things() -> None:
    entities = Entities(["red", "t-shirt", "Aldera"])
    pairs = [
        pair("a", text="a Red T-shirt", has_photo=False),
        pair("b", text="red red RED", has_photo=False),
        pair("c", text="in red", has_photo=True),
        pair("d", text=None, has_photo=True),
        pair("e", text="", has_photo=False),
    ]
    assert enough_entities(pairs, entities, 2).places == [0, 2, 3]


def test_entities_are_the_longest_phrases_in_any_case_and_script() -> None:
    entities = Entities(["shirt", "crew-neck", "crew neck t-shirt", "連衣裙", "紅色"])
    assert entities.found("Crew-Neck T-Shirt and a shirt") == {("crew", "neck", "t", "shirt"), ("shirt",)}
    assert entities.found("紅色連衣裙夏季") == {("紅", "色"), ("連", "衣", "裙")}
    assert entities.found("shirts") == set()


def test_entities_come_from_a_manifests_vocabularies() -> None:
    vocabularies = {"category": ["mug"], "attributes": {"colour": ["dark blue"], "size": ["12 l"]}}
    entities = Entities.of(vocabularies, ["Aldera"])
    assert len(entities) == 4
    assert len(entities.found("dark blue mug by ALDERA, 12 l")) == 4


def test_categories_are_drawn_to_the_exposure_as_far_as_the_scarcest_allows() -> None:
    """Shares 1/2, 1/4, 1/4 of at most 40, as there are 10 of c: 20, 10, 10."""
    pairs = of_categories({"a": 100, "b": 30, "c": 10})
    kept = rebalance(pairs, {"a": 2, "b": 1, "c": 1}, min_kept=0.0)
    assert kept_of(pairs, kept.places) == {"a": 20, "b": 10, "c": 10}
    assert kept.places == sorted(kept.places)
    assert kept.counts == {"a category above its exposure": 100}


def test_a_scarce_category_falls_short_where_too_few_would_stay() -> None:
    """Half of 140 is 70: c gives its 10, and a and b share 60 as 2 to 1 but b has only 30: 40 and 20."""
    pairs = of_categories({"a": 100, "b": 30, "c": 10})
    kept = rebalance(pairs, {"a": 2, "b": 1, "c": 1}, min_kept=0.5)
    assert kept_of(pairs, kept.places) == {"a": 40, "b": 20, "c": 10}
    everything = rebalance(pairs, {"a": 2, "b": 1, "c": 1}, min_kept=1.0)
    assert everything == (list(range(140)), {})


def test_rounding_loses_no_pairs_and_no_category() -> None:
    """27 categories with 53 pairs and uniform exposure: 80 % are 42.4, so 15 categories keep two pairs and 12 one."""
    pairs = of_categories({f"c{number:02d}": 2 for number in range(26)} | {"rare": 1})
    kept = rebalance(pairs, dict.fromkeys([*(f"c{number:02d}" for number in range(26)), "rare"], 1.0), min_kept=0.8)
    counts = kept_of(pairs, kept.places)
    assert sum(counts.values()) == 42 and len(counts) == 27


def test_categories_without_exposure_go() -> None:
    pairs = of_categories({"a": 4, "b": 4, "": 2})
    kept = rebalance(pairs, {"a": 1.0, "b": 0.0, "unseen": 5.0}, min_kept=0.0)
    assert kept_of(pairs, kept.places) == {"a": 4}
    assert kept.counts == {"a category without exposure": 6}


def test_what_is_drawn_depends_on_the_seed_and_on_no_other_category() -> None:
    pairs = of_categories({"a": 40, "b": 10})
    exposure = {"a": 1.0, "b": 1.0}
    first = rebalance(pairs, exposure, min_kept=0.0).places
    assert first == rebalance(pairs, exposure, min_kept=0.0).places
    assert first != rebalance(pairs, exposure, min_kept=0.0, seed=1).places
    turned = rebalance(pairs[::-1], exposure, min_kept=0.0).places
    assert {pairs[place].key for place in first} == {pairs[::-1][place].key for place in turned}


@pytest.mark.parametrize(
    ("exposure", "min_kept", "message"),
    [({"x": 1.0}, 0.5, "no category"), ({"a": -1.0}, 0.5, "negative"), ({"a": 1.0}, 1.5, "between 0 and 1, not 1.5")],
)
def test_impossible_exposures_are_refused(exposure: dict[str, float], min_kept: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rebalance(of_categories({"a": 2}), exposure, min_kept=min_kept)


def test_distance_of_histograms_by_hand() -> None:
    """Shares (.75, .25) and (.25, .75): half of .5 + .5."""
    assert histogram_distance({"a": 3, "b": 1}, {"a": 1, "b": 3}) == 0.5
    assert histogram_distance({"a": 3}, {"b": 1}) == 1.0
    assert histogram_distance({}, {}) == 0.0


def test_all_steps_in_a_row_report_places_of_the_first_list() -> None:
    pairs = [
        pair("click", "1", behaviour="click", similarity=0.0),
        pair("vague", "1", text="nice gift", has_photo=False, similarity=0.0),
        pair("alike", "1", spu="x", similarity=0.9),
        pair("far", "1", spu="x", similarity=0.1),
        pair("variant", "2", spu="x", similarity=0.5),
        pair("other", "3", category="mug", similarity=0.5),
    ]
    cleaning = Cleaning(
        behaviours=("purchase",), least_similar=True, min_entities=2, exposure={"shirt": 1.0, "mug": 1.0}
    )
    found = cleaning.clean(pairs)
    assert [pairs[place].key for place in found.places] == ["far", "other"]
    assert sum(found.counts.values()) == 4 and len(found.counts) == 4
    assert Cleaning().clean([]) == ([], {})
