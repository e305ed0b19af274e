"""Training and evaluation of DIN on one table of clicks: ours beside FuxiCTR's, each as its users run it.

200,000 training rows, 100,000 test rows, histories of up to 50 items, embeddings of 16 numbers, the same sizes of network,
Adam's same learning rate, batches of 4,096. In each round both start from nothing, train three epochs and are evaluated with
GAUC; they take turns. Ours goes through shards, data module, Lightning's trainer and callbacks-free `fit` and `validate`;
a figure is rows divided by seconds of the training epochs (of the whole call, for evaluation).

    python benchmarks/run.py ctr
    python benchmarks/ctr.py --rounds 1 --rows 20000      # a try
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa

from _clicks import HISTORY, Table, make_table
from _harness import OURS, compare, warn_if_busy, write_rows

BATCH_SIZE, EPOCHS = 4096, 3
SIZES = {"embedding_dim": 16, "hidden": (512, 128, 64), "attention_hidden": (64,)}
LEARNING_RATE = 3e-3
PEER = "fuxictr"


def save_shards(train: Table, test: Table, folder: Path) -> None:
    """The table as our users keep it."""
    from moon_zoo.data.impressions.raw import RawImpressions
    from moon_zoo.data.impressions.schema import Categorical, Schema, Sequence
    from moon_zoo.data.writing import write_splits

    schema = Schema(
        categorical=(
            Categorical("user_id", "user", "user_id"),
            Categorical("item_id", "item", "item_id"),
            Categorical("category", "item", "category"),
        ),
        sequences=(Sequence("history", ("item_id",)),),
    )

    def samples():
        for split, table in (("train", train), ("test", test)):
            for number, start in enumerate(range(0, len(table), 50_000)):
                part = table.rows(start, start + 50_000)
                there = part.histories >= 0
                offsets = np.concatenate([[0], there.sum(1).cumsum()]).astype(np.int32)
                rows = pa.table(
                    {
                        "user_id": part.users,
                        "item_id": part.items,
                        "category": part.categories,
                        "history.item_id": pa.ListArray.from_arrays(offsets, part.histories[there]),
                        "click": part.clicks,
                    }
                )
                yield split, f"{split}-{number}", RawImpressions(schema, rows)

    write_splits(folder, samples(), source="made up", licence="CC0-1.0")


class Ours:
    """One model of ours and its trainer.

    Args:
        folder: Holds the shards ``train`` and ``test``.
        seed: Of initialisation and order.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        import lightning as L
        import torch

        from moon_zoo.data.datamodule import ShardDataModule
        from moon_zoo.models.mim.module import Mim

        class Epochs(L.Callback):
            def __init__(self) -> None:
                self.seconds: list[float] = []

            def on_train_epoch_start(self, *_: object) -> None:
                self.start = time.perf_counter()

            def on_train_epoch_end(self, *_: object) -> None:
                self.seconds.append(time.perf_counter() - self.start)

        L.seed_everything(seed, verbose=False)
        self.epochs = Epochs()
        paths = {"train": str(folder / "train"), "val": str(folder / "test")}
        self.data = ShardDataModule(
            **paths, batch_size=BATCH_SIZE, eval_batch_size=BATCH_SIZE, seed=seed, num_workers=1
        )

        def adam(parameters):
            return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

        self.model = Mim(behaviour="din", max_history=HISTORY, optimizer=adam, lr_schedule="constant", **SIZES)
        self.trainer = L.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            callbacks=[self.epochs],
            use_distributed_sampler=False,
        )

    def train(self) -> float:
        """Seconds of the training epochs."""
        self.trainer.fit(self.model, self.data)
        return sum(self.epochs.seconds)

    def evaluate(self) -> tuple[float, dict[str, float]]:
        """Seconds of a whole `validate`, with GAUC and everything else that it computes, and its figures."""
        import lightning as L

        trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, use_distributed_sampler=False)
        start = time.perf_counter()
        (figures,) = trainer.validate(self.model, self.data, verbose=False)
        return time.perf_counter() - start, {name.removeprefix("val/"): value for name, value in figures.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000, help="training rows; half as many are evaluated")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warn_if_busy()
    import _fuxictr

    rows, tested = options.rows, options.rows // 2
    table = make_table(rows + tested)
    speeds: dict[str, dict[str, list[float]]] = {
        case: {OURS: [], PEER: []} for case in ("train", "evaluate with gauc", "evaluate without gauc")
    }
    aucs: dict[str, list[float]] = {OURS: [], PEER: []}
    gaucs: dict[str, list[float]] = {OURS: [], PEER: []}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        train, test = table.rows(0, rows), table.rows(rows, rows + tested)
        save_shards(train, test, folder / "shards")
        _fuxictr.save(train, folder / "train.npz")
        _fuxictr.save(test, folder / "test.npz")
        settings = {"batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, **SIZES}
        for number in range(options.rounds + 1):
            ours, theirs = Ours(folder / "shards", number), _fuxictr.Runner(folder, seed=number, **settings)
            if number == 0:  # caches, compiled kernels
                ours.trainer.fit_loop.max_epochs = 1
                ours.train()
                ours.evaluate()
                continue
            speeds["train"][OURS].append(EPOCHS * rows / ours.train())
            speeds["train"][PEER].append(EPOCHS * rows / sum(theirs.train_epoch() for _ in range(EPOCHS)))
            seconds, figures = ours.evaluate()
            speeds["evaluate with gauc"][OURS].append(tested / seconds)
            speeds["evaluate without gauc"][OURS].append(tested / seconds)
            aucs[OURS].append(figures["auc"])
            gaucs[OURS].append(figures["gauc"])
            seconds, _ = theirs.evaluate(group=False)
            speeds["evaluate without gauc"][PEER].append(tested / seconds)
            seconds, figures = theirs.evaluate(group=True)
            speeds["evaluate with gauc"][PEER].append(tested / seconds)
            aucs[PEER].append(figures["AUC"])
            gaucs[PEER].append(figures["gAUC"])
            print(f"round {number}: AUC {aucs[OURS][-1]:.4f} and {aucs[PEER][-1]:.4f}", flush=True)
    sizes = f"{rows:,} rows, history {HISTORY}, embedding {SIZES['embedding_dim']}"
    best = _auc(test.probabilities, test.clicks)
    results = []
    for case, measured in speeds.items():
        target = {"train": ">= 5", "evaluate with gauc": ">= 20"}.get(case, "")
        results += compare(
            f"din, {case}, {sizes}",
            measured,
            unit="rows/s",
            ratio_of="ours / peer",
            targets={PEER: target} if target else None,
            packages=("fuxictr",),
        )
    for name, found in (("AUC", aucs), ("GAUC", gaucs)):
        floor = f"the true probabilities: {best:.4f}" if name == "AUC" else ""
        results += compare(
            f"din, {name} after {EPOCHS} epochs, {sizes}",
            found,
            unit="fraction",
            floor=floor,
            packages=("fuxictr",),
        )
    write_rows("ctr", results)
    difference = statistics.median(aucs[OURS]) - statistics.median(aucs[PEER])
    print(f"AUC: ours minus theirs {difference:+.4f} (medians; asked: at least -0.002)")
    return 0


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    ranks = scores.argsort().argsort() + 1  # the probabilities have hardly any ties
    positive = labels == 1
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))


if __name__ == "__main__":
    sys.exit(main())
