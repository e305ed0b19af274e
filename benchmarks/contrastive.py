"""Symmetric contrastive loss, forward and backward, beside open_clip's ClipLoss: time, peak memory, equal gradients.

python benchmarks/contrastive.py                    # 12,288 rows of 256, as in the table
python benchmarks/contrastive.py --rows 4096        # a quick look
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from _harness import OURS, alternate, compare, in_own_process, peak_extra_bytes, warn_if_busy, write_rows

PEER = "open_clip ClipLoss"
TIME_TARGET, MEMORY_TARGET = "<= 0.8", "<= 0.12"


def inputs(rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit embeddings of both sides and CLIP's initial scale, all with gradient."""
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(rows, dim, generator=generator), dim=1) for _ in range(2))
    return images.requires_grad_(), texts.requires_grad_(), torch.tensor(1 / 0.07, requires_grad=True)


def contender(name: str, rows: int, dim: int) -> Callable[[], list[Tensor]]:
    """One forward and backward, which returns the loss and the gradients."""
    given = inputs(rows, dim)
    if name == OURS:
        from moon_zoo.nn.info_nce import symmetric_info_nce as loss_of
    else:
        from open_clip.loss import ClipLoss

        loss_of = ClipLoss()

    def run() -> list[Tensor]:
        for tensor in given:
            tensor.grad = None
        loss = loss_of(*given)
        loss.backward()
        return [loss.detach(), *(tensor.grad for tensor in given)]

    return run


def peak_bytes(name: str, rows: int, dim: int) -> int:
    """Peak of one step above what inputs and libraries take, gradients included."""
    contender(name, 64, dim)()  # thread pools and library buffers are there before the measurement
    return peak_extra_bytes(contender(name, rows, dim))


def products_alone(rows: int, dim: int) -> Callable[[], None]:
    """The three matrix products that any program needs (one forward, two backward), without anything between them."""
    images, texts, _ = (tensor.detach() for tensor in inputs(rows, dim))
    side = min(rows, 1024)
    tile, gradient = torch.empty(side, side), torch.zeros(side, dim)

    def run() -> None:
        for top in range(0, rows - side + 1, side):
            for left in range(0, rows - side + 1, side):
                torch.mm(images[top : top + side], texts[left : left + side].T, out=tile)
                gradient.addmm_(tile, texts[left : left + side], alpha=1e-9)
                gradient.addmm_(tile.T, images[top : top + side], alpha=1e-9)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12288)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rows, dim = arguments.rows, arguments.dim
    if arguments.memory_of:
        print(peak_bytes(arguments.memory_of, rows, dim))
        return
    warn_if_busy()
    runs = {name: contender(name, rows, dim) for name in (OURS, PEER)}
    for ours, theirs in zip(runs[OURS](), runs[PEER]()):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6 * float(theirs.abs().max()) + 1e-9)
    print("values and gradients are equal", flush=True)
    seconds = alternate(
        runs | {"the three products alone": products_alone(rows, dim)}, rounds=arguments.rounds, warmups=0
    )
    floor = sorted(seconds.pop("the three products alone"))[arguments.rounds // 2]
    size = f"{rows} x {dim}"
    case = f"symmetric InfoNCE {size}, forward + backward"
    size_arguments = ("--rows", str(rows), "--dim", str(dim))
    megabytes = {
        name: [int(in_own_process(__file__, *size_arguments, "--memory-of", name)) / 1e6 for _ in range(3)]
        for name in (OURS, PEER)
    }
    packages = ("open_clip_torch",)
    write_rows(
        "contrastive",
        [
            *compare(
                f"{case}, time, {torch.get_num_threads()} threads",
                seconds,
                targets={PEER: TIME_TARGET},
                floor=f"{floor:.3g} s: the three products alone, {6e-9 * rows * rows * dim:.0f} GFLOP",
                packages=packages,
            ),
            *compare(
                f"{case}, peak extra memory",
                megabytes,
                unit="MB",
                targets={PEER: MEMORY_TARGET},
                floor=f"{8e-6 * rows * dim:.0f} MB: the gradients",
                packages=packages,
            ),
        ],
    )


if __name__ == "__main__":
    main()
