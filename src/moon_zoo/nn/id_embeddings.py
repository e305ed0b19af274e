"""Embeddings of ids of several vocabularies in one table.

One table means one lookup and one gradient for all columns, and one tensor for the optimiser's fused step, instead of dozens
of small ones. Row 0 is padding of every vocabulary; a vocabulary's other ids lie one after another behind those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNKNOWN = 1
"""The id of whatever its vocabulary does not hold; 0 is padding."""


class IdEmbeddings(nn.Module):
    """Ids of several vocabularies to embeddings.

    Args:
        sizes: Vocabulary to its number of ids, padding and out-of-vocabulary included.
        dim: Size of an embedding.
        std: Of the normal distribution that embeddings start from. Those of padding and of out-of-vocabulary ids start at
            0: where training holds no unknown ids nothing moves them, and noise would then speak for every cold item.
    """

    def __init__(self, sizes: Mapping[str, int], dim: int, *, std: float = 0.01) -> None:
        super().__init__()
        small = [name for name, size in sizes.items() if size < UNKNOWN + 1]
        if small:
            raise ValueError(
                f"sizes counts padding and out-of-vocabulary ids, at least 2: {small[0]} has {sizes[small[0]]}"
            )
        self.dim = dim
        self.starts: dict[str, int] = {}
        total = 1
        for name, size in sizes.items():
            self.starts[name] = total - 1  # id i >= 1 has row start + i
            total += size - 1
        weight = torch.randn(total, dim) * std
        weight[0] = 0
        for start in self.starts.values():
            weight[start + UNKNOWN] = 0
        self.weight = nn.Parameter(weight)

    def rows(self, ids: Tensor, vocabulary: str) -> Tensor:
        """Rows of the table of ids of a vocabulary; any shape."""
        return torch.where(ids > 0, ids + self.starts[vocabulary], 0)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows ``(...)`` to embeddings ``(..., dim)``; padding gives zeros and learns nothing."""
        return F.embedding(rows, self.weight, padding_idx=0)

    def columns(self, ids: Sequence[Tensor], vocabularies: Sequence[str]) -> Tensor:
        """Embeddings of several columns side by side: each ``(batch, ...)``, result ``(batch, ..., columns * dim)``."""
        rows = torch.stack([self.rows(one, name) for one, name in zip(ids, vocabularies)], dim=-1)
        return self(rows).flatten(-2)
