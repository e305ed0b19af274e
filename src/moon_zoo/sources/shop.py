"""The simulated shop as a source, so that `moon-zoo pack shop` writes it like any other data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from moon_zoo.shop import writing
from moon_zoo.sources.base import Packed, Source


class ShopSource(Source):
    """The simulated shop: drawn products with titles, photos, true boxes; searches for them; conversations; follow-ups; users.

    Args:
        kind: ``product`` (items), ``search`` (queries with the item chosen), ``instruction`` (a photo of a household thing, a
            question, its risks, and an answer that warns and helps), ``follow_up`` (a question about a product, its answer
            and what is asked next, with the store of knowledge behind them as knowledge.sqlite) or ``impressions`` (items
            shown to users and which they clicked, with the true probability; a quarter of val and test show new items).
        num_products: Number of products (SPUs); each comes in 1 to 3 colours that are items of their own. Of conversations:
            number of things talked about; five conversations come of four.
        photos_per_product: Photos per item: the first for the catalogue, the others by customers. Conversations have one.
        photo_px: Side of the photos in pixels, 32 to 1024.
        seed: The shop's seed; the same seed gives the same shop.
        num_users: Of impressions: number of users.
        num_impressions: Of impressions: rows of all splits together, 20 : 3 : 6.
        num_follow_ups: Of follow-ups: number of them in all splits together.
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
        num_users: int = writing.DEFAULT_USERS,
        num_impressions: int = writing.DEFAULT_IMPRESSIONS,
        num_follow_ups: int = writing.DEFAULT_FOLLOW_UPS,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.plan = writing.plan_of(
            kind=kind,
            num_products=num_products,
            photos_per_product=photos_per_product,
            photo_px=photo_px,
            seed=seed,
            num_users=num_users,
            num_impressions=num_impressions,
            num_follow_ups=num_follow_ups,
        )
        self.kind = kind
        self._stock = writing.stock_of(self.plan, workers)
        self.extras = self._stock.extras

    def read(self) -> Iterator[Packed]:
        """Draw every sample, split by split."""
        return self._stock.samples()

    def finish(self, folder: Path) -> None:
        """Write the store of knowledge beside follow-ups."""
        writing.write_beside(folder, self.plan)
