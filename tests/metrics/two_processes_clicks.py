"""One rank of figures of clicks: ``python -m tests.metrics.two_processes_clicks RANK WORLD STORE OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from moon_zoo.metrics.clicks import ClickFigures

ROWS = 1003
BATCH = 32
MEMORY_ROWS = (1 << 20, 90)


def whole_set(rows: int = ROWS, seed: int = 5) -> dict[str, np.ndarray]:
    """Scores with many ties and both signs of zero, users of very different sizes and far apart ids, a third cold rows."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=rows).astype(np.float32)
    logits[::3] = logits[::3].round(1)
    logits[::50] = np.where(generator.random(len(logits[::50])) < 0.5, np.float32(-0.0), np.float32(0.0))
    return {
        "logits": logits,
        "labels": (generator.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.int64),
        "users": (generator.random(rows) ** 3 * 60).astype(np.int64) * 10**16 - 3 * 10**17,
        "cold": generator.random(rows) < 0.3,
    }


def found_by(figures: ClickFigures) -> dict[str, Any]:
    return {"figures": figures.compute(), "calibration": figures.report()}


def collect(figures: ClickFigures, rank: int, world: int) -> None:
    """As the data layer deals rows out: global batches cut into ranks' parts, the last one padded with repeats."""
    data = {name: torch.from_numpy(values) for name, values in whole_set().items()}
    for start in range(0, ROWS, BATCH * world):
        places = torch.arange(start + rank * BATCH, start + (rank + 1) * BATCH)
        batch = {name: values[places % ROWS] for name, values in data.items()}
        figures.update(**batch, index=places, valid=places < ROWS)


def main() -> None:
    rank, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found: dict[str, Any] = {}
    for memory_rows in MEMORY_ROWS:
        figures = ClickFigures(memory_rows=memory_rows)
        collect(figures, rank, world)
        found[str(memory_rows)] = found_by(figures)
        assert figures.compute() == found[str(memory_rows)]["figures"]  # and once more: nothing is used up
    lonely = ClickFigures()
    if rank == 1:
        lonely.update(torch.tensor([1.0, -1.0]), torch.tensor([1, 0]), torch.tensor([4, 4]))
    found["one_rank_only"] = found_by(lonely)
    found["nobody"] = ClickFigures().compute()
    (out / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
