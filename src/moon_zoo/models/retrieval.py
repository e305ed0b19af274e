"""Retrieval figures of a whole split, for every model that embeds queries and products: all tasks its samples can ask,
zero-shot classes, and rows for the gallery.

Queries with a photo alone ask ``photo_to_product``, ``photo_to_text`` and ``photo_to_photo``; with words alone
``text_to_product``; with both ``combined_to_product``. Where samples hold no words (kind `product`), titles ask instead, and
products answer by their photo alone: a title would find itself. What answers are the items of the gallery's shards, or those
of the split itself, each once.

A model hands over embeddings and their presence by the names of `PARTS`; how it makes one embedding of a photo and a text is
its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moon_zoo.data.identity import attribute_id
from moon_zoo.data.ids import stable_id
from moon_zoo.metrics.bank import EmbeddingBank, Rows, retrieval_figures, top_results
from moon_zoo.metrics.uniformity import alignment, uniformity
from moon_zoo.metrics.zero_shot import ZeroShotAccuracy
from moon_zoo.models.base import GalleryRow, Shown
from moon_zoo.nn.matryoshka import prefix
from moon_zoo.nn.positives import Groups
from moon_zoo.nn.tiles import Exclusions, tiled_logsumexp

KS = (1, 5, 10)
MOST_COMPARED = 20_000
"""Products that uniformity is taken over; its work grows with their square."""
SHOWN_QUERIES = 4
SHOWN_RESULTS = 6

PARTS = ("query_photo", "query_text", "query", "item_photo", "item_text", "item")
"""What a model embeds of every sample: the photo, the text, and both as one, of what is asked and of the product."""

ClassEmbeddings = Mapping[str, tuple[Tensor, Tensor]]
"""Zero-shot task (``category``, ``attribute/<name>``) to class ids and their text embeddings."""


@dataclass(frozen=True)
class _Task:
    name: str
    queries: str
    documents: str
    pass_over_own_item: bool = False


TASKS = (
    _Task("photo_to_product", "photo", "item"),
    _Task("text_to_product", "text", "item"),
    _Task("combined_to_product", "combined", "item"),
    _Task("product_to_product", "item", "item", pass_over_own_item=True),
    _Task("photo_to_text", "photo", "item_text"),
    _Task("photo_to_photo", "photo", "item_photo"),
)
_TITLES_ASK = _Task("text_to_product", "item_text", "item_photo")
_SHOWN_TASKS = ("photo_to_product", "text_to_product", "combined_to_product")


class RetrievalEvaluation:
    """Collects a split's embeddings, then computes every figure at once; the same on all ranks."""

    def __init__(self) -> None:
        self._banks: dict[str, EmbeddingBank] = {}
        self._zero_shot: dict[str, ZeroShotAccuracy] = {}
        self._rows: dict[str, Rows | None] = {}
        self._has_gallery = False

    def start(self, classes: ClassEmbeddings, device: torch.device) -> None:
        """Forget the last evaluation.

        Args:
            classes: Class embeddings of the zero-shot tasks, by the model as it is now.
            device: Where embeddings come from.
        """
        self._banks = {
            name: EmbeddingBank().to(device)
            for name in ("photo", "text", "combined", "item", "item_photo", "item_text")
        }
        self._zero_shot = {name: ZeroShotAccuracy(*pair).to(device) for name, pair in classes.items()}
        self._rows = {}
        self._has_gallery = False

    def update(
        self,
        parts: Mapping[str, Tensor],
        has: Mapping[str, Tensor],
        batch: Mapping[str, Tensor],
        attribute_names: tuple[str, ...],
    ) -> None:
        """Take in a batch of queries with their items; the items count only if no gallery is given.

        Args:
            parts: `PARTS` to unit embeddings, ``(batch, dim)``.
            has: `PARTS` to bool, ``(batch,)``: whether the sample has it.
            batch: As the inputs made it.
            attribute_names: Which attribute each column of ``batch["attributes"]`` is.
        """
        photo_alone = has["query_photo"] & ~has["query_text"]
        self._collect("photo", parts["query_photo"], batch, photo_alone)
        self._collect("text", parts["query_text"], batch, has["query_text"] & ~has["query_photo"])
        self._collect("combined", parts["query"], batch, has["query_text"] & has["query_photo"])
        self._update_items(parts, has, batch)
        for name, metric in self._zero_shot.items():
            attribute = name.partition("/")[2]
            labels = batch["attributes"][:, attribute_names.index(attribute)] if attribute else batch["category"]
            metric.update(parts["query_photo"], labels, photo_alone & batch["valid"])

    def update_gallery(
        self, parts: Mapping[str, Tensor], has: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> None:
        """Take in a batch of the gallery's items; those of the queries' own shards are forgotten.

        Args:
            parts: The items' `PARTS` to unit embeddings, ``(batch, dim)``.
            has: The same to bool, ``(batch,)``.
            batch: As the inputs made it.
        """
        if not self._has_gallery:
            self._has_gallery = True
            for name in ("item", "item_photo", "item_text"):
                self._banks[name].reset()
        self._update_items(parts, has, batch, of_gallery=True)

    def _update_items(
        self,
        parts: Mapping[str, Tensor],
        has: Mapping[str, Tensor],
        batch: Mapping[str, Tensor],
        of_gallery: bool = False,
    ) -> None:
        if self._has_gallery == of_gallery:
            for name in ("item", "item_photo", "item_text"):
                self._collect(name, parts[name], batch, has[name])

    def _collect(self, name: str, embeddings: Tensor, batch: Mapping[str, Tensor], there: Tensor) -> None:
        # Also where nothing is there: ranks must hold states of equal shape.
        self._banks[name].update(
            embeddings, batch["item_id"], batch["spu_id"], batch["category"], batch["index"], there & batch["valid"]
        )

    def compute(self, scale: Tensor, prefixes: Sequence[int] = ()) -> dict[str, float]:
        """Every figure of `moon_zoo.metrics.catalogue` that the split allows.

        Args:
            scale: ``1 / temperature``, for the loss.
            prefixes: Sizes of Matryoshka prefixes, whose recall is computed too, as ``matryoshka/<size>/<task>/recall@<k>`` of
                the first task that the split can ask.
        """
        self._rows = {name: _rows_of(bank) for name, bank in self._banks.items()}
        for name in ("item", "item_photo", "item_text"):
            rows = self._rows[name]
            self._rows[name] = None if rows is None else rows.unique_items()
        figures: dict[str, float] = {}
        for task in self._tasks():
            found = retrieval_figures(task.name, *self._pair(task), ks=KS, pass_over_own_item=task.pass_over_own_item)
            if found[f"{task.name}/num_queries"] > 0:
                figures |= found
        for name, metric in self._zero_shot.items():
            kind, _, attribute = name.partition("/")
            key = f"zero_shot/{kind}_accuracy" + (f"/{attribute}" if attribute else "")
            accuracy = float(metric.compute())
            if accuracy == accuracy:  # not NaN: something was counted
                figures[key] = accuracy
                figures[f"{key}_chance"] = 1 / len(metric.class_ids)
        for size in prefixes:
            figures |= self._prefix_figures(size)
        figures |= self._spread()
        loss = self._loss(scale)
        return figures if loss is None else {"loss": loss, **figures}

    def _prefix_figures(self, size: int) -> dict[str, float]:
        """Recall by the first ``size`` numbers of the embeddings alone."""
        task = next(iter(self._tasks()), None)
        if task is None:
            return {}
        queries, documents = (_prefixed(rows, size) for rows in self._pair(task))
        found = retrieval_figures(task.name, queries, documents, ks=KS, pass_over_own_item=task.pass_over_own_item)
        wanted = [f"{task.name}/recall@{k}" for k in KS]
        return {f"matryoshka/{size}/{name}": found[name] for name in wanted if found[f"{task.name}/num_queries"] > 0}

    def _spread(self) -> dict[str, float]:
        """Alignment of queries with their own products, and uniformity of the products."""
        items = self._rows["item"]
        if items is None or len(items) < 2:
            return {}
        figures = {"uniformity": uniformity(items.embeddings[:MOST_COMPARED])}
        asking = next(
            (self._rows[name] for name in ("photo", "combined", "text") if self._rows[name] is not None), None
        )
        if asking is not None:
            order = torch.argsort(items.items)
            places = torch.searchsorted(items.items[order], asking.items.contiguous()).clamp_max(len(order) - 1)
            own = items.select(order[places])
            there = own.items == asking.items  # a gallery may lack a query's item
            if bool(there.any()):
                figures["alignment"] = alignment(asking.embeddings[there], own.embeddings[there])
        return figures

    def _tasks(self) -> list[_Task]:
        titles_ask = self._rows["text"] is None
        tasks = [_TITLES_ASK if titles_ask and task.name == "text_to_product" else task for task in TASKS]
        return [
            task for task in tasks if self._rows[task.queries] is not None and self._rows[task.documents] is not None
        ]

    def _pair(self, task: _Task) -> tuple[Rows, Rows]:
        queries, documents = self._rows[task.queries], self._rows[task.documents]
        assert queries is not None and documents is not None
        return queries, documents

    def _loss(self, scale: Tensor) -> float | None:
        """InfoNCE of photos against all products of the set: unlike a batch's loss it does not depend on batch size."""
        task = next((task for task in self._tasks() if task.queries in ("photo", "combined", "text")), None)
        if task is None:
            return None
        queries, documents = self._pair(task)
        groups = Groups.of(documents.spus)
        counts = groups.count_for(queries.spus)
        queries, counts = queries.select(counts > 0), counts[counts > 0]
        if len(queries) == 0:
            return None
        scale = scale.detach().float()
        log_sums, _ = tiled_logsumexp(queries.embeddings, documents.embeddings, scale, Exclusions())
        pulled = (queries.embeddings * groups.sum_for(queries.spus, documents.embeddings)).sum(1) / counts
        return float((log_sums - scale * pulled).mean())

    def gallery_rows(self, split: str) -> list[GalleryRow]:
        """Some queries of the last evaluation with what they found.

        Args:
            split: Which split it was.
        """
        documents_split = "gallery" if self._has_gallery else split
        rows = []
        for task in self._tasks() if self._rows else []:
            if task.name not in _SHOWN_TASKS:
                continue
            queries, documents = self._pair(task)
            spread = queries.select(_spread(len(queries)).to(queries.items.device))
            found = top_results(spread, documents, num_queries=SHOWN_QUERIES, k=SHOWN_RESULTS)
            part = "query" if task.queries in ("photo", "text", "combined") else "item"
            for number, index in enumerate(found.queries.tolist()):
                results = zip(
                    found.documents[number].tolist(), found.scores[number].tolist(), found.relevant[number].tolist()
                )
                shown = tuple(Shown(documents_split, place, "item", score, right) for place, score, right in results)
                rows.append(GalleryRow(task.name, Shown(split, index, part), shown))
        return rows


def _prefixed(rows: Rows, size: int) -> Rows:
    return Rows(prefix(rows.embeddings, size), rows.items, rows.spus, rows.categories, rows.positions)


def _rows_of(bank: EmbeddingBank) -> Rows | None:
    try:
        return bank.compute()
    except ValueError:  # no sample of the split has this part
        return None


def _spread(count: int, wanted: int = 4 * SHOWN_QUERIES) -> Tensor:
    """Positions spread evenly over a set: neighbours in shards are often of one product, and would all look alike."""
    return torch.linspace(0, max(count - 1, 0), min(wanted, count)).long().unique()


def class_embeddings(
    encode_texts: Callable[[Sequence[str]], Tensor],
    vocabularies: Mapping[str, Any],
    attribute_names: Sequence[str],
    *,
    category_prompt: str,
    attribute_prompt: str,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Per zero-shot task (``category``, ``attribute/<name>``), ids and text embeddings of its classes.

    Args:
        encode_texts: The model's: texts to unit embeddings ``(len(texts), dim)``.
        vocabularies: ``category`` as a list of leaves, ``attributes`` as a mapping of name to values.
        attribute_names: Attributes that the model knows; others are passed over.
        category_prompt: The text that stands for a category, with ``{}`` for its name.
        attribute_prompt: The same for an attribute's value, with ``{name}`` and ``{value}``.
    """
    classes: dict[str, tuple[Tensor, Tensor]] = {}
    leaves = vocabularies.get("category", [])
    if len(leaves) > 1:
        texts = [category_prompt.format(_readable(leaf)) for leaf in leaves]
        classes["category"] = (torch.tensor([stable_id(leaf) for leaf in leaves]), encode_texts(texts))
    for name, values in vocabularies.get("attributes", {}).items():
        if name in attribute_names and len(values) > 1:
            texts = [attribute_prompt.format(name=_readable(name), value=_readable(value)) for value in values]
            ids = torch.tensor([attribute_id(name, value) for value in values])
            classes[f"attribute/{name}"] = (ids, encode_texts(texts))
    return classes


def _readable(name: str) -> str:
    return name.replace("-", " ").replace("_", " ")
