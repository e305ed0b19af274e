"""One of two gloo processes: routers' losses on this rank's sequences, gradients averaged by DDP.

Run by test_losses.py: ``python -m tests.nn.moe.two_processes RANK WORLD STORE OUT``. The ranks' halves hold different
numbers of plain tokens: means of ranks' means would differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from moon_zoo.nn.moe.install import install, moe_modules
from moon_zoo.nn.moe.losses import expert_load, load_balance, z_loss
from tests.nn.moe.plain import DIM, TYPES, decoder


class Losses(nn.Module):
    """A decoder with experts, and its routers' losses."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = decoder(2)
        install(self.layers, num_experts=5, noise=0.5)

    def forward(self, hidden: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        for mixture in moe_modules(self):
            mixture.token_type = types
        # a mean over sequences beside them: the part that DDP averages as ever
        usual = self.layers(hidden).square().mean()
        routers = [mixture.statistics for mixture in moe_modules(self)]
        return usual, load_balance(routers) + 0.1 * z_loss(routers)


def step(own: slice) -> dict[str, Tensor]:
    """The routers' losses, expert loads and all gradients, of these of the batch's four sequences."""
    torch.manual_seed(2)
    hidden = torch.randn(4, TYPES.shape[1], DIM)
    types = torch.cat([TYPES, TYPES.flip(0)])
    types[0] = 2
    model = Losses()
    network = DistributedDataParallel(model) if dist.is_initialized() else model
    usual, routers = network(hidden[own], types[own])
    (usual + routers).backward()
    found = {name: parameter.grad for name, parameter in model.layers.named_parameters()}
    loads = expert_load([mixture.statistics for mixture in moe_modules(model)])
    return found | {"loss": routers.detach()} | {f"load/{name}": value for name, value in loads.items()}


def main() -> None:
    rank, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = step(slice(2 * rank, 2 * rank + 2))
    save_file({name: value.contiguous().clone() for name, value in found.items()}, out / f"rank{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
