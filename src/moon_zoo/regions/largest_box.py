"""The rectangle with the largest sum, for whole batches: Kadane's running maximum over every pair of rows.

A threshold is subtracted from a saliency map first; then the rectangle of largest sum is the one that takes in as much of
the product and as little else as it can (Lampert et al. 2008, "Beyond sliding windows", find it by branch and bound; a map
of 32 x 32 is searched whole). Thin ends cost such a rectangle more than they bring, so it may be grown afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def largest_box(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The rectangle of largest sum in each map.

    Args:
        scores: Gains and losses, ``(batch, height, width)``.

    Returns:
        Its ``(left, top, right, bottom)`` in cells, right and bottom exclusive, int64 ``(batch, 4)``, at least one cell;
        and its sum, ``(batch,)``.
    """
    height = scores.shape[1]
    above = F.pad(scores.cumsum(1), (0, 0, 1, 0))  # (batch, height + 1, width): sums of the rows above
    tops, bottoms = torch.triu_indices(height + 1, height + 1, 1)
    beside = F.pad((above[:, bottoms] - above[:, tops]).cumsum(-1), (1, 0))  # (batch, pairs, width + 1)
    lowest, lefts = beside.cummin(-1)
    sums, rights = (beside[..., 1:] - lowest[..., :-1]).max(-1)  # (batch, pairs)
    best, pair = sums.max(-1)
    right = rights.gather(1, pair[:, None])
    left = lefts.take_along_dim(pair[:, None, None], 1)[:, 0].gather(1, right)
    corners = [left[:, 0], tops[pair], right[:, 0] + 1, bottoms[pair]]
    return torch.stack(corners, 1), best


def grown(box: Sequence[int], solid: np.ndarray) -> tuple[int, int, int, int]:
    """A rectangle moved outwards, side by side, as long as a solid cell touches it: a handle comes in, a distant thing not.

    Args:
        box: ``(left, top, right, bottom)`` in cells, right and bottom exclusive.
        solid: Which cells are, bool ``(height, width)``.
    """
    left, top, right, bottom = box
    while True:
        before = left, top, right, bottom
        if left > 0 and solid[top:bottom, left - 1].any():
            left -= 1
        if right < solid.shape[1] and solid[top:bottom, right].any():
            right += 1
        if top > 0 and solid[top - 1, left:right].any():
            top -= 1
        if bottom < solid.shape[0] and solid[bottom, left:right].any():
            bottom += 1
        if before == (left, top, right, bottom):
            return before
