"""`moon-zoo embed` beside the bare forward of the same model at the same batch size; and its memory, for a million rows.

The model is of the size of SigLIP-B/16: timm's ``vit_base_patch16_siglip_224`` (93M parameters) beside a text encoder of 12
layers of 768 (87M), both with random weights, since only time is measured. The floor is the forward alone, on one batch that
lies on the device; the loader alone says how far decoding is from being what holds things up.

python benchmarks/embed.py
python benchmarks/embed.py --quick              # a small model and few rows: whether it works
python benchmarks/embed.py --items 40000 --batch-size 256 --precision bf16       # on a GPU
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _harness import OURS, Row, alternate, compare, in_own_process, warn_if_busy, write_rows

FORWARD, LOADER = "bare forward", "loader alone"
TARGET = ">= 0.9"
SIDE, DISTINCT, PER_SHARD = 350, 64, 1024
ROWS, FEWER_ROWS, DIM = 1_000_000, 100_000, 128
ALLOWED_BYTES = 1e9

SIGLIP_B: dict[str, Any] = {
    "image_tower": "vit_base_patch16_siglip_224.webli",
    "image_size": 224,
    "text_tower_options": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "embedding_dim": 768,
}
SMALL: dict[str, Any] = {"image_tower": "resnet18", "image_size": 64, "embedding_dim": 64}


def write_set(folder: Path, items: int) -> None:
    """Products with one photo of `SIDE` pixels each and a title."""
    from _photos import make_photo
    from moon_zoo.data.kinds import Product
    from moon_zoo.data.writing import ShardWriter

    photos = [make_photo(SIDE, seed) for seed in range(min(DISTINCT, items))]
    with ShardWriter(folder, kind="product", max_samples=PER_SHARD) as writer:
        for number in range(items):
            title = f"a warm blue woollen jumper of size {number % 12} for winter number {number}"
            writer.write(f"{number:08d}", Product(str(number), title=title, photos=[photos[number % len(photos)]]))


def build(arguments: dict[str, Any], shards: Path) -> Any:
    """The model, with a tokenizer of the titles."""
    import torch

    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.models.dual_flow.module import DualFlow

    torch.manual_seed(0)
    module = DualFlow(image_pretrained=False, max_tokens=24, **arguments)
    some = IndexedShards(shards)
    module.inputs.fit((some[position] for position in range(min(len(some), 500))), some.manifest)
    return module.eval()


def contenders(module: Any, shards: Path, items: int, settings: Any, folder: Path) -> dict[str, Callable[[], Any]]:
    """Ours, the forward alone and the loader alone, each over ``items`` items."""
    import torch

    from moon_zoo.search.embedding import embed, pick_device
    from moon_zoo.search.item_loading import ItemInputs, PositionBatches, indexed_loader
    from moon_zoo.search.item_sets import open_sets

    device = pick_device(settings.device)
    module.to(device)
    (one,) = open_sets([str(shards)])
    inputs = ItemInputs(module.inputs, searches=True)
    workers = settings.num_workers

    def loader() -> Any:
        batches = PositionBatches([range(items)], settings.batch_size)
        return indexed_loader(
            one.shards, inputs, batches, on_error="raise", num_workers=workers, pin_memory=device.type == "cuda"
        )

    first = next(iter(loader()))
    held = {name: value.to(device) for name, value in first.items() if isinstance(value, torch.Tensor)}

    def bare() -> None:
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        with torch.inference_mode(), autocast:
            for start in range(0, items, settings.batch_size):
                rows = min(settings.batch_size, items - start)
                part = held if rows == settings.batch_size else {name: value[:rows] for name, value in held.items()}
                module.embed(part, ("product", "photo", "text"), side="item")
        if device.type == "cuda":
            torch.cuda.synchronize()

    runs = iter(range(1_000_000))

    def ours() -> None:
        to = folder / f"embeddings-{next(runs)}"
        report = embed(module, [str(shards)], to, source="benchmark", settings=settings)
        assert report.items == items

    def decode() -> None:
        assert sum(len(batch["valid"]) for batch in loader()) == items

    return {OURS: ours, FORWARD: bare, LOADER: decode}


def measure_throughput(options: argparse.Namespace) -> list[Row]:
    """Items per second of `embed`, from opening the shards to the finished folder, beside the forward alone."""
    import torch

    from moon_zoo.search.embedding import Settings, pick_device

    arguments = SMALL if options.quick else SIGLIP_B
    device = pick_device(options.device)
    workers = options.num_workers
    if workers is None:
        workers = min(os.cpu_count() or 1, 16) if device.type == "cuda" else max((os.cpu_count() or 2) // 2, 1)
    settings = Settings(
        batch_size=options.batch_size, device=str(device), precision=options.precision, num_workers=workers
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_set(root / "set", options.items)
        module = build(arguments, root / "set")
        millions = sum(parameter.numel() for parameter in module.parameters()) / 1e6
        seconds = alternate(
            contenders(module, root / "set", options.items, settings, root), rounds=options.rounds, warmups=1
        )
    rates = {name: [options.items / value for value in values] for name, values in seconds.items()}
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    floor = (
        f"bare forward {statistics.median(rates[FORWARD]):.4g} items/s; "
        f"the loader alone gives {statistics.median(rates[LOADER]):.4g}"
    )
    return compare(
        f"embed {options.items} items of {SIDE} px with titles, {arguments['image_tower'].partition('.')[0]} and text "
        f"tower ({millions:.0f}M parameters), batch {options.batch_size}, {options.precision}, {workers} workers, {on}",
        rates,
        unit="items/s",
        targets={FORWARD: TARGET},
        floor=floor,
        packages=("torchvision", "pyarrow"),
    )


def write_rows_of_nothing(rows: int) -> dict[str, float]:
    """Write synthetic vectors as `embed` does; seconds and this process's peak memory, in bytes."""
    import numpy as np

    from moon_zoo.data.embedding_parts import PartWriter, Record
    from moon_zoo.data.embeddings import Embeddings, EmbeddingWriter, SetPlan

    per_shard, batch = 50_000, 256
    random = np.random.default_rng(0)
    vectors = random.standard_normal((batch, DIM)).astype(np.float32)
    shards = tuple((f"{number}.tar", f"{number:064d}", per_shard) for number in range(rows // per_shard))
    model = {"source": "synthetic", "class_path": "", "fingerprint": "0" * 64, "embedding_dim": DIM, "moon_zoo": ""}
    with tempfile.TemporaryDirectory() as folder:
        sets = [SetPlan("/synthetic", "0" * 64, "product", rows, shards)]
        began = time.perf_counter()
        with EmbeddingWriter(folder, model=model, modalities=("product",), sets=sets) as writer:
            for plan in writer.pending:
                with PartWriter(writer.folder, plan) as part:
                    for start in range(0, per_shard, batch):
                        count = min(batch, per_shard - start)
                        records = [
                            Record(
                                start + row,
                                f"{start + row:08d}",
                                f"item-{plan.number}-{start + row}",
                                "spu",
                                "a/b",
                                "title",
                            )
                            for row in range(count)
                        ]
                        part.write(records, {"product": (vectors[:count], np.ones(count, bool))})
                assert part.entry is not None
                writer.add(part.entry)
            writer.finish()
        seconds = time.perf_counter() - began
        # Not getrusage's: that begins with what the process held which started this one.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        peak = int(status["VmHWM"].split()[0]) * 1024
        assert Embeddings(folder).rows == rows
    return {"seconds": seconds, "peak": peak}


def measure_memory(rounds: int, rows: int, fewer: int) -> list[Row]:
    """Peak memory of the whole process, Python and libraries included."""
    found = {
        count: [json.loads(in_own_process(__file__, "--only-rows", str(count))) for _ in range(rounds)]
        for count in (rows, fewer)
    }
    peaks = {count: [one["peak"] / 1e6 for one in values] for count, values in found.items()}
    case = f"{rows:,} rows of {DIM} float32 written"
    allowed = f"allowed: {ALLOWED_BYTES / 1e6:.0f} MB"
    memory = compare(
        f"{case}, peak memory of the process",
        {OURS: peaks[rows], allowed: [ALLOWED_BYTES / 1e6], f"{fewer:,} rows": peaks[fewer]},
        unit="MB",
        targets={allowed: "<= 1.0", f"{fewer:,} rows": "<= 1.2"},
        packages=("pyarrow", "numpy"),
    )
    return memory + compare(
        case,
        {OURS: [rows / one["seconds"] for one in found[rows]]},
        unit="rows/s",
        packages=("pyarrow", "numpy"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small model, few items, no CSV: whether it works")
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--num-workers", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_rows is not None:
        print(json.dumps(write_rows_of_nothing(options.only_rows)))
        return
    warn_if_busy()
    rows = measure_throughput(options)
    rows += measure_memory(1, 200_000, 100_000) if options.quick else measure_memory(options.rounds, ROWS, FEWER_ROWS)
    if options.quick:
        for row in rows:
            print(f"{row.case}: {row.peer} {row.median} {row.unit} {row.ratio}  {row.floor}")
    else:
        write_rows("embed", rows)


if __name__ == "__main__":
    main()
