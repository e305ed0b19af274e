"""A modular model zoo for understanding products, built on Lightning.

Public names are loaded on first use, so that ``import moon_zoo`` costs milliseconds and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "CheckpointError": "errors",
    "DataError": "errors",
    "Faults": "errors",
    "RecipeError": "errors",
    "UsageError": "errors",
    "ZooError": "errors",
    "Product": "data.kinds",
    "Search": "data.kinds",
    "Manifest": "data.manifest",
    "read_manifest": "data.manifest",
    "ShardWriter": "data.writing",
    "write_splits": "data.writing",
    "IndexedShards": "data.reading",
    "EpochOrder": "data.order",
    "ShardDataModule": "data.datamodule",
    "ShopDataModule": "shop.datamodule",
    "ZooModule": "models.base",
    "DualFlow": "models.dual_flow.module",
    "load_recipe": "recipes",
}
"""Public name to the module that defines it."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("moon-zoo")
    if name not in _HOMES:
        raise AttributeError(f"module 'moon_zoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"moon_zoo.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
