"""Pictures of calibration: kept as JSON, drawn from it, refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.errors import DataError
from moon_zoo.metrics.calibration import Calibration
from moon_zoo.reports.calibration import draw_calibration, draw_calibrations, read_calibration, save_data

BINS = Calibration((0.1, 0.3, 0.6), (0.0, 0.35, 0.55), (40, 40, 41))


def test_bins_come_back_from_the_file_and_are_drawn_beside_it(tmp_path: Path) -> None:
    groups = {name: BINS.to_json() for name in ("all", "warm", "cold")}
    save_data({"calibration_val": groups, "calibration_test": {"all": BINS.to_json()}, "other": {"x": 1}}, tmp_path)
    assert read_calibration(tmp_path / "calibration_val.json") == {"all": BINS, "warm": BINS, "cold": BINS}
    assert draw_calibrations(tmp_path, ["calibration_val"]) == [tmp_path / "calibration_val.png"]
    assert [path.name for path in draw_calibrations(tmp_path)] == ["calibration_test.png", "calibration_val.png"]
    assert min(Image.open(tmp_path / "calibration_val.png").size) > 300
    assert json.loads((tmp_path / "other.json").read_text()) == {"x": 1}
    assert not list(tmp_path.glob("*.partial*"))


def test_a_group_without_clicks_is_drawn_and_no_rows_are_not(tmp_path: Path) -> None:
    one = Calibration((0.2,), (0.0,), (3,))
    assert draw_calibration({"all": one, "cold": one}, tmp_path / "calibration_val.png") is not None
    assert draw_calibration({}, tmp_path / "calibration_none.png") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"all": {"predicted": [0.1]}}', '{"all": {"predicted": [0.1], "clicked": [], "rows": [1]}}']
)
def test_a_file_that_is_no_calibration_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration_val.json"
    path.write_text(text)
    if text == "[]":
        assert draw_calibrations(tmp_path) == []
        return
    with pytest.raises(DataError, match="no calibration of a run") as refused:
        draw_calibrations(tmp_path)
    assert refused.value.where == str(path)
