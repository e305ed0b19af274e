"""Positions in time, height and width for sequences of photos and text (multimodal rotary embedding).

Source: Wang et al. 2024, "Qwen2-VL", arXiv:2409.12191, section 2.1: a text token advances all three by one; the tokens of a
photo share its first position in time and add their row and column to the others; what follows continues after the largest.
A square photo of ``side x side`` tokens therefore advances the count by ``side``. Computed by cumulative sums on the device:
no loop over samples, no value brought to the host.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_positions(image: Tensor, mask: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Positions of every token, pads skipped.

    Args:
        image: Bool ``(batch, length)``, True where a photo's hidden state stands (brackets excluded); False on pads.
        mask: Bool ``(batch, length)``, True on real tokens.
        side: Rows (and columns) of a photo, in tokens; every photo in ``image`` has ``side * side`` of them.

    Returns:
        int64 ``(3, batch, length)``: time, height, width (pads: where the sequence stands); and where each sequence
        continues, int64 ``(batch,)``.
    """
    per_photo = side * side
    place = (image.long().cumsum(dim=1) - 1).clamp(min=0) % per_photo  # within its photo; only read where image is True
    advance = torch.where(image, (place == per_photo - 1).long() * side, mask.long())
    total = advance.cumsum(dim=1)
    start = total - advance  # the position a token begins at
    row = torch.where(image, place // side, 0)
    column = torch.where(image, place % side, 0)
    return torch.stack([start, start + row, start + column]), total[:, -1]
