"""A model and inputs just large enough to drive the data layer through Lightning, in this process or another.

Run as a script it trains, or evaluates, on the given number of ranks and writes down which samples each step saw:

    python tiny.py fit --train SHARDS --out DIR --ranks 2 --batch 3 --workers 1 [--resume CKPT] [--pause-at STEP] ...
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.images import decode_photo
from moon_zoo.data.inputs import Draw, stack
from moon_zoo.models.base import ZooModule


class TinyInputs:
    """A photo of 8 x 8 pixels, a random number that shows the augmentation, and what `fit` learned."""

    def __init__(self) -> None:
        self.titles = 0

    def fit(self, samples: Any, manifest: Any) -> None:
        self.titles = sum(len(sample.title) for sample in samples)

    def sample(self, sample: Any, draw: Draw) -> dict[str, torch.Tensor]:
        noise = torch.rand((), generator=draw.generator) if draw.generator is not None else torch.zeros(())
        return {"photo": decode_photo(sample.photos[0], 8), "noise": noise}

    def batch(self, samples: Any) -> dict[str, torch.Tensor]:
        return stack(samples)

    def state_dict(self) -> dict[str, Any]:
        return {"titles": self.titles}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.titles = state["titles"]


class TinyModule(ZooModule):
    """A linear layer over pixels."""

    def __init__(self) -> None:
        super().__init__(TinyInputs())
        self.layer = torch.nn.Linear(192, 1)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(batch["photo"].flatten(1).float() / 255)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self(batch).square().mean()

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self(batch)

    test_step = validation_step

    def predict_step(self, batch: dict[str, torch.Tensor], batch_idx: int, dataloader_idx: int = 0) -> Any:
        return {"index": batch["index"][batch["valid"]]}


class Seen(Callback):
    """Appends a line per batch: stage, loader, epoch, batch number, samples, which of them count, augmentation noise."""

    def __init__(self, out: Path, pause_at: int | None = None) -> None:
        self.out, self.pause_at = out, pause_at

    def _note(self, trainer: L.Trainer, stage: str, batch: Any, number: int, loader: int = 0) -> None:
        line = {
            "stage": stage,
            "loader": loader,
            "epoch": trainer.current_epoch,
            "number": number,
            "index": batch["index"].tolist(),
            "valid": batch["valid"].tolist(),
            "noise": batch["noise"].tolist(),
        }
        with (self.out / f"seen-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._note(trainer, "train", batch, batch_idx)

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if self.pause_at is not None and trainer.global_step >= self.pause_at:
            (self.out / "paused").touch()
            time.sleep(600)  # the test kills us here

    def on_validation_batch_end(
        self, trainer: Any, module: Any, out: Any, batch: Any, idx: int, loader: int = 0
    ) -> None:
        self._note(trainer, "val", batch, idx, loader)

    def on_test_batch_end(self, trainer: Any, module: Any, out: Any, batch: Any, idx: int, loader: int = 0) -> None:
        self._note(trainer, "test", batch, idx, loader)


def build_trainer(out: Path, *, ranks: int = 1, pause_at: int | None = None, **more: Any) -> L.Trainer:
    """A quiet trainer on the CPU that writes `seen-*.jsonl`, and a checkpoint after every step."""
    saver = ModelCheckpoint(out / "checkpoints", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    more.setdefault("callbacks", [saver, Seen(out, pause_at)])
    return L.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **more,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=["fit", "test"])
    for name in ("train", "val", "test", "gallery", "out", "resume"):
        parser.add_argument(f"--{name}")
    for name, default in (("ranks", 1), ("batch", 3), ("workers", 0), ("epochs", 1), ("seed", 5), ("pause-at", None)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    data = ShardDataModule(
        train=given.train,
        val=given.val,
        test=given.test,
        gallery=given.gallery,
        batch_size=given.batch,
        eval_batch_size=given.batch,
        num_workers=given.workers,
        seed=given.seed,
    )
    trainer = build_trainer(
        out, ranks=given.ranks, pause_at=given.pause_at, max_epochs=given.epochs, num_sanity_val_steps=0
    )
    module = TinyModule()
    if given.stage == "fit":
        trainer.fit(module, datamodule=data, ckpt_path=given.resume)
        (out / f"inputs-{trainer.global_rank}.json").write_text(json.dumps(module.inputs.state_dict()))
    else:
        trainer.test(module, datamodule=data, verbose=False)


if __name__ == "__main__":
    main()
