"""The shop in the cache: written once, by one of several processes, and read as batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import Product
from moon_zoo.errors import UsageError
from moon_zoo.shop.datamodule import ShopDataModule

SMALL = {"num_products": 30, "photo_px": 32, "photos_per_product": 2}


class PriceTag:
    """The least that inputs can be: how long the title is."""

    def fit(self, samples: object, manifest: object) -> None: ...

    def sample(self, sample: Product, draw: Draw) -> dict[str, torch.Tensor]:
        return {"letters": torch.tensor(len(sample.title))}

    def batch(self, samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return stack(samples)

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOON_ZOO_CACHE", str(tmp_path))
    return tmp_path


def test_the_shop_is_written_on_first_use_and_not_again(cache: Path):
    shop = ShopDataModule(**SMALL)
    assert not shop.folder.exists()
    shop.prepare_data()
    written = (shop.folder / "train" / "manifest.json").stat().st_mtime_ns
    ShopDataModule(**SMALL, batch_size=7, seed=3).prepare_data()
    assert (shop.folder / "train" / "manifest.json").stat().st_mtime_ns == written
    assert [path.name for path in (cache / "shop").iterdir() if not path.name.startswith(".")] == [shop.folder.name]


def test_another_shop_has_another_folder(cache: Path):
    folders = {
        ShopDataModule(**{**SMALL, **change}).folder
        for change in ({}, {"kind": "search"}, {"num_products": 31}, {"photo_px": 48}, {"shop_seed": 1})
    }
    assert len(folders) == 5


def test_batches_cover_the_validation_split_once(cache: Path):
    shop = ShopDataModule(**SMALL, batch_size=4, eval_batch_size=4, num_workers=0)
    shop.prepare_data()
    shop.inputs = PriceTag()
    shop.setup("fit")
    loaders = shop.val_dataloader()
    batches = list(loaders[0] if isinstance(loaders, list) else loaders)
    seen = torch.cat([batch["index"][batch["valid"]] for batch in batches])
    assert sorted(seen.tolist()) == list(range(len(shop.shards("val"))))
    assert next(iter(shop.train_dataloader()))["letters"].shape == (4,)


def test_arguments_out_of_range_are_refused_before_anything_is_written(cache: Path):
    with pytest.raises(UsageError, match="photo_px is 8"):
        ShopDataModule(photo_px=8)
    assert not (cache / "shop").exists()
