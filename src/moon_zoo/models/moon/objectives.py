"""What MOON is trained for, apart from writing: queries near their items and far from all others, photos near their titles.

Sources: InfoNCE with in-batch, hard, spatial and temporal negatives: arXiv:2508.11999, section 3.4; circle loss and Matryoshka
sizes: arXiv:2511.11305; dual-level alignment and the filter of samples: arXiv:2511.12449. Hard negatives are documents with a
gradient, behind the items; spatial ones are other ranks' documents; temporal ones come from a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from moon_zoo.errors import RecipeError
from moon_zoo.nn.circle import circle_loss
from moon_zoo.nn.diagnostics import mean_pairwise_cosine
from moon_zoo.nn.heads import LogitScale
from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.matryoshka import matryoshka
from moon_zoo.nn.negative_counts import count_negatives
from moon_zoo.nn.negatives import ExtraDocuments, NegativeQueue
from moon_zoo.nn.pair_filter import decayed_margin, pair_weights, share_below

LossName = Literal["info_nce", "circle"]
Positives = Literal["spu", "item"]


@dataclass(frozen=True)
class Identities:
    """Who is who among rows.

    Args:
        item: int64 ``(rows,)``.
        spu: int64 ``(rows,)``.
    """

    item: Tensor
    spu: Tensor


@dataclass(frozen=True)
class Encoded:
    """A batch of this rank, encoded.

    Args:
        query: Unit embeddings ``(batch, dim)``.
        item: The same of the items chosen.
        negative: Of the items passed over ``(batch, negatives, dim)``; None without.
        query_there: Queries that count, bool ``(batch,)``.
        item_there: Items that count, bool ``(batch,)``.
        negative_there: Bool ``(batch, negatives)``; None without.
        own: Identities of the items, which are those wanted by the queries.
        passed_over: Identities of the items passed over, flattened; None without.
    """

    query: Tensor
    item: Tensor
    negative: Tensor | None
    query_there: Tensor
    item_there: Tensor
    negative_there: Tensor | None
    own: Identities
    passed_over: Identities | None


class MoonObjectives(nn.Module):
    """Contrastive losses with temperature and queue.

    Args:
        dim: Size of the embeddings.
        loss: ``info_nce`` or ``circle``.
        temperature: Of InfoNCE, where it starts.
        min_temperature: Its lower bound.
        learn_temperature: Whether it is trained.
        symmetric: Whether InfoNCE also goes from items to queries.
        circle_margin: m of the circle loss.
        circle_scale: Its gamma.
        positives: What makes two samples positives of each other: the ``spu`` or the ``item``. With ``item`` other items of the
            SPU are no negatives either.
        spatial_negatives: Whether other ranks' items are negatives.
        queue_size: Item embeddings of past steps kept as negatives; 0 for none.
        queue_warmup_steps: Steps before they are used.
        similarity_ceiling: Negatives more similar to the query than its positive by this much are left out; None keeps all.
        matryoshka_sizes: Prefix sizes trained beside the whole; empty for none.
        filter_threshold: Pairs whose phi is under this count less; None counts all alike.
    """

    def __init__(
        self,
        dim: int,
        *,
        loss: LossName = "info_nce",
        temperature: float = 0.07,
        min_temperature: float = 0.01,
        learn_temperature: bool = True,
        symmetric: bool = False,
        circle_margin: float = 0.25,
        circle_scale: float = 64.0,
        positives: Positives = "spu",
        spatial_negatives: bool = True,
        queue_size: int = 0,
        queue_warmup_steps: int = 0,
        similarity_ceiling: float | None = None,
        matryoshka_sizes: Sequence[int] = (),
        filter_threshold: float | None = None,
    ) -> None:
        super().__init__()
        if filter_threshold is not None and symmetric and loss == "info_nce":
            raise RecipeError(
                "samples are filtered by query, which a symmetric loss has no weights for",
                change="model.init_args.filter_threshold to null, or model.init_args.symmetric to false",
            )
        if filter_threshold is not None and not 0 < filter_threshold < 1:
            raise RecipeError(
                f"filter_threshold is {filter_threshold}, but must lie between 0 and 1",
                change="model.init_args.filter_threshold",
            )
        self.filter_threshold = filter_threshold
        self.loss: LossName = loss
        self.symmetric = symmetric
        self.circle_margin, self.circle_scale = circle_margin, circle_scale
        self.positives: Positives = positives
        self.spatial_negatives = spatial_negatives
        self.similarity_ceiling = similarity_ceiling
        self.sizes = (*matryoshka_sizes, dim) if matryoshka_sizes else ()
        self.logit_scale = LogitScale(
            temperature, min_temperature=min_temperature, learnable=learn_temperature and loss == "info_nce"
        )
        self.queue = NegativeQueue(queue_size, dim, warmup_steps=queue_warmup_steps) if queue_size > 0 else None
        self._pending: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, encoded: Encoded, step: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """Queries against items, hard negatives and the queue.

        Args:
            encoded: The batch.
            step: Optimiser steps done, by which the filter of samples changes.

        Returns:
            The loss, a scalar, and figures of it, detached.
        """
        documents, there, identities = _documents(encoded)
        pairs: dict[str, Any] = {
            "query_valid": encoded.query_there & encoded.item_there,
            "document_valid": there,
            "extra_documents": None if self.queue is None else self._with_ids(self.queue.documents()),
            "similarity_ceiling": self.similarity_ceiling,
            "gather": self.spatial_negatives,
            **self._groups(encoded.own, identities),
        }
        hard = len(documents) - len(encoded.item)
        counts = count_negatives(encoded.query.detach(), documents.detach(), hard=hard, **pairs)
        figures = {
            "mean_cosine/item": mean_pairwise_cosine(encoded.item.detach(), encoded.item_there),
            "mean_cosine/query": mean_pairwise_cosine(encoded.query.detach(), encoded.query_there),
            **{f"negatives/{origin}": count for origin, count in counts.items()},
        }
        if self.loss == "info_nce":
            figures["temperature"] = self.logit_scale.temperature
        if self.filter_threshold is not None:
            weights = self._weights(encoded, self.filter_threshold, step)
            pairs["query_weights"] = weights
            figures["filtered_share"] = share_below(weights, pairs["query_valid"])
        if self.queue is not None:
            self._pending = (encoded.item.detach(), encoded.own.spu, encoded.item_there)
            figures["queue_staleness"] = self.queue.staleness()
        return self._contrast()(encoded.query, documents, **pairs), figures

    def _weights(self, encoded: Encoded, threshold: float, step: int) -> Tensor:
        """How much each query counts, ``(batch,)``."""
        groups = encoded.own.spu if self.positives == "spu" else encoded.own.item
        return pair_weights(
            encoded.query,
            encoded.item,
            margin=decayed_margin(step),
            threshold=threshold,
            query_valid=encoded.query_there & encoded.item_there,
            document_valid=encoded.item_there,
            hard_negatives=encoded.negative,
            hard_valid=encoded.negative_there,
            query_groups=groups,
            document_groups=groups,
        )

    def dual_level(self, photo: Tensor, title: Tensor, there: Tensor, own: Identities) -> Tensor:
        """Items' photos against all items' titles and the other way, a scalar: MOON2's alignment inside the product.

        Args:
            photo: Unit embeddings of the items' photos ``(batch, dim)``.
            title: Of their titles.
            there: Items that have both, bool ``(batch,)``.
            own: Identities of the items.
        """
        scale = self.logit_scale() if self.loss == "info_nce" else 1 / self.logit_scale.temperature
        loss = partial(symmetric_info_nce, scale=scale, gather=self.spatial_negatives)
        return matryoshka(loss, self.sizes)(
            photo, title, query_valid=there, document_valid=there, **self._groups(own, own)
        )

    def push_to_queue(self) -> None:
        """Hand the last batch's items to the queue; to be called once per step, after the backward pass."""
        if self.queue is not None and self._pending is not None:
            self.queue.push(*self._pending)
        self._pending = None

    def _contrast(self) -> Callable[..., Tensor]:
        loss: Callable[..., Tensor]
        if self.loss == "circle":
            loss = partial(circle_loss, scale=self.circle_scale, margin=self.circle_margin)
        else:
            loss = partial(symmetric_info_nce if self.symmetric else info_nce, scale=self.logit_scale())
        return matryoshka(loss, self.sizes)

    def _groups(self, queries: Identities, documents: Identities) -> dict[str, Tensor]:
        if self.positives == "spu":
            return {"query_groups": queries.spu, "document_groups": documents.spu}
        return {
            "query_groups": queries.item,
            "document_groups": documents.item,
            "query_ignore": queries.spu,
            "document_ignore": documents.spu,
        }

    def _with_ids(self, queue: ExtraDocuments) -> ExtraDocuments:
        # The queue is by SPU. By item, groups of queries are others, and its SPUs are ids to be ignored.
        return queue if self.positives == "spu" else queue._replace(ignore=queue.groups)


