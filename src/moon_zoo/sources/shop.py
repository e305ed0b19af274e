"""The simulated shop as a source, so that `moon-zoo pack shop` writes it like any other data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from moon_zoo.shop import writing
from moon_zoo.sources.base import Packed, Source


class ShopSource(Source):
    """The simulated shop: drawn products with titles, photos, true boxes, and searches for them.

    Args:
        kind: ``product`` (items) or ``search`` (queries with the item chosen).
        num_products: Number of products (SPUs); each comes in 1 to 3 colours that are items of their own.
        photos_per_product: Photos per item: the first for the catalogue, the others by customers.
        photo_px: Side of the photos in pixels, 32 to 1024.
        seed: The shop's seed; the same seed gives the same shop.
        workers: Processes that draw; the machine's cores when None.
    """

    summary: ClassVar[str] = "the simulated shop, drawn by a seed"
    example: ClassVar[str] = "moon-zoo pack shop --num-products 200 --to shards/shop"

    licence = writing.LICENCE
    description = writing.SOURCE

    def __init__(
        self,
        *,
        kind: str = "product",
        num_products: int = writing.DEFAULT_PRODUCTS,
        photos_per_product: int = 3,
        photo_px: int = 128,
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.plan = writing.Plan(
            kind, num_products, photos_per_product, photo_px, seed, tuple(writing.DEFAULT_SPLITS.items())
        )
        self.plan.check()
        self.kind = kind
        self.workers = workers

    def read(self) -> Iterator[Packed]:
        """Draw every sample, split by split."""
        return writing.samples(self.plan, self.workers)
