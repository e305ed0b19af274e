"""A training process is killed in mid-epoch; whoever goes on sees exactly the samples that were not seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.order import EpochOrder
from moon_zoo.errors import DataError
from tests.conftest import NUM_PRODUCTS, write_products
from tests.data.tiny import Seen, TinyModule, build_trainer

TINY = Path(__file__).parent / "tiny.py"
SIZES = [5, 5, 5, 5, 5, 5, 5, 2]
SEED = 5


def start(*arguments: object) -> subprocess.Popen:
    # A session of its own, so that killing it reaches its workers and ranks and nothing else.
    return subprocess.Popen(
        [sys.executable, str(TINY), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output


def seen(out: Path, rank: int = 0, stage: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (out / f"seen-{rank}.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage]


def indexes(lines: list[dict], epoch: int | None = None) -> list[int]:
    return [index for line in lines if epoch in (None, line["epoch"]) for index in line["index"]]


def checkpoint(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step={step}.ckpt"


@pytest.fixture(scope="module")
def killed(product_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with one worker and batches of 3 that was killed (SIGKILL) after 4 of 12 steps."""
    out = tmp_path_factory.mktemp("killed")
    process = start("fit", "--train", product_set, "--out", out, "--batch", 3, "--workers", 1, "--pause-at", 4)
    deadline = time.monotonic() + 90
    while not (out / "paused").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the run did not get to step 4: {process.communicate()[0]}")
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(indexes(seen(out))) == 12
    return out


