"""The sequence that a multimodal language model reads: photos, each between two brackets, then a text.

Source: MOON, arXiv:2508.11999, section 3.2: photo, crop and text of one product in one sequence. The layout of a photo's block
is Qwen2-VL's (arXiv:2409.12191). Shapes are static: what a sample lacks is padding, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.special_tokens import SpecialTokens


@dataclass(frozen=True)
class Sequence:
    """A batch of sequences.

    Args:
        token_ids: int64 ``(batch, length)``; at a photo's places the image token's id.
        mask: Bool ``(batch, length)``, True on real tokens. Pads may lie anywhere and change nothing.
        token_type: Integers of `token_types`, ``(batch, length)``.
        photos: uint8 ``(batch, photos, 3, size, size)``, in the order of their blocks; ``photos`` may be 0.
        photo_mask: Bool ``(batch, photos)``, True on photos that are there.
        photo_states: What the vision tower made of the photos, ``(batch, photos, photo_tokens, hidden_size)``, where they were
            read already; None lets the model read them. See `moon_zoo.nn.multimodal.backbone.MultimodalLM.photo_states`.
    """

    token_ids: Tensor
    mask: Tensor
    token_type: Tensor
    photos: Tensor
    photo_mask: Tensor
    photo_states: Tensor | None = None

    def to(self, device: torch.device | str) -> Sequence:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def __getitem__(self, rows: slice | Tensor) -> Sequence:
        """Some rows of the batch."""
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Sequence:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Sequence(**{name: change(value) for name, value in values.items() if value is not None})

    def __len__(self) -> int:
        return self.token_ids.shape[0]


def assemble(
    photos: Tensor,
    photo_mask: Tensor,
    text_ids: Tensor,
    text_mask: Tensor,
    text_type: Tensor,
    special: SpecialTokens,
    photo_tokens: int,
) -> Sequence:
    """Lay photos and text out as ``[vision_start, image x K, vision_end]`` per photo, then the text.

    Args:
        photos: uint8 ``(batch, photos, 3, size, size)``; ``photos`` may be 0.
        photo_mask: Bool ``(batch, photos)``; the block of a photo that is not there is padding.
        text_ids: int64 ``(batch, text_tokens)``; ``text_tokens`` may be 0.
        text_mask: Bool ``(batch, text_tokens)``.
        text_type: Integers of `token_types` ``(batch, text_tokens)``; pads may hold anything.
        special: Ids of the brackets.
        photo_tokens: Tokens of a photo, K.

    Returns:
        A sequence of length ``photos * (K + 2) + text_tokens``.
    """
    batch, count = photo_mask.shape
    block = torch.full((photo_tokens + 2,), special.image, dtype=torch.int64, device=text_ids.device)
    block[0], block[-1] = special.vision_start, special.vision_end
    block_ids = block.repeat(count).expand(batch, -1)  # (batch, count * (K + 2))
    block_mask = photo_mask.repeat_interleave(photo_tokens + 2, dim=1)
    mask = torch.cat([block_mask, text_mask], dim=1)
    types = torch.cat([torch.full_like(block_ids, token_types.IMAGE), text_type.to(torch.int64)], dim=1)
    return Sequence(
        token_ids=torch.cat([block_ids, text_ids], dim=1).masked_fill(~mask, special.end),
        mask=mask,
        token_type=types.masked_fill(~mask, token_types.PAD),
        photos=photos,
        photo_mask=photo_mask,
    )
