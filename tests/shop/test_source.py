"""The shop as a source of `pack`."""

from __future__ import annotations

import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.manifest import read_manifest
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
    assert ShopSource(kind="impressions", num_products=60).kind == "impressions"
    with pytest.raises(UsageError, match="no samples of kind 'impresions'") as caught:
        ShopSource(kind="impresions")
    assert caught.value.suggestions == ("impressions",)


def test_the_truth_of_the_shop_is_packed_with_it(tmp_path, capsys):
    """`moon-zoo pack shop` and the DataModule's `write_shop` leave the same manifests."""
    options = ["--num-products", "12", "--photo-px", "32", "--seed", "2", "--workers", "1"]
    assert main(["pack", "shop", *options, "--to", str(tmp_path / "packed"), "--json"]) == 0
    written = write_shop(tmp_path / "shop", num_products=12, photo_px=32, seed=2, workers=1)
    for split, manifest in written.items():
        packed = read_manifest(tmp_path / "packed" / split)
        assert packed.extra == manifest.extra
        assert packed.extra["shop"]["splits"][split]["samples"] == packed.samples
