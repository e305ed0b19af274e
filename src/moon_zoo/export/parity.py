"""How far an exported file's outputs are from the model's: the largest difference and the smallest cosine over many rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moon_zoo.data.machine import usable_cores
from moon_zoo.errors import CheckpointError
from moon_zoo.export.graphs import cycled
from moon_zoo.models.base import ExportPart

BATCH_SIZES = (1, 2, 7)
"""Tried one after the other where the batch is free: one, as traced, and an odd one."""

Run = Callable[[list[Tensor]], Tensor]


@dataclass(slots=True)
class Parity:
    """What was measured for one file.

    Args:
        max_abs_difference: Largest difference of any number of the output; NaN on one side only counts as infinite.
        min_cosine: Smallest cosine of a row with its counterpart; rows of zeros are passed over.
        rows: Rows compared.
        real_rows: How many of them came from samples that the user named.
        batch_sizes: Sizes of the batches they came in.
    """

    max_abs_difference: float = 0.0
    min_cosine: float = 1.0
    rows: int = 0
    real_rows: int = 0
    batch_sizes: tuple[int, ...] = ()

    def add(self, ours: Tensor, theirs: Tensor, *, real: bool) -> None:
        """Compare one batch of outputs, ``(batch, ...)`` each."""
        if ours.shape != theirs.shape or theirs.isnan().any():
            self.max_abs_difference = math.inf
            self.min_cosine = -1.0
        elif len(ours):
            ours, theirs = ours.double().flatten(1), theirs.double().flatten(1)
            self.max_abs_difference = max(self.max_abs_difference, float((ours - theirs).abs().max()))
            there = ours.norm(dim=1) > 0
            if there.any():
                cosines = nn.functional.cosine_similarity(ours[there], theirs[there], dim=1)
                self.min_cosine = min(self.min_cosine, float(cosines.min()), 1.0)
        self.rows += len(ours)
        self.real_rows += len(ours) if real else 0
        self.batch_sizes = tuple(sorted({*self.batch_sizes, len(ours)}))

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"batch_sizes": list(self.batch_sizes)}


def measure(part: ExportPart, run: Run, batch_size: int | None, real: Iterable[Mapping[str, Tensor]] = ()) -> Parity:
    """Compare a file with the network it was made of.

    Args:
        part: The network, and rows to try.
        run: Runs the file.
        batch_size: As it was exported; None for a free batch.
        real: Batches that the model's inputs made of real samples.
    """
    network = part.network.eval()
    parity = Parity()
    with torch.inference_mode():
        for size in BATCH_SIZES if batch_size is None else (batch_size,):
            # All rows at every size: what goes wrong at the edge of a batch must not hide behind an easy row.
            for first in range(0, max(len(example) for example in part.inputs.values()), size):
                rows = [cycled(example, first, size) for example in part.inputs.values()]
                parity.add(network(*rows), run(rows), real=False)
        for batch in real:
            rows = _with_content([batch[part.batch_names[name]] for name in part.inputs])
            if not len(rows[0]):
                continue
            if batch_size is not None:
                rows = [cycled(row, 0, batch_size) for row in rows]
            parity.add(network(*rows), run(rows), real=True)
    return parity


def _with_content(rows: list[Tensor]) -> list[Tensor]:
    """Without samples that lack what the network is for: those whose mask, a bool ``(batch, tokens)``, is all False.

    What they give may mean nothing; where it does, the part's own example has such a row.
    """
    there = torch.ones(len(rows[0]), dtype=torch.bool)
    for row in rows:
        if row.dtype == torch.bool and row.ndim == 2:
            there &= row.any(1)
    return [row[there] for row in rows]


def onnx_runner(path: Path, part: ExportPart) -> Run:
    """Runs an ONNX file in onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()  # its own count takes all of the machine's and then warns
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(rows: list[Tensor]) -> Tensor:
        feed = {name: row.contiguous().numpy() for name, row in zip(part.inputs, rows)}
        return torch.from_numpy(session.run([part.output], feed)[0])

    return run


def torch_runner(path: Path) -> Run:
    """Runs a torch.export archive."""
    module = torch.export.load(path).module()

    def run(rows: list[Tensor]) -> Tensor:
        return module(*[row.contiguous() for row in rows])

    return run


def require_close(parity: Parity, tolerance: float, file: str) -> None:
    """Refuse a file whose outputs differ by more than ``tolerance``.

    Raises:
        CheckpointError: They do.
    """
    if not parity.max_abs_difference <= tolerance:
        raise CheckpointError(
            f"{file} gives other outputs than the model: the largest difference is {parity.max_abs_difference:.3g}, the "
            f"smallest cosine {parity.min_cosine:.6f}, over {parity.rows} rows; the tolerance is {tolerance:g}",
            where=file,
            change="--tolerance, if that is close enough; or --opset, --batch-size or --format. Nothing was written",
        )
