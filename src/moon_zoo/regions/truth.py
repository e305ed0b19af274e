"""Boxes as some shards hold them: the simulated shop's truth, or what people or another detector found.

The photo itself is the key, so boxes travel to any other set that holds the same photos, whatever its kind or order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import Tensor

from moon_zoo.data.kinds import Box, Product, Search
from moon_zoo.errors import DataError
from moon_zoo.regions.photos import photo_digest, photos_of
from moon_zoo.regions.region import CoreRegionDetector, Region, check_lengths


class TruthDetector(CoreRegionDetector):
    """Looks boxes up by the bytes of the photo.

    Args:
        samples: Products and searches whose boxes are to be known; they are read once, and only hashes are kept.

    Example:
        >>> TruthDetector(IndexedShards("shards/shop/train"))
    """

    name: ClassVar[str] = "truth"

    def __init__(self, samples: Iterable[Product | Search]) -> None:
        self._boxes: dict[bytes, Box | None] = {}
        for sample in samples:
            for one in photos_of(sample):
                digest = photo_digest(one.photo)
                self._boxes[digest] = one.box or self._boxes.get(digest)

    def detect_all(self, photos: Sequence[bytes | Tensor], titles: Sequence[str]) -> list[Region]:
        """The known box of each photo.

        Raises:
            DataError: A photo is given as pixels; only its encoded bytes can be looked up.
        """
        check_lengths(photos, titles)
        return [self._look_up(photo) for photo in photos]

    def _look_up(self, photo: bytes | Tensor) -> Region:
        if not isinstance(photo, bytes):
            raise DataError("known boxes are looked up by a photo's encoded bytes, not by its pixels")
        digest = photo_digest(photo)
        if digest not in self._boxes:
            return Region.none("the photo is not among the known ones")
        box = self._boxes[digest]
        return Region(box) if box is not None else Region.none("no box is known")
