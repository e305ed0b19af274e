"""Pairs of token and expert laid out so that each expert's tokens lie together, and the products over such rows.

Four layouts, all exact:

- `grouped`: rows sorted by expert, no gaps; ``F.grouped_mm`` multiplies each expert's rows by its matrix. For many tokens.
- `static`: the same without asking the device how many rows there are: slots without an expert stay at the end and are
  set to zero. For accelerators, where asking would wait for them, and for compilers, which need fixed shapes.
- `rounded`: sorted, each expert's rows filled up to a multiple. For reduced precision on a CPU, where oneDNN writes a kernel
  for every new shape of a product: a fifth of a training's time went there.
- `padded`: each expert has as many places as the busiest one needs; one ``bmm`` for all. For few tokens, where starting a
  product per expert costs more than multiplying zeros.

``F.grouped_mm`` wants rows and strides in multiples of 16 bytes and ignores autocast; what does not fit is multiplied in a
loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

_NARROW: Final = 8  # rows per expert up to which they are multiplied as columns


@dataclass(frozen=True)
class Layout:
    """Where each token's slots are among the rows of experts.

    Args:
        tokens: Token of each row, ``(rows,)``; any token where a row is empty.
        place: Row of each slot, ``(tokens, slots)``; any row where a slot has no expert.
        used: Bool, ``(tokens, slots)``, False where a slot has no expert.
        pairs: Slot of each row, as a number in the flat ``(tokens * slots,)``; any slot where a row is empty.
        empty: Bool, ``(rows,)``, True on rows of no expert; None where there are none.
        ends: Row after each expert's last, int32, ``(experts,)``; None if padded.
        capacity: Rows of each expert if padded, else 0.
        loose: Whether products leave anything in the empty rows, which must then be cleared.
    """

    tokens: Tensor
    place: Tensor
    used: Tensor
    pairs: Tensor
    empty: Tensor | None
    ends: Tensor | None
    capacity: int = 0
    loose: bool = False

    def rows_of(self, tokens: Tensor) -> Tensor:
        """Rows ``(rows, dim)`` of tokens ``(tokens, dim)``."""
        return tokens.index_select(0, self.tokens)

    def weights_of(self, weights: Tensor) -> Tensor:
        """Weight of each row, ``(rows, 1)``, from those of slots ``(tokens, slots)``; 0 on empty rows."""
        found = weights.reshape(-1).index_select(0, self.pairs)
        return (found if self.empty is None else found.masked_fill(self.empty, 0.0))[:, None]

    def slots_of(self, values: Tensor) -> Tensor:
        """Value of each slot, ``(tokens, slots)``, from those of rows ``(rows,)``; 0 where a slot has no expert."""
        if len(values) == 0:  # all tokens are pads
            return values.new_zeros(self.place.shape)
        return values.index_select(0, self.place.reshape(-1)).view_as(self.place).masked_fill(~self.used, 0.0)

    def summed(self, rows: Tensor) -> Tensor:
        """Sum over each token's slots, ``(tokens, dim)``, of rows ``(rows, dim)``."""
        if rows.device.type != "cpu" or torch.compiler.is_compiling():
            found = rows.index_select(0, self.place.reshape(-1)).view(*self.place.shape, -1)
            return found.masked_fill(~self.used[..., None], 0.0).sum(1)
        # One pass that reads rows and adds them up, where gathering and summing would be two.
        places, counts = self.place[self.used], self.used.sum(1)
        if len(places) == 0:
            return rows.new_zeros(len(self.place), rows.shape[1])
        return F.embedding_bag(places, rows, counts.cumsum(0) - counts, mode="sum")

    def cleared(self, rows: Tensor) -> Tensor:
        """The rows with empty ones set to zero in place, where the product left anything there."""
        return rows.masked_fill_(self.empty[:, None], 0.0) if self.loose and self.empty is not None else rows

    def times(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """Each expert's rows ``(rows, in)`` times its matrix of ``(experts, in, out)``: ``(rows, out)``."""
        if self.ends is None:
            own = rows.view(len(matrices), self.capacity, rows.shape[1])
            if self.capacity <= _NARROW and matrices.stride(1) == 1:
                # A matrix as it lies in memory times a few columns: half the time of a few rows times its transpose.
                return torch.bmm(matrices.transpose(1, 2), own.transpose(1, 2)).transpose(1, 2).flatten(0, 1)
            return torch.bmm(own, matrices).flatten(0, 1)
        if rows.is_meta:  # where some versions of torch take grouped products in bfloat16 alone
            return rows.new_empty(len(rows), matrices.shape[2])
        if _grouped_mm_takes(rows, matrices):
            return self.cleared(F.grouped_mm(rows, matrices, offs=self.ends))
        out = rows.new_zeros(len(rows), matrices.shape[2])
        for start, stop, matrix in self._segments(matrices):
            torch.mm(rows[start:stop], matrix, out=out[start:stop])
        return out

    def outer(self, left: Tensor, right: Tensor) -> Tensor:
        """Each expert's ``left`` rows, transposed, times its ``right`` rows: ``(experts, left dim, right dim)``."""
        if self.ends is None:
            shape = (len(left) // self.capacity, self.capacity)
            return torch.bmm(left.unflatten(0, shape).transpose(1, 2), right.unflatten(0, shape))
        if left.is_meta:
            return left.new_empty(len(self.ends), left.shape[1], right.shape[1])
        if _grouped_mm_takes(left, right):
            return F.grouped_mm(left.t(), right, offs=self.ends)
        out = left.new_zeros(len(self.ends), left.shape[1], right.shape[1])
        for start, stop, matrix in self._segments(out):
            torch.mm(left[start:stop].t(), right[start:stop], out=matrix)
        return out

    def _segments(self, matrices: Tensor) -> list[tuple[int, int, Tensor]]:
        assert self.ends is not None
        stops = self.ends.tolist()
        return [part for part in zip([0, *stops], stops, matrices.unbind()) if part[0] < part[1]]


def grouped(expert_ids: Tensor, num_experts: int) -> Layout:
    """Rows sorted by expert; waits for the device.

    Args:
        expert_ids: ``(tokens, slots)``; ``num_experts`` where a slot has none.
        num_experts: N.
    """
    layout = static(expert_ids, num_experts)
    assert layout.ends is not None
    rows = int(layout.ends[-1])
    # Slots without an expert lie behind the rows that stay.
    place = layout.place.masked_fill(~layout.used, 0)
    return Layout(layout.tokens[:rows], place, layout.used, layout.pairs[:rows], None, layout.ends)


def static(expert_ids: Tensor, num_experts: int) -> Layout:
    """Rows sorted by expert, one for every slot; see `grouped`."""
    ids, pairs = expert_ids.reshape(-1).sort(stable=True)
    # Not bincount, whose shape depends on the data.
    ends = torch.searchsorted(ids, torch.arange(num_experts, device=ids.device), right=True)
    place = torch.empty_like(pairs).scatter_(0, pairs, torch.arange(len(pairs), device=ids.device)).view_as(expert_ids)
    slots = expert_ids.shape[1]
    used = expert_ids < num_experts
    return Layout(pairs // slots, place, used, pairs, ids >= num_experts, ends.int(), loose=True)


def padded(expert_ids: Tensor, num_experts: int, capacity: int) -> Layout:
    """Places for ``capacity`` rows per expert: at least one, and as many as the busiest expert has; see `grouped`."""
    capacity = max(1, capacity)
    firsts = torch.arange(num_experts, device=expert_ids.device) * capacity
    return _with_gaps(expert_ids, firsts, num_experts * capacity, None, capacity)


def rounded(expert_ids: Tensor, num_experts: int, multiple: int) -> Layout:
    """Rows sorted by expert, each expert's filled up to a multiple: products then have few different shapes; see `grouped`."""
    counts = torch.bincount(expert_ids.reshape(-1), minlength=num_experts + 1)[:num_experts]
    room = (counts + multiple - 1) // multiple * multiple
    ends = room.cumsum(0)
    return _with_gaps(expert_ids, ends - room, int(ends[-1]), ends.int(), 0)


def _with_gaps(expert_ids: Tensor, firsts: Tensor, count: int, ends: Tensor | None, capacity: int) -> Layout:
    """Rows of which some are empty: each expert's begin at ``firsts``, ``count`` in all."""
    num_experts = len(firsts)
    ids, pairs = expert_ids.reshape(-1).sort(stable=True)
    starts = torch.searchsorted(ids, torch.arange(num_experts + 1, device=ids.device))
    pairs, ids = pairs[: int(starts[-1])], ids[: int(starts[-1])]
    rows = firsts[ids] + torch.arange(len(ids), device=ids.device) - starts[ids]
    place = torch.zeros(expert_ids.numel(), dtype=torch.int64, device=ids.device).index_copy_(0, pairs, rows)
    # Empty rows hold the first token: with weight 0 they change nothing, and no buffer of zeros has to be filled.
    slots_of_rows = torch.zeros(count, dtype=torch.int64, device=ids.device).index_copy_(0, rows, pairs)
    empty = torch.ones(count, dtype=torch.bool, device=ids.device).index_fill_(0, rows, False)
    slots = expert_ids.shape[1]
    used = expert_ids < num_experts
    return Layout(slots_of_rows // slots, place.view_as(used), used, slots_of_rows, empty, ends, capacity)


def _grouped_mm_takes(*operands: Tensor) -> bool:
    """Whether ``F.grouped_mm`` takes operands as they lie: their type, and strides in multiples of 16 bytes."""
    return all(
        operand.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and all(stride == 1 or stride * operand.element_size() % 16 == 0 for stride in operand.stride())
        and all(size * operand.element_size() % 16 == 0 for size in operand.shape[-1:])
        for operand in operands
    )
