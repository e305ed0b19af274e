"""DualFlow with Acme's loss, and a head that reads an attribute (the colour) off a photo's embedding.

What a subclass of a zoo model is: a constructor with arguments of its own (they become recipe keys), an `objective` where the
loss differs, and hooks that call the base class's first. Towers, inputs, evaluation, search, export and checkpoints stay
those of the zoo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from moon_zoo import DualFlow
from moon_zoo.data.identity import attribute_id
from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.metrics.catalogue import MetricInfo, register
from moon_zoo.models.dual_flow.objectives import OBJECTIVES, PARTS, with_fused
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from acme_products.losses import hard_negative_nce

IGNORED = -100
"""Label of a sample whose attribute is unknown; torch's cross-entropy and torchmetrics leave it out."""

# Figures of one's own: with a unit and a direction they appear in tables and reports like the zoo's.
register(
    MetricInfo(
        "attribute_head/{attribute}",
        "fraction",
        "higher",
        "Share of photos whose attribute the head reads right.",
        0,
        1,
    ),
    MetricInfo(
        "attribute_head/{attribute}_chance", "fraction", "", "The same for a guess: 1 / number of values.", 0, 1
    ),
)


class AcmeDualFlow(DualFlow):
    """Two towers trained on hard negatives, with a head that reads the colour off a photo.

    Args:
        hardness: How much the nearest negatives count more than the others; 0 is plain InfoNCE.
        attribute: The attribute that the head reads; products must have it.
        attribute_values: Its values, in the order of the head's outputs. Products with another value teach the head nothing.
        attribute_weight: Weight of the head's cross-entropy beside the contrastive objectives.
        **options: Everything that `DualFlow` takes.

    Raises:
        RecipeError: Fewer than two values, a negative hardness or weight, or an option that this loss cannot follow.
    """

    attribute_ids: Tensor

    def __init__(
        self,
        *,
        hardness: float = 0.5,
        attribute: str = "colour",
        attribute_values: Sequence[str] = ("black", "white", "red", "green", "blue"),
        attribute_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in (("hardness", hardness), ("attribute_weight", attribute_weight)):
            if value < 0:
                raise RecipeError(f"{name} is {value}, and must be at least 0", change=f"model.init_args.{name}")
        if len(set(attribute_values)) < 2:
            raise RecipeError(
                f"the head needs two different values at least, not {list(attribute_values)}",
                change="model.init_args.attribute_values",
            )
        if self.objectives.queues or self.objectives.loss != "info_nce":
            raise RecipeError(
                "hard negatives are weighed within the batch: no queue, and no other loss",
                change="model.init_args.queue_size to 0 and model.init_args.loss to info_nce",
            )
        self.hardness = hardness
        self.attribute = attribute
        self.attribute_values = tuple(attribute_values)
        self.attribute_weight = attribute_weight
        self.attribute_head = nn.Linear(self.embedding_dim, len(self.attribute_values))
        self.attribute_accuracy = MulticlassAccuracy(
            len(self.attribute_values), average="micro", ignore_index=IGNORED, validate_args=False
        )
        ids = [attribute_id(attribute, value) for value in self.attribute_values]
        self.register_buffer("attribute_ids", torch.tensor(ids), persistent=False)

    # Training ----------------------------------------------------------------------------------------------------------

    def objective(self, embeddings: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The recipe's objectives with hard negatives, and the head's cross-entropy on both photos of each product."""
        presence = {part: batch[f"has_{part}"] & batch["valid"] for part in PARTS}
        parts, there = with_fused(embeddings, presence, self.network.fusion)
        groups = batch["spu_id"] if self.positives == "spu" else batch["item_id"]
        # Every tower stays in the graph, whatever the objectives: several processes wait for all of their gradients.
        total = torch.stack([embeddings[part].sum() for part in PARTS]).sum() * 0.0
        logged = {"temperature": self.objectives.logit_scale.temperature}
        for name, weight in self.objectives.weights.items():
            value = self._both_ways(*OBJECTIVES[name], parts, there, groups)
            logged[f"loss/{name}"] = value.detach()
            total = total + weight * value
        head = self._head_loss(embeddings, presence, batch)
        logged[f"loss/{self.attribute}"] = head.detach()
        self.objectives.logged = logged  # the training step logs these
        return total + self.attribute_weight * head

    def _both_ways(
        self, query: str, document: str, parts: Mapping[str, Tensor], there: Mapping[str, Tensor], groups: Tensor
    ) -> Tensor:
        """The mean of the loss from queries to documents and back."""
        scale = self.objectives.logit_scale()
        losses = [
            hard_negative_nce(
                parts[asks],
                parts[answers],
                scale,
                query_groups=groups,
                document_groups=groups,
                query_valid=there[asks],
                document_valid=there[answers],
                hardness=self.hardness,
            )
            for asks, answers in ((query, document), (document, query))
        ]
        return torch.stack(losses).mean()

    def _head_loss(
        self, embeddings: Mapping[str, Tensor], presence: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> Tensor:
        labels = self.attribute_labels(batch)
        logits = [self.attribute_logits(embeddings[part]) for part in ("query_photo", "item_photo")]
        targets = [labels.where(presence[part], IGNORED) for part in ("query_photo", "item_photo")]
        summed = F.cross_entropy(torch.cat(logits), torch.cat(targets), ignore_index=IGNORED, reduction="sum")
        return summed / (torch.cat(targets) != IGNORED).sum().clamp(min=1)  # 0, not NaN, where no photo has a label

    def attribute_logits(self, photos: Tensor) -> Tensor:
        """Photos' unit embeddings ``(batch, dim)`` to a logit per value, ``(batch, values)``."""
        # Entries of a unit vector are of size 1 / sqrt(dim): unscaled, the head would take thousands of steps to be sure.
        return self.attribute_head(photos * self.embedding_dim**0.5)

    def attribute_labels(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Each sample's value as a place in ``attribute_values``, ``IGNORED`` where it has another or none: ``(batch,)``.

        Raises:
            RecipeError: The training data know no such attribute.
        """
        names = self.inputs.attribute_names
        if self.attribute not in names:
            raise RecipeError(
                f"the products have no attribute {self.attribute!r}; they have: {', '.join(names) or 'none'}",
                suggestions=did_you_mean(self.attribute, names),
                change="model.init_args.attribute",
            )
        same = batch["attributes"][:, names.index(self.attribute), None] == self.attribute_ids  # (batch, values)
        return same.int().argmax(1).where(same.any(1) & batch["valid"], IGNORED)

    # Evaluation --------------------------------------------------------------------------------------------------------

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """As the zoo's, and the head's answers for the queries' photos, from the same embeddings."""
        if dataloader_idx == 1:  # the gallery that queries are ranked against
            super().validation_step(batch, batch_idx, dataloader_idx)
            return
        parts, has = self.parts(batch)
        self.evaluation.update(parts, has, batch, self.inputs.attribute_names)
        labels = self.attribute_labels(batch).where(batch["has_query_photo"], IGNORED)
        self.attribute_accuracy.update(self.attribute_logits(parts["query_photo"]), labels)

    def on_validation_epoch_end(self) -> None:
        """Log the head's figure beside the zoo's."""
        super().on_validation_epoch_end()
        self._log_head("val")

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        super().on_test_epoch_end()
        self._log_head("test")

    def _log_head(self, split: str) -> None:
        # The value and not the metric: it is computed over all processes here, and nothing is left to reduce.
        self.log(f"{split}/attribute_head/{self.attribute}", self.attribute_accuracy.compute())
        self.log(f"{split}/attribute_head/{self.attribute}_chance", 1 / len(self.attribute_values))
        self.attribute_accuracy.reset()

    # Prediction --------------------------------------------------------------------------------------------------------

    def predict_columns(self) -> dict[str, str]:
        """Two columns more than the zoo's."""
        return super().predict_columns() | {
            f"{self.attribute}_place": f"which of {', '.join(self.attribute_values)} the photo shows, counted from 0",
            f"{self.attribute}_probability": "the head's probability of it, in [0, 1]",
        }

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The zoo's columns, and what the head reads off the photo that asks."""
        photo, _ = self.embed(batch, ["photo"], side="query")["photo"]
        probability, place = self.attribute_logits(photo).softmax(-1).max(-1)
        return super().predict_step(batch, batch_idx, dataloader_idx) | {
            f"{self.attribute}_place": place,
            f"{self.attribute}_probability": probability,
        }
