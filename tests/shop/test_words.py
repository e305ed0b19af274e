"""What people write: titles leave out and add, queries are short, wishes say one thing."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from moon_zoo.shop.catalogue import dice, spu
from moon_zoo.shop.vocabulary import COLOUR_WORDS
from moon_zoo.shop.words import TITLE_SHARES, query, title, title_facts, wish

ITEMS = [(product, item) for product in (spu(0, n) for n in range(1200)) for item in product.items]


@pytest.mark.parametrize("fact", ["brand", "colour", "style", "material", "size", "extra"])
def test_titles_say_a_fact_as_often_as_documented(fact: str):
    """About 2,000 titles: the standard error of a share is 0.011, so 0.04 is over three of them."""
    said = sum(fact in title_facts(*pair) for pair in ITEMS) / len(ITEMS)
    assert said == pytest.approx(TITLE_SHARES[fact], abs=0.04)


def test_a_good_third_of_titles_leave_out_the_colour_and_their_words_agree():
    silent = 0
    for product, item in ITEMS:
        named = re.search(rf"\b({'|'.join(COLOUR_WORDS[item.colour])})\b", title(product, item).lower())
        assert (named is not None) == ("colour" in title_facts(product, item)), title(product, item)
        silent += named is None
    assert 0.3 < silent / len(ITEMS) < 0.45


def test_titles_say_what_no_photo_shows():
    sizes = sum(product.size.lower() in title(product, item).lower() for product, item in ITEMS)
    assert sizes / len(ITEMS) > 0.4


def test_titles_are_tidy_and_differ_in_order():
    starts: Counter[str] = Counter()
    for product, item in ITEMS:
        text = title(product, item)
        assert not re.search(r"  |,,|, ,|^[ ,\-]|[ ,\-]$|, -|\bby$|\bin,|\bby,|\bin -", text), text
        assert any(noun in text.lower() for noun in product.leaf.nouns), text
        starts["brand" if text.lower().startswith(product.brand.lower()) else "other"] += 1
    assert min(starts.values()) > 100


def test_queries_are_lower_case_and_name_the_product_and_one_fact_at_least():
    for number, (product, item) in enumerate(ITEMS[:500]):
        text = query(product, item, dice("test", number))
        assert text == text.lower()
        assert any(noun in text for noun in product.leaf.nouns)
        assert len(text) > min(len(noun) for noun in product.leaf.nouns)


def test_a_wish_for_a_colour_names_the_wanted_variant():
    product = next(p for p in (spu(0, n) for n in range(50)) if len(p.items) == 3)
    for item in product.items:
        text = wish("colour", product, item, dice("wish", item.number))
        assert any(word in text for word in COLOUR_WORDS[item.colour])
