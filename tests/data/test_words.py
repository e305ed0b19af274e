from __future__ import annotations

import pytest

from moon_zoo.data.words import content_words, stem, tokens, words


def test_tokens_are_words_and_single_signs_in_lower_case() -> None:
    assert tokens("Is it Oak-wood?!") == ["is", "it", "oak", "-", "wood", "?", "!"]


def test_content_words_leave_out_what_says_little_and_make_plurals_singular() -> None:
    assert content_words("What are the mugs and glasses of berries made of?") == ["mug", "glass", "berry"]
    assert content_words("Don\u2019t we?") == []


@pytest.mark.parametrize(("plural", "singular"), [("boxes", "box"), ("dress", "dress"), ("bus", "bus"), ("is", "is")])
def test_stem_leaves_words_that_only_look_like_plurals(plural: str, singular: str) -> None:
    assert stem(plural) == singular


def test_unspaced_scripts_are_taken_sign_by_sign_and_emoji_are_no_words() -> None:
    assert words("木 bowl 器皿") == ["木", "bowl", "器", "皿"]
    assert words("🙂🙂 !!") == []
    assert tokens("🙂?") == ["🙂", "?"]


def test_accents_written_in_two_ways_are_one_word() -> None:
    assert words("caf\u00e9") == words("cafe\u0301")
