"""What an evaluation of DREAM collects: sums of losses over all ranks, and answers that the model writes itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moon_zoo.models.dream.answering import continued
from moon_zoo.models.dream.inputs import DreamInputs
from moon_zoo.models.dream.network import DreamNetwork, prompts_of
from moon_zoo.models.dream.objectives import pair_figures

SHOWN = 24
"""Answers kept for the report."""


class DreamEvaluation:
    """Collects a split.

    Args:
        samples: Samples of the split that answers are written for; 0 for none.
    """

    def __init__(self, samples: int = 32) -> None:
        self.samples = samples
        self.examples: list[dict[str, Any]] = []
        self._sums: dict[str, Tensor] = {}
        self._known = True
        self._streamed = 0

    def start(self) -> None:
        """Forget the last evaluation."""
        self.examples = []
        self._sums = {}
        self._known = True
        self._streamed = 0

    def add(self, name: str, sums: Tensor, *, known: bool = True) -> None:
        """Take in sums over all ranks: ``generation`` or ``observation`` of tokens, or ``pairs``.

        Args:
            name: Which.
            sums: As the step computed them.
            known: Whether the reference of these pairs was known.
        """
        self._sums[name] = self._sums[name] + sums if name in self._sums else sums
        self._known &= known

    def figures(self, observation_weight: float = 0.0) -> dict[str, float]:
        """Figures without a split, equal on all ranks."""
        found: dict[str, float] = {}
        for name in ("generation", "observation"):
            if name in self._sums:
                loss, right, tokens = self._sums[name].tolist()
                found |= {f"{name}/loss": loss / max(tokens, 1), f"{name}/token_accuracy": right / max(tokens, 1)}
        if "generation/loss" in found:
            found["loss"] = found["generation/loss"] + observation_weight * found.get("observation/loss", 0.0)
        if "pairs" in self._sums:
            figures = pair_figures(self._sums["pairs"], with_reference=self._known)
            found |= {name: float(value) for name, value in figures.items()}
        return found

    @torch.no_grad()
    def write(self, network: DreamNetwork, inputs: DreamInputs, batch: Mapping[str, Tensor]) -> None:
        """Answer the prompts of the split's first samples, greedily.

        Args:
            network: The assistant.
            inputs: Its inputs.
            batch: As they made it.
        """
        index = batch["index"]
        # a streamed set has no positions: the first of each rank
        place = torch.where(index >= 0, index, self._streamed + torch.arange(len(index), device=index.device))
        self._streamed += len(index)
        rows = ((place < self.samples) & batch["valid"]).nonzero().flatten()[: max(SHOWN - len(self.examples), 0)]
        if len(rows) == 0:
            return
        said = continued(network, inputs, prompts_of(batch)[rows], max_new_tokens=inputs.max_answer_tokens)
        ids, mask = batch["completion_ids"][rows, 0], batch["completion_mask"][rows, 0]
        for number, row in enumerate(rows.tolist()):
            right = inputs.tokenizer.decode(ids[number][mask[number]].tolist())
            self.examples.append({"index": int(index[row]), "answer": said[number], "right": right})
