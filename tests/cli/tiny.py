"""A model of five parameters that learns the length of a title: enough to take the whole command line through its paces."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import Product
from moon_zoo.models.base import GalleryRow, Shown, ZooModule


class TinyInputs:
    """Four numbers of a product's id, and its title's length as the target."""

    def __init__(self) -> None:
        self.seen = 0

    def fit(self, samples: Iterable[Any], manifest: Any) -> None:
        self.seen = self.seen or sum(1 for _ in samples)

    def sample(self, sample: Product, draw: Draw) -> dict[str, Tensor]:
        number = int(sample.item_id.rpartition("-")[2])
        x = torch.tensor([number % 2, number % 3, number % 5, number % 7], dtype=torch.float32)
        return {"x": x, "y": torch.tensor(len(sample.title) / 10)}

    def batch(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return stack(samples)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


class TinyModel(ZooModule):
    """A linear model.

    Args:
        width: Inputs of the model.
        rate: Learning rate.
        mode: Nothing; a choice to get wrong.
        label: Nothing; a text that may look like a number.
        delay_seconds: Pause in every training step, so that a test can interrupt it.
        log_to: File that notes the samples trained on, a line per step.
    """

    sample_kinds: ClassVar[tuple[str, ...]] = ("product",)
    primary_metric: ClassVar[str] = "val/loss"

    def __init__(
        self,
        *,
        width: int = 4,
        rate: float = 0.05,
        mode: Literal["plain", "fancy"] = "plain",
        label: str | None = None,
        delay_seconds: float = 0.0,
        log_to: str | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
    ) -> None:
        super().__init__(TinyInputs(), optimizer=optimizer)
        if width < 1:
            raise ValueError(f"width must be positive, got {width}")
        self.save_hyperparameters(ignore=["optimizer"])
        self.network = nn.Linear(width, 1)
        self.delay_seconds = delay_seconds
        self.log_to = log_to
        self._split = ""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network(batch["x"]).squeeze(-1)  # (batch,)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        time.sleep(self.delay_seconds)
        if self.log_to is not None:
            with Path(self.log_to).open("a") as file:
                file.write(" ".join(map(str, batch["index"].tolist())) + "\n")
        loss = nn.functional.mse_loss(self(batch), batch["y"])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        time.sleep(self.delay_seconds)
        self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        valid = batch["valid"]
        error = (self(batch) - batch["y"])[valid].square().mean()
        self.log(f"{split}/loss", error, batch_size=int(valid.sum()), sync_dist=True)
        self.log(f"{split}/photo_to_product/recall@1", 0.5, batch_size=int(valid.sum()), sync_dist=True)
        self.log(f"{split}/photo_to_product/recall@1_chance", 0.1, batch_size=int(valid.sum()), sync_dist=True)
        self._split = split

    def gallery_rows(self) -> list[GalleryRow]:
        if not self._split:
            return []
        results = tuple(Shown(self._split, number, "item", 0.9 - number / 10, number == 1) for number in range(3))
        return [GalleryRow("photo_to_product", Shown(self._split, 0), results)]

    def predict_columns(self) -> dict[str, str]:
        return {"length": "title length in tens of letters", "pair": "two numbers"}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        length = self(batch)
        return {"length": length, "pair": torch.stack([length, -length], -1)}


class OtherModel(ZooModule):
    """A model with an option the other one lacks."""

    def __init__(self, *, num_experts: int = 2) -> None:
        super().__init__(TinyInputs())
        self.network = nn.Linear(num_experts, 1)


class HeadedModel(TinyModel):
    """The tiny model with a head of its own."""

    def __init__(self, *, num_classes: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head = nn.Linear(1, num_classes)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        length = super().forward(batch)
        return length + 0 * self.head(length[:, None]).sum(-1)
