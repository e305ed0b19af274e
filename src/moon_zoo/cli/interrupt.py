"""Ctrl-C and SIGTERM during `fit`: finish the step, save ``last.ckpt``, leave with the command that resumes.

Lightning turns a KeyboardInterrupt into `sys.exit(1)` wherever it strikes, in the middle of a step as well. Here the
first signal only leaves a note. It is read at the end of a training batch, where a checkpoint resumes exactly, and
obeyed at the start of the next one, when the figures of the last step are in the log. A validation that runs is
finished, and its checkpoint is the one to resume from. A second signal leaves at once.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from moon_zoo.cli.output import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)

RANKS_AGREE_EVERY = 8
"""Batches between two questions to the other ranks whether they were told to stop: each costs a collective."""


class Stopped(BaseException):
    """The run was told to stop. No KeyboardInterrupt, which Lightning would turn into an exit of its own."""


class StopOnSignal(Callback):
    """Saves and stops after the step in which a signal came.

    Args:
        last: Where to save.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self._asked = False
        self._saved = False
        self._training = False
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        self._previous = {number: signal.getsignal(number) for number in SIGNALS}
        self._install()
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python refuses handlers elsewhere: someone runs us from a thread, and stops us his own way
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A loader worker, which inherited this: the terminal's Ctrl-C reaches it too, but the batch is still wanted.
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if self._asked or not self._training:
            raise Stopped
        self._asked = True
        say("\nstopping after this step (or validation); once more to leave at once, without saving")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning's own handlers, which were installed meanwhile."""
        self._install()
        self._training = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a signal leaves at once: everything is saved."""
        self._training = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if asked."""
        asked = self._asked
        if trainer.world_size > 1:
            if batch_idx % RANKS_AGREE_EVERY:
                return
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            trainer.save_checkpoint(self.last)
            self._saved = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The checkpoint of this validation is the one to resume from: one from before it would leave it out."""
        if self._asked and trainer.world_size == 1 and not trainer.sanity_checking:
            self._saved = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop if that was asked and saved."""
        if self._saved:
            raise Stopped
