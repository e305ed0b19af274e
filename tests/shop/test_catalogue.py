"""What exists: SPUs are pure functions of seed and number, splits share no product."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from moon_zoo.shop.catalogue import MAX_VARIANTS, split_numbers, spu
from moon_zoo.shop.vocabulary import BRANDS, COLOURS, LEAVES, PATTERNS, luminance

MANY = 3000


def test_there_are_at_least_twenty_leaves_in_a_tree_of_two_levels():
    assert len({leaf.path for leaf in LEAVES}) == len(LEAVES) >= 20
    assert len({leaf.root for leaf in LEAVES}) >= 4


def test_spus_of_a_leaf_share_brand_pattern_and_colour_only_after_every_combination_was_used():
    seen = Counter(
        (spu(3, n).leaf.name, spu(3, n).brand, spu(3, n).pattern, spu(3, n).items[0].colour) for n in range(MANY)
    )
    assert max(seen.values()) == 1


@pytest.mark.parametrize("seed", [0, 7])
def test_the_walk_through_combinations_reaches_every_one_of_them(seed: int):
    leaf = LEAVES[0]
    count = len(BRANDS) * len(leaf.patterns) * len(COLOURS)
    met = {(s.brand, s.pattern, s.items[0].colour) for s in (spu(seed, len(LEAVES) * turn) for turn in range(count))}
    assert len(met) == count


def test_all_brands_patterns_colours_and_styles_are_used_evenly():
    products = [spu(0, n) for n in range(MANY)]
    assert min(Counter(p.brand for p in products).values()) > 0.5 * MANY / len(BRANDS)
    assert min(Counter(p.pattern for p in products).values()) > 0.5 * MANY / len(PATTERNS)
    assert {(p.leaf.name, p.style) for p in products} == {
        (leaf.name, style) for leaf in LEAVES for style in leaf.styles
    }


def test_variants_of_an_spu_differ_in_colour_and_accents_stand_out():
    counts: Counter[int] = Counter()
    for product in (spu(1, n) for n in range(500)):
        colours = [item.colour for item in product.items]
        counts[len(colours)] += 1
        assert len(set(colours)) == len(colours)
        for item in product.items:
            assert abs(luminance(COLOURS[item.colour]) - luminance(COLOURS[item.accent])) > 60
    assert set(counts) == set(range(1, MAX_VARIANTS + 1))


def test_another_process_with_another_hash_seed_knows_the_same_products():
    code = "from moon_zoo.shop.catalogue import spu; print([spu(5, n) for n in (0, 17, 999)])"
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == repr([spu(5, n) for n in (0, 17, 999)])


def test_the_first_product_is_what_it_always_was():
    """A golden value: a change of it is a change of every shop, and `VERSION` must rise."""
    product = spu(0, 0)
    assert (product.leaf.name, product.brand, product.pattern, product.items[0].colour, product.style) == (
        "t-shirt", "Ilmaro", "dotted", "yellow", "crew-neck",
    )  # fmt: skip


@pytest.mark.parametrize("num_products", [10, 33, 1001])
def test_splits_share_no_product_and_lose_none(num_products: int):
    dealt = split_numbers(4, num_products, {"train": 0.8, "val": 0.1, "test": 0.1})
    together = [number for numbers in dealt.values() for number in numbers]
    assert sorted(together) == list(range(num_products))
    assert abs(len(dealt["train"]) - 0.8 * num_products) <= 1
