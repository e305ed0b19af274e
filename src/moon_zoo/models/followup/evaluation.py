"""What an evaluation of follow-ups collects: losses over all ranks, and questions that the model writes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from moon_zoo.metrics.text import Written, figures
from moon_zoo.models.followup.inputs import FollowupInputs
from moon_zoo.nn.gathering import world_size

SHOWN = 24
"""Questions kept for the report."""

Asker = Callable[[Tensor, Tensor], list[str]]
"""Prompts and their mask to what is asked."""


class FollowupEvaluation:
    """Collects a split.

    Args:
        samples: Samples of the split that questions are written for, the first ones; 0 for none.
    """

    def __init__(self, samples: int = 64) -> None:
        self.samples = samples
        self.examples: list[dict[str, Any]] = []
        self._sums: Tensor | None = None
        self._written: dict[int, Written] = {}
        self._streamed = 0

    def start(self) -> None:
        """Forget the last evaluation."""
        self.examples = []
        self._sums = None
        self._written = {}
        self._streamed = 0

    def add(self, sums: Tensor) -> None:
        """Take in sums over all ranks, as the step computed them."""
        self._sums = sums if self._sums is None else self._sums + sums

    def write(self, ask: Asker, inputs: FollowupInputs, batch: Mapping[str, Tensor]) -> None:
        """Ask for the split's first samples.

        Args:
            ask: The model.
            inputs: Its inputs.
            batch: As they made it.
        """
        index = batch["index"]
        # a streamed set has no positions: the first of each rank
        place = torch.where(index >= 0, index, self._streamed + torch.arange(len(index), device=index.device))
        self._streamed += len(index)
        rows = ((place < self.samples) & batch["valid"]).nonzero().flatten()
        if len(rows) == 0:
            return
        said = ask(batch["prompt_ids"][rows], batch["prompt_mask"][rows])
        for number, one in zip(place[rows].tolist(), written(inputs, batch, rows, said), strict=True):
            self._written[number] = one

    def figures(self) -> dict[str, float]:
        """Figures without a split, equal on all ranks; every rank must call it."""
        found: dict[str, float] = {}
        if self._sums is not None:
            loss, right, tokens = self._sums.tolist()
            found = {
                "loss": loss / max(tokens, 1),
                "perplexity": float(torch.tensor(loss / max(tokens, 1)).exp()),
                "token_accuracy": right / max(tokens, 1),
            }
        whole = self._written
        if world_size() > 1:
            parts: list[dict[int, Written] | None] = [None] * world_size()
            dist.all_gather_object(parts, whole)
            whole = {place: one for part in parts if part for place, one in part.items()}
        kept = [whole[place] for place in sorted(whole)]
        self.examples = [
            {
                "index": place,
                "follow_up": whole[place].follow_up,
                "reference": whole[place].reference,
                "question": whole[place].question,
                "answer": whole[place].answer,
                "concept": whole[place].concept,
            }
            for place in sorted(whole)[:SHOWN]
        ]
        return found | {f"follow_up/{name}": value for name, value in figures(kept).items()}


def written(inputs: FollowupInputs, batch: Mapping[str, Tensor], rows: Tensor, said: list[str]) -> list[Written]:
    """What was asked, beside the texts of its samples.

    Args:
        inputs: Of the model.
        batch: As they made it, outside of training.
        rows: Which rows, int64 ``(rows,)``.
        said: What was asked of each.
    """
    texts = {
        name: inputs.text(batch[f"{name}_ids"][rows], batch[f"{name}_mask"][rows])
        for name in ("question", "answer", "knowledge", "concept", "reference")
    }
    return [
        Written(one, *(texts[name][place] for name in ("reference", "question", "answer", "knowledge", "concept")))
        for place, one in enumerate(said)
    ]
