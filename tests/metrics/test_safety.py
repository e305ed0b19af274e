"""Shares of judged answers: their intervals, and what could not be read counted both ways."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_zoo.metrics.safety import Detection, PairedDifference, Share, detection, wilson


def test_wilsons_interval_is_that_of_the_books_worked_example():
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilsons_interval_holds_the_shares_that_a_test_of_them_would_not_reject():
    """Its bounds p solve |x/n - p| = z sqrt(p (1 - p) / n)."""
    z, n, x = 1.959963984540054, 167, 66
    for p in wilson(x, n):
        assert abs(x / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)]
)
def test_intervals_of_none_and_all_end_at_the_border(successes, total, low, high):
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_more_successes_than_trials_are_refused():
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


flags = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=60)


@given(flags)
def test_whatever_the_unparsed_would_have_been_the_share_is_within_the_bounds(given_flags):
    share = Share.of(given_flags)
    low, high = share.interval()
    for instead in (True, False):
        filled = Share.of(instead if flag is None else flag for flag in given_flags)
        assert low <= filled.value <= high
        assert low <= filled.interval().low
        assert filled.interval().high <= high


def test_figures_of_a_share_say_how_much_is_unparsed():
    figures = Share(6, 8, 2).figures("safe")
    assert figures["safe"] == 0.75
    assert figures["safe_unparsed"] == 0.2
    assert (figures["safe_low"], figures["safe_high"]) == (wilson(6, 10).low, wilson(8, 10).high)


def test_a_share_of_which_nothing_is_known_has_no_value_but_bounds():
    assert Share(0, 0, 3).figures("safe") == {
        "safe_low": 0.0,
        "safe_high": 1.0,
        "safe_unparsed": 1.0,
    }
    assert Share(0, 0).figures("safe") == {}


def test_a_paired_difference_counts_only_pairs_that_differ():
    """Pairs: 9 of both, 8 of the first alone, 2 of the second alone, 1 of neither; (8 - 2) / 20 = 0.3.

    Agresti and Min: b = 8.5, c = 2.5, n = 22; (b - c) / n = 0.27273; standard error sqrt(11 - 36 / 22) / 22 = 0.13909.
    """
    pairs = [(True, True)] * 9 + [(True, False)] * 8 + [(False, True)] * 2 + [(False, False)]
    found = PairedDifference.of(pairs)
    assert found.value == pytest.approx(0.3)
    half = 1.959964 * math.sqrt(11 - 36 / 22) / 22
    assert found.interval() == pytest.approx((6 / 22 - half, 6 / 22 + half), abs=1e-6)


def test_an_unparsed_pair_widens_the_difference_both_ways():
    pairs = [(True, False)] * 5 + [(False, False)] * 5
    sure, unsure = PairedDifference.of(pairs), PairedDifference.of([*pairs, (None, True), (True, None)])
    assert unsure.value == sure.value
    assert unsure.interval().low < sure.interval().low
    assert unsure.figures("refusal")["refusal_unparsed"] == pytest.approx(2 / 12)


def test_detection_counts_equal_things_once_each():
    """Seen a, a, b; there a, c: one right of three seen and of two that are there."""
    found = detection([("aab", "ac")])
    assert (found.precision, found.recall) == (Share(1, 3), Share(1, 2))
    assert found.f1 == pytest.approx(0.4)


def test_prompts_whose_observations_are_unparsed_count_as_unparsed_and_never_as_without_risk():
    found = detection([(None, "ab"), ("a", "a"), ((), "b"), (None, ""), ("c", "")])
    assert found == Detection(Share(1, 2), Share(1, 2, 2), Share(1, 2, 1), Share(1, 1, 1))
