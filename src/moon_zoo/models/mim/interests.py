"""What one history says about the item shown, by each of the behaviour layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from moon_zoo.nn.behaviour.attention import TargetAttention, masked_softmax, weighted_sum
from moon_zoo.nn.behaviour.content_interest import SimilarityWeights, Weighting, largest_similarities
from moon_zoo.nn.behaviour.sa_ta import SimilarityAwareLogits
from moon_zoo.nn.behaviour.simtier import SimTier
from moon_zoo.nn.content import ContentSimilarity, ContentVectors, without_content

Behaviour = Literal["none", "din", "simtier", "sa_ta", "ciubm", "cube"]

CONTENT_INTERESTS: tuple[Behaviour, ...] = ("ciubm", "cube")
"""Behaviour layers that sum content vectors."""


@dataclass(frozen=True, slots=True)
class History:
    """A user's history beside the item shown, as the layers need it.

    Args:
        target: What behaviours are compared with, ``(batch, dim)``.
        behaviours: ``(batch, length, dim)``, oldest first; of ids, or of content in a network without ids.
        mask: True on real behaviours, ``(batch, length)``.
        target_rows: Content rows of the item shown, ``(batch,)``; None where no content is used.
        rows: Content rows of behaviours, ``(batch, length)``.
        cosine: Their cosines to the target, ``(batch, length)``; a constant.
        content: The table, ``(rows, content_dim)``.
    """

    target: Tensor
    behaviours: Tensor
    mask: Tensor
    target_rows: Tensor | None = None
    rows: Tensor | None = None
    cosine: Tensor | None = None
    content: Tensor | None = None


class HistoryInterest(nn.Module):
    """One history to features of the deep network.

    Args:
        behaviour: The layer; ``none`` has no use for this class.
        dim: Size of target and behaviours.
        content_dim: Size of content embeddings; None for a history of things that have none, which gets `din` alone.
        with_ids: Whether behaviours are embeddings of ids; without, they are content and there is nothing to fuse.
        attention_hidden: Widths of the attention network.
        attention_softmax: Whether DIN's weights are a softmax; the paper's are not.
        weighting: See `SimilarityWeights`.
        num_similarities: How many of the largest similarities CUBE hands on.
        num_tiers: Tiers of SimTier.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        dim: int,
        content_dim: int | None,
        *,
        with_ids: bool = True,
        attention_hidden: Sequence[int] = (64,),
        attention_softmax: bool = False,
        weighting: Weighting = "softmax",
        num_similarities: int = 20,
        num_tiers: int = 20,
    ) -> None:
        super().__init__()
        self.behaviour: Behaviour = behaviour if content_dim is not None else "din"
        self.attention = TargetAttention(dim, attention_hidden)
        self.softmax = attention_softmax or self.behaviour == "sa_ta"
        self.with_ids = with_ids
        self.num_similarities = num_similarities if self.behaviour == "cube" else 0
        self.attention_dim = self.out_dim = dim
        if self.behaviour == "simtier":
            self.simtier = SimTier(2 * num_tiers, num_tiers=num_tiers)
            self.out_dim += self.simtier.dim
        if self.behaviour == "sa_ta":
            self.mixed = SimilarityAwareLogits()
        if self.behaviour in CONTENT_INTERESTS:
            assert content_dim is not None
            self.weights = SimilarityWeights(weighting)
            self.out_dim += content_dim + 1 + (dim if with_ids else 0)
            self.out_dim += self.num_similarities + 1 if self.behaviour == "cube" else 0
        if self.behaviour in ("sa_ta", *CONTENT_INTERESTS):
            self.similarity = ContentSimilarity()

    def forward(self, history: History, vectors: ContentVectors | None) -> tuple[Tensor, list[Tensor]]:
        """The attention's output, ``(batch, attention_dim)``, and all features, which are ``out_dim`` wide together."""
        mask, similarity, missing = history.mask, None, None
        if self.behaviour != "din":
            assert history.cosine is not None and history.target_rows is not None and history.rows is not None
            missing = without_content(history.target_rows, history.rows)
            if self.behaviour != "simtier":
                similarity = self.similarity(history.cosine, missing)
        attended = self._attend(history, similarity)
        features = [attended]
        if self.behaviour == "simtier":
            features.append(self.simtier(history.cosine, missing, mask))
        if self.behaviour in CONTENT_INTERESTS:
            assert similarity is not None and history.rows is not None and history.content is not None
            assert vectors is not None
            weights = self.weights(similarity, mask)
            features.append(vectors.weighted_sum(weights, history.rows, history.content))
            features.append((weights * similarity).sum(1, keepdim=True))
            if self.with_ids:
                features.append(weighted_sum(weights, history.behaviours))
        if self.behaviour == "cube":
            assert similarity is not None
            features.append(largest_similarities(similarity, mask, self.num_similarities))
            features.append(mask.sum(1, keepdim=True).float().log1p())
        return attended, features

    def _attend(self, history: History, similarity: Tensor | None) -> Tensor:
        logits = self.attention(history.target, history.behaviours)
        if self.behaviour == "sa_ta":
            assert similarity is not None
            logits = self.mixed(logits, similarity)
        weights = masked_softmax(logits, history.mask) if self.softmax else logits * history.mask
        return weighted_sum(weights, history.behaviours)


@torch.no_grad()
def most_similar(cosine: Tensor, rows: Tensor, target_rows: Tensor, mask: Tensor, count: int) -> Tensor:
    """Positions of the behaviours most alike to the target in content, oldest first.

    Behaviours without an embedding come after all that have one; of a target without one, the newest are taken.

    Args:
        cosine: ``(batch, length)``.
        rows: Content rows of behaviours, ``(batch, length)``.
        target_rows: Content rows of the targets, ``(batch,)``.
        mask: True on real behaviours.
        count: How many, at most ``length``.

    Returns:
        int64 ``(batch, count)``, ascending in each row; padding is taken only where nothing else is left.
    """
    unknown = without_content(target_rows, rows)
    newest = torch.arange(mask.shape[1], device=mask.device) / mask.shape[1]
    # cosines are above -1; among behaviours of unknown similarity, and among padding, the later position wins
    score = torch.where(unknown, newest - 3, cosine).masked_fill(~mask, -4)
    return score.topk(count, dim=1).indices.sort(dim=1).values
