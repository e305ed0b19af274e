from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.kinds import Product
from moon_zoo.data.writing import ShardWriter
from moon_zoo.errors import DataError, UsageError
from tests.conftest import draw_photo, make_product
from tests.data.test_resume import indexes, seen
from tests.data.tiny import Seen, TinyInputs, TinyModule, build_trainer


def loader(data: ShardDataModule, split: str = "train") -> object:
    data.inputs = TinyInputs()
    return getattr(data, f"{split}_dataloader")()


def batches_of(path: Path, split: str = "train", **more: object) -> list[dict[str, torch.Tensor]]:
    options = {"batch_size": 4, "eval_batch_size": 4, "num_workers": 0} | more
    return list(loader(ShardDataModule(**{split: str(path)}, **options), split))  # type: ignore[arg-type, call-overload]


@pytest.fixture
def broken_set(tmp_path: Path) -> Path:
    """Ten products; the photos of number 3 and number 7 are cut."""
    with ShardWriter(tmp_path / "broken", kind="product", max_samples=4) as writer:
        for number in range(10):
            cut = 600 if number in (3, 7) else None
            writer.write(f"k{number}", Product(item_id=str(number), photos=[draw_photo(number)[:cut]]))
    return tmp_path / "broken"


def test_batch_carries_positions_and_validity(product_set: Path) -> None:
    batch = batches_of(product_set)[0]
    assert batch["photo"].shape == (4, 3, 8, 8) and batch["photo"].dtype == torch.uint8
    assert batch["index"].dtype == torch.int64 and batch["valid"].tolist() == [True] * 4


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_neither_order_nor_augmentation(workers: int, product_set: Path) -> None:
    """Noise is drawn from the generator that the data layer hands to `inputs.sample`."""
    alone, shared = batches_of(product_set, seed=2), batches_of(product_set, seed=2, num_workers=workers)
    assert len(alone) == len(shared) == 9
    for one, other in zip(alone, shared):
        assert {name: value.tolist() for name, value in one.items()} == {
            name: value.tolist() for name, value in other.items()
        }
    noise = torch.cat([batch["noise"] for batch in alone])
    assert len(noise.unique()) == len(noise)
    assert not torch.equal(noise, torch.cat([batch["noise"] for batch in batches_of(product_set, seed=3)]))


def test_loaders_take_as_much_from_the_global_generator_with_workers_as_without(product_set: Path) -> None:
    """So that dropout, which draws from it too, is the same for any number of workers."""
    drawn = []
    for workers in (0, 1, 2):
        torch.manual_seed(5)
        made = loader(ShardDataModule(train=str(product_set), batch_size=37, num_workers=workers))
        for epoch in range(3):
            made.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            assert len(list(made)) == 1  # type: ignore[call-overload]
        drawn.append(torch.rand(()).item())
    assert drawn[0] == drawn[1] == drawn[2]


def test_epochs_draw_anew(product_set: Path) -> None:
    data = ShardDataModule(train=str(product_set), batch_size=37, num_workers=1)
    made = loader(data)
    first = next(iter(made))  # type: ignore[call-overload]
    made.sampler.set_epoch(1)  # type: ignore[attr-defined]
    second = next(iter(made))  # type: ignore[call-overload]
    assert first["index"].tolist() != second["index"].tolist()
    assert sorted(first["index"].tolist()) == sorted(second["index"].tolist()) == list(range(37))
    order = second["index"].argsort()
    assert not torch.equal(first["noise"][first["index"].argsort()], second["noise"][order])


def test_evaluation_pads_the_last_batch_with_rows_that_do_not_count(product_set: Path) -> None:
    batches = batches_of(product_set, "test")
    assert [len(batch["index"]) for batch in batches] == [4] * 10
    assert batches[-1]["valid"].tolist() == [True, False, False, False]
    valid = [batch["index"][batch["valid"]].tolist() for batch in batches]
    assert sum(valid, start=[]) == list(range(37))  # noqa: RUF017


