from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.streaming import StreamedShards, is_streamed
from moon_zoo.errors import DataError, Faults
from tests.conftest import make_product, make_search
from tests.data.tiny import TinyInputs, TinyModule, build_trainer


@pytest.fixture
def tars(product_set: Path, tmp_path: Path) -> Path:
    """The product set's tars without manifest and indexes."""
    for tar in product_set.glob("*.tar"):
        shutil.copy(tar, tmp_path / tar.name)
    return tmp_path


def test_patterns_are_told_from_sets() -> None:
    assert is_streamed("a/{000..003}.tar") and is_streamed("https://example.org/a.tar")
    assert not is_streamed("shards/train") and not is_streamed("s3://bucket/train/manifest.json")


def test_stream_gives_the_samples_that_were_written(tars: Path, search_set: Path) -> None:
    products = StreamedShards(str(tars / "products-{000000..000007}.tar"))
    assert list(products.samples()) == [make_product(number) for number in range(37)]
    searches = StreamedShards(str(search_set / "searches-000002.tar"))
    assert list(searches.samples()) == [make_search(number) for number in (20, 21, 22)]


def test_urls_are_streamed_through_fsspec(tars: Path) -> None:
    url = f"file://{tars}/products-000007.tar"
    assert [product.item_id for product in StreamedShards(url).samples()] == ["item-035", "item-036"]


def test_shell_commands_are_refused(tmp_path: Path) -> None:
    trace = tmp_path / "ran.tar"
    with pytest.raises(DataError, match="asks for a command to be run, which is refused"):
        StreamedShards(f"pipe:touch {trace}")
    assert not trace.exists()


def test_missing_tar_is_named(tars: Path) -> None:
    with pytest.raises(DataError, match=r"products-000008.tar does not exist"):
        StreamedShards(str(tars / "products-{000007..000008}.tar"))


def test_cut_tar_is_named(tars: Path) -> None:
    tar = tars / "products-000001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(DataError, match="cannot be read to its end") as caught:
        list(StreamedShards(str(tars / "products-{000000..000001}.tar")).samples())
    assert str(tar) in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2, 5])
def test_streamed_evaluation_sees_every_sample_once(workers: int, tars: Path) -> None:
    data = ShardDataModule(test=str(tars / "products-{000000..000007}.tar"), eval_batch_size=4, num_workers=workers)
    data.inputs = TinyInputs()
    batches = list(data.test_dataloader())
    assert all(batch["photo"].shape == (4, 3, 8, 8) for batch in batches)
    assert sum(int(batch["valid"].sum()) for batch in batches) == 37
    assert all(bool((batch["index"] == -1).all()) for batch in batches)


def test_streamed_training_runs_epochs_of_the_given_length(tars: Path, tmp_path: Path) -> None:
    data = ShardDataModule(
        train=str(tars / "products-{000000..000007}.tar"), batch_size=4, num_workers=2, streamed_length=50
    )
    (tmp_path / "out").mkdir()
    trainer = build_trainer(tmp_path / "out", max_epochs=2)
    trainer.fit(TinyModule(), datamodule=data)
    assert trainer.global_step == 24 == 2 * data.train_batches()


def test_streamed_training_mixes_and_repeats(tars: Path) -> None:
    """One reader, 74 samples: two passes over 37, in another order than on disk, and every draw of its own."""
    data = ShardDataModule(
        train=str(tars / "products-{000000..000007}.tar"), batch_size=37, num_workers=0, streamed_length=74
    )
    data.inputs = TinyInputs()
    noise = torch.cat([batch["noise"] for batch in data.train_dataloader()])
    assert len(noise) == 74 and len(noise.unique()) == 74


def test_passes_visit_every_sample(tars: Path) -> None:
    class Ids(TinyInputs):
        def sample(self, sample: object, draw: object) -> dict[str, torch.Tensor]:
            return {"number": torch.tensor(int(sample.item_id[-3:]))}  # type: ignore[attr-defined]

    data = ShardDataModule(
        train=str(tars / "products-{000000..000007}.tar"), batch_size=1, num_workers=0, streamed_length=37 * 60
    )
    data.inputs = Ids()
    numbers = [int(batch["number"]) for batch in data.train_dataloader()]
    counts = Counter(numbers)
    assert set(counts) == set(range(37)) and numbers[:37] != sorted(numbers[:37])
    assert min(counts.values()) > 20  # 60 passes less what the shuffle buffer still holds


def test_training_needs_a_length(tars: Path) -> None:
    data = ShardDataModule(train=str(tars / "products-000000.tar"), num_workers=0)
    data.inputs = TinyInputs()
    with pytest.raises(DataError, match="is not known, because it is streamed") as caught:
        data.train_dataloader()
    assert "data.init_args.streamed_length" in str(caught.value)


def test_streamed_shards_have_no_positions(tars: Path) -> None:
    with pytest.raises(DataError, match="its samples have no positions") as caught:
        ShardDataModule(val=str(tars / "products-000000.tar")).shards("val")
    assert "moon-zoo inspect --index" in str(caught.value)


def test_streamed_kind_is_checked(search_set: Path, tmp_path: Path) -> None:
    data = ShardDataModule(
        train=str(search_set / "searches-000000.tar"), batch_size=2, num_workers=0, streamed_length=4
    )
    with pytest.raises(DataError, match="takes samples of kind product, but these shards hold kind search"):
        build_trainer(tmp_path, max_epochs=1).fit(TinyModule(), datamodule=data)


def test_index_turns_a_stream_into_a_set(tars: Path) -> None:
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.data.verify import build_index

    build_index(tars)
    assert list(IndexedShards(tars)) == [make_product(number) for number in range(37)]
    with pytest.raises(Faults):
        (tars / "junk.tar").write_bytes(b"junk")
        build_index(tars)
