"""One rank of a bank's collection: ``python -m tests.metrics.two_processes RANK WORLD STORE OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.metrics.bank import EmbeddingBank, Rows, retrieval_figures, top_results

SAMPLES = 43
BATCH = 5


def whole_set() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(SAMPLES, 6, generator=generator)
    rows[30:36] = rows[:6]  # ties
    return {
        "embeddings": F.normalize(rows, dim=1),
        "items": torch.arange(SAMPLES) * 7 % 31,
        "spus": torch.arange(SAMPLES) * 7 % 31 // 2,
        "categories": torch.arange(SAMPLES) % 4,
        "index": torch.arange(SAMPLES),
    }


def collect(bank: EmbeddingBank, rank: int, world: int) -> None:
    """As the data layer deals samples out: global batches cut into ranks' parts, the last one padded with repeats."""
    data = whole_set()
    for start in range(0, SAMPLES, BATCH * world):
        places = torch.arange(start + rank * BATCH, start + (rank + 1) * BATCH)
        valid = places < SAMPLES
        bank.update(**{name: column[places % SAMPLES] for name, column in data.items()}, valid=valid)


def figures(rows: Rows) -> dict[str, object]:
    shown = top_results(rows, rows, num_queries=4, k=3, pass_over_own_item=True)
    return {
        "figures": retrieval_figures("product_to_product", rows, rows.unique_items(), pass_over_own_item=True),
        "positions": rows.positions.tolist(),
        "embeddings": rows.embeddings.tolist(),
        "categories": rows.categories.tolist(),
        "shown": [shown.queries.tolist(), shown.documents.tolist(), shown.scores.tolist(), shown.relevant.tolist()],
    }


def main() -> None:
    rank, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = {}
    for storage in ("float32", "float16"):
        bank = EmbeddingBank(storage)
        collect(bank, rank, world)
        found[storage] = figures(bank.compute())
        collect(bank, rank, world)  # after computing a bank goes on collecting its own rows only
        found[f"{storage}_twice"] = len(bank.compute())
    lonely = EmbeddingBank()
    if rank == 0:
        lonely.update(torch.eye(3), torch.arange(3), index=torch.arange(3))
    found["one_rank_only"] = lonely.compute().items.tolist()
    (out / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
