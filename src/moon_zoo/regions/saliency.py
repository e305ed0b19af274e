"""The product by what stands out from the photo's border: a detector that needs no weights and reads no title.

Source: Zhu et al. 2014, "Saliency optimization from robust background detection" (RBD). A patch belongs to the background
as far as the region of its colour runs along the photo's border, measured against the size of that region: a product that
touches the border at one side is not taken for background, as it would be if the border alone were trusted. The rest
stands out as far as its colour differs from that background, smoothed over neighbours of like colour.

Ours: whole batches at once on small pictures; connected groups of patches that weigh less than half of the heaviest one,
seen from the photo's centre, are things beside the product and are left out; the box is the rectangle of largest sum
(`largest_box`) rather than a threshold's bounding box, so that faint things around the product do not widen it, then grown
to the ends of what stands out clearly.

Settings were chosen on the train split of the simulated shop. It knows nothing of products: on a photo of several things
of one size it takes them all or the most central ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.data.images import decode_photo
from moon_zoo.errors import ZooError
from moon_zoo.regions.largest_box import grown, largest_box
from moon_zoo.regions.region import CoreRegionDetector, Region, check_lengths, check_pixels
from moon_zoo.regions.superpixels import Superpixels, superpixels

SIDE = 64
"""Photos are looked at with this many pixels a side, stretched to a square."""
GRID = 8
CELLS = 32
"""The box is found on a map of this side: corners are exact to half a cell, 1.6 % of the photo."""

# In units of CIELAB, of the photo's side, or shares.
SAME_COLOUR = 3.5
NOISE = 3.0
NEAR = 0.25
LIKE_NEIGHBOUR = 10.0
BACKGROUND_WEIGHT = 3.0
THING, LIGHT, CENTRAL = 0.35, 0.5, 0.3
"""A patch is part of a thing above `THING`; a thing under `LIGHT` of the heaviest is left out; `CENTRAL` is the width of
the view from the centre."""
BASE, SHARE = 0.15, 0.2
"""What a cell must stand out by to be worth taking in: ``BASE + SHARE * mean``."""
SOLID = 0.5
"""A box grows over cells above it."""
FAINTEST = 0.5
"""A photo where nothing differs from the background by more than this is blank."""
_FAR = 1e6


class SaliencyDetector(CoreRegionDetector):
    """The part of a photo that stands out from its border; titles are not read.

    Example:
        >>> SaliencyDetector().detect(jpeg).box
        (0.1875, 0.125, 0.84375, 0.9375)
    """

    name: ClassVar[str] = "saliency"
    batch_size = 8
    """What one pass holds stays within a core's cache; larger ones are slower."""

    @torch.no_grad()
    def detect_all(self, photos: Sequence[bytes | Tensor], titles: Sequence[str]) -> list[Region]:
        """The core region of each photo; ``score`` is how much more the inside of the box stands out than the outside."""
        check_lengths(photos, titles)
        regions: list[Region] = []
        for start in range(0, len(photos), self.batch_size):
            regions += self._batch(photos[start : start + self.batch_size])
        return regions

    def _batch(self, photos: Sequence[bytes | Tensor]) -> list[Region]:
        shown = [_small(photo) for photo in photos]
        usable = [one for one in shown if isinstance(one, Tensor)]
        found = iter(_regions(torch.stack(usable).float() / 255)) if usable else iter(())
        return [one if isinstance(one, Region) else next(found) for one in shown]


def saliency(photos: Tensor) -> tuple[Tensor, Tensor]:
    """How much each pixel stands out as part of the main thing of its photo.

    Args:
        photos: sRGB in ``[0, 1]``, ``(batch, 3, SIDE, SIDE)``.

    Returns:
        About ``[0, 1]`` where 1 is what stands out most, ``(batch, SIDE, SIDE)``; and how far the most differing patch
        is from the background, ``(batch,)``, by which a blank photo is told.
    """
    parts = superpixels(photos, GRID)
    apart = torch.cdist(parts.colour, parts.colour)
    background = _background(parts, apart)
    near = torch.exp(-(torch.cdist(parts.place, parts.place) ** 2) / (2 * NEAR**2))
    share = parts.pixels / parts.pixels.sum(1, keepdim=True)
    contrast = (apart * near * (background * share)[:, None]).sum(-1) * (parts.pixels > 0)
    strongest = contrast.amax(1)
    smooth = _smoothed(contrast / strongest.clamp(min=1e-6)[:, None], background, parts, apart)
    picture = parts.draw(smooth)
    top = picture.flatten(1).quantile(0.97, dim=1).clamp(min=1e-6)
    return parts.draw(_main_thing(smooth / top[:, None], parts)), strongest


