"""InfoNCE with several positives per query, over a similarity matrix that is never held.

``loss_i = logsumexp_j s_ij - mean_{p in P(i)} s_ip``, with ``s_ij = scale * <q_i, d_j>`` and P(i) the documents of
query i's group. With one positive it is the cross-entropy of CLIP.

Sources: van den Oord et al. 2018, arXiv:1807.03748 (InfoNCE); Radford et al. 2021, "CLIP", arXiv:2103.00020 (both
directions); Khosla et al. 2020, "Supervised Contrastive Learning", arXiv:2004.11362, equation 2: the mean over
positives is taken *outside* the logarithm ("out"), and all positives stay in the denominator.

Under several processes every rank keeps its own rows of the matrix and gathers the documents. A symmetric loss
gathers no
queries: each rank sums its part of every column, and the parts are joined. Averaged over ranks, values and gradients
are those of one process with the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moon_zoo.nn.gathering import (
    gather_constants,
    gather_with_gradient,
    logsumexp_over_ranks,
    rank,
    sum_over_ranks,
    world_size,
)
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.positives import Groups
from moon_zoo.nn.tiles import Exclusions, tiled_logsumexp


def info_nce(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float,
    *,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    query_ignore: Tensor | None = None,
    document_ignore: Tensor | None = None,
    extra_documents: ExtraDocuments | None = None,
    tile: int | None = None,
) -> Tensor:
    """Mean loss of queries against this batch's documents, of all ranks.

    Args:
        queries: Unit length, ``(queries, dim)``; any float dtype, sums are float32.
        documents: Unit length, ``(documents, dim)``.
        scale: ``1 / temperature``; a scalar tensor may have a gradient (see `moon_zoo.nn.heads.LogitScale`).
        query_groups: int64 ``(queries,)``. Documents of a query's group are its positives. None, together with
            ``document_groups``: document i is the one positive of query i, and documents beyond the queries are
            negatives.
        document_groups: int64 ``(documents,)``.
        query_valid: True on queries that count, ``(queries,)``; None for all.
        document_valid: True on documents that count, ``(documents,)``; None for all.
        query_ignore: int64 ``(queries,)``, with ``document_ignore``: pairs of equal ids that are not positives are left
            out, as items too alike to be called negatives.
        document_ignore: int64 ``(documents,)``.
        extra_documents: Further negatives without gradient (a queue). Those of the query's group are left out.
        tile: Rows and columns of the matrix held at a time; None for what suits the device.

    Returns:
        A scalar. Queries that are invalid or have no positive are left out of the mean; 0 if none is left.
    """
    pairs = _Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid)
    exclusions = pairs.exclusions(query_ignore, document_ignore, by_column=False)
    scale = _scalar(scale, queries)
    log_sums, _ = tiled_logsumexp(pairs.queries, pairs.documents, scale, exclusions, tile=tile)
    log_sums = _with_extra(log_sums, pairs.queries, pairs.query_groups, scale, extra_documents, tile)
    return pairs.row_loss(log_sums, pairs.positives(scale))


def symmetric_info_nce(
    queries: Tensor,
    documents: Tensor,
    scale: Tensor | float,
    *,
    query_groups: Tensor | None = None,
    document_groups: Tensor | None = None,
    query_valid: Tensor | None = None,
    document_valid: Tensor | None = None,
    query_ignore: Tensor | None = None,
    document_ignore: Tensor | None = None,
    extra_documents: ExtraDocuments | None = None,
    extra_queries: ExtraDocuments | None = None,
    tile: int | None = None,
) -> Tensor:
    """Mean of `info_nce` from queries to documents and from documents to queries, in one pass over the matrix.

    Args:
        queries: See `info_nce`, as all others.
        documents: See `info_nce`.
        scale: See `info_nce`.
        query_groups: See `info_nce`.
        document_groups: See `info_nce`.
        query_valid: See `info_nce`.
        document_valid: See `info_nce`.
        query_ignore: See `info_nce`.
        document_ignore: See `info_nce`.
        extra_documents: Further negatives of queries.
        extra_queries: Further negatives of documents.
        tile: See `info_nce`.

    Returns:
        A scalar.
    """
    pairs = _Pairs.of(queries, documents, query_groups, document_groups, query_valid, document_valid)
    exclusions = pairs.exclusions(query_ignore, document_ignore, by_column=True)
    scale = _scalar(scale, queries)
    row_sums, column_sums = tiled_logsumexp(
        pairs.queries, pairs.documents, scale, exclusions, by_column=True, tile=tile
    )
    row_sums = _with_extra(row_sums, pairs.queries, pairs.query_groups, scale, extra_documents, tile)
    if extra_queries is not None:
        # Each rank adds the queue to its own documents' part of the sum; the parts of all ranks are joined below.
        before, own, after = column_sums.tensor_split([pairs.own.start, pairs.own.stop])
        own_groups = pairs.document_groups[pairs.own]
        own = _with_extra(own, documents, own_groups, scale, extra_queries, tile)
        column_sums = torch.cat([before, own, after])
    positives = pairs.positives(scale)
    row_loss = pairs.row_loss(row_sums, positives)
    return 0.5 * (row_loss + pairs.column_loss(logsumexp_over_ranks(column_sums), positives))


@dataclass(frozen=True)
class _Pairs:
    """This rank's queries against all ranks' documents, and which of them belong together."""

    queries: Tensor
    documents: Tensor
    query_groups: Tensor
    document_groups: Tensor
    query_valid: Tensor | None
    document_valid: Tensor | None
    own: slice  # where this rank's documents are among all

    @classmethod
    def of(
        cls,
        queries: Tensor,
        documents: Tensor,
        query_groups: Tensor | None,
        document_groups: Tensor | None,
        query_valid: Tensor | None,
        document_valid: Tensor | None,
    ) -> _Pairs:
        query_groups, document_groups = groups_or_positions(queries, documents, query_groups, document_groups)
        start = rank() * len(documents)
        return cls(
            queries=queries,
            documents=gather_with_gradient(documents),
            query_groups=query_groups,
            document_groups=gather_constants(document_groups),
            query_valid=query_valid,
            document_valid=None if document_valid is None else gather_constants(document_valid),
            own=slice(start, start + len(documents)),
        )

    def exclusions(self, query_ignore: Tensor | None, document_ignore: Tensor | None, by_column: bool) -> Exclusions:
        if (query_ignore is None) != (document_ignore is None):
            raise ValueError("query_ignore and document_ignore must be given together")
        return Exclusions(
            # An invalid query's row is left out of the mean anyway; it must be out of column sums too.
            rows=self.query_valid if by_column else None,
            columns=self.document_valid,
            row_ids=query_ignore,
            column_ids=None if document_ignore is None else gather_constants(document_ignore),
            row_groups=self.query_groups,
            column_groups=self.document_groups,
        )

    def row_loss(self, log_sums: Tensor, positives: tuple[Tensor, Tensor]) -> Tensor:
        """Of queries: ``(queries,)`` log-sums to a scalar."""
        similarity, counts = positives
        counted = self._counted(counts)
        total = sum_over_ranks(counted.sum(dtype=log_sums.dtype)).clamp_min(1.0)
        # where, not a product: the log-sum of a row left out may be infinite.
        losses = torch.where(counted, log_sums - similarity / counts.clamp_min(1.0), log_sums.new_zeros(()))
        return losses.sum() * (world_size() / total)

    def column_loss(self, log_sums: Tensor, positives: tuple[Tensor, Tensor]) -> Tensor:
        """Of documents: ``(all documents,)`` joined log-sums to a scalar.

        Document j's mean over its positive queries is spread over ranks: a query adds ``s_ij / |queries of the
        group|`` for each of its positive documents.
        """
        all_valid = None if self.query_valid is None else gather_constants(self.query_valid)
        all_queries = Groups.of(gather_constants(self.query_groups), all_valid)
        counted = all_queries.count_for(self.document_groups) > 0
        if self.document_valid is not None:
            counted = counted & self.document_valid
        total = counted.sum(dtype=log_sums.dtype).clamp_min(1.0)
        similarity, document_counts = positives
        share = similarity / all_queries.count_for(self.query_groups).clamp_min(1.0)
        pulled = torch.where(self._counted(document_counts), share, share.new_zeros(())).sum() * world_size()
        pushed = torch.where(counted, log_sums, log_sums.new_zeros(())).sum()
        return (pushed - pulled) / total

    def positives(self, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Per query the summed logits of its positives, and how many they are."""
        groups = Groups.of(self.document_groups, self.document_valid)
        sums = groups.sum_for(self.query_groups, self.documents)  # (queries, dim)
        return scale * (self.queries.to(sums.dtype) * sums).sum(1), groups.count_for(self.query_groups)

    def _counted(self, positive_counts: Tensor) -> Tensor:
        counted = positive_counts > 0
        return counted if self.query_valid is None else counted & self.query_valid


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


def _scalar(value: Tensor | float, like: Tensor) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype, device=like.device)


def _with_extra(
    log_sums: Tensor,
    rows: Tensor,
    row_groups: Tensor,
    scale: Tensor,
    extra: ExtraDocuments | None,
    tile: int | None,
) -> Tensor:
    """Log-sums with those of constants added, except constants of the row's own group."""
    if extra is None:
        return log_sums
    exclusions = Exclusions(columns=extra.valid, row_ids=row_groups, column_ids=extra.groups)
    further, _ = tiled_logsumexp(rows, extra.embeddings.detach(), scale, exclusions, tile=tile)
    return _log_add(log_sums, further)


def _log_add(first: Tensor, second: Tensor) -> Tensor:
    # logaddexp's gradient is NaN where both are -inf (nothing summed at all).
    nothing = first.isinf() & second.isinf()
    zero = first.new_zeros(())
    joined = torch.logaddexp(torch.where(nothing, zero, first), torch.where(nothing, zero, second))
    return torch.where(nothing, first, joined)
