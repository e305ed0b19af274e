"""metrics.json and the tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo.errors import DataError
from moon_zoo.reports.summary import grids, legend, metric_rows, number, read_metrics, short, write_metrics

FIGURES = {
    "val/photo_to_product/recall@1": 0.5,
    "val/photo_to_product/recall@1_chance": 0.004,
    "val/photo_to_product/recall@10": 0.75,
    "val/photo_to_product/median_rank": 12.0,
    "val/photo_to_product/num_queries": 300.0,
    "val/text_to_product/recall@1": 0.25,
    "val/loss": 2.0,
    "val/zero_shot/category_accuracy": 0.3,
    "val/zero_shot/category_accuracy_chance": 0.1,
    "train/loss": 1.0,
    "epoch": 3.0,
    "step": 90.0,
}


def test_figures_of_several_verbs_live_together_and_nan_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics(path, {"val/loss": 1.0, "val/x": 2.0})
    write_metrics(path, {"test/loss": float("nan"), "val/x": 3.0})
    assert json.loads(path.read_text()) == {"test/loss": None, "val/loss": 1.0, "val/x": 3.0}
    write_metrics(path, {"val/x": 4.0})
    assert read_metrics(path)["val/x"] == 4.0
    assert [found.name for found in tmp_path.iterdir()] == ["metrics.json"]


def test_unreadable_figures_are_said(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError, match="no figures can be read"):
        read_metrics(tmp_path / "metrics.json")


def test_flat_table_has_chance_direction_and_unit() -> None:
    rows = {row[0]: row[1:] for row in metric_rows(FIGURES)}
    assert rows["val/photo_to_product/recall@1"] == ["0.5000", "0.0040", "higher", "fraction"]
    assert rows["val/loss"][2] == "lower"
    assert not {"train/loss", "epoch", "step", "val/photo_to_product/recall@1_chance"} & set(rows)


def test_grid_has_a_row_per_task_and_leaves_counts_out() -> None:
    (grid,), rest = grids(FIGURES)
    assert grid.columns == ["val", "recall@1 ↑", "recall@10 ↑", "median\nrank ↓"]
    assert grid.rows == [["photo → product", ".500 (.004)", ".750", "12"], ["text → product", ".250", "", ""]]
    assert {"val/loss", "val/zero_shot/category_accuracy", "val/zero_shot/category_accuracy_chance"} <= set(rest)
    assert not any("photo_to_product" in name for name in rest)


@pytest.mark.parametrize(
    ("value", "long", "brief"),
    [
        (0.12345, "0.1235", ".123"),
        (1.0, "1", "1"),
        (-0.5, "-0.5000", "-.500"),
        (12.5, "12.5", "12"),
        (2.5, "2.5000", "2.50"),
        (12345.0, "12,345", "12,345"),
        (1e-5, "1e-05", ".000"),
        (None, "-", "-"),
        (float("nan"), "nan", "-"),
    ],
)
def test_numbers_read_well(value: float | None, long: str, brief: str) -> None:
    assert (number(value), short(value)) == (long, brief)


CLICKS = {
    "val/auc": 0.75,
    "val/auc_bayes": 0.7654,
    "val/click_rate": 0.25,
    "val/num_rows": 60000.0,
    "val/warm/auc": 0.76,
    "val/warm/num_rows": 50000.0,
    "val/cold/num_rows": 10000.0,
}


def test_figures_of_clicks_stand_by_group_with_four_digits_and_the_best_possible_in_brackets() -> None:
    (grid,), rest = grids(CLICKS | {"val/loss": 0.5, "train/loss": 0.4})
    assert grid.columns == ["val", "all", "warm items", "cold items"]
    assert grid.rows == [
        ["auc ↑", "0.7500 (0.7654)", "0.7600", ""],
        ["click rate", "0.2500", "", ""],
        ["num rows", "60,000", "50,000", "10,000"],
    ]
    assert set(rest) == {"val/loss", "train/loss"}
    assert (
        legend([grid])
        == "in brackets the best possible, of the true probabilities; ↑ higher is better, ↓ lower is better"
    )


def test_without_cold_items_one_column_says_it() -> None:
    (grid,), rest = grids({name: value for name, value in CLICKS.items() if "cold" not in name and "bayes" not in name})
    assert (grid.columns, grid.rows[0]) == (["val", "all"], ["auc ↑", "0.7500"])
    assert (rest, legend([grid])) == ({}, "↑ higher is better, ↓ lower is better")


def test_grids_of_tasks_and_of_clicks_say_what_their_brackets_hold() -> None:
    found, _ = grids(CLICKS | FIGURES)
    assert [grid.beside for grid in found] == ["_bayes", "_chance"]
    assert legend(found).startswith("in brackets what chance would give; in brackets the best possible")


def test_flat_table_gets_a_column_of_the_best_possible_only_where_it_is_known() -> None:
    rows = {row[0]: row[1:] for row in metric_rows(CLICKS)}
    assert rows["val/auc"] == ["0.7500", "", "higher", "fraction", "0.7654"]
    assert rows["val/click_rate"] == ["0.2500", "", "", "fraction", ""]
    assert "val/auc_bayes" not in rows
