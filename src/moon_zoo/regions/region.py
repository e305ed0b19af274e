"""What a core region is, and what every detector of them promises.

Source: MOON, arXiv:2508.11999: a frozen grounding model is shown an item's photo and title and returns the box of the
product on sale; its crop is added to the item's photos and never replaces the photo. A box under 5 % of the photo's area
is not trusted, and the whole photo is taken instead (ours).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from moon_zoo.data.kinds import Box
from moon_zoo.errors import DataError

MIN_AREA = 0.05
"""Smallest share of a photo's area that a box is trusted with."""


@dataclass(frozen=True, slots=True)
class Region:
    """A detector's answer for one photo.

    Args:
        box: Corners ``(left, top, right, bottom)`` as fractions of the photo, or None where none was found.
        score: How sure the detector is, in ``[0, 1]``; 1 of a detector that cannot tell, 0 without a box.
        raw: What the detector said, for people: a model's answer word by word.
        reason: Why there is no box; empty where there is one.
    """

    box: Box | None
    score: float = 1.0
    raw: str = ""
    reason: str = ""

    @classmethod
    def none(cls, reason: str, raw: str = "") -> Region:
        """No box, and why."""
        return cls(None, 0.0, raw, reason)


class CoreRegionDetector(ABC):
    """Finds the product on sale in photos.

    Attributes:
        name: What manifests call it.
    """

    name: ClassVar[str]
    batch_size: int = 32
    """How many photos are worth handing over at once."""

    def detect(self, photo: bytes | Tensor, title: str = "") -> Region:
        """The core region of one photo.

        Args:
            photo: Encoded bytes, or uint8 ``(3, height, width)``.
            title: The item's title, for detectors that read it.

        Returns:
            The region; an undecodable photo gives one without a box that says so.
        """
        return self.detect_all([photo], [title])[0]

    @abstractmethod
    def detect_all(self, photos: Sequence[bytes | Tensor], titles: Sequence[str]) -> list[Region]:
        """`detect` for several photos; one region each, in their order, whatever their sizes."""

    def about(self) -> dict[str, object]:
        """Plain values that say which detector this is, for a manifest."""
        return {"name": self.name}


def area(box: Box) -> float:
    """Share of the photo's area, in ``[0, 1]``."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, in ``[0, 1]``."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (area(first) + area(second) - shared) if shared else 0.0


def inside_photo(left: float, top: float, right: float, bottom: float) -> Box | None:
    """Corners in any order as a valid `Box`: sorted and cut to the photo; None where nothing of it is inside.

    Args:
        left: Fraction of the width; may lie outside of ``[0, 1]``.
        top: Fraction of the height.
        right: Fraction of the width.
        bottom: Fraction of the height.
    """
    corners = (left, top, right, bottom)
    if not all(math.isfinite(corner) for corner in corners):
        return None
    cut = [min(max(corner, 0.0), 1.0) for corner in corners]
    box = (min(cut[0], cut[2]), min(cut[1], cut[3]), max(cut[0], cut[2]), max(cut[1], cut[3]))
    return box if box[0] < box[2] and box[1] < box[3] else None


def trusted(region: Region, min_area: float = MIN_AREA) -> Box | None:
    """The region's box unless it is too small a part of the photo; None means: take the whole photo."""
    return region.box if region.box is not None and area(region.box) >= min_area else None


def check_lengths(photos: Sequence[object], titles: Sequence[str]) -> None:
    """Refuse lists of different lengths.

    Raises:
        DataError: They differ.
    """
    if len(photos) != len(titles):
        raise DataError(
            f"{len(photos)} photos but {len(titles)} titles", change="one title per photo; '' where none is"
        )


def check_pixels(photo: Tensor) -> Tensor:
    """The photo, if it is uint8 ``(3, height, width)``.

    Raises:
        DataError: It is something else.
    """
    if photo.dtype != torch.uint8 or photo.ndim != 3 or photo.shape[0] != 3 or 0 in photo.shape:
        raise DataError(
            f"a photo given as pixels is uint8 (3, height, width), not {photo.dtype} {tuple(photo.shape)}",
            change="the photo; moon_zoo.data.images.decode_photo gives such tensors",
        )
    return photo
