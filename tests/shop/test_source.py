"""The shop as a source of `pack`."""

from __future__ import annotations

import pytest

from moon_zoo.errors import UsageError
from moon_zoo.registry import entry
from moon_zoo.shop import write_shop
from moon_zoo.sources.shop import ShopSource


def test_the_source_yields_what_write_shop_writes(tmp_path):
    read = list(ShopSource(num_products=12, photo_px=32, seed=2, workers=1).read())
    manifests = write_shop(tmp_path / "shop", num_products=12, photo_px=32, seed=2, workers=1)
    counts = {split: sum(1 for name, _, _ in read if name == split) for split in manifests}
    assert counts == {split: manifest.samples for split, manifest in manifests.items()}
    assert len({key for _, key, _ in read}) == len(read)


def test_the_source_is_registered_and_names_its_licence():
    source = entry("sources", "shop").load()
    assert source is ShopSource
    assert source.licence == "CC0-1.0"
    assert "drawn" in source.description


def test_searches_are_of_their_own_kind():
    assert ShopSource(kind="search", num_products=20).kind == "search"
    assert ShopSource(num_products=20).kind == "product"
    with pytest.raises(UsageError):
        ShopSource(kind="impressions")
