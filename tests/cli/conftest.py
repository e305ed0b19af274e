"""Tiny shards and recipes for the command line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.data.kinds import Product
from moon_zoo.data.writing import ShardWriter

REPOSITORY = Path(__file__).parents[2]
SIZES = {"train": 40, "val": 10, "test": 7}


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders train, val and test of small products."""
    root = tmp_path_factory.mktemp("shards")
    for split, size in SIZES.items():
        with ShardWriter(root / split, kind="product", source="a test", licence="CC0", max_samples=16) as writer:
            for number in range(size):
                photo = io.BytesIO()
                Image.new("RGB", (24, 24), (number * 6, 90, 200 - number * 4)).save(photo, "JPEG")
                title = f"plain cup number {number} " + "big " * (number % 4)
                writer.write(
                    f"{split}-{number:03d}", Product(f"{split}-{number}", title.strip(), photos=[photo.getvalue()])
                )
    return root


@pytest.fixture
def recipe(shards: Path, tmp_path: Path) -> Path:
    """A recipe of the tiny model, which learns in a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"""\
# Trains the tiny model. For tests.
seed_everything: 3
model:
  class_path: tests.cli.tiny.TinyModel
  init_args:
    rate: 0.1
    optimizer:
      class_path: torch.optim.SGD
      init_args: {{lr: 0.01}}
data:
  class_path: shards
  init_args:
    train: {shards}/train
    val: {shards}/val
    test: {shards}/test
    predict: {shards}/test
    batch_size: 4
    num_workers: 0
trainer:
  max_epochs: 2
  accelerator: cpu
  log_every_n_steps: 1
"""
    )
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty but for the recipe."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the real program in a process of its own, in ``tmp_path``."""

    def popen(*words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "moon_zoo", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen
