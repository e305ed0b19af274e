"""Losses of preference optimisation against plain Python in float64, and what they say at the edges."""

from __future__ import annotations

import math

import pytest
import torch

from moon_zoo.nn.preference import PairLogProbabilities, anchor, comparable, dpo, ipo, mpo, quality

CHOSEN = (-12.0, -30.0, -7.5)
REJECTED = (-14.0, -22.0, -7.5)
REFERENCE = ((-13.0, -28.0, -8.0), (-13.5, -25.0, -6.0))
TOKENS = ((6, 10, 3), (5, 12, 4))


def pairs(dtype: torch.dtype = torch.float64) -> PairLogProbabilities:
    tensors = [torch.tensor(values, dtype=dtype) for values in (CHOSEN, REJECTED, *REFERENCE)]
    for tensor in tensors[:2]:
        tensor.requires_grad_(True)
    return PairLogProbabilities(*tensors, *(torch.tensor(values) for values in TOKENS))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def log_ratios() -> list[float]:
    return [(c - r) - (rc - rr) for c, r, rc, rr in zip(CHOSEN, REJECTED, REFERENCE[0], REFERENCE[1], strict=True)]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dpo_is_the_formula_and_its_gradient_is_that_of_the_paper(smoothing: float) -> None:
    """The gradient to the chosen answer is ``-beta (sigmoid(-beta h) - e)``, and its negative to the rejected one."""
    found = pairs()
    losses = dpo(found, 0.1, label_smoothing=smoothing)
    expected = [
        -(1 - smoothing) * math.log(sigmoid(0.1 * h)) - smoothing * math.log(sigmoid(-0.1 * h)) for h in log_ratios()
    ]
    assert losses.tolist() == pytest.approx(expected, abs=1e-12)
    losses.sum().backward()
    gradient = [-0.1 * (sigmoid(-0.1 * h) - smoothing) for h in log_ratios()]
    assert found.chosen.grad is not None and found.rejected.grad is not None
    assert found.chosen.grad.tolist() == pytest.approx(gradient, abs=1e-12)
    assert found.rejected.grad.tolist() == pytest.approx([-one for one in gradient], abs=1e-12)


def test_dpo_where_policy_and_reference_agree_is_log_two() -> None:
    same = torch.tensor([-5.0]), torch.tensor([-9.0])
    found = dpo(PairLogProbabilities(*same, *same, torch.tensor([3]), torch.tensor([3])), 0.1)
    assert found.item() == pytest.approx(math.log(2))


def test_ipo_pulls_the_ratio_of_means_to_half_of_one_over_beta() -> None:
    expected = []
    for place, (c, r) in enumerate(zip(*TOKENS, strict=True)):
        ratio = (CHOSEN[place] / c - REJECTED[place] / r) - (REFERENCE[0][place] / c - REFERENCE[1][place] / r)
        expected.append((ratio - 1 / (2 * 0.5)) ** 2)
    assert ipo(pairs(), 0.5).tolist() == pytest.approx(expected, abs=1e-12)


def test_mpo_is_preference_quality_and_generation_with_the_weights_of_the_paper() -> None:
    shift = torch.tensor(0.05, dtype=torch.float64)
    expected = []
    for place in range(3):
        good = 0.1 * (CHOSEN[place] - REFERENCE[0][place])
        bad = 0.1 * (REJECTED[place] - REFERENCE[1][place])
        preference = -math.log(sigmoid(0.1 * log_ratios()[place]))
        each = -math.log(sigmoid(good - 0.05)) - math.log(sigmoid(-(bad - 0.05)))
        expected.append(0.8 * preference + 0.2 * each - CHOSEN[place] / TOKENS[0][place])
    assert mpo(pairs(), 0.1, shift).tolist() == pytest.approx(expected, abs=1e-12)
    assert (quality(pairs(), 0.1, shift) > 0).all() and (anchor(pairs()) > 0).all()


def test_losses_in_float32_are_finite_and_near_for_certain_pairs() -> None:
    huge = torch.tensor([-1.0, -2000.0]), torch.tensor([-2000.0, -1.0])
    zero = torch.zeros(2)
    found = PairLogProbabilities(*huge, zero, zero, torch.tensor([9, 9]), torch.tensor([9, 9]))
    assert dpo(found, 0.1).tolist() == pytest.approx([0.0, 199.9], abs=1e-3)
    assert mpo(found, 0.1, torch.zeros(())).isfinite().all()


def test_pairs_of_very_unequal_length_or_without_tokens_are_not_compared() -> None:
    chosen, rejected = torch.tensor([9, 10, 3, 3, 0]), torch.tensor([3, 3, 9, 10, 4])
    assert comparable(chosen, rejected, 3.0).tolist() == [True, False, True, False, False]
    assert comparable(chosen, rejected, None).tolist() == [True, True, True, True, False]
