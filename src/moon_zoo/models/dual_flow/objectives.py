"""What the two towers are trained for: pairs of things that should be near one another, each with a weight.

An objective names the query's side and the product's side; each is a contrastive loss between the two over the whole batch,
the other ranks' products, and the queue of past steps. Sources are named in `module`; the table of objectives is ours, after
the query types of MOON (arXiv:2508.11999, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from moon_zoo.nn.diagnostics import mean_pairwise_cosine
from moon_zoo.nn.heads import LogitBias, LogitScale
from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.negatives import NegativeQueue
from moon_zoo.nn.siglip import sigmoid_loss

PARTS = ("query_photo", "query_text", "item_photo", "item_text")
"""What the towers embed of every sample."""

OBJECTIVES: dict[str, tuple[str, str]] = {
    "photo_to_photo": ("query_photo", "item_photo"),
    "photo_to_text": ("query_photo", "item_text"),
    "photo_to_product": ("query_photo", "item"),
    "text_to_product": ("query_text", "item"),
    "query_to_product": ("query", "item"),
    "item_photo_to_text": ("item_photo", "item_text"),
}
"""Objective to (query side, product side). ``query`` and ``item`` are fused: photo and text where both are there."""

LossName = Literal["info_nce", "siglip"]


def with_fused(
    embeddings: Mapping[str, Tensor],
    presence: Mapping[str, Tensor],
    fusion: nn.Module,
    sides: Sequence[str] = ("query", "item"),
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Add ``query`` and ``item``, each fused from its photo and text, to embeddings and presence.

    Args:
        embeddings: `PARTS` to unit embeddings, ``(batch, dim)``.
        presence: `PARTS` to bool, ``(batch,)``: whether the sample has it.
        fusion: A layer of `moon_zoo.nn.fusion`.
        sides: Which sides are there.

    Returns:
        Both mappings with the two fused parts.
    """
    embeddings, presence = dict(embeddings), dict(presence)
    for side in sides:
        photo, text = f"{side}_photo", f"{side}_text"
        embeddings[side] = fusion(embeddings[photo], embeddings[text], presence[photo], presence[text])
        presence[side] = presence[photo] | presence[text]
    return embeddings, presence


class Objectives(nn.Module):
    """The weighted sum of contrastive losses, with temperature, bias and queues.

    Args:
        weights: Objective to weight; names of `OBJECTIVES`, weights at least 0.
        loss: ``info_nce`` or ``siglip``.
        embedding_dim: Size of the embeddings.
        temperature: Where the temperature starts.
        min_temperature: Its lower bound.
        learn_temperature: Whether it is trained.
        logit_bias: Where the bias of ``siglip`` starts.
        symmetric: Whether ``info_nce`` also goes from products to queries.
        queue_size: Product embeddings of past steps used as further negatives; 0 for none.
        queue_warmup_steps: Steps before they are used.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, float],
        loss: LossName,
        embedding_dim: int,
        temperature: float = 0.07,
        min_temperature: float = 0.01,
        learn_temperature: bool = True,
        logit_bias: float = -10.0,
        symmetric: bool = True,
        queue_size: int = 0,
        queue_warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        self.loss = loss
        self.symmetric = symmetric
        self.logit_scale = LogitScale(temperature, min_temperature=min_temperature, learnable=learn_temperature)
        self.logit_bias = LogitBias(logit_bias) if loss == "siglip" else None
        documents = sorted({OBJECTIVES[name][1] for name in self.weights}) if queue_size > 0 else []
        self.queues = nn.ModuleDict(
            {name: NegativeQueue(queue_size, embedding_dim, warmup_steps=queue_warmup_steps) for name in documents}
        )
        self.logged: dict[str, Tensor] = {}
        """Figures of the last batch, detached: one per objective, the temperature, the queue's staleness."""
        self._pending: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(
        self, embeddings: Mapping[str, Tensor], presence: Mapping[str, Tensor], groups: Tensor, fusion: nn.Module
    ) -> Tensor:
        """The weighted sum over objectives.

        Args:
            embeddings: `PARTS` to unit embeddings of this rank's batch, ``(batch, dim)``.
            presence: `PARTS` to bool, ``(batch,)``.
            groups: int64 ``(batch,)``; samples of one group are positives of one another.
            fusion: The network's, which makes ``query`` and ``item`` of their photos and texts.

        Returns:
            A scalar. An objective for which the batch has nothing adds 0.
        """
        embeddings, presence = with_fused(embeddings, presence, fusion)
        contrast = self._contrast()
        self.logged = {
            "temperature": self.logit_scale.temperature,
            "mean_cosine/item": mean_pairwise_cosine(embeddings["item"], presence["item"]),
        }
        # Towers and fusion have their place in the graph whatever the objectives and the batch: DDP waits for all parameters.
        total = torch.stack([embeddings[part].sum() for part in (*PARTS, "query", "item")]).sum() * 0.0
        for name, weight in self.weights.items():
            query, document = OBJECTIVES[name]
            value = contrast(
                embeddings[query],
                embeddings[document],
                query_groups=groups,
                document_groups=groups,
                query_valid=presence[query],
                document_valid=presence[document],
                extra_documents=self._queue(document).documents() if document in self.queues else None,
            )
            self.logged[f"loss/{name}"] = value.detach()
            total = total + weight * value
        for name in self.queues:
            self._pending[name] = (embeddings[name].detach(), groups, presence[name])
            self.logged["queue_staleness"] = self._queue(name).staleness()
        return total

    def _contrast(self) -> Callable[..., Tensor]:
        """The recipe's loss at the present temperature."""
        scale = self.logit_scale()
        if self.logit_bias is not None:
            return partial(sigmoid_loss, scale=scale, bias=self.logit_bias())
        return partial(symmetric_info_nce if self.symmetric else info_nce, scale=scale)

    def _queue(self, name: str) -> NegativeQueue:
        return cast(NegativeQueue, self.queues[name])

    def push_to_queue(self) -> None:
        """Hand the last batch's products to the queues; to be called once per step, after the backward pass."""
        for name, (embeddings, groups, valid) in self._pending.items():
            self._queue(name).push(embeddings, groups, valid)
        self._pending = {}
