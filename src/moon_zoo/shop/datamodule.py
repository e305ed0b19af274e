"""The simulated shop as a DataModule: written into the cache on first use, then read like any shards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import ClassVar, Literal

from moon_zoo.data.cache import cache_root
from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.shop import VERSION
from moon_zoo.shop.follow_ups.facts import STORE_FILE
from moon_zoo.shop.follow_ups.plan import DEFAULT_FOLLOW_UPS, FollowUpPlan
from moon_zoo.shop.impression_plan import DEFAULT_IMPRESSIONS, DEFAULT_USERS, ImpressionPlan
from moon_zoo.shop.writing import DEFAULT_PRODUCTS, AnyPlan, plan_of, write_once


class ShopDataModule(ShardDataModule):
    """The simulated shop: products that are drawn, with titles, categories and attributes; searches for them; conversations
    about household things, risky and benign; follow-up questions with the knowledge behind them; and users who are shown
    products and click, with a known probability.

    Args:
        kind: ``product`` (items), ``search`` (queries with the item chosen), ``instruction`` (conversations about a photo, of
            which two in three are risky in some way), ``follow_up`` (a question, its answer and what is asked next) or
            ``impressions`` (items shown to users).
        num_products: Number of products (SPUs) in all splits together: 80 % train, 10 % val, 10 % test. Each comes in 1 to
            3 colours that are items of their own, 1.7 on average. Of conversations: things talked about, five conversations
            for every four; combinations of thing and context in val and test never occur in train.
        photos_per_product: Photos per item: the first for the catalogue, the others by customers. Conversations have one.
        photo_px: Side of the photos in pixels, 32 to 1024.
        shop_seed: Which shop; the same seed gives the same products.
        num_users: Of impressions: number of users.
        num_impressions: Of impressions: rows of all splits together, of which 20 in 29 are for training, 3 for validation
            and 6 for testing. A quarter of the latter two show items that training never does.
        num_follow_ups: Of follow-ups: number of them in all splits together. What val and test ask about never occurs in train.
        gallery: Shards of the items that queries of val and test are searched in; without it they are searched in their
            own split.
        batch_size: Samples per step on each rank.
        eval_batch_size: The same for everything but training; None takes twice ``batch_size``.
        num_workers: Processes that read and decode, per loader and rank; None takes a share of this machine's cores.
        seed: Of order and augmentation.
        window_shards: Shards that are shuffled with one another; more mixes better and touches more files at a time.
        on_error: What happens with a sample that cannot be read: ``raise``, or ``skip``, which counts it and goes on.

    Attributes:
        folder: Where the shop's shards are, or will be: in the cache, named by the arguments and the shop's version.
        knowledge: Of follow-ups: the store of knowledge behind them, there once the shards are.
    """

    writes_its_shards: ClassVar[bool] = True

    def __init__(
        self,
        *,
        kind: str = "product",
        num_products: int = DEFAULT_PRODUCTS,
        photos_per_product: int = 3,
        photo_px: int = 128,
        shop_seed: int = 0,
        num_users: int = DEFAULT_USERS,
        num_impressions: int = DEFAULT_IMPRESSIONS,
        num_follow_ups: int = DEFAULT_FOLLOW_UPS,
        gallery: str | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        seed: int = 0,
        window_shards: int = 4,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        self.plan = plan_of(
            kind=kind,
            num_products=num_products,
            photos_per_product=photos_per_product,
            photo_px=photo_px,
            seed=shop_seed,
            num_users=num_users,
            num_impressions=num_impressions,
            num_follow_ups=num_follow_ups,
        )
        self.written_kind = self.plan.kind
        self.folder = cache_root() / "shop" / shop_name(self.plan)
        self.knowledge = self.folder / STORE_FILE
        super().__init__(
            train=str(self.folder / "train"),
            val=str(self.folder / "val"),
            test=str(self.folder / "test"),
            predict=str(self.folder / "test"),
            gallery=gallery,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
            window_shards=window_shards,
            on_error=on_error,
        )

    def prepare_data(self) -> None:
        """Write the shop if this machine's cache does not hold it; another process that is at it is waited for."""
        write_once(self.folder, self.plan)


def shop_name(plan: AnyPlan) -> str:
    """The folder's name in the cache: readable, and different for every other plan and version of the shop."""
    canonical = json.dumps({"version": VERSION, **asdict(plan)}, sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    if isinstance(plan, ImpressionPlan):
        return f"{plan.kind}-{plan.num_products}-{plan.num_users}x{plan.num_impressions}-{digest}"
    if isinstance(plan, FollowUpPlan):
        return f"{plan.kind}-{plan.num_follow_ups}-{digest}"
    return f"{plan.kind}-{plan.num_products}x{plan.photos_per_product}-{plan.photo_px}px-{digest}"
