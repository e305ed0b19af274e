"""A tiny assistant, as an object and as recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from moon_zoo.cli.main import main
from moon_zoo.data.inputs import Draw
from moon_zoo.models.dream.module import Dream
from tests.conftest import make_instruction, make_preference
from tests.models.table import TINY_DREAM

OPTIONS: dict[str, Any] = {
    **TINY_DREAM,
    "backbone_options": {**TINY_DREAM["backbone_options"], "initializer_range": 0.1},  # wide enough that outputs differ
}


def assistant(seed: int = 0, **options: Any) -> Dream:
    """An untrained one, in evaluation mode, whose tokenizer knows the words of `make_instruction`."""
    torch.manual_seed(seed)
    module = Dream(**{**OPTIONS, **options})
    module.inputs.fit((make(number) for number in range(12) for make in (make_instruction, make_preference)), None)
    module.build()
    return module.eval()


def batch_of(module: Dream, numbers: range, make: Any = make_preference) -> dict[str, Tensor]:
    """Samples as the data layer gives them."""
    batch = module.inputs.batch([module.inputs.sample(make(number), Draw()) for number in numbers])
    return batch | {"index": torch.tensor(numbers), "valid": torch.ones(len(numbers), dtype=torch.bool)}


def write_recipe(
    path: Path, shards: Path, *, steps: int = 3, trainer: dict[str, Any] | None = None, **options: Any
) -> Path:
    """A recipe that trains a few steps of plain gradient descent."""
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.02}}
    recipe = {
        "seed_everything": 3,
        "model": {
            "class_path": "dream",
            "init_args": {**OPTIONS, "optimizer": sgd, "lr_schedule": "constant", **options},
        },
        "data": {
            "class_path": "shards",
            "init_args": {split: str(shards) for split in ("train", "val", "test")}
            | {"batch_size": 8, "num_workers": 0},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_steps": steps,
            "log_every_n_steps": 1,
            "deterministic": True,
            **(trainer or {}),
        },
    }
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    return path


def fit(recipe: Path, run: Path, *words: object) -> int:
    """Train it."""
    return main(["fit", "--config", str(recipe), "--run", str(run), "--quiet", *map(str, words)])


def weights(run: Path) -> dict[str, Tensor]:
    """Of the latest checkpoint."""
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert isinstance(stored, dict)
    return stored


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor], atol: float = 1e-6) -> None:
    """All weights of both."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=atol, msg=f"{name} differs")
