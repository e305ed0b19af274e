"""A language model that asks follow-up questions: the loss of what is to be asked, and questions written in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moon_zoo.nn.writing.generation import Writing, write
from moon_zoo.nn.writing.loss import writing_loss

LORA_SETTINGS = ("rank", "alpha", "dropout", "targets")


class FollowupNetwork(nn.Module):
    """A language model as an asker.

    Args:
        lm: A model of `moon_zoo.nn.writing.lm.build_lm`.
        length_groups: Into how many groups of like length a batch is cut; see `moon_zoo.nn.writing.loss`.
    """

    def __init__(self, lm: Any, *, length_groups: int = 1) -> None:
        super().__init__()
        self.lm = lm
        self.length_groups = length_groups

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and sums of a batch of `moon_zoo.models.followup.inputs.FollowupInputs`; see `writing_loss`.

        Rows that are not ``valid`` count nothing.
        """
        if "valid" in batch:
            labels = batch["labels"].masked_fill(~batch["valid"][:, None], -100)
            batch = {**batch, "labels": labels}
        return writing_loss(self.lm, batch, self.length_groups)

    def write(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        writing: Writing,
        *,
        pad_id: int,
        end_ids: Sequence[int],
    ) -> list[list[int]]:
        """Ids of what is asked after each prompt; see `moon_zoo.nn.writing.generation.write`."""
        return write(self.lm, prompt_ids, prompt_mask, writing, pad_id=pad_id, end_ids=end_ids)


def load_adapters(lm: Any, settings: Mapping[str, Any]) -> Any:
    """A model with low-rank adapters on its linear layers, which alone are trained.

    Args:
        lm: The model.
        settings: ``rank``, ``alpha``, ``dropout``, ``targets`` (names of layers; all linear ones where not given).
    """
    from peft import LoraConfig, inject_adapter_in_model

    rank = int(settings.get("rank", 16))
    config = LoraConfig(
        r=rank,
        lora_alpha=float(settings.get("alpha", 2 * rank)),  # type: ignore[arg-type]
        lora_dropout=float(settings.get("dropout", 0.0)),
        target_modules=settings.get("targets") or _linear_names(lm),
    )
    with torch.device(next(lm.parameters()).device):
        return inject_adapter_in_model(config, lm)


def _linear_names(lm: Any) -> list[str]:
    head = lm.get_output_embeddings()
    names = {
        name.rpartition(".")[2] for name, layer in lm.named_modules() if type(layer) is nn.Linear and layer is not head
    }
    return sorted(names)
