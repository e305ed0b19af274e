"""What a reader of figures should know of the samples behind them: texts that found no room."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks


class CutTexts:
    """Counts over batches, on the device they are on.

    Args:
        max_tokens: Room of what is read.
        max_follow_up_tokens: Room of what is written.
    """

    def __init__(self, max_tokens: int, max_follow_up_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.max_follow_up_tokens = max_follow_up_tokens
        self._counts: Tensor | None = None

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        valid = batch["valid"].long()
        counts = torch.cat([valid.sum()[None], (batch["cut"] * valid[:, None]).sum(0)])
        self._counts = counts if self._counts is None else self._counts + counts

    def sentence(self) -> str | None:
        """Counts over all ranks' samples; None where there is nothing to tell. Every rank must call it."""
        counts = torch.zeros(3, dtype=torch.int64) if self._counts is None else self._counts
        samples, read, written = sum_over_ranks(counts).tolist()
        if not read and not written:
            return None
        return (
            f"of {samples:,} samples, {read:,} take more than {self.max_tokens} tokens to read: the ends of answers and "
            f"knowledge were cut (model.max_tokens); and {written:,} follow-ups have more than "
            f"{self.max_follow_up_tokens}: no end is learned of them (model.max_follow_up_tokens)"
        )
