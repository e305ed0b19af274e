"""What a reader of a split's figures should know of its samples, said once: what was cut, what training did not know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule

log = logging.getLogger(__name__)


class Counts(Protocol):
    """Counts over the batches of a split."""

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        ...

    def sentence(self) -> str | None:
        """Over all ranks; None where there is nothing to tell. Every rank must call it."""
        ...


class SampleNotes:
    """The counts of every split, from its first batch until they were said.

    Args:
        module: Whose trainer tells whether this is a mere trial before training.
        make: New counts.
    """

    def __init__(self, module: ZooModule, make: Callable[[], Counts]) -> None:
        self._is_trial = lambda: getattr(module._trainer, "sanity_checking", False)
        self._make = make
        self._counts: dict[str, Counts | None] = {}

    def add(self, split: str, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch, unless the split's counts were said already."""
        if self._is_trial():
            return
        if split not in self._counts:
            self._counts[split] = self._make()
        counts = self._counts[split]
        if counts is not None:
            counts.add(batch)

    def say(self, split: str) -> None:
        """Say what is to be told of a split, the first time."""
        counts = self._counts.get(split)
        if counts is None or self._is_trial():
            return
        sentence = counts.sentence()
        self._counts[split] = None
        if sentence is not None:
            rank_zero_only(log.warning)("%s: %s", split, sentence)
