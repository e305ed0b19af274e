"""The study of knowledge: its plan, baselines and intervals by hand, and the whole command on a tiny set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from moon_zoo.cli.main import main
from moon_zoo.errors import DataError
from moon_zoo.metrics.text import Written
from moon_zoo.studies import follow_ups
from moon_zoo.studies.follow_ups import COPY, FULL, NEAREST, SHUFFLED, WITHOUT
from tests.models.table import TINY_FOLLOWUP


def said(texts: list[str], concept: str = "glaze") -> dict[str, Written]:
    return {
        str(number): Written(text, "is the glaze safe?", "is the mug new?", "yes.", f"{concept}: a coat.", concept)
        for number, text in enumerate(texts)
    }


def test_plan_trains_twice_per_seed_and_asks_the_full_model_with_shuffled_knowledge_too(tmp_path: Path) -> None:
    steps, files = follow_ups.plan(["a.yaml"], tmp_path, seeds=2)
    assert [step.verb for step in steps].count("fit") == 4
    assert set(files) == {(method, seed) for method in (FULL, WITHOUT, SHUFFLED) for seed in (0, 1)}
    by_name = {step.name: step for step in steps}
    assert by_name["shuffled_knowledge/seed-1/predict"].needs == ("knowledge/seed-1/fit",)
    assert len({step.name for step in steps}) == len(steps)


def test_copied_and_nearest_are_what_they_say() -> None:
    samples = said(["x?", "y?"])
    assert {one.follow_up for one in follow_ups.copied(samples).values()} == {"is the mug new?"}
    training = [("where is the lamp?", "there.", "lamp?"), ("is the mug old?", "no.", "mug?"), ("", "", "nothing?")]
    assert {one.follow_up for one in follow_ups.nearest(samples, training).values()} == {"mug?"}
    assert {one.follow_up for one in follow_ups.nearest(samples, []).values()} == {""}


def test_differences_are_paired_and_their_intervals_leave_out_zero_where_all_samples_agree() -> None:
    full, without = said(["is the glaze safe?"] * 20), said(["is it?", "is the glaze old?"] * 10)
    found = follow_ups.collect({(FULL, 0): full, (WITHOUT, 0): without, (WITHOUT, 1): without}, draws=500)
    by_name = {method.name: method for method in found.methods}
    assert found.samples == 20 and by_name[WITHOUT].seeds == 2
    assert by_name[FULL].figures["knowledge_use"] == 1.0
    gap = by_name[WITHOUT].differences["knowledge_use"]
    assert gap.value == 0.5 and 0.2 < gap.low < 0.5 < gap.high < 0.8
    assert follow_ups.verdict(gap) == "+"
    assert any("2.0 times" in note for note in found.notes)


def test_bootstrap_interval_is_that_of_a_normal_mean_and_leaves_gaps_out() -> None:
    draws = np.random.default_rng(0)
    values = draws.normal(size=400)
    drawn = draws.integers(400, size=(4000, 400))
    found = follow_ups.bootstrap(values, drawn)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)
    gaps = follow_ups.bootstrap(np.array([1.0, np.nan, 1.0]), np.array([[0, 1, 2], [1, 1, 1]]))
    assert (gaps.value, gaps.low, gaps.high) == (1.0, 1.0, 1.0)


def test_methods_without_samples_in_common_and_odd_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in common"):
        follow_ups.collect({(FULL, 0): said(["a?"]), (WITHOUT, 0): {}})
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        follow_ups.read_questions(tmp_path / "x.parquet")


def test_the_command_trains_asks_and_tells_and_does_nothing_twice(
    follow_up_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {
        "model": {"class_path": "followup", "init_args": TINY_FOLLOWUP | {"beams": 1, "generation_samples": 0}},
        "data": {
            "class_path": "shards",
            "init_args": {split: str(follow_up_set) for split in ("train", "val", "predict")}
            | {"batch_size": 8, "num_workers": 0},
        },
        "trainer": {"accelerator": "cpu", "max_steps": 2},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    command = ["study", "followup", "--to", str(tmp_path / "study"), "--config", str(path), "--seeds", "1"]
    assert main([*command, "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    assert [method["name"] for method in found["methods"]] == [FULL, SHUFFLED, WITHOUT, COPY, NEAREST]
    assert found["samples"] == 23
    table = (tmp_path / "study" / "followup.md").read_text("utf-8")
    assert "knowledge_use" in table and NEAREST in table
    assert main([*command, "--dry-run"]) == 0
    assert "fit" not in capsys.readouterr().out


def test_a_recipe_of_another_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "followup", "--to", str(tmp_path / "s"), "--config", "dual_flow/quickstart"]) == 2
    assert "asks no questions" in capsys.readouterr().err
