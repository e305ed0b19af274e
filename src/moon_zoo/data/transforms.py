"""A photo of any size to one square: random crops in training, the whole photo otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moon_zoo.data.images import Mode, decode_photo, photo_size, random_box
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Box


@dataclass(frozen=True, slots=True)
class PhotoTransform:
    """Decodes a photo to a square of uint8.

    Args:
        size: Side in pixels.
        crop_scale: Smallest and largest share of the area that a training crop keeps.
        horizontal_flip: Whether training photos are mirrored half of the time.
        resize: How the whole photo becomes square outside training: ``crop``, ``letterbox`` or ``squash``.
    """

    size: int
    crop_scale: tuple[float, float] = (0.5, 1.0)
    horizontal_flip: bool = True
    resize: Mode = "squash"

    def __call__(self, photo: bytes | None, draw: Draw) -> Tensor:
        """uint8 ``(3, size, size)``; zeros where there is no photo.

        Raises:
            DataError: The photo cannot be decoded.
        """
        if photo is None:
            return torch.zeros((3, self.size, self.size), dtype=torch.uint8)
        if not draw.training:
            return decode_photo(photo, self.size, mode=self.resize)
        box = random_box(*photo_size(photo), draw.generator, scale=tuple(self.crop_scale))
        return decode_photo(photo, self.size, mode="squash", box=box, flip=self._flip(draw))

    def cut(self, photo: bytes, box: Box, draw: Draw) -> Tensor:
        """One part of a photo, mirrored like whole photos in training: uint8 ``(3, size, size)``.

        Args:
            photo: The encoded photo.
            box: The part, as fractions of the photo.
            draw: Of the sample.

        Raises:
            DataError: The photo cannot be decoded.
        """
        return decode_photo(photo, self.size, mode=self.resize, box=box, flip=draw.training and self._flip(draw))

    def _flip(self, draw: Draw) -> bool:
        return self.horizontal_flip and bool(torch.rand((), generator=draw.generator) < 0.5)
