"""What a study works on: products that towers learn from and embed, impressions that click models learn from.

The built-in shop is packed into the study's folder by two ordinary commands; data of one's own is named by folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.studies.steps import MANIFEST, Step, words

PHOTO_PX = 64
"""Side of the shop's photos in a study: small towers see no more, and drawing and decoding take a quarter of the time."""

SHARD_ITEMS = 256
"""Items per shard of the shop: towers that learn from a part of the data read a part of the shards."""

SHOP_ROWS = 290_000
"""Impressions of the shop in a study, of all splits: half of its default, so that thirty click models take ten minutes."""

SHOP_ITEMS, SHOP_TRAIN_ITEMS, SHOP_TRAIN_ROWS, SHOP_TEST_ROWS = 5071, 4056, 200_000, 60_000
"""Sizes of the built-in shop, for estimates before it is packed."""

CARRIED = ("batch_size", "eval_batch_size", "num_workers", "seed", "window_shards", "on_error")
"""Settings of a recipe's data that stay where a study names other shards."""


@dataclass(frozen=True, slots=True)
class Products:
    """Sets of products.

    Args:
        train: What towers learn from.
        val: What they are validated on.
        test: What intermediate metrics are measured on.
        items: What is embedded: all items that impressions speak of.
        after: Steps that make them.
        num_train: Items to learn from, for estimates.
        num_items: Items to embed, for estimates.
    """

    train: str
    val: str
    test: str
    items: tuple[str, ...]
    after: tuple[str, ...]
    num_train: int
    num_items: int

    @property
    def reads(self) -> tuple[str, ...]:
        """What steps depend on, where no step of the study makes it."""
        return () if self.after else tuple(dict.fromkeys((self.train, self.val, self.test, *self.items)))


@dataclass(frozen=True, slots=True)
class Impressions:
    """Sets of impressions.

    Args:
        train: Rows to learn from.
        val: Rows to validate on.
        test: Rows that downstream figures are measured on.
        after: Steps that make them.
        num_train: Rows to learn from, for estimates.
        num_test: Rows to test on, for estimates.
    """

    train: str
    val: str
    test: str
    after: tuple[str, ...]
    num_train: int
    num_test: int

    @property
    def reads(self) -> tuple[str, ...]:
        """What steps depend on, where no step of the study makes it."""
        return () if self.after else (self.train, self.val, self.test)


def shop_products(folder: Path) -> tuple[list[Step], Products]:
    """The shop's products, packed into the study."""
    to = folder / "data" / "products"
    step = Step(
        "data/products",
        words("pack", "shop", photo_px=PHOTO_PX, max_samples_per_shard=SHARD_ITEMS, to=to),
        writes=to,
        seconds=20,
    )
    train, val, test = (str(to / split) for split in ("train", "val", "test"))
    return [step], Products(train, val, test, (train, val, test), (step.name,), SHOP_TRAIN_ITEMS, SHOP_ITEMS)


def shop_impressions(folder: Path) -> tuple[list[Step], Impressions]:
    """The shop's impressions, packed into the study."""
    to = folder / "data" / "impressions"
    step = Step(
        "data/impressions",
        words("pack", "shop", kind="impressions", num_impressions=SHOP_ROWS, to=to),
        writes=to,
        seconds=5,
    )
    train, val, test = (str(to / split) for split in ("train", "val", "test"))
    return [step], Impressions(train, val, test, (step.name,), SHOP_TRAIN_ROWS, SHOP_TEST_ROWS)


def own_products(
    folder: str | None,
    *,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    items: tuple[str, ...] = (),
) -> Products:
    """Products of one's own.

    Args:
        folder: Holds the splits ``train``, ``val`` and ``test``; sets named one by one win.
        train: To learn from.
        val: To validate on.
        test: To measure intermediate metrics on.
        items: To embed; all three when not said.

    Raises:
        UsageError: A set is not named.
        DataError: One is missing or of another kind.
    """
    named = {"train": train, "val": val, "test": test}
    sets = {split: given or _split(folder, split, "--products", f"--{split}-items") for split, given in named.items()}
    items = items or tuple(sets.values())
    sizes = {path: _samples(path, "product") for path in dict.fromkeys((*sets.values(), *items))}
    return Products(
        **sets, items=items, after=(), num_train=sizes[sets["train"]], num_items=sum(sizes[path] for path in items)
    )


def own_impressions(folder: str) -> Impressions:
    """Impressions of one's own: a folder with the splits ``train``, ``val`` and ``test``.

    Raises:
        UsageError: A split is missing.
        DataError: One is of another kind.
    """
    train, val, test = (_split(folder, split, "--impressions", "--impressions") for split in ("train", "val", "test"))
    sizes = {path: _samples(path, "impressions") for path in (train, val, test)}
    return Impressions(train, val, test, (), sizes[train], sizes[test])


def data_words(recipe: Mapping[str, Any], sets: Mapping[str, str]) -> tuple[str, ...]:
    """Options that make a recipe read other shards, and keep its batch size and the like.

    Args:
        recipe: Its plain values.
        sets: Split to path.
    """
    data = recipe.get("data") or {}
    given = data.get("init_args") or {}
    shards = "moon_zoo.data.datamodule.ShardDataModule"
    found: list[str] = []
    if data.get("class_path") != shards:
        found += ["--data", "shards"]
        for name in CARRIED:
            if given.get(name) is not None:
                found += [f"--data.{name}", str(given[name])]
    for split, path in sets.items():
        found += [f"--data.{split}", path]
    return tuple(found)


def _split(folder: str | None, split: str, option: str, other: str) -> str:
    if folder is None:
        raise UsageError(f"no {split} set is named", where=other, change=f"{other}, or {option} to a folder of splits")
    path = Path(folder) / split
    if not (path / MANIFEST).is_file():
        there = sorted(found.parent.name for found in Path(folder).glob(f"*/{MANIFEST}"))
        raise UsageError(
            f"{folder} has no split {split!r}" + (f"; it has {', '.join(there)}" if there else ""),
            where=option,
            change=option if other == option else f"{option}, or {other} to name that set by itself",
            suggestions=did_you_mean(split, there),
        )
    return str(path)


def _samples(path: str, kind: str) -> int:
    from moon_zoo.data.manifest import read_manifest

    manifest = read_manifest(path)
    kinds = ("product", "search") if kind == "product" else (kind,)
    if manifest.kind not in kinds:
        raise DataError(f"{path} holds {manifest.kind} samples, expected {' or '.join(kinds)}", where=path)
    return sum(shard.samples for shard in manifest.shards)
