"""Every model of the table on two gloo processes: the weights and the figures of one process, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.models.table import MODELS, Row

ROOT = Path(__file__).parents[2]


def moon_zoo(*words: object) -> str:
    """Run the command line in a process of its own; under ddp it starts the other rank itself."""
    done = subprocess.run(
        [sys.executable, "-m", "moon_zoo", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=MODELS, ids=lambda row: row.name)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two steps of plain gradient descent on batches of 8: by one process, and by two with 4 each."""
    row: Row = request.param.filled(request)
    folder = tmp_path_factory.mktemp(row.name)
    shards = str(request.getfixturevalue(f"{row.kind}_set"))
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}}
    recipe = {
        "seed_everything": 3,
        "model": {
            "class_path": row.name,
            "init_args": row.init_args | row.exact_init_args | {"optimizer": sgd, "lr_schedule": "constant"},
        },
        "data": {"class_path": "shards", "init_args": {"train": shards, "val": shards, "num_workers": 0}},
        "trainer": {"accelerator": "cpu", "max_steps": 2, "deterministic": True},
    }
    path = folder / "exact.yaml"
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    outputs: dict[str, Any] = {"row": row}
    for name, processes in (("one", 1), ("two", 2)):
        strategy = ["--trainer.devices", processes, *(["--trainer.strategy", "ddp"] if processes > 1 else [])]
        batches = ["--data.batch_size", 8 // processes, "--data.eval_batch_size", 4]
        run = folder / name
        moon_zoo("fit", "--config", path, "--run", run, "--quiet", *strategy, *batches)
        outputs[name] = run
        # The same weights, judged by as many processes: 23 samples do not divide by two ranks of 4.
        figures = moon_zoo("validate", "--run", folder / "one", "--json", "--quiet", *strategy, *batches)
        outputs[f"{name}_figures"] = json.loads(figures)
    return outputs


def test_two_processes_train_the_weights_of_one_with_the_whole_batch(fitted: dict[str, Any]) -> None:
    states = [
        torch.load(fitted[name] / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(
            states[1][name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_two_processes_log_exactly_the_figures_of_one(fitted: dict[str, Any]) -> None:
    row, one, two = fitted["row"], fitted["one_figures"], fitted["two_figures"]
    assert row.metric in one
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-6), name
