"""Zero-shot classification: the nearest text embedding of a class name, counted batch by batch and exactly over ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from moon_zoo.metrics.retrieval import nearest_accuracy


class ZeroShotAccuracy(Metric):
    """Share of samples whose nearest class embedding is that of their class.

    Holds two numbers whatever the size of the set. Ties: see `moon_zoo.metrics.retrieval.nearest_accuracy`.

    Args:
        class_ids: int64 ``(classes,)``, distinct.
        class_embeddings: Unit length, ``(classes, dim)``.
    """

    full_state_update = False
    is_differentiable = False
    right: Tensor
    count: Tensor

    def __init__(self, class_ids: Tensor, class_embeddings: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.class_ids = class_ids
        self.class_embeddings = class_embeddings.detach().float()
        self.add_state("right", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, embeddings: Tensor, labels: Tensor, valid: Tensor) -> None:
        """Take in a batch.

        Args:
            embeddings: Unit length, ``(batch, dim)``.
            labels: Ids among ``class_ids``, int64 ``(batch,)``; others are skipped.
            valid: True on rows that count, ``(batch,)``.
        """
        same = labels[:, None] == self.class_ids.to(labels.device)  # (batch, classes)
        rows = torch.where(same.any(1) & valid, same.int().argmax(1), -1)
        share, known = nearest_accuracy(embeddings, rows, self.class_embeddings.to(embeddings.device))
        self.right += share * known
        self.count += known

    def compute(self) -> Tensor:
        """Share of right answers in ``[0, 1]``; NaN when nothing was counted."""
        return (self.right / self.count).float()
