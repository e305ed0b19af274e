"""Two galleries beside one another: which queries, the same samples only, and frames that can be counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moon_zoo.cli.main import main
from moon_zoo.errors import DataError
from moon_zoo.reports.beside import draw_beside, pairs, require_same_samples
from moon_zoo.reports.gallery import save_rows
from moon_zoo.reports.style import RIGHT
from tests.reports.test_gallery import SPLITS, count, row


def test_only_queries_that_both_show_are_paired() -> None:
    first = [row("text_to_product", 0), row("photo_to_product", 1)]
    second = [row("photo_to_product", 1, relevant=False), row("photo_to_text", 1)]
    (pair,) = pairs(first, second)
    assert (pair.first, pair.second) == (first[1], second[0])
    with pytest.raises(DataError, match="share no query"):
        pairs(first[:1], second)


def test_tasks_share_the_room() -> None:
    rows = [replace(row("text_to_product", 0), query=replace(row("x", 0).query, index=place)) for place in range(5)]
    rows += [row("photo_to_product", 1)]
    found = pairs(rows, rows, limit=4)
    assert [pair.first.task for pair in found] == ["text_to_product"] * 2 + ["photo_to_product"]


def test_each_model_has_a_line_of_its_own(tmp_path: Path) -> None:
    """The one finds the product, the other does not: half as many green frames as where both do."""
    right, wrong = [row("text_to_product", 0)], [row("text_to_product", 0, relevant=False)]
    names = ("moon", "dual_flow")
    both = draw_beside(pairs(right, right), SPLITS.__getitem__, tmp_path / "both.png", names)
    one = draw_beside(pairs(right, wrong), SPLITS.__getitem__, tmp_path / "one.png", names)
    none = draw_beside(pairs(wrong, wrong), SPLITS.__getitem__, tmp_path / "none.png", names)
    assert count(none, RIGHT) == 0
    assert count(both, RIGHT) == pytest.approx(2 * count(one, RIGHT), rel=0.1)


def test_galleries_of_different_sets_are_refused() -> None:
    def shards(mark: str) -> Any:
        return lambda split: SimpleNamespace(manifest=SimpleNamespace(fingerprint=f"{mark}{split}"))

    found = pairs([row("text_to_product", 0)], [row("text_to_product", 0)])
    require_same_samples(found, {"a": shards("x"), "b": shards("x")})
    with pytest.raises(DataError, match="a and b were tested on different sets: their gallery shards differ"):
        require_same_samples(found, {"a": shards("x"), "b": shards("y")})


def test_a_run_without_the_others_evaluation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, split in (("a", "val"), ("b", "test")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("model: {class_path: dual_flow}\n")
        save_rows([row("text_to_product", 0)], tmp_path / name / "report" / f"gallery_{split}.json")
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    assert main(["plot", first, "--beside", second]) == 2
    assert "have no evaluation of the same split" in capsys.readouterr().err
    assert main(["plot", first, second, "--beside", second]) == 2
    assert "--beside compares one run with one other, and 2 are named" in capsys.readouterr().err
