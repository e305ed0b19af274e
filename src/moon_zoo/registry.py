"""Names of models and sources: a name maps to ``"module:Class"``, and nothing is imported before it is asked for.

Other packages add their own through the entry-point groups ``moon_zoo.models``, ``moon_zoo.sources`` and
``moon_zoo.recipes``; see `entries`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from moon_zoo.errors import UsageError, did_you_mean


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name.

    Args:
        name: What people type.
        target: ``"module:Attribute"``.
        summary: One line for `moon-zoo list`.
        origin: The distribution that registers it.
    """

    name: str
    target: str
    summary: str
    origin: str = "moon-zoo"

    @property
    def class_path(self) -> str:
        """The dotted path that recipes hold."""
        return self.target.replace(":", ".")

    def load(self) -> Any:
        """Import the target."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


_OWN: dict[str, tuple[Entry, ...]] = {
    "models": (
        Entry("dual_flow", "moon_zoo.models.dual_flow.module:DualFlow", "two towers, image and text, contrastive"),
    ),
    "data": (
        Entry("shards", "moon_zoo.data.datamodule:ShardDataModule", "your own shards"),
        Entry("shop", "moon_zoo.shop.datamodule:ShopDataModule", "the simulated shop, written on first use"),
    ),
    "sources": (
        Entry("table", "moon_zoo.sources.table:TableSource", "a CSV, Parquet or JSONL table with a folder of photos"),
        Entry("class_folders", "moon_zoo.sources.class_folders:ClassFoldersSource", "a folder of class folders"),
        Entry("grocery_store", "moon_zoo.sources.grocery_store:GroceryStoreSource", "GroceryStoreDataset"),
        Entry("shop", "moon_zoo.sources.shop:ShopSource", "the simulated shop"),
    ),
}


def entries(group: str) -> dict[str, Entry]:
    """Everything registered under ``group`` (``models``, ``data`` or ``sources``), own names first."""
    found = {entry.name: entry for entry in _OWN.get(group, ())}
    for point in metadata.entry_points(group=f"moon_zoo.{group}"):
        origin = point.dist.name if point.dist is not None else "unknown"
        found.setdefault(point.name, Entry(point.name, point.value, f"from {origin}", origin))
    return found


def entry(group: str, name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UsageError: Nothing of that name is registered.
    """
    known = entries(group)
    if name not in known:
        raise UsageError(
            f"unknown name {name!r} among {group}",
            suggestions=did_you_mean(name, known),
            change=f"the name; known: {', '.join(sorted(known))}",
        )
    return known[name]
