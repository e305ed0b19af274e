"""Figures of clicks equal their definitions, for any number of rows in memory, of batches and of processes."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moon_zoo.errors import DataError, RecipeError
from moon_zoo.metrics.auc import pack, scores_of
from moon_zoo.metrics.catalogue import find
from moon_zoo.metrics.clicks import ClickFigures
from tests.metrics import plain_clicks, two_processes_clicks
from tests.metrics.two_processes_clicks import collect, found_by, whole_set
from tests.ranks import run_two


def of(logits: Any, labels: Any, users: Any = None, cold: Any = None, **options: Any) -> dict[str, float]:
    figures = ClickFigures(**options)
    rows = len(logits)
    figures.update(
        torch.as_tensor(logits, dtype=torch.float32),
        torch.as_tensor(labels),
        torch.zeros(rows, dtype=torch.int64) if users is None else torch.as_tensor(users),
        None if cold is None else torch.as_tensor(cold),
    )
    return figures.compute()


def test_auc_of_four_rows_by_hand() -> None:
    """Clicked at 2 and 0, not clicked at 1 and 0: wins 1 + 1 + 0 + 1/2 of 4 pairs."""
    assert of([2.0, 0.0, 1.0, 0.0], [1, 1, 0, 0])["auc"] == 2.5 / 4


def test_gauc_weighs_users_by_rows_and_leaves_out_those_of_one_class() -> None:
    """User 1: AUC 1 of 2 rows; user 2: AUC 1/2 of 3 rows (one win, one loss); user 3 clicked everything."""
    found = of([3.0, 1.0, 2.0, 5.0, 1.0, 9.0, 8.0], [1, 0, 1, 0, 0, 1, 1], [1, 1, 2, 2, 2, 3, 3])
    assert found["gauc"] == pytest.approx((1 * 2 + 0.5 * 3) / 5)
    assert found["num_users"] == 2


def test_logloss_and_ratio_by_hand() -> None:
    """Probabilities 3/4 (clicked) and 1/4 (not): -log(3/4) each; 1 click predicted, 1 clicked."""
    found = of([math.log(3), -math.log(3)], [1, 0])
    assert found["logloss"] == pytest.approx(-math.log(0.75), rel=1e-6)
    assert (found["predicted_over_actual"], found["click_rate"]) == (pytest.approx(1.0), 0.5)


def test_a_constant_prediction_misses_calibration_by_its_distance_from_the_click_rate() -> None:
    """Whatever order rows of one score are kept in, each bin gets its share of the clicks: |1/2 - 3/10|."""
    for memory_rows in (1000, 8):
        found = of([0.0] * 100, [1] * 30 + [0] * 70, memory_rows=memory_rows)
        assert found["ece"] == pytest.approx(0.2)
        assert found["auc"] == found["gauc"] == 0.5


def test_certain_predictions_have_finite_figures() -> None:
    found = of([1e4, -1e4, 1e4], [1, 0, 0])
    assert found["logloss"] == pytest.approx(1e4 / 3)
    assert found["predicted_over_actual"] == 2.0


@pytest.mark.parametrize("memory_rows", [1 << 20, 200, 90, 7])
def test_figures_equal_their_definitions_for_all_warm_and_cold_rows_in_any_memory(memory_rows: int) -> None:
    data = whole_set()
    figures = ClickFigures(memory_rows=memory_rows)
    collect(figures, 0, 1)
    assert (figures._rows._folder is not None) == (memory_rows < 1000)  # not vacuous: rows were put aside
    found = figures.compute()
    expected = {}
    groups = {"": slice(None), "warm/": ~data["cold"], "cold/": data["cold"]}
    for prefix, rows in groups.items():
        plain = plain_clicks.figures(data["logits"][rows], data["labels"][rows], data["users"][rows])
        expected |= {f"{prefix}{name}": value for name, value in plain.items()}
    assert found == pytest.approx(expected, rel=1e-12)
    assert 0.5 < found["cold/auc"] != found["warm/auc"]


def test_order_of_rows_changes_no_bit() -> None:
    data = whole_set()
    shuffled = np.random.default_rng(0).permutation(len(data["labels"]))
    assert of(**data) == of(**{name: values[shuffled] for name, values in data.items()})


def test_two_uneven_ranks_equal_one_to_the_last_bit(tmp_path: Path) -> None:
    run_two(two_processes_clicks.__name__, tmp_path)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    for memory_rows in two_processes_clicks.MEMORY_ROWS:
        alone = ClickFigures(memory_rows=memory_rows)
        collect(alone, 0, 1)
        assert first[str(memory_rows)] == found_by(alone)
    assert first["one_rank_only"]["figures"]["auc"] == 1.0
    assert first["nobody"] == {"num_rows": 0.0}


def test_what_is_not_defined_is_left_out_and_counts_say_why() -> None:
    clicked = of([1.0, 2.0], [1, 1])
    assert set(clicked) & {"auc", "gauc"} == set()
    assert (clicked["click_rate"], clicked["num_users"], clicked["num_rows"]) == (1.0, 0.0, 2.0)
    assert "predicted_over_actual" not in of([1.0, 2.0], [0, 0])
    users_of_one_class = of([1.0, 2.0], [0, 1], [1, 2])
    assert "gauc" not in users_of_one_class
    assert users_of_one_class["auc"] == 1.0
    assert not any(name.startswith("cold/") for name in clicked)
    assert not any(name.startswith("warm/") for name in of([1.0, 2.0], [0, 1], cold=[True, True]))
    assert ClickFigures().compute() == {"num_rows": 0.0}


def test_padded_rows_count_nowhere_and_a_reset_forgets_and_removes_files(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    figures = ClickFigures(memory_rows=1)
    rows = torch.tensor([1.0, 0.0, float("nan")]), torch.tensor([1, 0, 9]), torch.tensor([1, 1, 1])
    figures.update(*rows, valid=torch.tensor([True, True, False]))
    assert figures.compute()["num_rows"] == 2
    assert len(list(tmp_path.iterdir())) == 1
    figures.reset()
    assert list(tmp_path.iterdir()) == []
    assert figures.compute() == {"num_rows": 0.0}


def test_a_score_that_is_no_number_is_named() -> None:
    with pytest.raises(RecipeError, match=r"score of row 12 is nan.*1 of 2 rows") as refused:
        ClickFigures().update(
            torch.tensor([0.0, float("nan")]), torch.ones(2), torch.zeros(2), index=torch.tensor([11, 12])
        )
    assert "learning rate" in str(refused.value.change)
    with pytest.raises(RecipeError, match="score of row 0 of this batch is -inf"):
        of([-math.inf], [0])


@pytest.mark.parametrize("label", [2, -1, 0.5])
def test_a_label_that_is_no_click_is_named(label: float) -> None:
    with pytest.raises(DataError, match=f"label of row 1 of this batch is {label}"):
        of([0.0, 0.0], [0, label])


def test_temporary_files_that_cannot_be_written_are_said(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    figures = ClickFigures(memory_rows=1)
    figures.update(torch.zeros(2), torch.ones(2), torch.zeros(2))
    (folder,) = tmp_path.iterdir()
    (folder / "rows").unlink()
    folder.rmdir()
    with pytest.raises(DataError, match="cannot be put aside") as refused:
        figures.update(torch.zeros(2), torch.ones(2), torch.zeros(2))
    assert "TMPDIR" in str(refused.value.change)
    folder.mkdir()


def test_packed_rows_rise_with_scores_and_give_them_back() -> None:
    scores = np.array([-np.float32(3e38), -1.5, -1e-45, 0.0, 1e-45, 2.0, 3e38], np.float32)
    packed = pack(scores, np.ones(7), np.zeros(7))
    assert (np.diff(packed) > 0).all()
    assert np.array_equal(scores_of(packed), scores.astype(np.float64))
    assert pack(np.float32([-0.0]), np.ones(1), np.zeros(1)) == pack(np.float32([0.0]), np.ones(1), np.zeros(1))


def test_every_figure_is_in_the_catalogue_and_in_range() -> None:
    for name, value in of(**whole_set()).items():
        info = find(f"val/{name}")
        assert info is not None, name
        assert info.low is None or value >= info.low, name
        assert info.high is None or value <= info.high, name
    for name in ("val/auc_bayes", "test/cold/gauc_bayes", "val/warm/logloss_bayes"):
        assert find(name) is not None
        assert find(name).direction == ""  # type: ignore[union-attr]