@pytest.fixture(scope="module")
def two_ranks(killed: Path, product_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The killed run taken up by two gloo ranks with batches of 2 and two workers each, to the end of epoch 1.

    It validates on 37 queries in 8 shards and a gallery of 7 products in a single shard, in batches of 2.
    """
    out = tmp_path_factory.mktemp("two_ranks")
    gallery = write_products(out / "gallery", 7, max_samples=100, photos=1)
    paths = ("--train", product_set, "--val", product_set, "--gallery", gallery, "--out", out)
    resume = ("--resume", checkpoint(killed, 4))
    finish(start("fit", *paths, *resume, "--batch", 2, "--workers", 2, "--ranks", 2, "--epochs", 2))
    return out


def test_killed_run_goes_on_with_two_ranks_and_other_workers(killed: Path, two_ranks: Path) -> None:
    """12 of 37 samples are done; two ranks of 2 take the other 25 in 6 global steps of 4, dropping the last one."""
    before = indexes(seen(killed))
    both = [seen(two_ranks, rank) for rank in (0, 1)]
    order = EpochOrder(SIZES, seed=SEED, epoch=0).positions(0, NUM_PRODUCTS).tolist()
    assert before == order[:12]
    after = [
        index
        for one, other in zip(*both, strict=True)
        if one["epoch"] == 0
        for index in (*one["index"], *other["index"])
    ]
    assert after == order[12:36]
    # The following epoch is a whole one again: 9 steps of 4, every sample at most once.
    second = [indexes(lines, epoch=1) for lines in both]
    assert [len(part) for part in second] == [18, 18]
    assert max(Counter(second[0] + second[1]).values()) == 1


@pytest.mark.parametrize(("loader", "samples", "batches"), [(0, 37, 10), (1, 7, 2)])
def test_two_ranks_count_each_sample_once(loader: int, samples: int, batches: int, two_ranks: Path) -> None:
    """Neither 37 nor 7 divides by two ranks of 2; the gallery has fewer shards than ranks."""
    for epoch in (0, 1):
        ranks = [
            [line for line in seen(two_ranks, rank, "val") if (line["loader"], line["epoch"]) == (loader, epoch)]
            for rank in (0, 1)
        ]
        assert [len(lines) for lines in ranks] == [batches, batches]
        rows = [row for lines in ranks for line in lines for row in zip(line["index"], line["valid"])]
        assert len(rows) == 4 * batches
        assert sorted(index for index, valid in rows if valid) == list(range(samples))


def test_what_one_rank_learned_for_the_inputs_all_ranks_have(two_ranks: Path) -> None:
    learned = [json.loads((two_ranks / f"inputs-{rank}.json").read_text()) for rank in (0, 1)]
    assert learned[0] == learned[1] and learned[0]["titles"] > 0


def resume_here(out: Path, data: ShardDataModule, path: Path | None, epochs: int = 2, **more: object) -> list[dict]:
    out.mkdir(parents=True, exist_ok=True)
    trainer = build_trainer(out, **({"max_epochs": epochs, "num_sanity_val_steps": 0} | more))
    trainer.fit(TinyModule(), datamodule=data, ckpt_path=path)
    return seen(out)


@pytest.mark.parametrize(("batch", "workers"), [(3, 0), (3, 2), (5, 0), (1, 0), (26, 0)])
def test_remaining_samples_are_those_not_seen(
    batch: int, workers: int, killed: Path, product_set: Path, tmp_path: Path
) -> None:
    """25 samples are left. A batch of 26 cannot be filled from them, so the epoch is over and the next one is whole."""
    data = ShardDataModule(train=str(product_set), batch_size=batch, num_workers=workers, seed=SEED)
    lines = resume_here(tmp_path, data, checkpoint(killed, 4))
    order = EpochOrder(SIZES, seed=SEED, epoch=0).positions(0, NUM_PRODUCTS).tolist()
    assert indexes(lines, epoch=0) == order[12 : 12 + 25 // batch * batch]
    following = EpochOrder(SIZES, seed=SEED, epoch=1).positions(0, NUM_PRODUCTS).tolist()
    assert indexes(lines, epoch=1) == following[: NUM_PRODUCTS // batch * batch]


@pytest.mark.parametrize(
    "limits",
    [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 18}, {"max_epochs": 2, "val_check_interval": 4}],
    ids=["epochs", "steps", "validation-in-mid-epoch"],
)
def test_resumed_run_equals_the_uninterrupted_one(limits: dict, product_set: Path, tmp_path: Path) -> None:
    """From checkpoints of 2 epochs of 9 steps, among them both ends of epochs: same samples, same draws, same weights."""

    def data() -> ShardDataModule:
        return ShardDataModule(train=str(product_set), val=str(product_set), batch_size=4, num_workers=0, seed=SEED)

    whole = resume_here(tmp_path / "whole", data(), None, **limits)
    assert len(whole) == 18
    weights = torch.load(checkpoint(tmp_path / "whole", 18), weights_only=True)["state_dict"]
    for step in (1, 5, 8, 9, 10, 17):
        rest = resume_here(tmp_path / str(step), data(), checkpoint(tmp_path / "whole", step), **limits)
        assert rest == whole[step:], f"resumed at step {step}"
        resumed = torch.load(checkpoint(tmp_path / str(step), 18), weights_only=True)["state_dict"]
        assert torch.equal(weights["layer.weight"], resumed["layer.weight"])


def test_resumed_from_a_checkpoint_of_the_end_of_an_epoch(product_set: Path, tmp_path: Path) -> None:
    """The default checkpoint of Lightning is made after validation, when the epoch is over but not yet counted."""
    for name, val in (("with", str(product_set)), ("without", None)):
        out = tmp_path / name
        out.mkdir()
        saver = ModelCheckpoint(out / "checkpoints", filename="end", enable_version_counter=False)
        data = ShardDataModule(train=str(product_set), val=val, batch_size=4, num_workers=0, seed=SEED)
        resume_here(out, data, None, epochs=1, callbacks=[saver, Seen(out)])
        for batch in (4, 6):
            again = ShardDataModule(train=str(product_set), val=val, batch_size=batch, num_workers=0, seed=SEED)
            lines = resume_here(tmp_path / f"{name}-{batch}", again, out / "checkpoints" / "end.ckpt")
            following = EpochOrder(SIZES, seed=SEED, epoch=1).positions(0, NUM_PRODUCTS).tolist()
            assert indexes(lines) == following[: NUM_PRODUCTS // batch * batch], (name, batch)


def test_limited_epochs_resume_at_the_next_epoch(product_set: Path, tmp_path: Path) -> None:
    data = ShardDataModule(train=str(product_set), batch_size=4, num_workers=0, seed=SEED)
    whole = resume_here(tmp_path / "whole", data, None, limit_train_batches=3)
    for step in (2, 3, 4):
        data = ShardDataModule(train=str(product_set), batch_size=4, num_workers=0, seed=SEED)
        path = checkpoint(tmp_path / "whole", step)
        assert resume_here(tmp_path / str(step), data, path, limit_train_batches=3) == whole[step:]


def test_second_break_after_a_change_of_batch_size(killed: Path, product_set: Path, tmp_path: Path) -> None:
    """12 seen in threes, then 2 steps of 5, then the rest in fours: 12 + 10 + 12, three samples dropped."""
    data = ShardDataModule(train=str(product_set), batch_size=5, num_workers=0, seed=SEED)
    first = resume_here(tmp_path / "a", data, checkpoint(killed, 4), epochs=1)
    data = ShardDataModule(train=str(product_set), batch_size=4, num_workers=0, seed=SEED)
    second = resume_here(tmp_path / "b", data, checkpoint(tmp_path / "a", 6), epochs=1)
    order = EpochOrder(SIZES, seed=SEED, epoch=0).positions(0, NUM_PRODUCTS).tolist()
    assert indexes(first)[:10] == order[12:22]
    assert indexes(second) == order[22:34]


def test_batch_that_failed_in_mid_step_is_drawn_again(product_set: Path, tmp_path: Path) -> None:
    """Four steps of 4 are done, the fifth raises, and the checkpoint is made then and there."""

    class Failing(TinyModule):
        def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
            if self.global_step == 4:
                raise KeyboardInterrupt
            return super().training_step(batch, batch_idx)

    class Saving(Callback):
        def on_exception(self, trainer: object, module: object, error: BaseException) -> None:
            trainer.save_checkpoint(tmp_path / "broken.ckpt")  # type: ignore[attr-defined]

    data = ShardDataModule(train=str(product_set), batch_size=4, num_workers=1, seed=SEED)
    trainer = build_trainer(tmp_path, max_epochs=1, callbacks=[Saving()])
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer.fit(Failing(), datamodule=data)
    for batch in (4, 3):
        data = ShardDataModule(train=str(product_set), batch_size=batch, num_workers=0, seed=SEED)
        lines = resume_here(tmp_path / str(batch), data, tmp_path / "broken.ckpt", epochs=1)
        order = EpochOrder(SIZES, seed=SEED, epoch=0).positions(0, NUM_PRODUCTS).tolist()
        assert indexes(lines) == order[16 : 16 + 21 // batch * batch]


def test_other_shards_are_refused_in_words(killed: Path, tmp_path: Path) -> None:
    other = write_products(tmp_path / "other", 20)
    data = ShardDataModule(train=str(other), batch_size=3, num_workers=0, seed=SEED)
    with pytest.raises(DataError, match="trained on other shards") as caught:
        resume_here(tmp_path / "out", data, checkpoint(killed, 4))
    assert "data.init_args.train" in str(caught.value)


def test_another_seed_is_refused_in_words(killed: Path, product_set: Path, tmp_path: Path) -> None:
    data = ShardDataModule(train=str(product_set), batch_size=3, num_workers=0, seed=6)
    with pytest.raises(DataError, match="trained with seed 5, here it is 6"):
        resume_here(tmp_path, data, checkpoint(killed, 4))


@pytest.mark.parametrize("when", ["train_epoch_end", "fit_end"])
def test_run_stopped_by_max_steps_in_mid_epoch_goes_on_with_the_next_epoch_after_it(
    when: str, product_set: Path, tmp_path: Path
) -> None:
    """Lightning ends the epoch when it stops: what is resumed must be its rest, and then the next epoch, not one later."""

    def data() -> ShardDataModule:
        return ShardDataModule(train=str(product_set), batch_size=4, num_workers=0, seed=SEED)

    whole = resume_here(tmp_path / "whole", data(), None, max_epochs=-1, max_steps=24)
    out = tmp_path / "stopped"
    out.mkdir()
    saver = ModelCheckpoint(out, filename="end", enable_version_counter=False, save_on_train_epoch_end=True)
    trainer = build_trainer(out, max_epochs=-1, max_steps=5, num_sanity_val_steps=0, callbacks=[saver, Seen(out)])
    trainer.fit(TinyModule(), datamodule=data())
    if when == "fit_end":
        trainer.save_checkpoint(out / "end.ckpt")
    rest = resume_here(tmp_path / "resumed", data(), out / "end.ckpt", max_epochs=-1, max_steps=24)
    assert [line["index"] for line in rest] == [line["index"] for line in whole[5:]]
