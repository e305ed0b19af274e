"""Learning curves: what is drawn where."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.errors import DataError
from moon_zoo.reports.curves import Curve, draw_curves, panels_of_one, panels_of_several, read_curves

LOG = """\
step,epoch,train/loss,val/loss,val/photo_to_product/recall@1,val/photo_to_product/recall@1_chance,val/photo_to_product/num_queries
0,0,3.0,,,,
1,0,2.0,2.5,0.2,0.01,50
2,1,nan,,,,
3,1,1.0,1.5,0.6,0.01,50
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(LOG)
    return path


def test_gaps_and_figures_that_are_not_finite_are_left_out(log: Path) -> None:
    curves = read_curves(log)
    assert (curves["train/loss"].steps, curves["train/loss"].values) == ([0, 1, 3], [3.0, 2.0, 1.0])
    assert curves["val/photo_to_product/recall@1"].values == [0.2, 0.6]
    assert "epoch" not in curves


def test_one_run_puts_tasks_together_with_their_chance_and_leaves_counts_out(log: Path) -> None:
    panels = panels_of_one(read_curves(log))
    assert list(panels) == ["loss", "recall@1"]
    assert [line.label for line in panels["loss"]] == ["train", "val"]
    (line,) = panels["recall@1"]
    assert line.label == "photo to product"
    assert line.beside["_chance"].values == [0.01, 0.01]


def test_several_runs_get_a_panel_per_figure(log: Path) -> None:
    curves = read_curves(log)
    panels = panels_of_several({"a": curves, "b": curves})
    assert list(panels) == ["train/loss", "val/loss", "val/photo_to_product/recall@1"]
    assert [line.label for line in panels["val/loss"]] == ["a", "b"]


def test_picture_is_written_whole_or_not_at_all(log: Path, tmp_path: Path) -> None:
    picture = draw_curves({"a": log}, tmp_path / "report" / "curves.png")
    assert picture is not None
    assert Image.open(picture).width > 800
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["curves.png"]


def test_empty_log_draws_nothing_and_no_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("step,train/loss\n")
    assert draw_curves({"a": tmp_path / "empty.csv"}, tmp_path / "c.png") is None
    with pytest.raises(DataError, match="no log can be read: No such file"):
        draw_curves({"a": tmp_path / "missing.csv"}, tmp_path / "c.png")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column 'step'"):
        read_curves(tmp_path / "other.csv")


def test_click_figures_keep_groups_apart_in_one_order_with_the_best_possible_beside() -> None:
    names = ("val/cold/auc", "val/auc", "val/warm/auc", "val/auc_bayes", "val/warm/ece", "val/ece", "val/num_rows")
    panels = panels_of_one({name: Curve([1, 2], [0.6, 0.7]) for name in names})
    assert {title: [line.label for line in lines] for title, lines in panels.items()} == {
        "auc": ["all", "warm", "cold"],
        "ece": ["all"],  # without cold items the warm ones are all
    }
    assert [list(line.beside) for line in panels["auc"]] == [["_bayes"], [], []]
