"""Layers over similarities, by hand: weights, SimTier's histogram, SA-TA's logits, the largest similarities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moon_zoo.nn.behaviour.content_interest import SimilarityWeights, largest_similarities
from moon_zoo.nn.behaviour.sa_ta import SimilarityAwareLogits
from moon_zoo.nn.behaviour.simtier import SimTier

SIMILARITY = torch.tensor([[0.9, 0.4, 0.0], [0.0, 0.0, 0.0]])
MASK = torch.tensor([[True, True, False], [False, False, False]])


def test_softmax_weights_divide_by_the_temperature() -> None:
    """exp(.9/.5) : exp(.4/.5) = e : 1."""
    weights = SimilarityWeights(temperature=0.5)(SIMILARITY, MASK)
    e = math.e
    torch.testing.assert_close(weights, torch.tensor([[e / (e + 1), 1 / (e + 1), 0.0], [0.0, 0.0, 0.0]]))


def test_raw_weights_are_similarities_over_the_number_of_behaviours() -> None:
    weights = SimilarityWeights("raw")(SIMILARITY, MASK)
    torch.testing.assert_close(weights, torch.tensor([[0.45, 0.2, 0.0], [0.0, 0.0, 0.0]]))


def test_the_temperature_learns_unless_weights_are_raw() -> None:
    layer = SimilarityWeights()
    (layer(SIMILARITY, MASK) * torch.tensor([1.0, 0.0, 0.0])).sum().backward()
    assert [p.grad is not None and bool(p.grad != 0) for p in layer.parameters()] == [True]
    assert list(SimilarityWeights("raw").parameters()) == []


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(ValueError, match="softmax or raw, not 'mean'"):
        SimilarityWeights("mean")  # type: ignore[arg-type]


def test_the_largest_similarities_descend_and_are_filled_with_the_least_there_is() -> None:
    assert largest_similarities(SIMILARITY, MASK, 4).tolist() == [
        [pytest.approx(0.9), pytest.approx(0.4), -1.0, -1.0],
        [-1.0] * 4,
    ]
    assert largest_similarities(SIMILARITY, MASK, 1)[:, 0].tolist() == [pytest.approx(0.9), -1.0]


def test_simtier_counts_into_tiers_of_a_tenth() -> None:
    """-1 opens the first tier, 1 closes the last, 0.05 and 0.09 share the tier [0, .1)."""
    layer = SimTier(4)
    cosine = torch.tensor([[-1.0, 0.05, 0.09, 1.0, 0.3, 0.7]])
    missing = torch.tensor([[False, False, False, False, True, False]])
    mask = torch.tensor([[True, True, True, True, True, False]])
    counts = layer.counts(cosine, missing, mask)
    assert {tier: int(count) for tier, count in enumerate(counts[0]) if count} == {0: 1, 10: 2, 19: 1, 20: 1}
    torch.testing.assert_close(layer(cosine, missing, mask), counts.log1p() @ layer.tiers.weight.t())


def test_simtier_of_an_empty_history_is_zero() -> None:
    nothing = torch.zeros(2, 3)
    assert (SimTier(4)(nothing, nothing.bool(), nothing.bool()) == 0).all()


def test_sa_ta_mixes_both_logits_and_their_product() -> None:
    """1.5 a + 2 R + .5 a R with a = 2, R = .3/.1 = 3: 3 + 6 + 3."""
    layer = SimilarityAwareLogits(temperature=0.1)
    layer.mix.data = torch.tensor([1.5, 2.0, 0.5])
    found: Tensor = layer(torch.tensor([[2.0]]), torch.tensor([[0.3]]))
    torch.testing.assert_close(found, torch.tensor([[12.0]]))
