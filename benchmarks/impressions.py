"""Rows of impressions read per second in the shuffled order of training, and the memory that takes.

Twenty million rows by default: user, item, category and hour, a price, histories of up to 50 items with their categories, in
batches of 4,096. Ours goes through shards, `ShardDataModule` with two workers and the inputs of the click model, with an
exact global order: what a training run waits for. The peer is what one would write with pyarrow: a Parquet file whose row
groups two worker processes of torch's `DataLoader` read, each row group shuffled within itself, lists padded by numpy; its
batches hold the same tensors. Both read the same rows from files that are in the page cache.

Peak memory is that of the main process and its workers together, without pages that merely map the files (they are the
system's to take back); it is measured over the whole epoch, in a process of its own.

    python benchmarks/run.py impressions
    python benchmarks/impressions.py --rows 200000 --rounds 1     # a try
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from _harness import OURS, Row, compare, in_own_process, warn_if_busy, write_rows

BATCH, HISTORY, WORKERS = 4096, 50, 2
CHUNK = 65536
NUM_USERS, NUM_ITEMS, NUM_CATEGORIES = 200_000, 100_000, 200
PEER = "pyarrow, Parquet row groups"
GOAL = 500_000
ROW_GROUP = 32768


# The data -------------------------------------------------------------------------------------------------------------


def chunks(rows: int) -> Iterator[pa.RecordBatch]:
    """Made-up rows: popular items come more often; eight rows in a row are one user's and share a history."""
    random = np.random.default_rng(0)
    category = random.integers(0, NUM_CATEGORIES, NUM_ITEMS)
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        owners = -(-count // 8)
        lengths = np.minimum(random.geometric(1 / 25, owners), HISTORY).astype(np.int32)
        pool = _popular(random, int(lengths.sum()))
        owner = np.repeat(np.arange(owners), 8)[:count]
        starts = (np.cumsum(lengths) - lengths).astype(np.int32)[owner]
        items = _popular(random, count)

        def lists(values: np.ndarray, starts: np.ndarray = starts, sizes: np.ndarray = lengths[owner]) -> pa.Array:
            return pa.ListViewArray.from_arrays(pa.array(starts), pa.array(sizes), pa.array(values))

        yield pa.record_batch(
            {
                "user_id": random.integers(0, NUM_USERS, owners)[owner],
                "item_id": items,
                "category": category[items],
                "hour": random.integers(0, 24, count),
                "price": random.random(count).astype(np.float32),
                "history.item_id": lists(pool),
                "history.category": lists(category[pool]),
                "click": random.integers(0, 2, count).astype(np.uint8),
            }
        )


def _popular(random: np.random.Generator, count: int) -> np.ndarray:
    return (NUM_ITEMS * random.random(count) ** 3).astype(np.int64)


def write_sets(folder: Path, rows: int) -> float:
    """The rows as our shards and as Parquet; returns rows per second of writing the shards."""
    from moon_zoo.data.impressions.raw import RawImpressions
    from moon_zoo.data.impressions.schema import Categorical, Numeric, Schema, Sequence
    from moon_zoo.data.writing import write_splits

    names = (("user_id", "user"), ("item_id", "item"), ("category", "item"), ("hour", "context"))
    schema = Schema(
        categorical=tuple(Categorical(name, role, name) for name, role in names),  # type: ignore[arg-type]
        numeric=(Numeric("price", "item"),),
        sequences=(Sequence("history", ("item_id", "category")),),
    )
    began = time.perf_counter()
    write_splits(
        folder / "shards", (("train", str(n), RawImpressions(schema, one)) for n, one in enumerate(chunks(rows)))
    )
    rate = rows / (time.perf_counter() - began)
    with_lists = pa.schema(
        [
            (field.name, pa.list_(field.type.value_type) if "." in field.name else field.type)
            for field in next(chunks(1)).schema
        ]
    )
    with pq.ParquetWriter(folder / "rows.parquet", with_lists) as writer:
        for chunk in chunks(rows):
            columns = [_plain(chunk.column(field.name)) for field in with_lists]
            writer.write_table(pa.Table.from_arrays(columns, schema=with_lists), row_group_size=ROW_GROUP)
    return rate


def _plain(column: pa.Array) -> pa.Array:
    if not pa.types.is_list_view(column.type):
        return column
    sizes = column.sizes.to_numpy()
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), column.flatten())


# The contenders -------------------------------------------------------------------------------------------------------


