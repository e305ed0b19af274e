"""What every run of the zoo has beside the recipe's own callbacks: the best checkpoint with its figures, progress in a pipe."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from moon_zoo.cli.output import say
from moon_zoo.models.base import GalleryRow, ZooModule


class KeepBest(ModelCheckpoint):
    """Keeps ``best.ckpt`` and ``last.ckpt``, and remembers the figures and the pictures' data of the best validation.

    Args:
        folder: Where checkpoints go.
        monitor: The figure to compare; in a run without validation the latest checkpoint counts as the best.
        mode: ``max`` or ``min``.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,  # one file per name: a better checkpoint takes the place of the former
        )
        self.figures: dict[str, float] = {}
        self.gallery: list[GalleryRow] = []
        self.report: dict[str, Any] = {}
        self._noted: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare nothing where nothing will be validated; known once the data module is set up."""
        super().setup(trainer, pl_module, stage)
        paths = getattr(getattr(trainer, "datamodule", None), "paths", {"val": ""})
        if trainer.limit_val_batches == 0 or paths.get("val") is None:
            self.monitor = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where validation runs inside an epoch, and note the figures if these are the best so far."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)
        self._note(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same where validation runs once per epoch: Lightning saves only now."""
        super().on_train_epoch_end(trainer, pl_module)
        self._keep_last(trainer)
        self._note(trainer)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Note the figures before the checkpoint is written that holds them: a run killed right after it knows its best's."""
        self._note(trainer)
        super()._save_checkpoint(trainer, filepath)

    def _keep_last(self, trainer: Trainer) -> None:
        """Save the latest state also where it is not the best: Lightning leaves ``last.ckpt`` at the last improvement."""
        saved = self._last_global_step_saved == trainer.global_step
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not trainer.fast_dev_run
        if fitting and not saved:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _note(self, trainer: Trainer) -> None:
        pl_module = trainer.lightning_module
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        best = None if self.best_model_score is None else float(self.best_model_score)
        if best is None or best != self._noted:
            self._noted = best
            self.figures = figures(trainer)
            self.gallery = pl_module.gallery_rows() if isinstance(pl_module, ZooModule) else []
            self.report = pl_module.report_data() if isinstance(pl_module, ZooModule) else {}

    def state_dict(self) -> dict[str, Any]:
        """Lightning's state and the figures, so that a resumed run still knows those of its best checkpoint."""
        return super().state_dict() | {"figures": self.figures, "noted": self._noted, "report": self.report}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.figures = dict(state_dict.pop("figures", {}))
        self._noted = state_dict.pop("noted", None)
        self.report = dict(state_dict.pop("report", {}))
        super().load_state_dict(state_dict)


def logged(trainer: Trainer) -> dict[str, float]:
    """Every figure logged so far."""
    return {name: float(value) for name, value in trainer.callback_metrics.items() if torch.as_tensor(value).ndim == 0}


def figures(trainer: Trainer) -> dict[str, float]:
    """Every figure logged so far, with the step and the epoch (from 1) it belongs to."""
    return logged(trainer) | {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}


class ValidateAtTheEnd(Callback):
    """Validates once more at the end of a fit, wherever its limits put it: the last weights would otherwise go unjudged.

    That is the case where ``max_steps`` ends inside an epoch, and where ``max_epochs`` is no multiple of
    ``check_val_every_n_epoch`` (a recipe of twelve epochs that is tried for one).
    """

    def __init__(self) -> None:
        self._every: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for a run that is resumed inside its last epoch, which does not start again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the last epoch be one that validates."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            self._validate_this_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the trainer as the recipe made it."""
        if self._every is not None:
            trainer.check_val_every_n_epoch, self._every = self._every, None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the end, which lets Lightning validate, a moment before the step limit would."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
            self._validate_this_epoch(trainer)

    def _validate_this_epoch(self, trainer: Trainer) -> None:
        every = trainer.check_val_every_n_epoch
        if every is not None and every > 1:
            self._every, trainer.check_val_every_n_epoch = every, 1


class ProgressBar(RichProgressBar):
    """Lightning's bar for terminals, with epochs counted from 1 and without an end where there is none."""

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        return f"epoch {current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")


class TextProgress(Callback):
    """One line every now and then, for logs and pipes.

    Args:
        seconds: The least time between two lines of training.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._said = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how far training is."""
        if trainer.is_global_zero and time.monotonic() - self._said >= self.seconds:
            self._said = time.monotonic()
            say(self._line(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say the figure that decides which checkpoint is kept."""
        if not trainer.is_global_zero or trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        primary = getattr(pl_module, "primary_metric", "val/loss")
        value = trainer.callback_metrics.get(primary)
        say(self._line(trainer) + (f"  {primary} {float(value):.4f}" if value is not None else ""))

    def _line(self, trainer: Trainer) -> str:
        total = step_total(trainer)
        loss = trainer.callback_metrics.get("train/loss")
        parts = [f"epoch {trainer.current_epoch + 1}", f"step {trainer.global_step}" + (f"/{total}" if total else "")]
        if loss is not None:
            parts.append(f"train/loss {float(loss):.4f}")
        return "  ".join(parts)


def step_total(trainer: Trainer) -> int | None:
    """Optimiser steps of the whole fit, None where it is not known."""
    limits = [trainer.max_steps] if trainer.max_steps > 0 else []
    batches = trainer.num_training_batches
    if trainer.max_epochs is not None and trainer.max_epochs > 0 and batches != float("inf"):
        limits.append(int(batches) * trainer.max_epochs // max(trainer.accumulate_grad_batches, 1))
    return min(limits) if limits else None
