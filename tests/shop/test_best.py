"""The best figures that can be reached: against counting pairs one by one."""

from __future__ import annotations

import numpy as np
import pytest

from moon_zoo.shop.best import Best, figures


def counted(score: np.ndarray, click: np.ndarray) -> float:
    """Share of pairs in which the clicked one has the higher score, ties half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in score[click] for b in score[~click]]
    return float(np.mean(pairs))


def test_figures_are_those_of_counting_pairs():
    rng = np.random.default_rng(0)
    score = np.round(rng.random(300), 1)  # many ties
    click = rng.random(300) < score
    user = rng.integers(25, size=300)
    found = figures(score, click, user)
    assert found["auc"] == pytest.approx(counted(score, click), abs=1e-12)
    parts = [(user == one) for one in np.unique(user) if 0 < click[user == one].sum() < (user == one).sum()]
    within = [counted(score[rows], click[rows]) * rows.sum() for rows in parts]
    assert found["gauc"] == pytest.approx(sum(within) / sum(rows.sum() for rows in parts), abs=1e-12)


def test_log_loss_of_a_fair_coin_is_log_2():
    found = figures(np.full(10, 0.5), np.arange(10) < 5, np.zeros(10, dtype=int))
    assert found == {"logloss": pytest.approx(np.log(2)), "auc": 0.5, "gauc": 0.5}


def test_what_is_not_defined_is_left_out():
    assert set(figures(np.array([0.2, 0.4]), np.array([False, False]), np.array([1, 1]))) == {"logloss"}
    assert figures(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=int)) == {}
    # Each user has one class: no order within users, but one over all.
    assert set(figures(np.array([0.2, 0.4]), np.array([False, True]), np.array([1, 2]))) == {"logloss", "auc"}


def test_cold_are_the_items_that_training_never_showed():
    best = Best(num_items=4)
    one = np.array([0])
    # The order of parts does not matter: item 2 turns warm through a later part of training.
    best.add("test", np.array([0.9, 0.1, 0.3, 0.6]), np.array([1, 0, 1, 0]), np.zeros(4, int), np.array([2, 2, 3, 3]))
    best.add("train", np.array([0.5]), np.array([True]), one, np.array([2]))
    found = best.figures()
    assert found["test"]["warm/auc"] == 1.0
    assert found["test"]["cold/auc"] == 0.0
    assert found["test"]["auc"] == 0.75
    assert set(found["train"]) == {"logloss", "warm/logloss"}
