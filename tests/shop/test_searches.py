"""What people look for: forms, negatives of the same leaf, photos with a wish."""

from __future__ import annotations

from collections import Counter

import pytest

from moon_zoo.shop.catalogue import dice, spu
from moon_zoo.shop.searches import FORMS, QUERY_PHOTO_START, hard_negatives, search
from moon_zoo.shop.vocabulary import LEAVES

PEERS = {leaf: [leaf + len(LEAVES) * turn for turn in range(20)] for leaf in range(len(LEAVES))}
SEARCHES = [
    (product, item, search(product, item, place, PEERS[number % len(LEAVES)]))
    for number in range(560)
    for product in [spu(0, number)]
    for item in product.items
    for place in range(2)
]


def test_forms_come_as_often_as_their_weights():
    counts = Counter(wanted.form for _, _, wanted in SEARCHES)
    for form, weight in FORMS.items():
        assert counts[form] / len(SEARCHES) == pytest.approx(weight / 100, abs=0.05)


def test_a_query_has_words_a_photo_or_both_as_its_form_says():
    for _, item, wanted in SEARCHES:
        assert (wanted.text is not None) == (wanted.form != "photo")
        assert (wanted.shown is not None) == (wanted.form != "text")
        if wanted.form == "photo":
            assert wanted.shown == item


def test_query_photos_are_not_those_of_the_item_page():
    assert {wanted.photo_number for _, _, wanted in SEARCHES} == {QUERY_PHOTO_START, QUERY_PHOTO_START + 1}


def test_a_combined_query_shows_another_colour_where_the_product_has_one():
    for product, item, wanted in SEARCHES:
        if wanted.form == "combined":
            assert (wanted.shown != item) == (len(product.items) > 1)


def test_hard_negatives_are_other_products_of_the_same_leaf():
    for product, _, wanted in SEARCHES:
        numbers = [other.number for other, _ in wanted.passed_over]
        assert len(set(numbers)) == 2
        assert product.number not in numbers
        assert all(other.leaf is product.leaf for other, _ in wanted.passed_over)


def test_hard_negatives_look_more_alike_than_random_items():
    product = spu(0, 0)
    item = product.items[0]
    chosen = hard_negatives(product, item, PEERS[0], 3, dice("negatives"))
    mine = {(k, v) for k, v in product.attributes(item).items() if k in ("colour", "pattern")}
    shared = [len(mine & set(other.attributes(variant).items())) for other, variant in chosen]
    assert min(shared) >= 1


def test_a_leaf_with_one_product_has_no_negatives():
    assert hard_negatives(spu(0, 0), spu(0, 0).items[0], [0], 2, dice("alone")) == ()
