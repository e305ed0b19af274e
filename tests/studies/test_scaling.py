"""Scaling curves from what steps measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.studies import outcome
from moon_zoo.studies.pictures import draw_scaling
from moon_zoo.studies.running import Record
from moon_zoo.studies.scaling import Point, curves

SIZES = (1, 3, 10, 30, 100)


def measured(**figures: dict[int, float]) -> tuple[list[Point], dict[str, Record]]:
    """Two seeds that agree, of the axis of histories."""
    points = [Point("history", size, seed, f"{size}-{seed}") for seed in range(2) for size in SIZES]
    records = {
        point.test: Record(
            point.test, "test", [], "", 1.0, {f"test/{name}": values[point.size] for name, values in figures.items()}
        )
        for point in points
    }
    return points, records


def test_errors_fall_to_what_stays() -> None:
    auc = {size: 0.75 - 0.1 * size**-0.5 for size in SIZES}
    (curve,) = curves(*measured(auc=auc, auc_bayes=dict.fromkeys(SIZES, 0.76)))
    assert (curve.measure, curve.sizes) == ("1 - auc", list(SIZES))
    assert curve.errors[0] == pytest.approx([0.35, 0.35])
    assert curve.floor == pytest.approx(0.24)
    assert curve.law is not None
    assert (curve.law.a.value, curve.law.b.value, curve.law.c.value) == pytest.approx((0.25, 0.1, 0.5), rel=2e-3)


def test_losses_are_taken_as_they_are_and_what_was_not_measured_is_left_out() -> None:
    (curve,) = curves(*measured(logloss={size: 0.5 + 0.1 / size for size in SIZES}))
    assert curve.measure == "logloss"
    assert curve.errors[0] == pytest.approx([0.6, 0.6])


def test_picture_and_table_also_of_errors_that_reach_zero(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    found = curves(*measured(auc={size: 0.75 - 0.1 * size**-0.5 for size in SIZES}, gauc=dict.fromkeys(SIZES, 1.0)))
    with Image.open(draw_scaling(found, tmp_path / "scaling.png")) as picture:
        assert picture.width > 700
    assert [str(one.message) for one in recwarn.list] == []
    rows = list(csv.reader(outcome.scaling_csv(found, tmp_path / "study.csv").open()))
    assert len(rows) == 1 + 2 * len(SIZES) * 2
    heading, table = outcome.law_rows(found)
    assert table[0][heading.index("c")] == "0.50"
    assert table[1][-1] != ""
