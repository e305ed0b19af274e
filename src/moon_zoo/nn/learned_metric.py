"""A learned metric over frozen content embeddings: the cosine of learned projections instead of the embeddings' own.

Contrastive towers put everything that tells products apart into their vectors, in whatever proportion served them; clicks may
care for the category and hardly for the size. The papers compare frozen vectors by their cosine; this linear map in between
is ours. It begins close to a rotation, so that the first similarities are those of the embeddings.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LearnedMetric(nn.Module):
    """Cosines of learned projections.

    Args:
        content_dim: Size of content embeddings.
        dim: Size of their projections.
    """

    def __init__(self, content_dim: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(content_dim, dim, bias=False)
        nn.init.orthogonal_(self.projection.weight)

    def forward(self, target: Tensor, rows: Tensor, content: Tensor) -> Tensor:
        """Similarity of each target and the items of its history, with a gradient to the projection.

        Args:
            target: Rows of the table, ``(batch,)``.
            rows: The same of the history, ``(batch, length)``.
            content: The table, ``(rows, content_dim)``; rows 0 and 1 are zeros.

        Returns:
            float32 ``(batch, length)`` in ``[-1, 1]``; 0 on padding and where either has no embedding.
        """
        if content.shape[0] <= rows.numel():  # a table smaller than what is looked up: project each of its rows once
            projected = self._project(content)
            targets, behaviours = F.embedding(target, projected), F.embedding(rows, projected)
        else:
            targets = self._project(F.embedding(target, content))
            behaviours = self._project(F.embedding(rows, content))
        return torch.bmm(behaviours, targets.unsqueeze(2)).squeeze(2).float()

    def _project(self, vectors: Tensor) -> Tensor:
        # normalised in float32 under any precision; zeros stay zeros
        return F.normalize(self.projection(vectors.float()).float(), dim=-1)
