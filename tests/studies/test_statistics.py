"""Slopes, correlations and their intervals, against hand and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from moon_zoo.studies.statistics import (
    exchange_rates,
    line_band,
    mean_interval,
    pearson,
    ranks,
    slope,
    spearman,
)

X = np.array([0.0, 1.0, 2.0, 3.0])
Y = np.array([1.0, 2.0, 2.0, 5.0])
"""Means 1.5 and 2.5; sums of products 6, of squares 5 and 9."""


def test_slope_and_correlation_as_by_hand() -> None:
    assert slope(X, Y) == pytest.approx((6 / 5, 2.5 - 1.5 * 6 / 5))
    assert pearson(X, Y) == pytest.approx(6 / (5 * 9) ** 0.5)


def test_equal_values_share_their_mean_rank() -> None:
    assert ranks(np.array([5.0, 2.0, 2.0, 9.0, 2.0])).tolist() == [3.0, 1.0, 1.0, 4.0, 1.0]


def test_spearman_is_one_for_whatever_rises() -> None:
    assert spearman(X, np.exp(X)) == pytest.approx(1.0)
    assert spearman(X, Y) == pytest.approx(pearson(X, np.array([0.0, 1.5, 1.5, 3.0])))


def test_what_does_not_vary_has_no_correlation() -> None:
    assert np.isnan(pearson(np.full(4, 0.1), Y))
    assert np.isnan(slope(np.full(4, 0.1), Y)[0])


def test_mean_interval_is_student_s() -> None:
    """Three values 1, 2, 3: standard deviation 1, t of two degrees 4.303."""
    found = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.303 / 3**0.5)
    assert np.isnan(mean_interval(np.array([1.0])).low)
    many = mean_interval(np.tile([1.0, 3.0], 10))  # t of 19 degrees is 2.093
    assert (many.high - many.value) / (np.std(np.tile([1.0, 3.0], 10), ddof=1) / 20**0.5) == pytest.approx(
        2.093, abs=0.01
    )


def test_intervals_are_those_of_a_loop_over_crossed_draws() -> None:
    """Checkpoints and seeds drawn with the same generator, one draw after another, by plain numpy."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=6)
    y = 0.5 * x[:, None] + 0.1 * generator.normal(size=(6, 3))
    (found,) = exchange_rates({"recall": x}, y, draws=200, seed=11)
    twin = np.random.default_rng(11)
    rows, columns = twin.integers(6, size=(200, 6)), twin.integers(3, size=(200, 3))
    slopes = [np.polyfit(x[row], y[row][:, column].mean(1), 1)[0] for row, column in zip(rows, columns)]
    assert (found.slope.low, found.slope.high) == pytest.approx(tuple(np.percentile(slopes, (2.5, 97.5))))
    assert found.slope.value == pytest.approx(np.polyfit(x, y.mean(1), 1)[0])


def test_interval_holds_the_true_slope_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        x = generator.uniform(size=12)
        y = 0.3 * x[:, None] + 0.05 * generator.normal(size=(12, 1)) + 0.02 * generator.normal(size=(12, 3))
        (found,) = exchange_rates({"recall": x}, y, draws=400)
        held += found.slope.low <= 0.3 <= found.slope.high
    assert 50 <= held <= 60


def test_a_seed_s_luck_shared_by_all_checkpoints_does_not_widen_the_slope() -> None:
    x = np.linspace(0, 1, 6)
    exact = 0.2 * x[:, None] + np.array([[-5.0, 0.0, 5.0]])
    (found,) = exchange_rates({"recall": x}, exact)
    assert (found.slope.low, found.slope.high) == pytest.approx((0.2, 0.2))


def test_the_most_telling_metric_comes_first_whichever_way_is_better() -> None:
    y = np.linspace(0.70, 0.75, 5)[:, None] + np.zeros((5, 2))
    rates = exchange_rates(
        {
            "recall": np.array([0.1, 0.3, 0.2, 0.4, 0.5]),
            "rank": np.array([9.0, 8.0, 7.0, 6.0, 5.0]),  # exact, and lower is better
            "wrong way": np.array([5.0, 4.0, 3.0, 2.0, 1.0]),
            "constant": np.full(5, 0.3),
        },
        y,
        signs={"rank": -1},
    )
    assert [rate.metric for rate in rates] == ["rank", "recall", "wrong way"]
    assert (rates[0].pearson.value, rates[0].oriented) == pytest.approx((-1.0, 1.0))
    assert rates[0].slope.value == pytest.approx(-0.0125)
    assert sum(rate.best_share for rate in rates) == pytest.approx(1.0)
    assert rates[0].best_share > 0.9


def test_too_few_checkpoints_and_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        exchange_rates({"recall": X[:2]}, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="gaps"):
        exchange_rates({"recall": X}, np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="recall has shape"):
        exchange_rates({"recall": X[:3]}, np.zeros((4, 2)))


def test_three_checkpoints_of_which_a_draw_may_be_one_still_have_intervals() -> None:
    (found,) = exchange_rates({"recall": X[:3]}, Y[:3, None])
    assert found.slope.low <= found.slope.value <= found.slope.high


def test_band_holds_the_line_and_is_narrowest_inside() -> None:
    generator = np.random.default_rng(1)
    x = np.linspace(0, 1, 8)
    y = x[:, None] + 0.1 * generator.normal(size=(8, 3))
    low, high = line_band(x, y, np.array([0.0, 0.5, 1.0]))
    rate, intercept = slope(x, y.mean(1))
    line = intercept + rate * np.array([0.0, 0.5, 1.0])
    assert ((low <= line) & (line <= high)).all()
    assert (high - low)[1] < min((high - low)[[0, 2]])
