"""Preferences on two gloo processes: the weights and the figures of one, though each rank computes a part of the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.models.dream.tiny import assert_same, weights, write_recipe
from tests.models.test_two_processes import moon_zoo


@pytest.mark.parametrize("options", [{"loss": "mpo", "nll_anchor": 0.1}], ids=["mpo"])
def test_two_processes_train_and_judge_as_one(options: dict[str, object], preference_set: Path, tmp_path: Path) -> None:
    figures = {}
    for name, processes in (("one", 1), ("two", 2)):
        recipe = write_recipe(
            tmp_path / f"{name}.yaml",
            preference_set,
            steps=2,
            stage="preference",
            reference_cache=str(tmp_path / name),
            **options,
        )
        many = ["--trainer.devices", processes, *(["--trainer.strategy", "ddp"] if processes > 1 else [])]
        batches = ["--data.batch_size", 8 // processes, "--data.eval_batch_size", 4]
        moon_zoo("fit", "--config", recipe, "--run", tmp_path / f"run-{name}", "--quiet", *many, *batches)
        found = json.loads((tmp_path / f"run-{name}" / "metrics.json").read_text("utf-8"))
        figures[name] = {key: value for key, value in found.items() if key.startswith("val/")}
        assert len(list((tmp_path / name).rglob("part-*.parquet"))) == 3
    assert_same(weights(tmp_path / "run-one"), weights(tmp_path / "run-two"), atol=1e-5)
    assert "val/preference/margin" in figures["one"]
    assert figures["two"] == pytest.approx(figures["one"], abs=1e-5)
