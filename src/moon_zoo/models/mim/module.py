"""Training and evaluation of a click model over frozen content embeddings.

Source: the third stage of MIM (CiUBM, arXiv:2502.00321) and its relatives; which paper gives which behaviour layer is in
`moon_zoo.models.mim.network`. The loss is the cross-entropy of clicks, and figures are those of the whole set
(`moon_zoo.metrics.clicks`), of cold items apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from moon_zoo.data.content_table import FOLDER, ContentTable
from moon_zoo.metrics.clicks import ClickFigures
from moon_zoo.models.base import ExportPart, LRSchedule, ZooModule
from moon_zoo.models.checkpoint_config import HERE
from moon_zoo.models.mim import make as making
from moon_zoo.models.mim.content import Check, needed, open_content, require_same
from moon_zoo.models.mim.inputs import MimInputs, Missing
from moon_zoo.models.mim.interests import CONTENT_INTERESTS, Behaviour, Weighting
from moon_zoo.models.mim.network import Deep, MimNetwork
from moon_zoo.models.mim.notes import RowNotes
from moon_zoo.models.numbers import check_at_least
from moon_zoo.models.sample_notes import SampleNotes

NETWORK_SETTINGS = (
    "behaviour",
    "deep",
    "embedding_dim",
    "attention_hidden",
    "attention_softmax",
    "hidden",
    "num_cross",
    "cross_rank",
    "dropout",
    "top_k",
    "weighting",
    "metric_dim",
    "num_similarities",
    "num_tiers",
    "use_ids",
    "item_dropout",
    "embedding_std",
)
"""Arguments that are the network's own."""


