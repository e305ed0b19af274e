"""Alignment and uniformity of embeddings: whether pairs that belong together are near, and whether all spread over the sphere.

Source: Wang and Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
hypersphere", arXiv:2005.10242, section 4.1: ``alignment = E |x - y|^2`` over positive pairs and ``uniformity =
log E exp(-t |x - y|^2)`` over independent pairs, t = 2. Lower is better of both: 0 is perfect alignment; uniformity lies
between ``-4 t`` (never reached by more than two points) and 0, which is collapse to one point.

Every pair of different rows counts once, and no row is paired with itself (a row's distance of 0 to itself says nothing of the
embeddings, but would decide the figure of a small set). Pairs are computed a tile at a time, so memory does not grow with the
set; work does with its square: 20,000 rows of 128 numbers take two to four seconds on one core.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TILE = 2048
"""Rows and columns of one tile of similarities: 16 MiB in float32."""


@torch.no_grad()
def alignment(left: Tensor, right: Tensor) -> float:
    """Mean squared distance of positive pairs.

    Args:
        left: Unit length, ``(pairs, dim)``.
        right: Row for row what belongs to it, unit length, ``(pairs, dim)``.

    Returns:
        A value in ``[0, 4]``; NaN for no pairs.

    Raises:
        ValueError: The shapes differ.
    """
    if left.shape != right.shape or left.ndim != 2:
        raise ValueError(f"left and right must both be (pairs, dim): {tuple(left.shape)} and {tuple(right.shape)}")
    distances = (left.float() - right.float()).square_().sum(1)
    return float(distances.mean(dtype=torch.float64))


@torch.no_grad()
def uniformity(embeddings: Tensor, t: float = 2.0, tile: int = TILE) -> float:
    """Logarithm of the mean Gaussian potential over all pairs of different rows.

    Args:
        embeddings: Unit length, ``(rows, dim)``.
        t: Of the potential ``exp(-t |x - y|^2)``, above 0.
        tile: Rows at a time; the result does not depend on it beyond rounding.

    Returns:
        A value in ``[-4 t, 0]``, lower is more uniform; NaN for fewer than two rows.

    Raises:
        ValueError: ``embeddings`` is no matrix, or ``t`` or ``tile`` is not above 0.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be (rows, dim): {tuple(embeddings.shape)}")
    if t <= 0 or tile < 1:
        raise ValueError(f"t must be above 0 and tile at least 1: {t} and {tile}")
    rows = len(embeddings)
    if rows < 2:
        return math.nan
    embeddings = embeddings.float()
    total = torch.zeros((), dtype=torch.float64, device=embeddings.device)
    for top in range(0, rows, tile):
        strip = embeddings[top : top + tile]
        total += _potential(strip, strip, t).triu_(1).sum(dtype=torch.float64)
        for left in range(top + tile, rows, tile):
            total += _potential(strip, embeddings[left : left + tile], t).sum(dtype=torch.float64)
    return math.log(float(total) / (rows * (rows - 1) / 2))


def _potential(left: Tensor, right: Tensor, t: float) -> Tensor:
    """``exp(-t |x - y|^2)`` of unit vectors, whose squared distance is ``2 - 2 cos``: ``(rows of left, rows of right)``."""
    with torch.autocast(left.device.type, enabled=False):
        cosines = left @ right.T
    return cosines.sub_(1.0).clamp_(max=0.0).mul_(2.0 * t).exp_()
