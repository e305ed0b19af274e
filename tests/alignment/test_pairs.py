"""Which answers make a pair, beside a brute-force twin."""

from __future__ import annotations

import itertools
import random

import pytest

from moon_zoo.alignment.pairs import DROPPED, Pair, PairFilters, pair_of
from moon_zoo.errors import UsageError


def twin(texts: list[str], scores: list[float | None], filters: PairFilters) -> tuple[str, str] | None:
    """Every ordered pair of scored answers is looked at; the texts of the one of the greatest difference, if it is allowed."""
    scored = [(text, value) for text, value in zip(texts, scores, strict=True) if value is not None]
    best = max(itertools.permutations(scored, 2), key=lambda pair: pair[0][1] - pair[1][1], default=None)
    if best is None:
        return None
    (chosen, high), (rejected, low) = best
    long, short = sorted((len(chosen.split()) or 1, len(rejected.split()) or 1), reverse=True)
    allowed = (
        high > low and high - low >= filters.margin and chosen != rejected and long / short <= filters.length_ratio
    )
    return (chosen, rejected) if allowed else None


def test_pairs_are_those_of_a_look_at_all_pairs() -> None:
    rng = random.Random(0)
    filters = PairFilters(margin=0.25, length_ratio=3.0)
    made = 0
    for _ in range(2000):
        count = rng.randint(0, 5)
        values = rng.sample(range(100), count)  # all different, so that there is one best and one worst
        scores = [None if rng.random() < 0.2 else value / 100 for value in values]
        texts = [" ".join(rng.choices("abc", k=rng.randint(0, 6))) for _ in range(count)]
        found = pair_of(texts, scores, filters)
        expected = twin(texts, scores, filters)
        if expected is None:
            assert found in DROPPED
        else:
            made += 1
            assert isinstance(found, Pair)
            assert (texts[found.chosen], texts[found.rejected]) == expected
    assert made > 300


@pytest.mark.parametrize(
    ("texts", "scores", "why"),
    [
        (["a b", "c d"], [0.5, None], "unscored"),
        (["a b", "c d"], [0.5, 0.5], "tie"),
        (["a b", "a b ", "c"], [0.9, 0.1, 0.5], "same_text"),
        (["a b", "c d"], [0.5, 0.45], "margin"),
        (["a b c d e f g", "c d"], [0.9, 0.1], "length"),
    ],
)
def test_why_there_is_no_pair_is_told(texts: list[str], scores: list[float | None], why: str) -> None:
    assert pair_of(texts, scores, PairFilters(margin=0.1, length_ratio=3.0)) == why


def test_among_equally_good_answers_the_first_is_taken() -> None:
    assert pair_of(["a", "b", "c", "d"], [0.9, 0.1, 0.9, 0.1], PairFilters()) == Pair(0, 1)


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"margin": 2.0}, {"length_ratio": 0.5}])
def test_filters_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options.values())):g}"):
        PairFilters(**options)
