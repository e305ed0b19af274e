"""Superpixels of small pictures, for whole batches at once: patches of one colour, and which of them touch.

Source: Achanta et al. 2012, "SLIC superpixels". Ours is plain k-means over colour and place, from a grid, with every
centre compared to every pixel: at 64 px and 64 patches that is one small matrix product, and needs no loop over pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

COMPACTNESS = 0.7
"""Weight of place against colour: 14 units of CIELAB between neighbouring cells of the grid."""
ROUNDS = 4

_XYZ = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = torch.tensor([0.9505, 1.0, 1.089])


@dataclass(frozen=True)
class Superpixels:
    """A partition of square pictures of ``side`` pixels; ``num`` patches each, some of which may be empty.

    Args:
        patch: Number of each pixel's patch, int64 ``(batch, side * side)``.
        colour: Mean CIELAB colour, ``(batch, num, 3)``.
        place: Mean place ``(x, y)`` as fractions, ``(batch, num, 2)``.
        pixels: Number of pixels, ``(batch, num)``.
        border: Number of them on the picture's border, ``(batch, num)``.
        touching: Which two share an edge or a corner, bool ``(batch, num, num)``.
        sharing: Which two share an edge, bool ``(batch, num, num)``.
    """

    patch: Tensor
    colour: Tensor
    place: Tensor
    pixels: Tensor
    border: Tensor
    touching: Tensor
    sharing: Tensor

    def draw(self, values: Tensor) -> Tensor:
        """A value per patch as a picture: ``(batch, num)`` to ``(batch, side, side)``."""
        side = round(self.patch.shape[1] ** 0.5)
        return values.gather(1, self.patch).view(-1, side, side)


def cielab(photos: Tensor) -> Tensor:
    """sRGB in ``[0, 1]`` to CIELAB (D65), both ``(batch, 3, height, width)``; one unit is about what an eye tells apart."""
    linear = torch.where(photos <= 0.04045, photos / 12.92, ((photos + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,bjhw->bihw", _XYZ / _WHITE[:, None], linear)
    cube = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = cube.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def superpixels(photos: Tensor, grid: int) -> Superpixels:
    """Divide pictures into ``grid * grid`` patches.

    Args:
        photos: sRGB in ``[0, 1]``, ``(batch, 3, side, side)``.
        grid: Patches along a side, to begin with.
    """
    batch, _, side, _ = photos.shape
    num = grid * grid
    middle = (torch.arange(side) + 0.5) / side
    place = torch.stack(torch.meshgrid(middle, middle, indexing="xy"), -1).view(1, -1, 2).expand(batch, -1, -1)
    colour = cielab(photos).flatten(2).transpose(1, 2)  # (batch, pixels, 3)
    patch = _assign(torch.cat([colour, place * (20 * COMPACTNESS * grid)], 2), grid)

    edge = torch.zeros(side, side)
    edge[0] = edge[-1] = edge[:, 0] = edge[:, -1] = 1
    sums = _sums(patch, torch.cat([colour, place, edge.view(1, -1, 1).expand(batch, -1, -1)], 2), num)
    pixels = sums[..., -1]
    means = sums[..., :5] / pixels.clamp(min=1)[..., None]
    sharing, touching = _neighbours(patch.view(batch, side, side), num)
    return Superpixels(patch, means[..., :3], means[..., 3:], pixels, sums[..., 5], touching, sharing)


def _assign(features: Tensor, grid: int) -> Tensor:
    """k-means from the means of a grid's cells: the patch of each pixel, ``(batch, pixels)``."""
    batch, pixels, width = features.shape
    side = round(pixels**0.5)
    picture = features.transpose(1, 2).reshape(batch, width, side, side)
    centres = F.adaptive_avg_pool2d(picture, grid).flatten(2).transpose(1, 2)  # (batch, num, width)
    lifted = torch.cat([features, torch.ones(batch, pixels, 1)], 2)
    for turn in range(ROUNDS):
        # The nearest centre has the largest f.c - |c|^2 / 2: one product of matrices, nothing else of their size.
        offset = -(centres * centres).sum(-1, keepdim=True) / 2
        patch = (lifted @ torch.cat([centres, offset], 2).transpose(1, 2)).argmax(-1)
        if turn < ROUNDS - 1:
            sums = _sums(patch, features, grid * grid)
            count = sums[..., -1:]
            centres = torch.where(count > 0, sums[..., :-1] / count.clamp(min=1), centres)
    return patch


def _sums(patch: Tensor, values: Tensor, num: int) -> Tensor:
    """Sums over each patch, and its number of pixels last: ``(batch, num, width + 1)``."""
    batch, pixels, width = values.shape
    values = torch.cat([values, torch.ones(batch, pixels, 1)], 2)
    sums = torch.zeros(batch, num, width + 1)
    return sums.scatter_add_(1, patch[..., None].expand(-1, -1, width + 1), values)


def _neighbours(patch: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Which patches share an edge, and which share an edge or a corner."""
    straight = ((patch[:, 1:], patch[:, :-1]), (patch[:, :, 1:], patch[:, :, :-1]))
    slanted = ((patch[:, 1:, 1:], patch[:, :-1, :-1]), (patch[:, 1:, :-1], patch[:, :-1, 1:]))
    found = torch.zeros(patch.shape[0], num * num, dtype=torch.bool)
    for first, second in straight:
        found.scatter_(1, (first * num + second).flatten(1), True)
    sharing = found.clone()
    for first, second in slanted:
        found.scatter_(1, (first * num + second).flatten(1), True)
    sharing, touching = (one.view(-1, num, num) for one in (sharing, found))
    return sharing | sharing.transpose(1, 2), touching | touching.transpose(1, 2)