def _background(parts: Superpixels, apart: Tensor) -> Tensor:
    """How likely each patch is background, in ``[0, 1]``: its region's length on the border over the root of its area."""
    on_border = parts.border > 0
    linked = parts.touching | (on_border[:, :, None] & on_border[:, None, :])
    way = torch.where(linked, (apart - NOISE).clamp(min=0), _FAR)
    way.diagonal(dim1=1, dim2=2).zero_()
    for middle in range(way.shape[1]):  # Floyd and Warshall: the colour to be crossed from any patch to any other
        way = torch.minimum(way, way[:, :, middle, None] + way[:, middle, None, :])
    region = torch.exp(-(way**2) / (2 * SAME_COLOUR**2))
    area = (region * parts.pixels[:, None]).sum(-1)
    length = (region * parts.border[:, None]).sum(-1)
    return 1 - torch.exp(-(length**2 / area.clamp(min=1e-6)) / 2)


def _smoothed(contrast: Tensor, background: Tensor, parts: Superpixels, apart: Tensor) -> Tensor:
    """RBD's optimum: near the contrast, near 0 on background, alike on neighbours of like colour. ``(batch, num)``."""
    like = parts.touching * (torch.exp(-(apart**2) / (2 * LIKE_NEIGHBOUR**2)) + 0.1)
    like.diagonal(dim1=1, dim2=2).zero_()
    weights = like.sum(-1) + BACKGROUND_WEIGHT * background + contrast + 1e-3
    return torch.linalg.solve(torch.diag_embed(weights) - like, contrast[..., None])[..., 0]


def _main_thing(values: Tensor, parts: Superpixels) -> Tensor:
    """Values with those of light things set to 0: keys beside a shirt go, the other shoe stays."""
    thing = values > THING
    joined = (parts.sharing & thing[:, :, None] & thing[:, None, :]) | torch.eye(values.shape[1], dtype=torch.bool)
    for _ in range((values.shape[1] - 1).bit_length()):  # closure by squaring: paths of any length
        joined = (joined.float() @ joined.float()) > 0
    central = torch.exp(-((parts.place - 0.5) ** 2).sum(-1) / (2 * CENTRAL**2))
    weight = (joined * (values * parts.pixels * central)[:, None]).sum(-1) * thing
    light = thing & (weight < LIGHT * weight.amax(1, keepdim=True))
    return values.masked_fill(light, 0.0)


def _regions(photos: Tensor) -> list[Region]:
    standing_out, strongest = saliency(photos)
    cells = F.avg_pool2d(standing_out[:, None], SIDE // CELLS)[:, 0]
    boxes, _ = largest_box(cells - (BASE + SHARE * cells.mean((1, 2)))[:, None, None])
    return [
        _region(cell, grown(box, (cell > SOLID).numpy()))
        if contrast >= FAINTEST
        else Region.none("nothing stands out from the background")
        for cell, box, contrast in zip(cells, boxes.tolist(), strongest.tolist(), strict=True)
    ]


def _region(cells: Tensor, box: tuple[int, int, int, int]) -> Region:
    left, top, right, bottom = (corner / CELLS for corner in box)
    return Region((left, top, right, bottom), _score(cells, box))


def _score(cells: Tensor, box: tuple[int, int, int, int]) -> float:
    """Mean inside the box less mean outside, in ``[0, 1]``."""
    left, top, right, bottom = box
    inside = cells[top:bottom, left:right]
    rest = cells.numel() - inside.numel()
    outside = (cells.sum() - inside.sum()) / max(rest, 1)
    return float((inside.mean() - outside).clamp(0, 1))


def _small(photo: bytes | Tensor) -> Tensor | Region:
    """The photo as uint8 ``(3, SIDE, SIDE)``, or a region that says why it cannot be looked at."""
    if isinstance(photo, bytes):
        try:
            return decode_photo(photo, SIDE, mode="squash")
        except ZooError as error:
            return Region.none(error.what)
    return F.interpolate(check_pixels(photo)[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
