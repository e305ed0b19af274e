"""Laws of the form a + b x^-c."""

from __future__ import annotations

import numpy as np
import pytest

from moon_zoo.studies.power_law import fit

SIZES = np.array([100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0])


def law(a: float, b: float, c: float) -> np.ndarray:
    return a + b * SIZES**-c


def test_an_exact_law_is_found() -> None:
    found = fit(SIZES, law(0.2, 5.0, 0.4)[:, None] + np.zeros((6, 2)))
    assert (found.a.value, found.b.value, found.c.value) == pytest.approx((0.2, 5.0, 0.4), rel=1e-3)
    assert found.explained == pytest.approx(1.0)
    assert found.notes == ()
    assert found.at(np.array([1e6]))[0] == pytest.approx(0.2 + 5.0 * 1e6**-0.4, rel=1e-3)


def test_it_is_no_worse_than_a_dense_search_of_all_three() -> None:
    generator = np.random.default_rng(5)
    errors = law(0.1, 3.0, 0.5)[:, None] + 0.01 * generator.normal(size=(6, 2))
    found = fit(SIZES, errors)
    mine = ((errors.mean(1) - found.at(SIZES)) ** 2).sum()
    best = np.inf
    for c in np.linspace(0.05, 2.0, 800):
        design = np.stack([np.ones(6), SIZES**-c], 1)
        solved, *_ = np.linalg.lstsq(design, errors.mean(1), rcond=None)
        best = min(best, ((errors.mean(1) - design @ solved) ** 2).sum())
    assert mine <= best * 1.001


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(30):
        found = fit(SIZES, law(0.2, 5.0, 0.4)[:, None] + 0.01 * generator.normal(size=(6, 3)), draws=200)
        held += [found.a.low <= 0.2 <= found.a.high, found.c.low <= 0.4 <= found.c.high]
    assert (held >= 24).all()


def test_what_stays_is_not_below_zero() -> None:
    assert fit(SIZES, (law(0.0, 5.0, 0.3) - 0.05 * np.log(SIZES / 100))[:, None] + 1e-9).a.value >= 0


def test_units_do_not_matter() -> None:
    errors = law(0.2, 5.0, 0.4)[:, None] + 0.01 * np.random.default_rng(2).normal(size=(6, 2))
    one, other = fit(SIZES, errors), fit(SIZES * 1e6, errors)
    assert other.c.value == pytest.approx(one.c.value)
    assert other.b.value == pytest.approx(one.b.value * 1e6**one.c.value)


@pytest.mark.parametrize(
    ("errors", "note"),
    [
        (0.1 + 0.02 * np.log(SIZES), "does not fall"),
        (np.full(6, 0.3), "does not fall"),
        (20.0 - 0.1 * np.log(SIZES), "no end of the fall"),
        (np.array([1.0, 0.2, 0.2, 0.2, 0.2, 0.2]), "falls at once"),
    ],
)
def test_what_is_no_power_law_is_said(errors: np.ndarray, note: str) -> None:
    found = fit(SIZES, errors[:, None] + 1e-5 * np.random.default_rng(0).normal(size=(6, 3)))
    assert len(found.notes) == 1
    assert note in found.notes[0] or (note == "does not fall" and "flat within its noise" in found.notes[0])


def test_noise_as_large_as_the_fall_is_said() -> None:
    errors = law(0.2, 0.1, 0.5)[:, None] + 0.05 * np.random.default_rng(0).normal(size=(6, 2))
    assert "flat within its noise" in fit(SIZES, errors).notes[0]


def test_too_few_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 sizes"):
        fit(np.array([1.0, 2.0, 3.0]), np.ones((3, 2)))
    with pytest.raises(ValueError, match="positive"):
        fit(np.array([0.0, 1.0, 2.0, 3.0]), np.ones((4, 2)))