def test_undecodable_photo_stops_with_field_key_and_shard(broken_set: Path) -> None:
    for workers in (0, 1):
        with pytest.raises(DataError) as caught:
            batches_of(broken_set, "test", num_workers=workers)
        message = str(caught.value)
        assert message.startswith(
            "photo_0.jpg of sample k3 in broken-000000.tar: the photo cannot be decoded (600 bytes)"
        )
        assert f"data.init_args.test = {broken_set}" in message and "data.init_args.on_error to skip" in message
        assert "Traceback" not in message and "DataLoader worker" not in message


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_samples_do_not_count_and_are_reported(
    workers: int, broken_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ShardDataModule(test=str(broken_set), eval_batch_size=4, num_workers=workers, on_error="skip")
    batches = list(loader(data, "test"))  # type: ignore[call-overload]
    assert [batch["photo"].shape for batch in batches] == [(4, 3, 8, 8)] * 3
    counted = [index for batch in batches for index in batch["index"][batch["valid"]].tolist()]
    assert counted == [0, 1, 2, 4, 5, 6, 8, 9]
    with caplog.at_level(logging.WARNING):
        data.teardown("test")
    assert "2 samples of test could not be read and were skipped" in caplog.text


def test_batch_without_a_readable_sample_keeps_its_shape(broken_set: Path) -> None:
    batches = batches_of(broken_set, "test", eval_batch_size=1, on_error="skip")
    assert batches[3]["photo"].shape == (1, 3, 8, 8) and batches[3]["valid"].tolist() == [False]


def test_set_without_any_readable_sample_is_refused(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "all", kind="product") as writer:
        for number in range(3):
            writer.write(f"k{number}", Product(item_id=str(number), photos=[draw_photo(number)[:500]]))
    with pytest.raises(DataError, match="no readable sample"):
        batches_of(tmp_path / "all", "test", on_error="skip")


def test_missing_shard_stops_training_in_words(product_set: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(product_set, tmp_path / "copy"))
    (copy / "products-000004.tar").unlink()
    with pytest.raises(DataError, match=r"products-000004.tar is missing"):
        batches_of(copy, num_workers=1)


def test_kind_that_the_model_does_not_take_is_refused(search_set: Path, tmp_path: Path) -> None:
    data = ShardDataModule(train=str(search_set), batch_size=4, num_workers=0)
    trainer = build_trainer(tmp_path, max_epochs=1)
    with pytest.raises(
        DataError, match=r"TinyModule takes samples of kind product, but these shards hold kind search"
    ) as e:
        trainer.fit(TinyModule(), datamodule=data)
    assert "data.init_args.train" in str(e.value)


def test_too_few_samples_for_one_step_are_refused(item_set: Path) -> None:
    with pytest.raises(DataError, match="11 samples do not fill one step of 12 on 1 rank") as caught:
        batches_of(item_set, batch_size=12)
    assert "data.init_args.batch_size" in str(caught.value)


def test_absent_split_names_its_option() -> None:
    with pytest.raises(DataError, match="no shards are given for predict") as caught:
        ShardDataModule().predict_dataloader()
    assert "data.init_args.predict" in str(caught.value)
    with pytest.raises(UsageError, match="unknown split 'vali'"):
        ShardDataModule().shards("vali")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "batch_size is 0"), ({"num_workers": -1}, "num_workers is -1"), ({"on_error": "no"}, "'no'")],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        ShardDataModule(**options)
    assert f"data.init_args.{next(iter(options))}" in str(caught.value)


def test_every_loop_of_lightning_runs(product_set: Path, item_set: Path, tmp_path: Path) -> None:
    """Fit with validation against a gallery, validate, test and predict, with the loaders Lightning makes of ours."""
    paths = {name: str(product_set) for name in ("train", "val", "test", "predict")}
    data = ShardDataModule(**paths, gallery=str(item_set), batch_size=6, num_workers=1)
    trainer = build_trainer(tmp_path, max_epochs=2)
    module = TinyModule()
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 12 == 2 * data.train_batches()
    assert module.inputs.state_dict() == {"titles": sum(len(make_product(number).title) for number in range(37))}
    validated = seen(tmp_path, stage="val")
    assert {line["loader"] for line in validated} == {0, 1}
    trainer.validate(module, datamodule=data, verbose=False)
    trainer.test(module, datamodule=data, verbose=False)
    counted = [i for line in seen(tmp_path, stage="test") for i, valid in zip(line["index"], line["valid"]) if valid]
    assert counted == [*range(37), *range(11)]
    predicted = trainer.predict(module, datamodule=data)
    assert torch.cat([rows["index"] for rows in predicted]).tolist() == list(range(37))  # type: ignore[union-attr]
    assert data.shards("gallery")[10].item_id == "item-010"


def test_checkpoint_of_other_shards_may_still_be_tested(product_set: Path, item_set: Path, tmp_path: Path) -> None:
    data = ShardDataModule(train=str(product_set), batch_size=6, num_workers=0)
    build_trainer(tmp_path, max_epochs=1).fit(TinyModule(), datamodule=data)
    other = ShardDataModule(train=str(item_set), test=str(item_set), num_workers=0, seed=9)
    trainer = build_trainer(tmp_path, callbacks=[Seen(tmp_path)])
    trainer.test(TinyModule(), datamodule=other, ckpt_path=tmp_path / "checkpoints" / "step=6.ckpt", verbose=False)
    assert len(indexes(seen(tmp_path, stage="test"))) >= 11


def test_overfitting_on_a_few_batches_works(product_set: Path, tmp_path: Path) -> None:
    """Lightning replaces the sampler for it, so the same first samples come every epoch."""
    data = ShardDataModule(train=str(product_set), val=str(product_set), batch_size=4, num_workers=0)
    build_trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(TinyModule(), datamodule=data)
    assert indexes(seen(tmp_path)) == [*range(8), *range(8)]


def test_state_holds_plain_values_only(product_set: Path, tmp_path: Path) -> None:
    data = ShardDataModule(train=str(product_set), batch_size=6, num_workers=0)
    build_trainer(tmp_path, max_epochs=1).fit(TinyModule(), datamodule=data)
    path = tmp_path / "checkpoints" / "step=2.ckpt"
    state = torch.load(path, weights_only=True)["ShardDataModule"]
    fingerprint = data.shards("train").manifest.fingerprint
    assert json.loads(json.dumps(state)) == {
        "epoch": 0, "samples_seen": 12, "seed": 0, "fingerprint": fingerprint, "window_shards": 4,
    }  # fmt: skip


def test_photos_stay_channels_last_in_batches() -> None:
    """Decoded photos are; a batch of them, and one with a placeholder among them, has their values and shape."""
    from moon_zoo.data.images import decode_photo
    from moon_zoo.data.inputs import stack

    photos = [decode_photo(draw_photo(number), 16) for number in range(3)] + [torch.zeros(3, 16, 16, dtype=torch.uint8)]
    batch = stack([{"photo": photo} for photo in photos])["photo"]
    assert torch.equal(batch, torch.stack(photos)) and batch.is_contiguous(memory_format=torch.channels_last)
