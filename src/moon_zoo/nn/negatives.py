"""Negatives from past steps ("temporal" negatives): a queue of embeddings that stands beside the batch in a loss.

Source: the FIFO queue of He et al. 2020, "MoCo", arXiv:1911.05722, without its momentum encoder, as in MOON
(arXiv:2508.11999): embeddings age little at fine-tuning rates. They are constants, and they start to count after a
warm-up, since a young encoder's past embeddings are of no use.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moon_zoo.nn.gathering import gather_constants


class ExtraDocuments(NamedTuple):
    """Constants that a loss takes as further negatives; a pair of the same group is left out.

    Args:
        embeddings: Unit length, ``(extra, dim)``.
        groups: int64 ``(extra,)``.
        valid: True on rows that count, ``(extra,)``.
        ignore: int64 ``(extra,)`` or ``(extra, kinds)``: pairs of which an id equals the query's are left out too.
    """

    embeddings: Tensor
    groups: Tensor
    valid: Tensor
    ignore: Tensor | None = None


class NegativeQueue(nn.Module):
    """The last ``size`` embeddings of all ranks, oldest out first, with the groups they belong to.

    All ranks hold the same queue. It is part of the checkpoint, so a resumed run continues with it. Shapes never
    change: a place not yet filled is invalid.

    Args:
        size: Number of embeddings kept.
        dim: Their length.
        warmup_steps: Number of pushes before which `documents` has no valid row.
        ignore_kinds: Kinds of ids kept beside the group, by which a loss may leave pairs out (item, SPU).
    """

    embeddings: Tensor
    groups: Tensor
    ignore: Tensor
    valid: Tensor
    pushed_at: Tensor
    pointer: Tensor
    steps: Tensor

    def __init__(self, size: int, dim: int, *, warmup_steps: int = 0, ignore_kinds: int = 0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"the size of a queue must be at least 1, not {size}")
        self.size = size
        self.warmup_steps = warmup_steps
        self.ignore_kinds = ignore_kinds
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("groups", torch.zeros(size, dtype=torch.int64))
        if ignore_kinds > 0:  # checkpoints of queues without them hold no such buffer
            self.register_buffer("ignore", torch.zeros(size, ignore_kinds, dtype=torch.int64))
        self.register_buffer("valid", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("pushed_at", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(
        self, embeddings: Tensor, groups: Tensor, valid: Tensor | None = None, ignore: Tensor | None = None
    ) -> None:
        """Take in a batch of every rank, once per step, after the loss.

        Args:
            embeddings: This rank's, ``(batch, dim)``; equal batch sizes on all ranks.
            groups: int64 ``(batch,)``.
            valid: True on rows that count, ``(batch,)``; None for all.
            ignore: int64 ``(batch, ignore_kinds)``; needed if, and only if, the queue keeps such ids.
        """
        if (ignore is None) != (self.ignore_kinds == 0):
            raise ValueError(f"the queue keeps {self.ignore_kinds} kinds of ids to ignore; push as many")
        if valid is None:
            valid = torch.ones_like(groups, dtype=torch.bool)
        rows = gather_constants(embeddings.to(self.embeddings.dtype))
        ids, kept = gather_constants(groups), gather_constants(valid)
        # Of a batch larger than the queue the last rows stay; writing all would leave it to chance which.
        rows, ids, kept = rows[-self.size :], ids[-self.size :], kept[-self.size :]
        if ignore is not None:
            others = gather_constants(ignore.view(len(ignore), self.ignore_kinds))[-self.size :]
        places = (self.pointer + torch.arange(len(rows), device=rows.device)) % self.size
        self.steps += 1
        self.embeddings[places] = rows
        self.groups[places] = ids
        self.valid[places] = kept
        if ignore is not None:
            self.ignore[places] = others
        self.pushed_at[places] = self.steps
        self.pointer.copy_((self.pointer + len(rows)) % self.size)

    @torch.no_grad()
    def documents(self) -> ExtraDocuments:
        """The queue as it is now, of static shape; nothing valid before the warm-up is over.

        Copies: a `push` between the loss and its backward must not change what the loss has seen.
        """
        valid = self.valid & (self.steps >= self.warmup_steps)
        ignore = self.ignore.clone() if self.ignore_kinds > 0 else None
        return ExtraDocuments(self.embeddings.clone(), self.groups.clone(), valid, ignore)

    @torch.no_grad()
    def staleness(self) -> Tensor:
        """Mean age of the valid embeddings in steps, a float32 scalar: 1 just before the next push follows the last."""
        age = (self.steps + 1 - self.pushed_at).float()
        count = self.valid.sum()
        return torch.where(count > 0, (age * self.valid).sum() / count.clamp_min(1), age.new_zeros(()))
