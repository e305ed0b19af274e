"""DIN's target attention, forward and backward: the folded layer beside the plain form of the paper; time, memory, equality.

python benchmarks/din.py                                   # three sizes, as in the table
python benchmarks/din.py --size 64 20 16 --rounds 1        # batch, length, dim: a quick look
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from _harness import OURS, Row, alternate, compare, in_own_process, peak_extra_bytes, warn_if_busy, write_rows
from moon_zoo.nn.behaviour.attention import TargetAttention, weighted_sum

PLAIN = "plain [t, h, t-h, t*h]"
TIME_TARGET, TOLERANCE = "<= 0.4", 1e-5  # 2.5 times as fast
SIZES = [(512, 100, 128), (4096, 50, 16), (1024, 100, 64)]
HIDDEN = 64


def plain_logits(layer: TargetAttention, target: Tensor, history: Tensor) -> Tensor:
    """As public implementations write it: four tensors side by side for every behaviour."""
    targets = target.unsqueeze(1).expand_as(history)
    hidden = layer.first(torch.cat([targets, history, targets - history, targets * history], dim=-1))
    return layer.rest[0](F.relu(hidden)).squeeze(-1)


def contender(
    name: str, batch: int, length: int, dim: int, dtype: torch.dtype = torch.float32
) -> Callable[[], list[Tensor]]:
    """One forward and backward, from target and history to the interest; returns it and the gradients."""
    torch.manual_seed(0)
    layer = TargetAttention(dim, (HIDDEN,)).to(dtype)
    target, history = torch.randn(batch, dim).to(dtype), torch.randn(batch, length, dim).to(dtype)
    above = torch.randn(batch, dim).to(dtype)
    wanted_of = [target.requires_grad_(), history.requires_grad_(), *layer.parameters()]

    def run() -> list[Tensor]:
        logits = layer(target, history) if name == OURS else plain_logits(layer, target, history)
        interest = weighted_sum(logits, history)
        return [interest.detach(), *torch.autograd.grad(interest, wanted_of, above)]

    return run


def check_equal(batch: int, length: int, dim: int) -> float:
    """The largest difference of values, and of gradients, each relative to its largest value.

    Gradients are compared in float64: among millions of hidden units a few are 0 but for float32's rounding, and there the
    gradient of ReLU is 0 or 1 by chance in any two ways of adding up.

    Raises:
        AssertionError: It is above the tolerance.
    """
    values, gradients = (
        zip(*(contender(name, batch, length, dim, dtype)() for name in (OURS, PLAIN)))
        for dtype in (torch.float32, torch.float64)
    )
    pairs = [next(values), *list(gradients)[1:]]
    worst = max(float((ours - plain).abs().max() / plain.abs().max()) for ours, plain in pairs)
    assert worst <= TOLERANCE, f"they differ by {worst:.2g} at batch {batch}, length {length}, dim {dim}"
    return worst


def peak_bytes(name: str, batch: int, length: int, dim: int) -> int:
    """Peak of one step above what inputs and libraries take, gradients included."""
    contender(name, 8, 8, dim)()  # thread pools and library buffers are there before the measurement
    return peak_extra_bytes(contender(name, batch, length, dim))


def measure(batch: int, length: int, dim: int, rounds: int) -> list[Row]:
    """Rows of one size."""
    worst = check_equal(batch, length, dim)
    case = f"target attention, batch {batch}, length {length}, dim {dim}, hidden {HIDDEN}, forward + backward"
    print(f"{case}: equal to {worst:.1g}", flush=True)
    seconds = alternate({name: contender(name, batch, length, dim) for name in (OURS, PLAIN)}, rounds=rounds)
    size = ("--size", *map(str, (batch, length, dim)))
    megabytes = {
        name: [int(in_own_process(__file__, *size, "--memory-of", name)) / 1e6 for _ in range(min(rounds, 3))]
        for name in (OURS, PLAIN)
    }
    threads = torch.get_num_threads()
    gradient = 4e-6 * batch * length * dim
    return [
        *compare(f"{case}, time, {threads} threads", seconds, targets={PLAIN: TIME_TARGET}),
        *compare(
            f"{case}, peak extra memory", megabytes, unit="MB", floor=f"{gradient:.0f} MB: the history's gradient"
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, metavar=("BATCH", "LENGTH", "DIM"), help="one size of your own")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [tuple(arguments.size)] if arguments.size else SIZES
    if arguments.memory_of:
        print(peak_bytes(arguments.memory_of, *sizes[0]))
        return
    warn_if_busy()
    write_rows("din", [row for size in sizes for row in measure(*size, rounds=arguments.rounds)])


if __name__ == "__main__":
    main()
