"""What a reader of figures should know of the samples behind them: answers that found no room."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks


class CutAnswers:
    """Counts over batches, on the device they are on.

    Args:
        max_answer_tokens: Room of an answer.
    """

    def __init__(self, max_answer_tokens: int) -> None:
        self.max_answer_tokens = max_answer_tokens
        self._counts: Tensor | None = None

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        valid = batch["valid"]
        answers = (batch["completion_mask"].any(-1).sum(-1) * valid).sum()
        counts = torch.stack([answers, (batch["completions_cut"] * valid).sum()])
        self._counts = counts if self._counts is None else self._counts + counts

    def sentence(self) -> str | None:
        """Counts over all ranks' samples; None where there is nothing to tell. Every rank must call it."""
        counts = torch.zeros(2, dtype=torch.int64) if self._counts is None else self._counts
        answers, cut = sum_over_ranks(counts).tolist()
        if not cut:
            return None
        return (
            f"of {answers:,} answers, {cut:,} have more than {self.max_answer_tokens} tokens; what is beyond was cut, and "
            "no end is learned of them (model.max_answer_tokens)"
        )
