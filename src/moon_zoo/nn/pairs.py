"""Which queries and documents belong together, over all ranks: what every contrastive loss needs before its formula.

Each rank keeps its own queries and holds the documents of all (or its own alone, with ``gather=False``: no spatial
negatives). Positives come from groups, so that what a loss needs of them is linear in their embeddings and costs no
matrix of pairs (see `moon_zoo.nn.positives`).

False negatives can be left out in two ways: by ids (``ignore``: the item, its SPU), or by what the model itself
thinks of them (``similarity_ceiling``). The ceiling is *positive-aware*: a negative is left out where it is more
similar to the query than the query's positive plus the ceiling. Sources: Zhang et al. 2025, "Qwen3 Embedding",
arXiv:2506.05176, equation 2 (0.1, in training); Moreira et al. 2024, "NV-Retriever", arXiv:2407.15831, section 3.2
(TopK-MarginPos, -0.05, in mining). A ceiling on the cosine alone would leave out everything at the start, when all
embeddings lie near one another. Where we differ: with several positives we take their mean similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moon_zoo.nn.gathering import gather_constants, gather_with_gradient, rank, sum_over_ranks, world_size
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.positives import Groups
from moon_zoo.nn.tiles import Exclusions


@dataclass(frozen=True)
class Pairs:
    """This rank's queries against the documents of all ranks, or of its own.

    Args:
        queries: ``(queries, dim)``.
        documents: ``(all documents, dim)``, with a gradient to the rank each came from.
        query_groups: int64 ``(queries,)``.
        document_groups: int64 ``(all documents,)``.
        query_valid: True on queries that count, ``(queries,)``; None for all.
        document_valid: True on documents that count, ``(all documents,)``; None for all.
        own: Where this rank's documents are among all.
        gathered: Whether the documents are those of all ranks.
    """

    queries: Tensor
    documents: Tensor
    query_groups: Tensor
    document_groups: Tensor
    query_valid: Tensor | None
    document_valid: Tensor | None
    own: slice
    gathered: bool

    @classmethod
    def of(
        cls,
        queries: Tensor,
        documents: Tensor,
        query_groups: Tensor | None,
        document_groups: Tensor | None,
        query_valid: Tensor | None,
        document_valid: Tensor | None,
        gather: bool = True,
    ) -> Pairs:
        """Pairs from one rank's arguments, as `moon_zoo.nn.info_nce.info_nce` takes them."""
        query_groups, document_groups = groups_or_positions(queries, documents, query_groups, document_groups)
        start = rank() * len(documents) if gather else 0
        return cls(
            queries=queries,
            documents=gather_with_gradient(documents) if gather else documents,
            query_groups=query_groups,
            document_groups=_constants(document_groups, gather),
            query_valid=query_valid,
            document_valid=None if document_valid is None else _constants(document_valid, gather),
            own=slice(start, start + len(documents)),
            gathered=gather,
        )

    def exclusions(
        self,
        query_ignore: Tensor | None,
        document_ignore: Tensor | None,
        *,
        by_column: bool = False,
        ceilings: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Exclusions:
        """Pairs that are neither positives nor negatives.

        Args:
            query_ignore: int64 ``(queries,)`` or ``(queries, kinds)``.
            document_ignore: This rank's, int64 ``(documents,)`` or ``(documents, kinds)``.
            by_column: Whether columns are summed too.
            ceilings: Logits of `query_ceilings` and `document_ceilings`.
        """
        if (query_ignore is None) != (document_ignore is None):
            raise ValueError("query_ignore and document_ignore must be given together")
        return Exclusions(
            # An invalid query's row is left out of the mean anyway; it must be out of column sums too.
            rows=self.query_valid if by_column else None,
            columns=self.document_valid,
            row_ids=query_ignore,
            column_ids=None if document_ignore is None else _constants(document_ignore, self.gathered),
            row_groups=self.query_groups,
            column_groups=self.document_groups,
            row_ceilings=ceilings[0],
            column_ceilings=ceilings[1],
        )

    def positives(self) -> tuple[Tensor, Tensor]:
        """Per query the summed similarities of its positives, with gradient, and how many they are."""
        groups = Groups.of(self.document_groups, self.document_valid)
        sums = groups.sum_for(self.query_groups, self.documents)  # (queries, dim)
        counts = groups.count_for(self.query_groups).to(sums.dtype)
        return (self.queries.to(sums.dtype) * sums).sum(1), counts

    def counted(self, positive_counts: Tensor) -> Tensor:
        """Queries that are valid and have a positive, bool ``(queries,)``."""
        found = positive_counts > 0
        return found if self.query_valid is None else found & self.query_valid

    def mean_over_queries(self, losses: Tensor, counted: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean over the counted queries of all ranks, a scalar: to be averaged over ranks, as DDP does.

        Args:
            losses: ``(queries,)``; may be infinite where not counted.
            counted: bool ``(queries,)``.
            weights: Not negative, ``(queries,)``, without gradient; None for equal ones.
        """
        share = counted.to(losses.dtype)
        if weights is not None:
            share = share * weights.detach().to(losses.dtype)
        total = sum_over_ranks(share.sum())
        total = torch.where(total > 0, total, total.new_ones(()))
        # where, not a product alone: the loss of a row left out may be infinite.
        kept = torch.where(counted, losses, losses.new_zeros(()))
        return (kept if weights is None else kept * share).sum() * (world_size() / total)

    def all_query_groups(self) -> Groups:
        """Groups of the queries that documents are compared with: all ranks', or this one's."""
        valid = None if self.query_valid is None else _constants(self.query_valid, self.gathered)
        return Groups.of(_constants(self.query_groups, self.gathered), valid)

    def query_ceilings(self, ceiling: float | None, positives: tuple[Tensor, Tensor]) -> Tensor | None:
        """Similarity above which a negative of each query is left out, ``(queries,)`` without gradient."""
        return None if ceiling is None else _ceilings(positives[0], positives[1], ceiling)

    def document_ceilings(self, ceiling: float | None) -> Tensor | None:
        """Similarity above which a negative query of each document is left out, ``(all documents,)``."""
        if ceiling is None:
            return None
        groups = self.all_query_groups()
        sums = groups.sum_for(self.document_groups, _constants(self.queries, self.gathered))
        similarity = (self.documents.detach().to(sums.dtype) * sums).sum(1)
        return _ceilings(similarity, groups.count_for(self.document_groups), ceiling)


def extra_exclusions(
    row_groups: Tensor, row_ignore: Tensor | None, extra: ExtraDocuments, ceilings: Tensor | None = None
) -> Exclusions:
    """Of constants that are negatives only: those invalid, of the row's own group or an id to be ignored, or too alike.

    Args:
        row_groups: int64 ``(rows,)``.
        row_ignore: int64 ``(rows,)`` or ``(rows, kinds)``; counts where the constants have such ids too.
        extra: The constants.
        ceilings: Logits above which a constant is left out, ``(rows,)``.
    """
    row_ids, column_ids = row_groups, extra.groups
    if row_ignore is not None and extra.ignore is not None:
        row_ids = torch.cat([row_ids.unsqueeze(1), row_ignore.view(len(row_groups), -1)], 1)
        column_ids = torch.cat([column_ids.unsqueeze(1), extra.ignore.view(len(extra.groups), -1)], 1)
    return Exclusions(columns=extra.valid, row_ids=row_ids, column_ids=column_ids, row_ceilings=ceilings)


def groups_or_positions(
    queries: Tensor, documents: Tensor, query_groups: Tensor | None, document_groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Groups as given, or ids by which document i belongs to query i and no other, on all ranks."""
    if (query_groups is None) != (document_groups is None):
        raise ValueError("query_groups and document_groups must be given together")
    if query_groups is not None and document_groups is not None:
        return query_groups, document_groups
    if len(documents) < len(queries):
        raise ValueError(f"without groups every query needs a document: {len(queries)} and {len(documents)}")
    positions = rank() * len(documents) + torch.arange(len(documents), device=documents.device)
    return positions[: len(queries)], positions


def _constants(rows: Tensor, gather: bool) -> Tensor:
    return gather_constants(rows) if gather else rows.detach()


def _ceilings(similarity: Tensor, counts: Tensor, ceiling: float) -> Tensor:
    """Mean similarity of positives plus the ceiling; no ceiling where there is no positive."""
    mean = similarity.detach() / counts.clamp_min(1.0)
    return torch.where(counts > 0, mean + ceiling, mean.new_full((), float("inf")))