class Mim(ZooModule):
    """Click probability from ids, numbers and histories, and from what items look like and are called.

    Args:
        behaviour: The layer over histories: ``none``, ``din``, ``simtier``, ``sa_ta``, ``ciubm`` or ``cube``. All but the first
            two need embeddings.
        deep: ``mlp``, or ``dcnv2``: with cross layers beside it.
        embeddings: Content embeddings by item id: what `moon-zoo embed` wrote, a ``.parquet`` or ``.npy`` file, or a checkpoint
            that carries a table, such as ``mim/shop``. They stay as they are.
        modality: Which of the vectors there; null for the first.
        missing_embeddings: Items without a vector get a learned ``default``, or are a fault: ``refuse``.
        embeddings_check: What must be equal when a trained model is given embeddings again: the ``model`` that made them (so
            that a catalogue may grow), the whole ``table``, or their ``dimension`` alone.
        store_embeddings: Whether a checkpoint folder carries the table.
        shuffle_embeddings: Deal the vectors out to other items, by this seed: a control that has no content; null for none.
        max_history: Longest history, of which the newest are read.
        top_k: Keep of each history the behaviours most similar in content to the target; null for all.
        min_count: Least training rows of a value with an embedding of its own; null for what the training set says.
        embedding_dim: Size of the embeddings of ids.
        attention_hidden: Widths of the attention network.
        attention_softmax: Whether the weights of attention by ids sum to 1.
        hidden: Widths of the deep part.
        num_cross: Cross layers of ``dcnv2``.
        cross_rank: Rank of their matrices; null for full ones.
        dropout: In the deep part.
        weighting: How content interests weigh behaviours by similarity: ``softmax`` of a learned temperature, or ``raw``.
        metric_dim: Compare content by the cosine of learned projections of this size; null by the embeddings' own cosine, as
            the papers do. For ``sa_ta``, ``ciubm`` and ``cube``.
        num_similarities: So many of the largest similarities are features of ``cube``.
        num_tiers: Tiers of ``simtier``.
        use_ids: False leaves out everything learned by id: MAKE's first step.
        item_dropout: Share of training rows whose item is taken for unknown, so that cold items are nothing new.
        embedding_std: Of the normal distribution that ids' embeddings start from.
        embedding_l2: Weight of the mean squared length of the embeddings that a batch looked up.
        make: MAKE's first step, a trained checkpoint or run with ``use_ids: false``, whose findings become features.
        optimizer: Called with the parameters.
        lr_schedule: ``cosine`` falls to 0 at the end of training; ``constant`` does not.
        lr_scheduler: A scheduler of one's own instead, called with the optimiser and stepped every step.
        warmup_steps: Optimiser steps over which the learning rate grows from 0.
    """

    inputs: MimInputs
    sample_kinds: ClassVar[tuple[str, ...]] = ("impressions",)
    primary_metric: ClassVar[str] = "val/auc"

    network: MimNetwork | None
    content: Tensor | None

    def __init__(
        self,
        *,
        behaviour: Behaviour = "ciubm",
        deep: Deep = "mlp",
        embeddings: str | None = None,
        modality: str | None = None,
        missing_embeddings: Missing = "default",
        embeddings_check: Check = "model",
        store_embeddings: bool = True,
        shuffle_embeddings: int | None = None,
        max_history: int = 50,
        top_k: int | None = None,
        min_count: int | None = None,
        embedding_dim: int = 16,
        attention_hidden: Sequence[int] = (64,),
        attention_softmax: bool = False,
        hidden: Sequence[int] = (256, 128, 64),
        num_cross: int = 2,
        cross_rank: int | None = None,
        dropout: float = 0.0,
        weighting: Weighting = "softmax",
        metric_dim: int | None = None,
        num_similarities: int = 20,
        num_tiers: int = 20,
        use_ids: bool = True,
        item_dropout: float = 0.0,
        embedding_std: float = 0.01,
        embedding_l2: float = 0.0,
        make: str | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_schedule: LRSchedule = "cosine",
        lr_scheduler: LRSchedulerCallable | None = None,
        warmup_steps: int = 0,
    ) -> None:
        check_at_least(1, max_history=max_history, top_k=top_k, min_count=min_count)
        check_at_least(0, embedding_l2=embedding_l2)
        looks = behaviour != "none" and (behaviour in ("simtier", "sa_ta", *CONTENT_INTERESTS) or top_k is not None)
        table = None
        if looks or not use_ids or make is not None:
            if embeddings is not None:
                table = open_content(embeddings, modality)
                table = table if shuffle_embeddings is None else table.shuffled(shuffle_embeddings)
            elif store_embeddings:  # else this may be a checkpoint folder that was saved without them
                raise needed(behaviour if make is None else "of make")
        super().__init__(
            MimInputs(max_history=max_history, min_count=min_count, table=table, missing=missing_embeddings),
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            lr_scheduler=lr_scheduler,
            warmup_steps=warmup_steps,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        given = locals()
        self._settings: dict[str, Any] = {name: given[name] for name in NETWORK_SETTINGS}
        self._check: Check = embeddings_check
        self._store = store_embeddings
        self._make = None if make is None else making.FirstStep.read(make, NETWORK_SETTINGS)
        self.embedding_l2 = embedding_l2
        self.register_module("network", None)
        self.register_buffer("content", None, persistent=False)
        # It is the same on all ranks and never changes: DDP would send it to all of them at each step.
        self._ddp_params_and_buffers_to_ignore = ["content"]
        self.figures = ClickFigures()
        self._report: dict[str, Any] = {}
        self._notes = SampleNotes(self, lambda: RowNotes(self.inputs.learned, self.inputs.max_history))

    def build(self) -> None:
        """The network, once the columns are known, and the content table.

        Raises:
            CheckpointError: The embeddings are others than the model was trained with.
        """
        inputs = self.inputs
        if inputs.schema is None or self.network is not None:
            return
        if inputs.table is not None:
            require_same(inputs.table, inputs.content, self._check)
            if not inputs.table.is_mapped:
                self.content = torch.from_numpy(inputs.table.vectors())
        first = None if self._make is None else self._make.network(inputs.schema, inputs.content or {})
        self.network = MimNetwork(
            inputs.schema,
            inputs.sizes,
            **self._settings,
            content_dim=None if inputs.content is None else inputs.content["dim"],
            make=first,
        )

    # One forward for training, evaluation, prediction and export ---------------------------------------------------

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits of a click, float32 ``(batch,)``.

        Raises:
            RecipeError: The model needs embeddings and was loaded without them.
        """
        return self._network.forward(batch, self._content(batch))

    @property
    def _network(self) -> MimNetwork:
        if self.network is None:
            raise RuntimeError("the model has no network yet: its inputs were neither fitted nor loaded")
        return self.network

    def _content(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        content = batch.get("content_vectors", self.content)
        if content is None and self._network.needs_content:
            raise needed(self._settings["behaviour"])
        return content

    # Training ----------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of the clicks, and what the embeddings' lengths cost."""
        found = self._network.features(batch, self._content(batch))
        valid = batch["valid"].float()
        entropy = F.binary_cross_entropy_with_logits(found.logits, batch["label"], weight=valid, reduction="sum")
        loss = entropy / valid.sum().clamp(min=1.0)
        rows = len(valid)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=rows)
        if self.embedding_l2 > 0:
            loss = loss + self.embedding_l2 * found.penalty
        if self.current_epoch == 0:
            self._notes.add("train", batch)
        return loss

    def on_train_epoch_end(self) -> None:
        """Say once what of the training rows was not read."""
        self._notes.say("train")

    # Evaluation --------------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forget the rows of an evaluation that was broken off."""
        self.figures.reset()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect scores; figures need the whole set, so they come at the end."""
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        """Log every figure of the whole set."""
        self._log_figures("val")

    def on_test_epoch_start(self) -> None:
        """As in validation."""
        self.figures.reset()

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self._evaluate("test", batch)

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._log_figures("test")

    def _evaluate(self, split: str, batch: dict[str, Tensor]) -> None:
        self.figures.update(
            self(batch), batch["label"], batch["user"], batch["cold"], batch.get("index"), batch["valid"]
        )
        self._notes.add(split, batch)

    def _log_figures(self, split: str) -> None:
        figures = self.figures.compute()
        self.figures.reset()
        self._report = {f"calibration_{split}": self.figures.report()}
        best = {name: value for name, value in self._best(split).items() if name in figures}
        for name, value in (figures | {f"{name}_bayes": value for name, value in best.items()}).items():
            # Every rank computed the same figures from all ranks' rows, so nothing is left to reduce.
            self.log(f"{split}/{name}", value, prog_bar=f"{split}/{name}" == self.primary_metric, sync_dist=False)
        self._notes.say(split)

    def _best(self, split: str) -> dict[str, float]:
        """Figures of the true probabilities, which simulated sets know: nothing can be better but by chance."""
        datamodule = getattr(self._trainer, "datamodule", None)
        return {} if datamodule is None else datamodule.shards(split).manifest.extra.get("bayes", {})

    def report_data(self) -> dict[str, Any]:
        """The calibration of the last evaluation."""
        return self._report

    # Prediction --------------------------------------------------------------------------------------------------------

    def predict_columns(self) -> dict[str, str]:
        """What `predict_step` returns."""
        columns = {"probability": "of a click", "logit": "of that probability"}
        schema = self.inputs.schema
        if schema is not None:
            columns |= {schema.user: "the user, as in the table", schema.item: "the item, as in the table"}
        return columns | {"cold": "True where training had no row of the item", "label": "the click, where it is known"}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Probabilities, with the raw ids of user and item."""
        logits = self(batch)
        self._notes.add("predict", batch)
        columns: dict[str, Any] = {"probability": logits.sigmoid(), "logit": logits, "cold": batch["cold"]}
        columns |= self._names(batch)
        if bool((batch["label"] >= 0).all()):
            columns["label"] = batch["label"].to(torch.uint8)
        return columns

    def on_predict_epoch_end(self) -> None:
        """Say what training did not know."""
        self._notes.say("predict")

    def _names(self, batch: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Users and items as the table calls them; nothing without a data module."""
        datamodule = getattr(self._trainer, "datamodule", None)
        if datamodule is None:
            return {}
        shards, own = datamodule.shards("predict"), self.inputs.learned
        vocabularies = {name: shards.vocabularies[shards.schema.vocabulary_of(name)] for name in (own.user, own.item)}
        return {
            own.user: vocabularies[own.user].decode(batch["user"].cpu().numpy()),
            own.item: vocabularies[own.item].decode(batch["item"].cpu().numpy()),
        }

    def export_parts(self) -> dict[str, ExportPart]:
        """The network with its content table inside."""
        from moon_zoo.models.mim.exporting import export_parts

        return export_parts(self)

    # Checkpoint folders ------------------------------------------------------------------------------------------------

    @property
    def table(self) -> ContentTable | None:
        """The content table, if the model looks at content."""
        return self.inputs.table

    def write_parts(self, folder: Path) -> dict[str, Any]:
        """The content table, and what builds MAKE's first step again."""
        changed: dict[str, Any] = {"embeddings": None, "modality": None, "shuffle_embeddings": None}
        if self.inputs.table is not None and self._store:
            self.inputs.table.write(folder / FOLDER)
            changed["embeddings"] = f"{HERE}/{FOLDER}"
        if self._make is not None:
            self._make.write(folder)
            changed["make"] = f"{HERE}/{making.FOLDER}"
        return changed

    def pretrained_names(self) -> tuple[str, ...]:
        """Whose embeddings the model was trained over."""
        given = self.init_args()
        return tuple(given[name] for name in ("embeddings", "make") if given[name] is not None)

    @classmethod
    def unsealed(cls, init_args: Mapping[str, Any]) -> str | None:
        """Embeddings or a first step from elsewhere."""
        for name in ("embeddings", "make"):
            value = init_args.get(name)
            if value is not None and not str(value).startswith(f"{HERE}/"):
                return f"{name} {value}"
        return None
