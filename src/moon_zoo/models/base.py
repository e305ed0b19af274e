"""What every model of the zoo is: a LightningModule that owns its inputs, its optimiser and its report.

A model writes its network, its inputs and its steps; everything else (optimisers, checkpointed inputs, exact resume of the
data order, retrieval metrics, galleries) is here or in the parts used here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LinearLR, SequentialLR

from moon_zoo.data.ids import stable_id
from moon_zoo.models import arguments, pretrained, weights
from moon_zoo.models.migrations import Migration
from moon_zoo.nn.optim import HIDDEN

if TYPE_CHECKING:
    from moon_zoo.data.inputs import Inputs

LRSchedule = Literal["cosine", "constant"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of a gallery: a sample of a split, by position.

    Args:
        split: ``val``, ``test`` or ``gallery``: which shards the sample is in.
        index: Its position there.
        part: ``query`` or ``item``: which side of a search sample; products have only items.
        score: Cosine similarity to the query, None for the query itself.
        relevant: Whether it is a right answer.
    """

    split: str
    index: int
    part: str = "item"
    score: float | None = None
    relevant: bool = False


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """A query and its best results, for the report.

    Args:
        task: Which retrieval it shows, such as ``photo_to_product``.
        query: The query.
        results: Best first.
    """

    task: str
    query: Shown
    results: tuple[Shown, ...]


@dataclass(frozen=True)
class ExportPart:
    """One network of a model that can run without the zoo: plain tensors in, one tensor out.

    Args:
        network: Takes ``inputs`` in their order and returns a tensor ``(batch, ...)``.
        inputs: Argument name to an example; the first axis is the batch, which stays free, the others are fixed. Outputs are
            compared on the example's rows, so they should cover what occurs: drawn values, extremes, an empty text.
        output: Name of what it returns, such as ``embedding``.
        contract: Argument name to what must be put there, as plain values: sizes, colour order, range, tokenizer.
        files: File name to text of what must lie beside the network, such as ``tokenizer.json``.
        batch_names: Argument name to the tensor of the inputs' batch that belongs there, for comparisons on real samples.
        note: What else a reader must know, in a sentence or two.
    """

    network: nn.Module
    inputs: dict[str, Tensor]
    output: str
    contract: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    batch_names: dict[str, str] = field(default_factory=dict)
    note: str = ""


