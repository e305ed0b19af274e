"""A loss that reaches every parameter, whatever parts of the network a batch had use for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _Reach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.like = [(parameter.shape, parameter.dtype, parameter.device) for parameter in parameters]
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        zeros = (torch.zeros((), dtype=dtype, device=device).expand(shape) for shape, dtype, device in ctx.like)
        return gradient, *zeros


def reaching(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The loss, with a gradient of zeros to all parameters whatever the batch had: DDP waits for each of them, and one process
    should do what several do."""
    return _Reach.apply(loss, *parameters)
