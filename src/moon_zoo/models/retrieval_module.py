"""What modules share that embed queries and products: validation and test are retrieval over the whole set.

A model says how a batch becomes embeddings (`RetrievalModule.parts`) and texts do (`RetrievalModule.encode_texts`); figures,
zero-shot classes and galleries follow from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moon_zoo.models.base import GalleryRow, ZooModule
from moon_zoo.models.retrieval import RetrievalEvaluation, class_embeddings

SIDES = ("query", "item")


class RetrievalModule(ZooModule):
    """Base of models that are evaluated by what their embeddings find.

    Args:
        inputs: As of every model; has ``attribute_names``.
        category_prompt: Text whose embedding stands for a category in zero-shot classification.
        attribute_prompt: The same for an attribute's value.
        schedule: The other arguments of `ZooModule`.
    """

    inputs: Any
    prefixes: Sequence[int] = ()
    """Matryoshka sizes, whose figures are taken too."""

    def __init__(self, inputs: Any, *, category_prompt: str, attribute_prompt: str, **schedule: Any) -> None:
        super().__init__(inputs, **schedule)
        self.category_prompt, self.attribute_prompt = category_prompt, attribute_prompt
        self.evaluation = RetrievalEvaluation()
        self._evaluated_split = "val"

    def parts(
        self, batch: Mapping[str, Tensor], sides: Sequence[str] = SIDES
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What evaluation compares.

        Args:
            batch: As the inputs made it.
            sides: Which sides are wanted: ``query``, ``item``.

        Returns:
            The sides' `moon_zoo.models.retrieval.PARTS` to unit embeddings ``(batch, dim)``, and to bool ``(batch,)``: whether
            the sample has it.
        """
        raise NotImplementedError

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of plain texts: ``(len(texts), dim)``."""
        raise NotImplementedError

    def logit_scale(self) -> Tensor:
        """``1 / temperature``, for the loss of a whole set."""
        raise NotImplementedError

    def start_evaluation(self, split: str, vocabularies: Mapping[str, Any]) -> None:
        """Forget the last evaluation, and take class embeddings of the model as it is now.

        Args:
            split: ``val`` or ``test``.
            vocabularies: Categories and attributes' values of the shards searched in; empty without a data module.
        """
        classes = class_embeddings(
            self.encode_texts,
            vocabularies,
            self.inputs.attribute_names,
            category_prompt=self.category_prompt,
            attribute_prompt=self.attribute_prompt,
        )
        self.evaluation.start(classes, self.device)
        self._evaluated_split = split

    def evaluation_figures(self) -> dict[str, float]:
        """Every figure of the split, without its name; the same on all ranks."""
        return self.evaluation.compute(self.logit_scale(), self.prefixes)

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook."""
        self._start("val")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect embeddings; figures need the whole set, so they come at the end."""
        if dataloader_idx == 1:
            self.evaluation.update_gallery(*self.parts(batch, sides=("item",)), batch)
        else:
            self.evaluation.update(*self.parts(batch), batch, self.inputs.attribute_names)

    def on_validation_epoch_end(self) -> None:
        """Log every figure of the whole set."""
        self._log("val")

    def on_test_epoch_start(self) -> None:
        """As in validation."""
        self._start("test")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._log("test")

    def gallery_rows(self) -> list[GalleryRow]:
        """Some queries of the last evaluation with their best results."""
        return self.evaluation.gallery_rows(self._evaluated_split)

    def _start(self, split: str) -> None:
        datamodule = getattr(self.trainer, "datamodule", None)
        with torch.no_grad():
            self.start_evaluation(split, {} if datamodule is None else datamodule.vocabularies(split))

    def _log(self, split: str) -> None:
        for name, value in self.evaluation_figures().items():
            # Every rank computed the same figures from all ranks' rows, so nothing is left to reduce.
            self.log(f"{split}/{name}", value, prog_bar=f"{split}/{name}" == self.primary_metric, sync_dist=False)
