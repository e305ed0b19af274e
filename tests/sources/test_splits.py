"""Seeded splits and keys."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_zoo.errors import UsageError
from moon_zoo.sources.keys import MAX_KEY, key_of, readable
from moon_zoo.sources.splits import assign, parse_fractions, shuffled


def test_fractions_are_exact_to_one_product():
    sizes = Counter(assign(map(str, range(1000)), {"train": 0.8, "val": 0.15, "test": 0.05}, seed=0).values())
    assert sizes == {"train": 800, "val": 150, "test": 50}


def test_a_split_depends_on_seed_and_identities_alone():
    names = [f"spu-{number}" for number in range(50)]
    fractions = {"train": 0.5, "test": 0.5}
    first = assign(names, fractions, seed=3)
    assert assign(reversed(names + names), fractions, seed=3) == first
    assert assign(names, fractions, seed=4) != first


def test_order_and_split_are_the_same_on_every_machine():
    """Golden values, made once: a change of them would move products of existing sets between training and test."""
    assert "".join(shuffled("abcdef", seed=7)) == "afdebc"
    sides = assign("abcdef", {"train": 0.5, "val": 0.5}, seed=7)
    assert "".join(sorted(name for name, side in sides.items() if side == "train")) == "def"


@given(st.sets(st.text(min_size=1), min_size=3, max_size=40), st.integers(0, 99))
def test_every_identity_has_one_split_and_no_split_is_empty(names, seed):
    sides = assign(names, {"train": 0.98, "val": 0.01, "test": 0.01}, seed)
    assert set(sides) == names
    assert set(sides.values()) == {"train", "val", "test"}


def test_fewer_products_than_splits_is_an_error():
    with pytest.raises(UsageError, match="2 products cannot be split into 3 sets"):
        assign(["a", "b"], {"train": 0.8, "val": 0.1, "test": 0.1}, 0)


def test_fractions_are_read_from_the_command_line():
    assert parse_fractions(" train=.8, val=0.1,test=.1") == {"train": 0.8, "val": 0.1, "test": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=.8,val=.1", "add up to 0.9, not 1"),
        ("train=80,val=20", "'train=80' in the fractions is not NAME=FRACTION"),
        ("train", "is not NAME=FRACTION"),
        ("train=.5,train=.5", "'train' is named twice"),
        ("../x=1", "cannot be the name of a split"),
        ("train=nan,val=1", "is not NAME=FRACTION"),
        ("", "add up to 0, not 1"),
    ],
)
def test_bad_fractions_are_refused(text, message):
    with pytest.raises(UsageError) as caught:
        parse_fractions(text)
    assert caught.value.change == "--fractions"
    assert message in caught.value.what


def test_keys_keep_what_can_be_kept():
    assert key_of("Pink-Lady_001") == "Pink-Lady_001"
    assert key_of("007") == "007"
    assert key_of("a/b c").startswith("a-b-c-")


@given(st.lists(st.text(min_size=1, max_size=120), unique=True, max_size=30))
def test_keys_are_valid_and_distinct(names):
    keys = [key_of(name) for name in names]
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert 1 <= len(key) <= MAX_KEY and key.isascii() and all(letter.isalnum() or letter in "-_" for letter in key)


def test_readable_names():
    assert readable("Golden-Delicious") == "Golden Delicious"
    assert readable("t-shirt", "_") == "t-shirt"
    assert readable("___") == "___"
