"""A network of click probability whose behaviour layer is a setting: ids, content, or both.

Sources: MIM (arXiv:2502.00321, CiUBM), CUBE (arXiv:2511.11305), DIN (arXiv:1706.06978), SimTier and MAKE (arXiv:2407.19467),
SA-TA (MUSE, arXiv:2512.07216). One network instead of six, so that they differ in nothing but their behaviour layer.

A batch holds, ``B`` rows and histories of ``L``, oldest first, padded to the right:

======================  ===================  ==========================================================================
``id/<column>``         int ``(B,)/(B, L)``  ids of features and of histories; 0 padding, 1 out of vocabulary
``mask/<sequence>``     bool ``(B, L)``      True on real behaviours
``content/<column>``    int ``(B,)/(B, L)``  rows of the content table; 0 padding, 1 an item without an embedding
``numeric``             float ``(B, N)``     standardised, 0 where missing
``numeric_missing``     bool ``(B, N)``
======================  ===================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from moon_zoo.data.impressions.schema import Schema, Sequence
from moon_zoo.errors import RecipeError
from moon_zoo.models.mim.interests import (
    CONTENT_INTERESTS,
    Behaviour,
    History,
    HistoryInterest,
    Weighting,
    most_similar,
)
from moon_zoo.nn.content import ContentSimilarity, ContentVectors, cosines, without_content
from moon_zoo.nn.cross import CrossNetwork
from moon_zoo.nn.id_embeddings import UNKNOWN, IdEmbeddings
from moon_zoo.nn.learned_metric import LearnedMetric
from moon_zoo.nn.mlp import MLP

Deep = Literal["mlp", "dcnv2"]


@dataclass(frozen=True, slots=True)
class Features:
    """What a forward pass computed.

    Args:
        logits: float32 ``(batch,)``; their sigmoid is the probability of a click.
        interest: The attention's output over all histories, ``(batch, attention_dim)``; no columns without histories.
        hidden: What each layer of the deep part gave.
        looked_up: Embeddings of ids that the rows looked up: of features ``(batch, columns * dim)``, of a history
            ``(batch, length, fields * dim)`` with zeros on padding.
    """

    logits: Tensor
    interest: Tensor
    hidden: tuple[Tensor, ...]
    looked_up: tuple[Tensor, ...]

    @property
    def penalty(self) -> Tensor:
        """L2 of the embeddings looked up, a scalar before any weight; computed when asked for.

        The mean over rows of the summed squares of their features' embeddings and the mean square of their histories'. Ids
        that no row of the batch has are left alone, as a penalty of whole tables would not (Zhou et al. 2018, section 5.1).
        """
        total = self.logits.new_zeros(())
        for embedded in self.looked_up:
            squares = embedded.float().square().sum(-1)
            if squares.ndim == 2:
                squares = squares.sum(1) / (squares.detach() > 0).sum(1).clamp_min(1)
            total = total + squares.mean()
        return total

    def joined(self) -> Tensor:
        """What MAKE hands to the second step: interest, hidden layers and logit side by side."""
        return torch.cat([self.interest, *self.hidden, self.logits.unsqueeze(1)], dim=1)


class MimNetwork(nn.Module):
    """Rows of an impression table to logits of a click.

    Args:
        schema: Which columns there are.
        sizes: Vocabulary to its number of ids, padding and out-of-vocabulary included.
        behaviour: The layer over histories. ``none`` uses no history and no content.
        deep: ``mlp``, or ``dcnv2``: cross layers beside it (Wang et al. 2021, arXiv:2008.13535, parallel structure).
        embedding_dim: Size of an id's embedding.
        content_dim: Size of content embeddings; None for layers that use none.
        attention_hidden: Widths of the attention network.
        attention_softmax: Whether DIN's weights are a softmax.
        hidden: Widths of the deep part.
        num_cross: Cross layers of ``dcnv2``.
        cross_rank: Rank of their matrices; None for full ones.
        dropout: In the deep part.
        top_k: Keep of each history the behaviours most similar in content; None for all.
        weighting: Of content interests, see `moon_zoo.nn.behaviour.content_interest`.
        metric_dim: Compare content by the cosine of learned projections of this size; None by the embeddings' own cosine,
            as the papers do. For ``sa_ta``, ``ciubm`` and ``cube``; a histogram of tiers has no gradient to learn it by.
        num_similarities: How many of the largest similarities CUBE hands on.
        num_tiers: Tiers of SimTier.
        use_ids: False leaves out all embeddings of ids, and histories are of content: MAKE's first step.
        item_dropout: Probability in training of taking a row's item for unknown, as cold items are (after Volkovs et al.
            2017, "DropoutNet"): the network then learns what to make of an item that it knows by content alone.
        embedding_std: Of the normal distribution that ids' embeddings start from.
        make: MAKE's first step, trained: its interest, hidden layers and logit become features here. It stays as it is.
    """

    def __init__(
        self,
        schema: Schema,
        sizes: Mapping[str, int],
        *,
        behaviour: Behaviour = "din",
        deep: Deep = "mlp",
        embedding_dim: int = 16,
        content_dim: int | None = None,
        attention_hidden: Many[int] = (64,),
        attention_softmax: bool = False,
        hidden: Many[int] = (256, 128, 64),
        num_cross: int = 2,
        cross_rank: int | None = None,
        dropout: float = 0.0,
        top_k: int | None = None,
        weighting: Weighting = "softmax",
        metric_dim: int | None = None,
        num_similarities: int = 20,
        num_tiers: int = 20,
        use_ids: bool = True,
        item_dropout: float = 0.0,
        embedding_std: float = 0.01,
        make: MimNetwork | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.behaviour: Behaviour = behaviour
        self.use_ids = use_ids
        self.top_k = top_k
        self.item_dropout = item_dropout
        self.make = None if make is None else make.requires_grad_(False).eval()
        self.sequences = schema.sequences if behaviour != "none" else ()
        self.uses_content = behaviour in ("simtier", "sa_ta", *CONTENT_INTERESTS) or top_k is not None or not use_ids
        if behaviour == "none" and use_ids:
            self.uses_content = False
        _check(self, content_dim)
        self.needs_content: bool = self.uses_content or (make is not None and make.needs_content)
        self._with_vectors = behaviour in CONTENT_INTERESTS or not use_ids
        self._with_sides = behaviour == "cube" or not use_ids
        if use_ids:
            self.embeddings = IdEmbeddings(
                {one: sizes[one] for one in schema.vocabularies}, embedding_dim, std=embedding_std
            )
        if self._with_vectors:
            assert content_dim is not None
            self.vectors = ContentVectors(content_dim)
        self.metric: LearnedMetric | None = None
        if metric_dim is not None and behaviour in ("sa_ta", *CONTENT_INTERESTS):
            assert content_dim is not None
            self.metric = LearnedMetric(content_dim, metric_dim)
        self._query = self._query_column() if self._with_sides else None
        if self._query is not None:
            self.query_similarity = ContentSimilarity()
        self.interests = nn.ModuleList(
            HistoryInterest(
                behaviour,
                len(sequence.fields) * embedding_dim if use_ids else content_dim or 0,
                content_dim if self.content_column(sequence) is not None and behaviour != "din" else None,
                with_ids=use_ids,
                attention_hidden=attention_hidden,
                attention_softmax=attention_softmax,
                weighting=weighting,
                num_similarities=num_similarities,
                num_tiers=num_tiers,
            )
            for sequence in self.sequences
        )
        in_dim = self._in_dim(embedding_dim, content_dim or 0)
        if in_dim == 0:
            raise RecipeError(
                "nothing is left to tell a click by: no ids, no numbers, no content",
                change="model.init_args.use_ids to true",
            )
        self.deep = MLP(in_dim, hidden, dropout=dropout)
        self.cross = CrossNetwork(in_dim, num_layers=num_cross, rank=cross_rank) if deep == "dcnv2" else None
        self.out = nn.Linear(self.deep.out_dim + (in_dim if self.cross is not None else 0), 1)
        self.joined_dim = sum(one.attention_dim for one in self._layers()) + sum(hidden) + 1

    def forward(self, batch: Mapping[str, Tensor], content: Tensor | None = None) -> Tensor:
        """Logits of a click, float32 ``(batch,)``; ``content`` is the table of unit vectors, ``(rows, content_dim)``."""
        return self.features(batch, content).logits

    def features(self, batch: Mapping[str, Tensor], content: Tensor | None = None) -> Features:
        """Logits and what led to them."""
        batch = self._without_some_items(batch)
        given, looked_up = self._row_features(batch, content)
        interests = []
        for sequence, layer in zip(self.sequences, self._layers()):
            history = self._history(sequence, batch, content)
            attended, found = layer(history, self.vectors if self._with_vectors else None)
            interests.append(attended)
            given += found
            looked_up += [history.behaviours] if self.use_ids else []
        if self.make is not None:
            with torch.no_grad():
                given.append(self.make.features(batch, content).joined())
        features = torch.cat([one.float() for one in given], dim=1)
        hidden = self.deep(features)
        last = hidden[-1] if self.cross is None else torch.cat([hidden[-1], self.cross(features)], dim=1)
        logits = self.out(last).squeeze(1).float()
        return Features(
            logits=logits,
            interest=torch.cat(interests, dim=1) if interests else features[:, :0],
            hidden=tuple(hidden),
            looked_up=tuple(looked_up),
        )

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; MAKE's first step stays in evaluation."""
        super().train(mode)
        if self.make is not None:
            self.make.eval()
        return self

    def content_column(self, sequence: Sequence) -> str | None:
        """The column of a sequence that holds items."""
        return next((column for column in sequence.columns if column in self.schema.content_columns), None)

    def _layers(self) -> list[HistoryInterest]:
        return [one for one in self.interests if isinstance(one, HistoryInterest)]

    def _without_some_items(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if not self.training or self.item_dropout == 0 or not self.use_ids:
            return batch
        column = f"id/{self.schema.item}"
        dropped = torch.rand(batch[column].shape, device=batch[column].device) < self.item_dropout
        return {**batch, column: batch[column].masked_fill(dropped, UNKNOWN)}

    def _query_column(self) -> str | None:
        """The query's column where it holds items, so that it has their embeddings."""
        return self.schema.query if self.schema.query in self.schema.content_columns else None

    def _target_columns(self, sequence: Sequence) -> tuple[str, ...]:
        """What behaviours are compared with: the row's own values of the same fields.

        A field of items is always compared with the item shown, also in a history of queries: what is asked of a history
        is what it says about the item, and both have embeddings of one vocabulary.
        """
        items = self.schema.item_vocabulary
        return tuple(self.schema.item if self.schema.vocabulary_of(one) == items else one for one in sequence.fields)

    def _in_dim(self, embedding_dim: int, content_dim: int) -> int:
        dim = 2 * len(self.schema.numeric) + sum(one.out_dim for one in self._layers())
        if self.use_ids:
            dim += embedding_dim * len(self.schema.categorical)
        if self._with_sides:
            dim += content_dim * (1 if self._query is None else 2) + int(self._query is not None)
        return dim + (0 if self.make is None else self.make.joined_dim)

    def _row_features(self, batch: Mapping[str, Tensor], content: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        given: list[Tensor] = []
        looked_up: list[Tensor] = []
        if self.use_ids:
            columns = [one.name for one in self.schema.categorical]
            embedded = self._embed(batch, columns)  # (batch, columns * dim)
            given.append(embedded)
            looked_up.append(embedded)
        if self.schema.numeric:
            given += [batch["numeric"], batch["numeric_missing"].float()]
        if self._with_sides:
            assert content is not None
            target = batch[f"content/{self.schema.item}"]
            given.append(self.vectors(target, content))
            if self._query is not None:
                query = batch[f"content/{self._query}"].unsqueeze(1)  # a history of one
                given.append(self.vectors(query.squeeze(1), content))
                similarity = self._similarity(target, query, content)
                given.append(self.query_similarity(similarity, without_content(target, query)))
        return given, looked_up

    def _history(self, sequence: Sequence, batch: Mapping[str, Tensor], content: Tensor | None) -> History:
        mask = batch[f"mask/{sequence.name}"]
        ids = [batch[f"id/{column}"] for column in sequence.columns] if self.use_ids else []
        column = self.content_column(sequence) if self.uses_content else None
        target_rows = rows = cosine = None
        if column is not None:
            assert content is not None
            target_rows, rows = batch[f"content/{self.schema.item}"], batch[f"content/{column}"]
            cosine = self._similarity(target_rows, rows, content)
            if self.top_k is not None and self.top_k < mask.shape[1]:
                kept = most_similar(cosine, rows, target_rows, mask, self.top_k)
                mask, rows, cosine = (one.gather(1, kept) for one in (mask, rows, cosine))
                ids = [one.gather(1, kept) for one in ids]
        if not self.use_ids:
            assert target_rows is not None and rows is not None and content is not None
            target, behaviours = self.vectors(target_rows, content), self.vectors(rows, content)
            return History(target, behaviours, mask, target_rows, rows, cosine, content)
        vocabularies = [self.schema.vocabulary_of(one) for one in sequence.columns]
        behaviours = self.embeddings.columns(ids, vocabularies)  # (batch, length, fields * dim)
        target = self._embed(batch, self._target_columns(sequence))
        return History(target, behaviours, mask, target_rows, rows, cosine, content)

    def _similarity(self, target: Tensor, rows: Tensor, content: Tensor) -> Tensor:
        """How alike targets ``(batch,)`` and behaviours ``(batch, length)`` are, by their rows of the table."""
        return (cosines if self.metric is None else self.metric)(target, rows, content)

    def _embed(self, batch: Mapping[str, Tensor], columns: Many[str]) -> Tensor:
        ids = [batch[f"id/{column}"] for column in columns]
        return self.embeddings.columns(ids, [self.schema.vocabulary_of(column) for column in columns])


def _check(network: MimNetwork, content_dim: int | None) -> None:
    """Whether the settings agree with each other and with the table.

    Raises:
        RecipeError: They do not.
    """
    schema, behaviour = network.schema, network.behaviour
    setting = "model.init_args.behaviour"
    if behaviour != "none" and not schema.sequences:
        raise RecipeError(
            f"the behaviour layer {behaviour} reads histories, and the table has none", change=f"{setting} to none"
        )
    if not network.uses_content:
        return
    if content_dim is None:
        raise RecipeError(
            f"the behaviour layer {behaviour} compares items by content embeddings, and none are given",
            change=f"model.init_args.embeddings, or {setting} to din or none",
        )
    without = [one.name for one in network.sequences if network.content_column(one) is None]
    if without and (len(without) == len(network.sequences) or not network.use_ids):
        raise RecipeError(
            f"the history {without[0]} holds no column of items (vocabulary {schema.item_vocabulary}), "
            "so it has no content embeddings",
            change=f"the history's columns, or {setting} to din",
        )