def ours(folder: Path) -> Iterator[int]:
    """One epoch; gives rows batch by batch."""
    from moon_zoo.data.datamodule import ShardDataModule
    from moon_zoo.models.mim.inputs import MimInputs

    data = ShardDataModule(train=str(folder / "shards" / "train"), batch_size=BATCH, num_workers=WORKERS)
    data.inputs = MimInputs(max_history=HISTORY)  # type: ignore[assignment]
    data.setup("fit")
    return (len(batch["label"]) for batch in data.train_dataloader())


class ParquetRows(IterableDataset):
    """What one would write with pyarrow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        random = np.random.default_rng(number)
        pa.set_cpu_count(1)
        with pq.ParquetFile(self.path) as file:
            for group in random.permutation(np.arange(number, file.num_row_groups, workers)):
                table = file.read_row_group(int(group), use_threads=False)
                order = random.permutation(table.num_rows)
                columns = {name: self._column(table.column(name)) for name in table.column_names}
                for first in range(0, len(order) - BATCH + 1, BATCH):
                    some = order[first : first + BATCH]
                    batch = {name: values[some] for name, values in columns.items()}
                    batch["mask/history"] = batch["history.item_id"] >= 0
                    yield {name: torch.from_numpy(values) for name, values in batch.items()}

    def _column(self, column: pa.ChunkedArray) -> np.ndarray:
        array = column.combine_chunks()
        if not pa.types.is_list(array.type):
            return array.to_numpy()
        lengths = np.diff(array.offsets.to_numpy())
        padded = np.full((len(array), HISTORY), -1, dtype=np.int32)
        padded[np.arange(HISTORY) < lengths[:, None]] = array.flatten().to_numpy()
        return padded


def theirs(folder: Path) -> Iterator[int]:
    """One epoch; gives rows batch by batch."""
    loader = DataLoader(ParquetRows(folder / "rows.parquet"), batch_size=None, num_workers=WORKERS, prefetch_factor=3)
    return (len(batch["click"]) for batch in loader)


RUNS = {OURS: ours, PEER: theirs}


# Measuring ------------------------------------------------------------------------------------------------------------


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Rows per second of one epoch, and peak memory in MB, in this very process.

    The clock starts with the first batch: imports and the start of workers take seconds once, whatever the table.
    """
    watch = _Watch()
    watch.start()
    batches = RUNS[name](folder)
    next(batches)
    began = time.perf_counter()
    rows = sum(batches)
    seconds = time.perf_counter() - began
    watch.finished.set()
    watch.join()
    return {"rows": rows, "rate": rows / seconds, "peak": watch.peak / 1e6}


class _Watch(threading.Thread):
    """Notes the peak of this process's and its children's memory that no file backs, ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.finished = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self.finished.wait(0.1):
            self.peak = max(self.peak, sum(_own_bytes(process) for process in _family()))


def _family() -> list[str]:
    try:
        children = Path("/proc/thread-self/children").parent.parent / "self" / "task"
        found = [pid for task in children.iterdir() for pid in (task / "children").read_text().split()]
    except OSError:
        found = []
    return ["self", *found]


def _own_bytes(process: str) -> int:
    """Anonymous and shared memory of a process, each page divided among those that share it."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    wanted = ("Pss_Anon:", "Pss_Shmem:")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write the rows; a temporary folder unless given")
    parser.add_argument("--one", choices=list(RUNS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("moon_zoo").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if options.one is not None:
        print(json.dumps(measure(options.one, options.folder)))
        return
    warn_if_busy()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "rows.parquet").is_file():
            print(f"writing {options.rows:,} rows", flush=True)
            written = write_sets(folder, options.rows)
            print(f"shards were written at {written:,.0f} rows per second", flush=True)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
        for number in range(options.rounds):
            for name in list(RUNS) if number % 2 == 0 else list(RUNS)[::-1]:
                said = in_own_process(__file__, "--one", name, "--folder", str(folder))
                found[name].append(json.loads(said))
                print(name, said, flush=True)
    case = f"{options.rows:,} rows, histories of up to {HISTORY}, batches of {BATCH:,}, {WORKERS} workers"
    packages = ("pyarrow", "numpy")
    rows: list[Row] = compare(
        f"{case}: shuffled epoch",
        {name: [one["rate"] for one in some] for name, some in found.items()},
        unit="rows/s",
        floor=f"asked: {GOAL:,} rows/s",
        packages=packages,
    )
    rows += compare(
        f"{case}: peak memory",
        {name: [one["peak"] for one in some] for name, some in found.items()},
        unit="MB",
        packages=packages,
    )
    write_rows("impressions", rows)


if __name__ == "__main__":
    main()
