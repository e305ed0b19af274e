"""Pairs no nearer than chance count less, by values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from moon_zoo.nn.pair_filter import decayed_margin, pair_weights, share_below


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_weights_by_hand() -> None:
    """Query 0 is its item: the others' mean is (0 - 1) / 2, the gap 1.5. Query 1 is item 0: the gap is 0 - (1 - 1) / 2."""
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    documents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    weights = pair_weights(queries, documents, margin=0.1, sharpness=10.0)
    assert weights.tolist() == pytest.approx([1.0, sigmoid(-1.0) / 0.6])


def test_the_most_similar_hard_negative_is_what_counts() -> None:
    """Gaps of .6 - .8 both: to the hard negative that is there, and for lack of one to the other item of the batch."""
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    documents = torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    hard = torch.tensor([[[0.8, 0.6], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    valid = torch.tensor([[True, False], [False, False]])
    weights = pair_weights(queries, documents, margin=0.0, sharpness=5.0, hard_negatives=hard, hard_valid=valid)
    assert weights.tolist() == pytest.approx([sigmoid(-1.0) / 0.6, sigmoid(-1.0) / 0.6])


def test_without_anything_to_compare_a_pair_counts_fully() -> None:
    one = torch.tensor([[1.0, 0.0]])
    assert pair_weights(one, -one, margin=0.5).tolist() == [1.0]
    alone = pair_weights(one, one, margin=0.5, query_groups=torch.tensor([1]), document_groups=torch.tensor([2]))
    assert alone.tolist() == [1.0]


def test_the_margin_halves_every_half_life() -> None:
    assert [decayed_margin(step, start=0.4, half_life_steps=100) for step in (0, 100, 200)] == [0.4, 0.2, 0.1]


def test_share_of_down_weighted_pairs_counts_valid_queries() -> None:
    weights, valid = torch.tensor([1.0, 0.5, 0.2]), torch.tensor([True, True, False])
    assert share_below(weights, valid).item() == 0.5


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5 and 10"):
        pair_weights(torch.eye(2), torch.eye(2), margin=0.0, threshold=1.5)