class ZooModule(L.LightningModule):
    """Base of all models.

    Args:
        inputs: Turns samples into tensors and batches; training, validation, predict, export and search all use it.
        optimizer: Called with the parameters, as recipes write it (``class_path: torch.optim.AdamW``).
        lr_schedule: ``cosine`` falls to 0 at the end of training, wherever the trainer puts it; ``constant`` does not.
        lr_scheduler: A scheduler of one's own instead, called with the optimiser and stepped every step.
        warmup_steps: Optimiser steps over which the learning rate grows linearly from 0.
    """

    sample_kinds: ClassVar[tuple[str, ...]] = ("product",)
    """Kinds of samples (`moon_zoo.data.kinds.KINDS`) that this model's inputs accept."""

    primary_metric: ClassVar[str] = "val/loss"
    """The figure by which the best checkpoint is kept; see `moon_zoo.metrics.catalogue` for its direction."""

    modalities: ClassVar[tuple[str, ...]] = ()
    """What `embed` can give, the most complete first (``product``, ``photo``, ``text``); empty: it embeds nothing."""

    checkpoint_version: ClassVar[int] = 1
    """Counts changes of this class that older checkpoints do not fit; each has an entry in `migrations`."""

    migrations: ClassVar[tuple[Migration, ...]] = ()
    """How checkpoints of earlier versions become those of today."""

    training_state: ClassVar[tuple[str, ...]] = ()
    """Buffers, or modules of them, that only training needs (a queue of negatives): not part of checkpoint folders."""

    _given: Mapping[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what the constructor is called with, whoever calls it and however many constructors it goes through."""
        module = super().__new__(cls)
        # not through nn.Module, which is not set up yet
        object.__setattr__(module, "_given", arguments.bound(cls, args, kwargs))
        return module

    def __init__(
        self,
        inputs: Inputs,
        *,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedule = "cosine",
        lr_scheduler: LRSchedulerCallable | None = None,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self._optimizer = optimizer
        self._lr_schedule = lr_schedule
        self._lr_scheduler = lr_scheduler
        self._warmup_steps = warmup_steps

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Groups handed to the optimiser.

        Vectors and scalars (norms, biases, temperature) are not decayed. Matrices inside the network, which are neither a table
        nor an output layer, are marked ``hidden`` for optimisers that treat them otherwise (`moon_zoo.nn.optim.MuonAdamW`).
        """
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        outer = {id(parameter) for parameter in self._tables()}
        hidden = [one for one in trainable if one.ndim in (2, 3) and id(one) not in outer]
        chosen = {id(one) for one in hidden}
        others = [one for one in trainable if one.ndim > 1 and id(one) not in chosen]
        vectors = [one for one in trainable if one.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": hidden, HIDDEN: True},
            {"params": others},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def _tables(self) -> Iterable[Tensor]:
        """Weights of embeddings, and of the layers that turn hidden states into words."""
        for module in self.modules():
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                yield module.weight
            output = getattr(module, "get_output_embeddings", None)  # of a model of transformers
            layer = output() if output is not None else None
            if layer is not None:
                yield layer.weight

    def configure_optimizers(self) -> Any:
        """The recipe's optimiser and its schedule, after a linear warm-up."""
        optimizer = self._optimizer(self.parameter_groups())
        if self._lr_scheduler is None:
            factor = _schedule(self._lr_schedule, self._warmup_steps, self.total_steps())
            scheduler: Any = LambdaLR(optimizer, factor)
        elif self._warmup_steps > 0:
            warmup = LinearLR(optimizer, start_factor=1e-3, total_iters=self._warmup_steps)
            scheduler = SequentialLR(
                optimizer, [warmup, self._lr_scheduler(optimizer)], milestones=[self._warmup_steps]
            )
        else:
            scheduler = self._lr_scheduler(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def total_steps(self) -> int | None:
        """Optimiser steps from the start of training to its end; None where training has no end.

        Counted from the trainer's limits and the length of a whole epoch, not from a loader that may have been resumed in
        the middle of one (which is what Lightning's own estimate reads).
        """
        trainer = self.trainer
        if trainer.max_steps >= 0:
            return trainer.max_steps
        if trainer.max_epochs is None or trainer.max_epochs < 0:
            return None
        datamodule = getattr(trainer, "datamodule", None)
        if datamodule is None:
            return int(trainer.estimated_stepping_batches)
        batches = datamodule.train_batches()
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        return max(1, trainer.max_epochs * math.ceil(batches / trainer.accumulate_grad_batches))

    def build(self) -> None:
        """Make what depends on what the inputs learned, such as embeddings for a vocabulary; nothing where all is there.

        Called once the inputs have learned or were restored, before weights are loaded, and again after that: what is made
        already must stay.
        """

    def setup(self, stage: str) -> None:
        """Lightning's hook, after the data module's: the inputs have learned by now, if they learn at all."""
        self.build()

    def fitted_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's weights as this model takes them, where it was saved with other settings that can be brought along.

        Called before weights are compared and loaded: a feed-forward network that became several experts fills each of them.

        Args:
            weights: Name to tensor, of a checkpoint; must not be changed in place.
        """
        return weights

    def on_fit_start(self) -> None:
        """Train what `from_pretrained` gave for use: Lightning leaves modules in the mode they are in.

        A module that is in training mode as a whole keeps parts of it that were put into evaluation mode on purpose.
        """
        if not self.training:
            self.train()
        # what `seed_everything` was called with: generators have moved on since, by as much as came before the first step
        self._seed = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed()))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Draw dropout and augmentation of every step from the seed, the epoch, the batch's number and the rank alone.

        A checkpoint holds no state of generators: a resumed training would draw otherwise than an unbroken one. And ranks,
        which start with the same seed, would all draw the same.
        """
        place = (self._seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(stable_id(f"step/{place}"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the inputs learned from data (tokenizer, vocabularies) and what is needed to load it, as plain values."""
        checkpoint["inputs"] = self.inputs.state_dict()
        checkpoint["moon_zoo"] = pretrained.notes(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Bring the inputs back, and align Lightning's batch counter with the data position of another world size.

        Raises:
            CheckpointError: The checkpoint is of a newer version of this class, or its weights are not this model's.
        """
        pretrained.adapt(checkpoint, self)
        datamodule = getattr(self._trainer, "datamodule", None) if self._trainer is not None else None
        align = getattr(datamodule, "align_progress", None)
        if align is not None:
            align(checkpoint)

    def gallery_rows(self) -> list[GalleryRow]:
        """Retrieval results worth showing after validation or test; empty where a model retrieves nothing."""
        return []

    def report_data(self) -> dict[str, Any]:
        """What else is worth a picture after validation or test, as plain values that JSON can hold.

        Returns:
            Name to data, each kept as ``report/<name>.json`` of the run. ``calibration_<split>`` is drawn: see
            `moon_zoo.metrics.clicks.ClickFigures.report`.
        """
        return {}

    def embed(
        self, batch: dict[str, Tensor], modalities: Sequence[str], side: Literal["query", "item"] = "item"
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Embeddings for search.

        Args:
            batch: As the inputs made it.
            modalities: Which of `modalities` are wanted; what is not is not computed.
            side: Whether the items are embedded, or what asks for them.

        Returns:
            Modality to unit vectors ``(batch, dim)`` and a bool mask ``(batch,)``, False where a sample lacks it.
        """
        raise NotImplementedError(f"{type(self).__name__} embeds nothing")

    def export_parts(self) -> dict[str, ExportPart]:
        """The networks that `moon-zoo export` writes, by name; empty where there are none."""
        return {}

    # Checkpoint folders -----------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, allow_missing: bool = False, **init_args: Any) -> Self:
        """A trained model, in evaluation mode on the CPU.

        Args:
            source: A name such as ``dual_flow/shop``, a checkpoint folder, a run's folder, a ``.ckpt`` file, or a URL.
            allow_missing: Whether weights that the checkpoint lacks keep their initial values.
            init_args: Arguments of the constructor that are to be other than stored.

        Raises:
            CheckpointError: It is no checkpoint, of another class or newer version, or its weights are not this class's.

        Example:
            ``ZooModule.from_pretrained("dual_flow/shop")`` gives whatever class the checkpoint is of.
        """
        return cast(Self, pretrained.load(source, cls, allow_missing=allow_missing, **init_args))

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        dtype: weights.Dtype = "float32",
        metrics: Mapping[str, float] | None = None,
        card: str | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write a checkpoint folder; see `moon_zoo.models.pretrained.save`."""
        return pretrained.save(self, folder, dtype=dtype, metrics=metrics, card=card, overwrite=overwrite)

    def init_args(self) -> dict[str, Any]:
        """Arguments that build this model again, as plain values with defaults written out.

        Raises:
            CheckpointError: One is no plain value.
        """
        return arguments.plain(self, self._given)

    def write_parts(self, folder: Path) -> dict[str, Any]:
        """Write what the constructor would fetch from elsewhere into a checkpoint folder.

        Args:
            folder: The checkpoint to be; files go into folders of their own.

        Returns:
            Arguments that are then other than `init_args`; paths begin with ``{checkpoint}/``.
        """
        return {}

    def pretrained_names(self) -> tuple[str, ...]:
        """Weights of others that the constructor loads, by name or folder: a card tells what training began with."""
        return ()

    @classmethod
    def unsealed(cls, init_args: Mapping[str, Any]) -> str | None:
        """What stored arguments would make the constructor read from outside of the checkpoint; None where nothing.

        Args:
            init_args: Of a checkpoint folder; paths into it begin with ``{checkpoint}/``.
        """
        return None

    def fingerprint(self) -> str:
        """sha256 of weights and inputs, which tells models apart: 64 hexadecimal digits, equal however it was loaded."""
        return weights.fingerprint(self)

    def predict_columns(self) -> dict[str, str]:
        """Names and meanings of the columns that `predict_step` returns."""
        return {}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Named columns, one row per valid sample of the batch."""
        raise NotImplementedError


def _schedule(name: LRSchedule, warmup_steps: int, total_steps: int | None) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear warm-up, then constant or half a cosine down to 0."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "constant" or total_steps is None:
            return 1.0
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
