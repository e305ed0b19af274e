"""plot: pictures of runs drawn again, without the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.cli.main import main


def test_curves_and_gallery_of_a_run_and_a_comparison(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, rate in (("a", "0.01"), ("b", "0.02")):
        assert main(["fit", "--config", "tiny.yaml", "--run", run, "--quiet", "--model.optimizer.lr", rate]) == 0
    for picture in here.glob("a/report/*.png"):
        picture.unlink()
    capsys.readouterr()
    assert main(["plot", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["a/report/curves.png", "a/report/gallery_val.png"]
    assert main(["plot", "a", "b"]) == 0
    assert capsys.readouterr().out == "a/report/compared.png\n"
    for path in ("a/report/curves.png", "a/report/gallery_val.png", "a/report/compared.png"):
        assert min(Image.open(here / path).size) > 200
    assert main(["plot", "a", "b", "--output", "x.txt"]) == 2
    assert "x.txt names no picture" in capsys.readouterr().err
