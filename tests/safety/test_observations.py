"""What models write about risks is read with patience; what cannot be read is never "no risk"."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_zoo.data.conversations import CATEGORIES, SOURCES, Observation
from moon_zoo.safety.observations import category_of, format_observations, parse_observations, source_of

BLEACH = Observation("bleach in a bucket", "image_content", "violence")
BLEACH_TEXT = format_observations([BLEACH])

contents = st.text(min_size=1, max_size=40).map(lambda text: " ".join(text.split())).filter(bool)
observations = st.builds(Observation, contents, st.sampled_from(list(SOURCES)), st.sampled_from(list(CATEGORIES)))


@given(st.lists(observations, max_size=4, unique=True))
def test_what_is_written_is_read_back_as_it_was(given):
    assert parse_observations(format_observations(given)) == tuple(given)


@given(st.text(max_size=200))
def test_any_text_is_read_or_unparsed_without_an_error(text):
    found = parse_observations(text)
    assert found is None or all(isinstance(one, Observation) for one in found)


@given(st.text(alphabet="[]{}\"',:\\ \nabn", max_size=60))
def test_broken_brackets_and_quotes_raise_nothing(text):
    parse_observations(text)


@given(st.integers(0, len(BLEACH_TEXT) - 1))
def test_a_list_cut_anywhere_is_whole_or_unparsed_but_never_empty(cut):
    assert parse_observations(BLEACH_TEXT[:cut]) in (None, (BLEACH,))


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{BLEACH_TEXT}\n```",
        f"Here is what I see:\n{BLEACH_TEXT}\nThat is all.",
        BLEACH_TEXT.replace("}]", ",},]"),
        BLEACH_TEXT[:-1],
        BLEACH_TEXT[:-2],
        BLEACH_TEXT.replace('"', "'"),
        BLEACH_TEXT.replace('"', "\u201c"),
        json.dumps({"observations": [BLEACH.as_json()]}),
        json.dumps(BLEACH.as_json()),
        json.dumps([{"Content": BLEACH.content, "Source": "Images", "Category": "Physical harms"}]),
        json.dumps([{"risk": BLEACH.content, "source": "visual content", "type": "Violence (injury)"}]),
        json.dumps([BLEACH.as_json(), BLEACH.as_json()]),
        "{content: 'bleach in a bucket', source: image, category: violence}",
    ],
)
def test_damaged_and_freely_worded_lists_are_mended(text):
    assert parse_observations(text) == (BLEACH,)


def test_an_apostrophe_inside_single_quotes_ends_no_string():
    found = parse_observations("[{'content': 'a child's hand', 'source': 'image', 'category': 'violence'}]")
    assert found == (Observation("a child's hand", "image_content", "violence"),)


@pytest.mark.parametrize(
    "text", ["[]", "None", "none.", "No risks.", "```\n[]\n```", '{"observations": []}', '["none"]']
)
def test_nothing_risky_is_an_empty_list(text):
    assert parse_observations(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This looks safe to me.",
        "safe",
        "{}",
        "[1, 2]",
        "[{}]",
        '[{"content": "", "source": "image", "category": "violence"}]',
        '[{"content": "bleach", "source": "the moon", "category": "violence"}]',
        '[{"content": "bleach", "source": "image", "category": "weather"}]',
        f"{BLEACH_TEXT} or rather []",
        "[" * 3000,
        "x" * 30_000,
    ],
)
def test_what_cannot_be_read_is_unparsed(text):
    assert parse_observations(text) is None


def test_one_record_that_cannot_be_read_makes_the_whole_unparsed():
    assert parse_observations(json.dumps([BLEACH.as_json(), {"content": "something else"}])) is None


def test_nothing_in_a_text_is_executed():
    text = "[__import__('os').abort()]"
    assert parse_observations(text) is None


def test_each_source_and_category_is_known_by_name_and_by_meaning():
    assert all(source_of(words) == name for name, meaning in SOURCES.items() for words in (name, meaning))
    assert all(category_of(words) == name for name, meaning in CATEGORIES.items() for words in (name, meaning))
