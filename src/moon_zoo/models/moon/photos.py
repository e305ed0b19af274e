"""A product's photos and the crops of their core regions, in the order in which their blocks stand in the sequence.

Source: MOON, arXiv:2508.11999, section 3.2: the crop of the product on sale is *added* to the photo and never replaces it.
Where no region is known, or one too small to be trusted (`moon_zoo.regions.region.MIN_AREA`), the whole photo is given once
more (ours). Boxes are of the photo as it is stored, so crops are cut from there and augmentation cannot break them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from moon_zoo.data.images import photo_size
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Box, Product
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.regions.region import Region, trusted

Crop = Literal["none", "first", "all"]
MissingBoxes = Literal["whole", "saliency"]

MARGIN = 0.05
"""Of the longer side, added to a box on every side: detectors cut a product's edges off rather than leave ground."""
JITTER_SHIFT = 0.08
"""In training a crop's centre moves by up to this share of its side ..."""
JITTER_SCALE = (0.9, 1.15)
"""... and its side is drawn between these times the box's: a detector at work is never exact."""


class Photo(NamedTuple):
    """An encoded photo with the product's box in it, None where unknown."""

    encoded: bytes
    box: Box | None = None


class PhotoBlocks:
    """Photos and crops to one tensor of fixed shape.

    Args:
        transform: Decodes a whole photo to a square; random crops in training.
        max_photos: Largest number of photos; crops come on top.
        crop: Which photos are followed by the crop of their core region: ``none``, ``first`` or ``all``.
        missing_boxes: What a photo without a trusted box is followed by: the ``whole`` photo once more, or what the detector
            without weights (``saliency``) finds.
    """

    def __init__(
        self, transform: PhotoTransform, max_photos: int, *, crop: Crop = "first", missing_boxes: MissingBoxes = "whole"
    ) -> None:
        self.transform = transform
        self.max_photos = max_photos
        self.crop = crop
        self.missing_boxes = missing_boxes
        self.num_blocks = max_photos + {"none": 0, "first": min(max_photos, 1), "all": max_photos}[crop]

    def __call__(self, photos: Sequence[Photo], draw: Draw, title: str = "") -> tuple[Tensor, Tensor]:
        """Decode the first `max_photos`.

        Args:
            photos: The most important first; may be none.
            draw: Of the sample.
            title: Of the product, for detectors that read it.

        Returns:
            uint8 ``(num_blocks, 3, size, size)``, zeros where there is no photo, and a bool mask ``(num_blocks,)``.

        Raises:
            DataError: A photo cannot be decoded.
        """
        blocks: list[Tensor | None] = []
        for place in range(self.max_photos):
            photo = photos[place] if place < len(photos) else None
            blocks.append(None if photo is None else self.transform(photo.encoded, draw))
            if self.crop == "all" or (self.crop == "first" and place == 0):
                blocks.append(None if photo is None else self._core(photo, draw, title))
        empty = torch.zeros((3, self.transform.size, self.transform.size), dtype=torch.uint8)
        mask = torch.tensor([block is not None for block in blocks], dtype=torch.bool)
        made = [empty if block is None else block for block in blocks]
        return torch.stack(made) if made else empty[None][:0], mask

    def _core(self, photo: Photo, draw: Draw, title: str) -> Tensor:
        box = None if photo.box is None else trusted(Region(photo.box))
        if box is None and self.missing_boxes == "saliency":
            box = _salient(photo.encoded, title)
        if box is None:
            return self.transform(photo.encoded, draw)
        return self.transform.cut(photo.encoded, square_around(box, *photo_size(photo.encoded), draw), draw)


def square_around(box: Box, height: int, width: int, draw: Draw) -> Box:
    """A box grown to a square of pixels with a margin, as far as the photo allows; shifted and scaled a little in training.

    Args:
        box: Fractions of the photo.
        height: Of the photo, in pixels.
        width: The same.
        draw: Of the sample.
    """
    side = max((box[2] - box[0]) * width, (box[3] - box[1]) * height) * (1 + 2 * MARGIN)
    across, down = (box[0] + box[2]) / 2 * width, (box[1] + box[3]) / 2 * height
    if draw.training:
        shift_x, shift_y, scale = torch.rand(3, generator=draw.generator, dtype=torch.float64).tolist()
        across += (2 * shift_x - 1) * JITTER_SHIFT * side
        down += (2 * shift_y - 1) * JITTER_SHIFT * side
        side *= JITTER_SCALE[0] + scale * (JITTER_SCALE[1] - JITTER_SCALE[0])
    left, right = _inside(across, side, width)
    top, bottom = _inside(down, side, height)
    return left / width, top / height, right / width, bottom / height


def _inside(centre: float, side: float, length: int) -> tuple[float, float]:
    """A stretch of ``side`` around ``centre``, moved into ``[0, length]`` and cut to it where it is longer."""
    side = min(side, float(length))
    start = min(max(centre - side / 2, 0.0), length - side)
    return start, start + side


def item_photos(product: Product, without: int | None = None) -> list[Photo]:
    """A product's photos, those of the catalogue first.

    Args:
        product: The product.
        without: The place of a photo to leave out, unless it is the only one: the one that asks.
    """
    places = sorted(range(len(product.photos)), key=lambda place: product.photo_roles[place] != "catalogue")
    left = [place for place in places if place != without] or places
    return [photo_at(product, place) for place in left]


def photo_at(product: Product, place: int) -> Photo:
    """One photo of a product with its box."""
    return Photo(product.photos[place], product.core_boxes[place])


def _salient(encoded: bytes, title: str) -> Box | None:
    from moon_zoo.regions.saliency import SaliencyDetector

    region = SaliencyDetector().detect(encoded, title)
    return trusted(region)
