"""All photos of a sample with what a detector may know of them, and the sample with other boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from moon_zoo.data.kinds import Box, Product, Search


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """One photo of a product or search.

    Args:
        photo: Encoded bytes.
        role: ``query``, ``catalogue`` or ``user``.
        title: What is said of it: the item's title, or the query's words; may be empty.
        box: The product's box, None where unknown.
    """

    photo: bytes
    role: str
    title: str
    box: Box | None

    @property
    def key(self) -> bytes:
        """Stands for the photo with its title."""
        return photo_digest(self.photo) + self.title.encode()


def photos_of(sample: Product | Search) -> list[SamplePhoto]:
    """Every photo: the query's, the item's, then those of hard negatives."""
    found: list[SamplePhoto] = []
    if isinstance(sample, Search) and sample.query_photo is not None:
        found.append(SamplePhoto(sample.query_photo, "query", sample.query_text or "", sample.query_box))
    for product in sample.products():
        columns = zip(product.photos, product.photo_roles, product.core_boxes, strict=True)
        found += [SamplePhoto(photo, role, product.title, box) for photo, role, box in columns]
    return found


def with_boxes(sample: Product | Search, boxes: Sequence[Box | None]) -> Product | Search:
    """The sample with these boxes, in the order of `photos_of`."""
    remaining = iter(boxes)
    if isinstance(sample, Product):
        return _product_with(sample, remaining)
    query_box = next(remaining) if sample.query_photo is not None else None
    item, *negatives = (_product_with(product, remaining) for product in sample.products())
    return replace(sample, query_box=query_box, item=item, hard_negatives=negatives)


def photo_digest(photo: bytes) -> bytes:
    """16 bytes that stand for a photo's content."""
    return hashlib.blake2b(photo, digest_size=16).digest()


def _product_with(product: Product, boxes: Iterator[Box | None]) -> Product:
    return replace(product, core_boxes=[next(boxes) for _ in product.photos])
