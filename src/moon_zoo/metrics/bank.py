"""Embeddings of a whole set, collected batch by batch over all ranks, and the retrieval figures computed from them.

Retrieval cannot be averaged over batches: a query must be ranked against every document. So each rank collects its
rows, all ranks join them, and each computes the same figures. Padded rows are dropped on entry and rows are sorted by
their position in the set, so the figures do not depend on the number of ranks, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from moon_zoo.metrics.retrieval import chance_recall, retrieval_ranks, top_documents

STORAGE = {"float32": torch.float32, "float16": torch.float16}
UNKNOWN = -1


class Rows:
    """Rows of a bank, sorted by position.

    Not a dataclass: torchmetrics takes those that `compute` returns apart, and makes scalars of tensors of one row.

    Args:
        embeddings: Unit length, ``(rows, dim)``.
        items: Which item each row is of, int64 ``(rows,)``.
        spus: Which product (all variants of it share one), int64 ``(rows,)``.
        categories: Leaf category, int64 ``(rows,)``; -1 where unknown.
        positions: Position in the shards it was read from, int64 ``(rows,)``; a sample with several rows repeats it.
    """

    def __init__(self, embeddings: Tensor, items: Tensor, spus: Tensor, categories: Tensor, positions: Tensor) -> None:
        self.embeddings = embeddings
        self.items = items
        self.spus = spus
        self.categories = categories
        self.positions = positions

    def __len__(self) -> int:
        return len(self.items)

    def select(self, rows: Tensor) -> Rows:
        """Some rows, by number or by a bool mask."""
        return Rows(
            self.embeddings[rows], self.items[rows], self.spus[rows], self.categories[rows], self.positions[rows]
        )

    def unique_items(self) -> Rows:
        """The first row of each item: a gallery holds an item once, however many samples name it."""
        items, order = torch.sort(self.items, stable=True)
        first = torch.ones_like(items, dtype=torch.bool)
        first[1:] = items[1:] != items[:-1]
        return self.select(order[first].sort().values)


class EmbeddingBank(Metric):
    """Collects embeddings with their ids; `compute` returns those of all ranks.

    Memory per row and rank: ``dim`` times 4 bytes (2 in float16) while collecting; all ranks' rows when computing.

    Args:
        storage: ``float32``, or ``float16`` for half the memory; cosines are then off by up to about 0.0005.
    """

    full_state_update = False
    is_differentiable = False
    embeddings: list[Tensor]
    ids: list[Tensor]

    def __init__(self, storage: Literal["float32", "float16"] = "float32") -> None:
        # Ranks are joined in `compute`: torchmetrics' own joining fails where a rank holds no row.
        super().__init__(sync_on_compute=False)
        if storage not in STORAGE:
            raise ValueError(f"storage must be one of {', '.join(STORAGE)}, not {storage!r}")
        self.storage = storage
        self.add_state("embeddings", default=[], dist_reduce_fx=None)
        self.add_state("ids", default=[], dist_reduce_fx=None)

    def update(
        self,
        embeddings: Tensor,
        items: Tensor,
        spus: Tensor | None = None,
        categories: Tensor | None = None,
        index: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> None:
        """Take in a batch.

        Args:
            embeddings: Unit length, ``(batch, dim)``.
            items: int64 ``(batch,)``.
            spus: int64 ``(batch,)``; None: every item is a product of its own.
            categories: int64 ``(batch,)``; None: unknown.
            index: Position in the set, int64 ``(batch,)``; None: the order of arrival, for a single rank.
            valid: True on rows that count, ``(batch,)``; None for all.
        """
        items = items.to(torch.int64)
        if index is None:
            index = torch.arange(len(items), device=items.device) + sum(len(rows) for rows in self.ids)
        ids = torch.stack(
            [
                items,
                items if spus is None else spus.to(torch.int64),
                torch.full_like(items, UNKNOWN) if categories is None else categories.to(torch.int64),
                index.to(torch.int64),
            ],
            dim=1,
        )  # (batch, 4)
        if valid is not None:
            embeddings, ids = embeddings[valid], ids[valid]
        self.embeddings.append(embeddings.detach().to(STORAGE[self.storage]))
        self.ids.append(ids.detach())

    def compute(self) -> Rows:
        """Rows of all ranks by position. Rows of one position keep the order in which they came.

        Raises:
            ValueError: Nothing was collected.
        """
        ids = over_ranks(self.ids, torch.int64, self.device)
        embeddings = over_ranks(self.embeddings, STORAGE[self.storage], self.device)
        if len(ids) == 0:
            raise ValueError("the bank is empty: nothing was collected, or no row was valid")
        order = torch.sort(ids[:, 3], stable=True).indices
        items, spus, categories, positions = ids[order].unbind(1)
        return Rows(embeddings[order], items, spus, categories, positions)


def over_ranks(parts: list[Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rows of all ranks, rank 0's first; ranks may hold different numbers of rows, or none."""
    rows = torch.cat(parts) if parts else torch.zeros(0, 0, dtype=dtype, device=device)
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    world = dist.get_world_size()
    shapes = torch.zeros(world * 2, dtype=torch.int64, device=rows.device)
    dist.all_gather_into_tensor(shapes, torch.tensor(rows.shape, device=rows.device))
    counts, widths = shapes.view(world, 2).T.tolist()
    padded = rows.new_zeros(max(counts), max(widths))
    padded[: len(rows), : rows.shape[1]] = rows
    gathered = rows.new_zeros(world * max(counts), max(widths))
    if max(counts) > 0:
        dist.all_gather_into_tensor(gathered, padded)
    return torch.cat([part[:count] for part, count in zip(gathered.split(max(counts) or 1), counts)])


