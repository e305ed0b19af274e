"""Memory of the contrastive step against the effective batch: with GradCache it stays that of a micro-batch.

A whole training step (encoding, loss, backward) of `dual_flow` and of `moon`, small, on searches of the simulated shop with a
hard negative each. Beside it: the same step in one graph. Gradients are compared before anything is measured. The price is a
second forward pass, which the time says.

python benchmarks/grad_cache.py
python benchmarks/grad_cache.py --quick                        # small batches: whether it works
python benchmarks/grad_cache.py --models moon --batches 64 512 --micro 32
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _harness import OURS, Row, alternate, compare, in_own_process, peak_extra_bytes, warn_if_busy, write_rows

ONE_GRAPH = "in one graph"
FLAT = "<= 1.25"
"""Peak at the largest batch beside that at the smallest: inputs and embeddings grow with the batch, activations do not."""

MODELS: dict[str, dict[str, Any]] = {
    "dual_flow": {
        "image_tower": "resnet10t",
        "image_tower_options": {"channels": [32, 64, 128, 256], "stem_width": 16},
        "image_size": 64,
        "text_tower_options": {
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 192,
        },
        "max_tokens": 24,
        "embedding_dim": 128,
        "objectives": {"query_to_product": 1.0, "photo_to_text": 0.5},
    },
    "moon": {"photo_size": 64, "max_photos": 1, "max_tokens": 32, "hard_negatives": 1, "dual_level": 1.0},
}


def write_set(folder: Path, searches: int) -> Path:
    """Searches of the shop, as many as asked for."""
    from moon_zoo.data.writing import write_splits
    from moon_zoo.sources.shop import ShopSource

    # About two searches per product of the training split.
    drawn = (one for one in ShopSource(kind="search", num_products=searches, photo_px=64).read() if one[0] == "train")
    write_splits(folder, (one for one, _ in zip(drawn, range(searches), strict=False)))
    return folder / "train"


def build(model: str, shards: Path, micro: int | None) -> Any:
    """The model, with inputs that know the set's words."""
    import torch

    from moon_zoo import registry
    from moon_zoo.data.reading import IndexedShards

    torch.manual_seed(0)
    module = registry.entry("models", model).load()(micro_batch_size=micro, **MODELS[model])
    some = IndexedShards(shards)
    module.inputs.fit((some[position] for position in range(min(len(some), 300))), some.manifest)
    module.setup("fit")
    return module


def batch_of(module: Any, shards: Path, rows: int) -> dict[str, Any]:
    """The first searches as the model's inputs make them."""
    import torch

    from moon_zoo.data.inputs import Draw
    from moon_zoo.data.reading import IndexedShards

    some = IndexedShards(shards)
    drawn = [
        module.inputs.sample(some[row], Draw(training=True, generator=torch.Generator().manual_seed(row)))
        for row in range(rows)
    ]
    return {**module.inputs.batch(drawn), "valid": torch.ones(rows, dtype=torch.bool)}


def step(module: Any, batch: dict[str, Any]) -> Callable[[], float]:
    """One forward and backward; gradients stay allocated from one to the next, as an optimiser leaves them."""

    def run() -> float:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        loss = module.training_step(batch, 0)
        loss.backward()
        return float(loss)

    return run


def peak_bytes(model: str, shards: Path, rows: int, micro: int | None) -> int:
    """Peak of one step above what model, batch, gradients and libraries take."""
    module = build(model, shards, micro)
    batch = batch_of(module, shards, rows)
    step(module, {name: value[:4] for name, value in batch.items()})()
    return peak_extra_bytes(step(module, batch))


def check_gradients(model: str, shards: Path, rows: int, micro: int) -> float:
    """Largest difference between gradients with and without GradCache, as a share of the largest gradient."""
    found = []
    for size in (micro, None):
        module = build(model, shards, size).eval()  # without dropout, augmentation and statistics of batch norm
        step(module, batch_of(module, shards, rows))()
        found.append({name: one.grad for name, one in module.named_parameters() if one.grad is not None})
    ours, theirs = found
    largest = max(float(one.abs().max()) for one in theirs.values())
    difference = max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) / largest
    if ours.keys() != theirs.keys() or difference > 1e-5:
        raise RuntimeError(f"{model}: gradients differ by {difference:.2g} of the largest")
    return difference


def rows_of(model: str, shards: Path, batches: Sequence[int], micro: int, rounds: int) -> list[Row]:
    """All cases of one model."""

    def peaks(rows: int, size: int) -> list[float]:
        words = ("--measure", json.dumps([model, str(shards), rows, size]))
        return [int(in_own_process(__file__, *words)) / 1e6 for _ in range(rounds)]

    found = []
    cached = {rows: peaks(rows, micro) for rows in batches}
    for rows in batches:
        case = f"{model}, contrastive step of {rows} searches, micro-batches of {micro}"
        measured = {OURS: cached[rows], ONE_GRAPH: peaks(rows, 0)}
        found += compare(f"{case}, peak extra memory", measured, unit="MB")
    first, last = batches[0], batches[-1]
    beside = f"the same at {first} searches"
    case = f"{model}, peak extra memory at {last} searches beside {first}, micro-batches of {micro}"
    measured = {OURS: cached[last], beside: cached[first]}
    found += compare(case, measured, unit="MB", targets={beside: FLAT})
    runs = {}
    for name, size in ((OURS, micro), (ONE_GRAPH, None)):
        module = build(model, shards, size)
        runs[name] = step(module, batch_of(module, shards, last))
    seconds = alternate(runs, rounds=rounds, warmups=1)
    return found + compare(f"{model}, contrastive step of {last} searches, micro-batches of {micro}, time", seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--micro", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # a step outside of a trainer logs nowhere, which Lightning says each time
    if arguments.measure is not None:
        model, shards, rows, size = json.loads(arguments.measure)
        print(peak_bytes(model, Path(shards), rows, size or None))
        return
    warn_if_busy()
    batches, micro, rounds = arguments.batches, arguments.micro, arguments.rounds
    if arguments.quick:
        batches, micro, rounds = [8, 16], 4, 1
    with tempfile.TemporaryDirectory() as folder:
        shards = write_set(Path(folder) / "shards", max(batches))
        rows = []
        for model in arguments.models:
            difference = check_gradients(model, shards, min(batches), micro)
            print(f"{model}: gradients are equal up to {difference:.1g} of the largest", flush=True)
            rows += rows_of(model, shards, batches, micro, rounds)
    write_rows("grad_cache", rows)


if __name__ == "__main__":
    main()
