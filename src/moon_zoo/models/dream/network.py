"""What DREAM asks of a multimodal language model: the loss of an answer, and how likely it finds two answers to one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from moon_zoo.models.dream.inputs import OBSERVING, PROMPT
from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.answers import answer_loss
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.chat import IGNORED
from moon_zoo.nn.multimodal.completions import completion_log_probabilities
from moon_zoo.nn.multimodal.sequence import Sequence

PHOTO_STATES: Final = "photo_states"
"""A batch's key for photos that were read already; see `DreamNetwork.with_photo_states`."""


class DreamNetwork(nn.Module):
    """A multimodal language model as an assistant.

    Args:
        backbone: The model.
    """

    def __init__(self, backbone: MultimodalLM) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of the answers of a batch of `moon_zoo.models.dream.inputs.DreamInputs`, summed over their tokens.

        Returns:
            float32 ``(batch, completions)``, in nats.
        """
        return completion_log_probabilities(
            self.backbone, prompts_of(batch), batch["completion_ids"], batch["completion_mask"]
        )

    def with_photo_states(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch with its photos read, once for all losses that look at them."""
        return {**batch, PHOTO_STATES: self.backbone.photo_states(batch["photos"], batch["photo_mask"])}

    def answer_loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The loss of a batch's (first) answers; see `moon_zoo.nn.multimodal.answers.answer_loss`."""
        return self._loss(batch, PROMPT, batch["completion_ids"][:, 0], batch["completion_mask"][:, 0])

    def observation_loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The same of what is risky about the prompts; rows whose risks are not known count nothing."""
        return self._loss(batch, OBSERVING, batch["observation_ids"][:, 0], batch["observation_mask"][:, 0])

    def _loss(self, batch: Mapping[str, Tensor], asked: str, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        prompts = prompts_of(batch, asked)
        types = torch.where(mask, token_types.TEXT, token_types.PAD)
        whole = Sequence(
            token_ids=torch.cat([prompts.token_ids, ids], dim=1),
            mask=torch.cat([prompts.mask, mask], dim=1),
            token_type=torch.cat([prompts.token_type, types], dim=1),
            photos=prompts.photos,
            photo_mask=prompts.photo_mask,
            photo_states=prompts.photo_states,
        )
        wanted = mask & batch["valid"][:, None] if "valid" in batch else mask
        return answer_loss(self.backbone, whole, ids.masked_fill(~wanted, IGNORED))


def prompts_of(batch: Mapping[str, Tensor], prefix: str = PROMPT) -> Sequence:
    """The prompts of a batch, as a sequence that ends where the assistant's turn begins (and perhaps in pads)."""
    return Sequence(
        token_ids=batch[f"{prefix}token_ids"],
        mask=batch[f"{prefix}token_mask"],
        token_type=batch[f"{prefix}token_type"],
        photos=batch["photos"],
        photo_mask=batch["photo_mask"],
        photo_states=batch.get(PHOTO_STATES),
    )