def retrieval_figures(
    task: str, queries: Rows, documents: Rows, *, ks: Sequence[int] = (1, 5, 10), pass_over_own_item: bool = False
) -> dict[str, float]:
    """Figures of one retrieval task, each with that of chance beside it.

    A document is relevant if it has the query's SPU. Recall@k is the share of queries with a relevant document among
    the first k (a hit; with one relevant document per query it is recall in the narrow sense). Queries without any
    relevant document are skipped and counted. Ties: see `moon_zoo.metrics.retrieval`.

    Args:
        task: Name in the keys, such as ``photo_to_product``.
        queries: What is asked.
        documents: What is ranked; rows of the same item are all kept (see `Rows.unique_items`).
        ks: Cut-offs.
        pass_over_own_item: Leave the query's own item out of its documents (product to product).

    Returns:
        ``{task}/recall@k``, ``{task}/mrr``, ``{task}/median_rank``, each with ``_chance``, and ``{task}/num_queries``,
        ``{task}/num_skipped``, ``{task}/num_documents``. With no answerable query only the three counts.
    """
    found = retrieval_ranks(
        queries.embeddings,
        documents.embeddings,
        queries.spus,
        documents.spus,
        query_items=queries.items if pass_over_own_item else None,
        document_items=documents.items if pass_over_own_item else None,
    )
    counts = {
        f"{task}/num_queries": float(len(queries) - found.num_skipped),
        f"{task}/num_skipped": float(found.num_skipped),
        f"{task}/num_documents": float(len(documents)),
    }
    known = found.answerable
    ranks, relevant, among = found.ranks[known], found.num_relevant[known], found.num_documents[known]
    if len(ranks) == 0:
        return counts
    figures: dict[str, float] = {}
    for k in ks:
        figures[f"{task}/recall@{k}"] = float((ranks <= k).double().mean())
        figures[f"{task}/recall@{k}_chance"] = float(chance_recall(k, relevant, among).mean())
    figures[f"{task}/mrr"] = float(ranks.reciprocal().mean())
    figures[f"{task}/mrr_chance"] = _chance_mrr(relevant, among)
    figures[f"{task}/median_rank"] = float(ranks.quantile(0.5)) if len(ranks) < 1 << 24 else float(ranks.median())
    figures[f"{task}/median_rank_chance"] = _chance_median_rank(relevant, among)
    return figures | counts


@dataclass(frozen=True)
class TopResults:
    """The best documents of some queries, for a gallery.

    Args:
        queries: Positions of the queries in their shards, int64 ``(queries,)``.
        documents: Positions of the results in theirs, best first, int64 ``(queries, k)``.
        scores: Cosines, float32 ``(queries, k)``.
        relevant: Whether a result has the query's SPU, bool ``(queries, k)``.
    """

    queries: Tensor
    documents: Tensor
    scores: Tensor
    relevant: Tensor


def top_results(
    queries: Rows, documents: Rows, *, num_queries: int, k: int, pass_over_own_item: bool = False
) -> TopResults:
    """The best ``k`` documents of the first ``num_queries`` queries that can be answered at all, by position.

    Args:
        queries: What is asked.
        documents: What is ranked.
        num_queries: How many queries to show.
        k: How many results each.
        pass_over_own_item: As in `retrieval_figures`.
    """
    answerable = torch.isin(queries.spus, documents.spus)
    shown = queries.select(answerable.nonzero().squeeze(1)[:num_queries])
    scores, places = top_documents(
        shown.embeddings,
        documents.embeddings,
        k,
        query_items=shown.items if pass_over_own_item else None,
        document_items=documents.items if pass_over_own_item else None,
    )
    relevant = (documents.spus[places] == shown.spus[:, None]) & scores.isfinite()
    return TopResults(shown.positions, documents.positions[places], scores, relevant)


def _chance_mrr(relevant: Tensor, among: Tensor) -> float:
    """Mean of E[1 / rank of the first relevant] over random orders.

    ``P(first at r) = R / (D - r + 1) * prod_{t<r} (1 - R / (D - t + 1))``; queries with equal counts share the sum.
    """
    pairs, number = torch.stack([relevant, among], 1).unique(dim=0, return_counts=True)
    total = 0.0
    for (num_relevant, num_documents), times in zip(pairs.tolist(), number.tolist()):
        ranks = torch.arange(1, num_documents - num_relevant + 2, dtype=torch.float64)
        reached = 1.0 - chance_recall(ranks - 1, torch.tensor(num_relevant), torch.tensor(num_documents))
        total += times * float((reached * num_relevant / (num_documents - ranks + 1) / ranks).sum())
    return total / len(relevant)


def _chance_median_rank(relevant: Tensor, among: Tensor) -> float:
    """Median over queries of the expected rank of the first relevant, ``(documents + 1) / (relevant + 1)``."""
    return float(((among.double() + 1) / (relevant + 1)).median())
