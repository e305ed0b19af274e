"""What a click model's run reports, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo.cli.main import main
from moon_zoo.reports.calibration import read_calibration


def test_a_click_model_reports_its_calibration_by_split_and_testing_leaves_the_curves(
    impressions_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sets = [f"--data.{split}={impressions_set}" for split in ("train", "val")]
    few = ["--data=shards", "--data.batch_size=16", "--data.num_workers=0", "--trainer.max_epochs=2", "--quiet"]
    assert main(["fit", "--config", "mim/none", "--run", "r", *sets, *few]) == 0
    curves = Path("r/metrics.csv").read_text()
    assert "val/auc" in curves
    rows = json.loads(Path("r/metrics.json").read_text())["val/num_rows"]
    bins = read_calibration(Path("r/report/calibration_val.json"))
    assert sum(bins["all"].rows) == rows == sum(sum(bins[name].rows) for name in ("warm", "cold") if name in bins)
    assert main(["test", "--run", "r", "--data.test", str(impressions_set), "--quiet"]) == 0
    assert Path("r/metrics.csv").read_text() == curves
    for picture in Path("r/report").glob("*.png"):
        picture.unlink()
    capsys.readouterr()
    assert main(["plot", "r", "--json"]) == 0
    pictures = ["r/report/curves.png", "r/report/calibration_test.png", "r/report/calibration_val.png"]
    assert json.loads(capsys.readouterr().out) == pictures
    assert main(["fit", "--run", "r", "--resume", "--trainer.max_epochs=3", "--quiet"]) == 0
    assert sum(read_calibration(Path("r/report/calibration_val.json"))["all"].rows) == rows
