"""Run as a process of two: the generation loss, its gradient and the evaluation of one rank's share of a batch."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from moon_zoo.models.moon.generation import generation_loss
from moon_zoo.models.moon.generation_evaluation import GenerationEvaluation
from tests.models.moon.writer import make_backbone, make_batch, make_inputs

ROWS = range(12)
ATTRIBUTES = {"colour": ["red", "green", "blue"], "size": ["large", "small"]}


def run(share: range) -> dict[str, Tensor]:
    """Loss, figures and gradients of some of the rows; the other rows are not there."""
    inputs = make_inputs(words_share=0.5)
    backbone = make_backbone(inputs)
    batch = make_batch(inputs, share)
    loss, figures = generation_loss(backbone, batch)
    loss.backward()
    found = {f"gradient/{name}": weight.grad for name, weight in backbone.named_parameters() if weight.grad is not None}
    evaluation = GenerationEvaluation(samples=7, max_new_tokens=4)
    evaluation.start(ATTRIBUTES, torch.device("cpu"))
    evaluation.update(backbone, inputs, batch)
    measured = {name: torch.tensor(value) for name, value in evaluation.compute().items()}
    return {"loss": loss.detach(), **figures, **measured, **found}


if __name__ == "__main__":
    rank, world, store, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    rows = ROWS[rank::world]
    save_file({name: value.contiguous() for name, value in run(rows).items()}, folder / f"rank{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()
