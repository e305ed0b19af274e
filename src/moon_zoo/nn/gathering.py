"""Collectives that contrastive losses need, with exact gradients; the only place in `nn` that knows of ranks.

Every rank must call these in the same order with tensors of equal shape: the data layer gives all ranks equal-shaped
batches. With one process each is the identity.

The gradients are those of the *sum* of all ranks' losses. A loss that every rank averages over its own rows therefore
gives, after DDP has averaged over ranks, exactly the gradient of one process with the whole batch; no factor of world
size is needed. Tested with two processes in tests/nn/test_two_processes.py.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """Number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among `world_size`; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def gather_with_gradient(rows: Tensor) -> Tensor:
    """All ranks' rows one after another, with a gradient to the rank each row came from.

    Args:
        rows: ``(batch, ...)``, equal on all ranks in shape and dtype.

    Returns:
        ``(world_size * batch, ...)``, rank 0's rows first.
    """
    return rows if world_size() == 1 else _Gather.apply(rows)


def gather_constants(rows: Tensor) -> Tensor:
    """As `gather_with_gradient`, for what needs no gradient (ids, masks, embeddings for a queue)."""
    if world_size() == 1:
        return rows.detach()
    # gloo and nccl have no collectives for bool: it travels as uint8.
    sent = rows.detach().to(torch.uint8) if rows.dtype == torch.bool else rows.detach()
    return _all_gather(sent).to(rows.dtype)


def logsumexp_over_ranks(values: Tensor) -> Tensor:
    """Logarithm of the sum over ranks of ``exp(values)``, elementwise, with gradient.

    Joins the parts of a sum of which every rank holds some terms, as the column sums of a similarity matrix whose
    rows are spread over ranks.

    Args:
        values: Any shape, equal on all ranks; ``-inf`` where a rank has no term.

    Returns:
        The same on all ranks, of the same shape; ``-inf`` where no rank has a term.
    """
    return values if world_size() == 1 else _LogSumExp.apply(values)


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum over ranks, elementwise, without gradient."""
    total = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def _all_gather(rows: Tensor) -> Tensor:
    rows = rows.contiguous()
    if rows.ndim == 0:
        raise ValueError("a scalar cannot be gathered: give it a batch axis")
    gathered = rows.new_empty((world_size() * rows.shape[0], *rows.shape[1:]))
    dist.all_gather_into_tensor(gathered, rows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.batch = rows.shape[0]
        return _all_gather(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty((ctx.batch, *gradient.shape[1:]))
        dist.reduce_scatter_tensor(own, gradient.contiguous())
        return own


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        largest = values.clone()
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        # Where no rank has a term the shift would be -inf - -inf.
        largest = torch.where(largest.isinf(), torch.zeros_like(largest), largest)
        total = (values - largest).exp_()
        dist.all_reduce(total)
        joined = total.log_().add_(largest)
        ctx.save_for_backward(values, joined)
        return joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        values, joined = ctx.saved_tensors
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        share = (values - joined).exp_()
        return gradient * torch.where(values.isinf(), torch.zeros_like(share), share)
