"""Whole-set ranks against a loop over queries and documents; chance against every draw tried out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.metrics.retrieval import chance_recall, nearest_accuracy, retrieval_ranks, top_documents


def coarse(rows: int, seed: int) -> Tensor:
    """Few different vectors with exact products, so that many documents tie."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, (rows, 3), generator=generator).float() / 4


def ids(rows: int, among: int, seed: int) -> Tensor:
    return torch.randint(0, among, (rows,), generator=torch.Generator().manual_seed(seed))


def looped_ranks(
    queries: Tensor, documents: Tensor, query_groups: Tensor, document_groups: Tensor, own: Tensor
) -> list[float]:
    ranks = []
    for i in range(len(queries)):
        scored = [
            (float(queries[i] @ documents[j]), bool(query_groups[i] == document_groups[j]))
            for j in range(len(documents))
            if not own[i, j]
        ]
        right = [score for score, relevant in scored if relevant]
        if not right:
            ranks.append(math.nan)
            continue
        better = sum(score > max(right) for score, _ in scored)
        tied_right = sum(score == max(right) for score in right)
        tied_wrong = sum(score == max(right) for score, relevant in scored if not relevant)
        ranks.append(1 + better + tied_wrong / (1 + tied_right))
    return ranks


@pytest.mark.parametrize("strip_bytes", [1, 3000, 1 << 20])
@pytest.mark.parametrize("pass_over_own", [False, True])
def test_ranks_equal_the_loop_in_strips_of_any_size(strip_bytes: int, pass_over_own: bool) -> None:
    queries, documents = coarse(60, 1), coarse(45, 2)
    query_groups, document_groups = ids(60, 25, 3), ids(45, 25, 4)
    query_items, document_items = ids(60, 50, 5), ids(45, 50, 6)
    own = query_items[:, None] == document_items if pass_over_own else torch.zeros(60, 45, dtype=torch.bool)
    found = retrieval_ranks(
        queries,
        documents,
        query_groups,
        document_groups,
        query_items=query_items if pass_over_own else None,
        document_items=document_items if pass_over_own else None,
        strip_bytes=strip_bytes,
    )
    expected = looped_ranks(queries, documents, query_groups, document_groups, own)
    assert any(math.isnan(rank) for rank in expected)  # else skipping is not tested
    assert any(not math.isnan(rank) and not rank.is_integer() for rank in expected)  # nor ties
    torch.testing.assert_close(found.ranks, torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    relevant = (query_groups[:, None] == document_groups) & ~own
    assert found.num_relevant.tolist() == relevant.sum(1).tolist()
    assert found.num_documents.tolist() == (~own).sum(1).tolist()
    assert found.num_skipped == sum(math.isnan(rank) for rank in expected)


def test_a_duplicate_of_the_right_document_under_another_name_is_a_tie() -> None:
    """Documents: twice the query itself, of groups 1 and 2. The right one is first or second: rank 1.5."""
    query = F.normalize(torch.randn(1, 300, generator=torch.Generator().manual_seed(0)), dim=1)
    far = -query.expand(50, 300)
    documents = torch.cat([query, far, query])
    groups = torch.tensor([1] + [3] * 50 + [2])
    assert retrieval_ranks(query, documents, torch.tensor([2]), groups).ranks.tolist() == [1.5]


def test_best_documents_equal_a_full_sort() -> None:
    queries = F.normalize(torch.randn(9, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    documents = F.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    own = torch.arange(9)
    scores, places = top_documents(
        queries, documents, 5, query_items=own, document_items=torch.arange(30), strip_bytes=500
    )
    expected = queries @ documents.T
    expected[own, own] = -2.0
    assert places.tolist() == expected.argsort(1, descending=True)[:, :5].tolist()
    torch.testing.assert_close(scores, expected.sort(1, descending=True).values[:, :5], rtol=0, atol=1e-6)
    assert top_documents(queries, documents, 99)[1].shape == (9, 30)
    assert top_documents(queries[:0], documents, 3)[1].shape == (0, 3)


def test_nearest_class_counts_known_labels_and_shares_ties() -> None:
    """Right, wrong, unknown (skipped), and a tie of two classes of which one is right: (1 + 0 + 1/2) / 3."""
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    samples = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert nearest_accuracy(samples, torch.tensor([0, 1, -1, 2]), classes) == (0.5, 3)
    assert nearest_accuracy(samples, torch.full((4,), -1), classes) == (0.0, 0)


@pytest.mark.parametrize(("documents", "relevant"), [(6, 1), (6, 2), (5, 5), (4, 0), (1, 1)])
def test_chance_equals_the_share_of_all_draws_that_hit(documents: int, relevant: int) -> None:
    for k in (1, 2, 3, 10):
        draws = list(itertools.combinations(range(documents), min(k, documents)))
        expected = sum(any(place < relevant for place in draw) for draw in draws) / len(draws)
        found = chance_recall(k, torch.tensor(relevant), torch.tensor(documents)).item()
        assert found == pytest.approx(expected, abs=1e-9)


def test_chance_of_a_large_set_is_precise() -> None:
    """One relevant of a million: exactly k over a million."""
    assert chance_recall(10, torch.tensor(1), torch.tensor(1_000_000)).item() == pytest.approx(1e-5, rel=1e-3)


def test_sets_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        retrieval_ranks(torch.zeros(2, 3), torch.zeros(2, 4), ids(2, 2, 0), ids(2, 2, 0))
    with pytest.raises(ValueError, match="given together"):
        retrieval_ranks(torch.eye(2), torch.eye(2), ids(2, 2, 0), ids(2, 2, 0), query_items=ids(2, 2, 0))
    with pytest.raises(ValueError, match="no documents"):
        retrieval_ranks(torch.eye(2), torch.zeros(0, 2), ids(2, 2, 0), ids(0, 2, 0))
