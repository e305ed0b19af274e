"""Frozen content embeddings in a network: vectors by row of a table, similarities, and what stands in where there is none.

A table is handed in with each call, ``(rows, dim)`` of unit vectors, because it belongs to the data: it may be the whole of
it or only the rows that a batch needs. Row 0 is padding, row 1 stands for an item without an embedding, both are zeros.
No gradient is made for it, so similarities are computed in pieces that stay in the processor's cache and the tensor
``(batch, length, dim)`` of a whole batch is never kept.

Ours: an item without an embedding gets a learned vector where a vector is asked for, and a learned similarity to everything,
since two items that lack photos are not for that reason alike.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.behaviour.pieces import rows_per_piece

NO_CONTENT = 1
"""Row of the table that stands for an item without an embedding."""


class ContentVectors(nn.Module):
    """Vectors of items by their row, with a learned one for items that have none.

    Unit vectors are stretched to length ``sqrt(dim)``: their coordinates then have a variance of 1, as the inputs of a
    linear layer should.

    Args:
        dim: Size of content embeddings.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.length = math.sqrt(dim)
        self.default = nn.Parameter(torch.zeros(dim))

    def forward(self, rows: Tensor, content: Tensor) -> Tensor:
        """Rows ``(batch, ...)`` of ``content`` ``(rows, dim)`` to ``(batch, ..., dim)``; padding gives zeros."""
        vectors = F.embedding(rows, content).float() * self.length
        return torch.where((rows == NO_CONTENT).unsqueeze(-1), self.default, vectors)

    def weighted_sum(self, weights: Tensor, rows: Tensor, content: Tensor) -> Tensor:
        """Sum over a history of its vectors by weight: weights and rows ``(batch, length)`` to ``(batch, dim)``."""
        missing = rows == NO_CONTENT
        known = weights * ~missing
        if content.dtype == torch.float32 and not torch.compiler.is_compiling() and rows.shape[1] > 0:
            # gathers and adds in one pass: 30 times faster on a CPU than a product that first writes the vectors out
            total = F.embedding_bag(rows, content, per_sample_weights=known.float(), mode="sum")
        else:
            total = torch.bmm(known.float().unsqueeze(1), F.embedding(rows, content).float()).squeeze(1)
        return total * self.length + (weights * missing).sum(1, keepdim=True) * self.default


class ContentSimilarity(nn.Module):
    """Cosines of items, with a learned value for pairs of which one has no embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown = nn.Parameter(torch.zeros(()))

    def forward(self, cosine: Tensor, missing: Tensor) -> Tensor:
        """`cosines` and `without_content`, of one shape, to similarities of that shape."""
        return torch.where(missing, self.unknown, cosine)


def without_content(target: Tensor, rows: Tensor) -> Tensor:
    """Where a target ``(batch,)`` or a behaviour ``(batch, length)`` has no embedding; False on padding."""
    return (rows == NO_CONTENT) | ((target == NO_CONTENT).unsqueeze(1) & (rows > NO_CONTENT))


@torch.no_grad()
def cosines(target: Tensor, rows: Tensor, content: Tensor) -> Tensor:
    """Cosine of each target and the items of its history.

    Args:
        target: Rows of the table, ``(batch,)``.
        rows: The same of the history, ``(batch, length)``.
        content: The table of unit vectors, ``(rows, dim)``.

    Returns:
        float32 ``(batch, length)`` in ``[-1, 1]``; 0 on padding and where either has no embedding.
    """
    if torch.compiler.is_compiling() or content.device.type != "cpu":
        kind = "cpu" if content.is_meta else content.device.type  # the meta device knows no autocast
        with torch.autocast(kind, enabled=False):
            targets = F.embedding(target, content).float()  # (batch, dim)
            return torch.bmm(F.embedding(rows, content).float(), targets.unsqueeze(2)).squeeze(2)
    with torch.autocast("cpu", enabled=False):
        return _cosines_in_pieces(target, rows, content)


def _cosines_in_pieces(target: Tensor, rows: Tensor, content: Tensor) -> Tensor:
    batch, length = rows.shape
    found = torch.empty(batch, length)
    size = rows_per_piece(length * content.shape[1] * content.element_size())
    vectors = content.new_empty(min(size, batch) * length, content.shape[1])
    for start in range(0, batch, size):
        piece = rows[start : start + size]
        there = torch.index_select(content, 0, piece.reshape(-1), out=vectors[: piece.numel()])
        targets = content[target[start : start + size]].float().unsqueeze(2)
        torch.bmm(
            there.float().view(*piece.shape, content.shape[1]), targets, out=found[start : start + size].unsqueeze(2)
        )
    return found