def _documents(encoded: Encoded) -> tuple[Tensor, Tensor, Identities]:
    """Items, and behind them what was passed over; which count; who they are."""
    if encoded.negative is None or encoded.negative_there is None or encoded.passed_over is None:
        return encoded.item, encoded.item_there, encoded.own
    documents = torch.cat([encoded.item, encoded.negative.flatten(0, 1)])
    there = torch.cat([encoded.item_there, encoded.negative_there.flatten()])
    own, others = encoded.own, encoded.passed_over
    return documents, there, Identities(torch.cat([own.item, others.item]), torch.cat([own.spu, others.spu]))


def identities(batch: Mapping[str, Tensor], side: str = "") -> Identities:
    """Of a batch's items, or of its ``negative`` ones, flattened."""
    prefix = f"{side}_" if side else ""
    return Identities(batch[f"{prefix}item_id"].flatten(), batch[f"{prefix}spu_id"].flatten())


def check_sizes(sizes: Sequence[int], dim: int) -> tuple[int, ...]:
    """Matryoshka sizes in ascending order, without that of the whole embedding, which is always trained.

    Raises:
        RecipeError: One is not between 1 and the size of the embedding, or given twice.
    """
    wrong = [size for size in sizes if not 1 <= size <= dim]
    if wrong or len(set(sizes)) < len(sizes):
        raise RecipeError(
            f"matryoshka sizes are {list(sizes)}, but must differ and lie between 1 and the size of the embedding, {dim}",
            change="model.init_args.matryoshka",
        )
    return tuple(sorted(set(sizes) - {dim}))
