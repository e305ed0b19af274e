"""`ranking_metrics` against torchmetrics, and against every order of ties tried out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.retrieval import (
    retrieval_normalized_dcg,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from moon_zoo.metrics.retrieval import ranking_metrics


def drawn(queries: int, candidates: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores above 0 (torchmetrics drops relevant candidates scored 0 or less); about a fifth is relevant."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(queries, candidates, generator=generator) + 0.1
    relevance = torch.rand(queries, candidates, generator=generator) < 0.2
    relevance[:, 0] |= ~relevance.any(1)
    return scores, relevance


def test_one_query_by_hand() -> None:
    """Scores put candidates in the order 1, 0, 2; 0 and 2 are relevant, so they stand at ranks 2 and 3.

    recall@2 = 1/2, MRR = 1/2, DCG = 1/log2(3) + 1/log2(4), ideal = 1 + 1/log2(3).
    """
    found = ranking_metrics(torch.tensor([[0.5, 0.9, -0.2]]), torch.tensor([[True, False, True]]), ks=(1, 2))
    assert found["recall@1"].item() == 0.0
    assert found["recall@2"].item() == 0.5
    assert found["mrr"].item() == 0.5
    assert found["ndcg"].item() == pytest.approx((1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3)))


def test_values_are_those_of_torchmetrics_where_nothing_ties() -> None:
    scores, relevance = drawn(40, 15)
    found = ranking_metrics(scores, relevance, ks=(1, 5, 20))
    for query in range(40):
        one, right = scores[query], relevance[query]
        assert found["mrr"][query].item() == pytest.approx(retrieval_reciprocal_rank(one, right).item(), rel=1e-5)
        assert found["ndcg"][query].item() == pytest.approx(retrieval_normalized_dcg(one, right).item(), rel=1e-5)
        for k in (1, 5):
            assert found[f"recall@{k}"][query].item() == pytest.approx(
                retrieval_recall(one, right, top_k=k).item(), rel=1e-5
            )
            assert found[f"ndcg@{k}"][query].item() == pytest.approx(
                retrieval_normalized_dcg(one, right, top_k=k).item(), rel=1e-5
            )
        assert found["recall@20"][query].item() == 1.0


def test_graded_gains_are_those_of_torchmetrics() -> None:
    scores, _ = drawn(20, 9)
    gains = torch.randint(0, 4, (20, 9), generator=torch.Generator().manual_seed(2))
    found = ranking_metrics(scores, gains, ks=(3,))
    for query in range(20):
        expected = retrieval_normalized_dcg(scores[query], gains[query], top_k=3).item()
        assert found["ndcg@3"][query].item() == pytest.approx(expected, rel=1e-5)
        if (gains[query] > 0).any():
            expected = retrieval_recall(scores[query], gains[query] > 0, top_k=3).item()
            assert found["recall@3"][query].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("graded", [False, True])
def test_ties_count_as_the_mean_over_all_their_orders(graded: bool) -> None:
    """Every order of five candidates that agrees with the scores, one after another."""
    generator = torch.Generator().manual_seed(4)
    for _ in range(12):
        scores = torch.randint(0, 3, (5,), generator=generator).float()
        gains = torch.randint(0, 3 if graded else 2, (5,), generator=generator)
        if not (gains > 0).any():
            continue
        orders = [
            order
            for order in itertools.permutations(range(5))
            if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
        ]
        strict = torch.arange(5, 0, -1).float()[None].expand(len(orders), 5)
        placed = gains[torch.tensor(orders)]
        relevance = placed if graded else placed.bool()
        each = ranking_metrics(strict, relevance, ks=(1, 2, 4))
        found = ranking_metrics(scores[None], (gains if graded else gains.bool())[None], ks=(1, 2, 4))
        for name in ("recall@1", "recall@2", "recall@4", "ndcg@2", "ndcg@4", "ndcg"):
            assert found[name].item() == pytest.approx(each[name].mean().item(), abs=1e-6), name
        expected_rank = each["mrr"].reciprocal().mean().item()
        assert found["mrr"].item() == pytest.approx(1 / expected_rank, abs=1e-6)


def test_a_model_without_preference_gets_what_chance_gets() -> None:
    found = ranking_metrics(torch.zeros(1, 8), torch.tensor([[True] + [False] * 7]), ks=(2,))
    assert found["recall@2"].item() == pytest.approx(2 / 8)
    assert found["mrr"].item() == pytest.approx(1 / 4.5)  # expected rank


def test_candidates_that_are_not_there_change_nothing() -> None:
    scores, relevance = drawn(10, 6, seed=5)
    expected = ranking_metrics(scores, relevance)
    padded = torch.cat([scores, torch.full((10, 3), 9.0)], 1), torch.cat([relevance, torch.ones(10, 3).bool()], 1)
    valid = torch.tensor([True] * 6 + [False] * 3).expand(10, 9)
    found = ranking_metrics(*padded, valid)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, msg=name)


def test_queries_without_a_relevant_candidate_get_zero() -> None:
    found = ranking_metrics(torch.tensor([[0.3, 0.1]]), torch.zeros(1, 2, dtype=torch.bool))
    assert all(values.item() == 0.0 for values in found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negative_zero_infinite_and_tiny_scores_are_ordered(dtype: torch.dtype) -> None:
    """Descending: inf, 1e-40 (subnormal), 0 and -0 (a tie), -1e-40, -3, -inf; the relevant one is -1e-40."""
    scores = torch.tensor([[-0.0, -1e-40, float("inf"), -3.0, 1e-40, 0.0, float("-inf")]], dtype=dtype)
    relevance = torch.tensor([[False, True, False, False, False, False, False]])
    assert ranking_metrics(scores, relevance)["mrr"].item() == pytest.approx(1 / 5)


def test_shapes_scores_and_cut_offs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 4\)"):
        ranking_metrics(torch.zeros(2, 3), torch.zeros(2, 4).bool())
    with pytest.raises(ValueError, match="at least 1, not 0"):
        ranking_metrics(torch.zeros(2, 3), torch.zeros(2, 3).bool(), ks=(0,))
    with pytest.raises(ValueError, match="not a number"):
        ranking_metrics(torch.tensor([[math.nan, 0.0]]), torch.ones(1, 2).bool())
