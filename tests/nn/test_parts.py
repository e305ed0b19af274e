"""Heads, queue, groups and diagnostics: values by hand or by a loop."""

from __future__ import annotations

import math

import pytest
import torch

from moon_zoo.nn.diagnostics import mean_pairwise_cosine
from moon_zoo.nn.heads import LogitBias, LogitScale, ProjectionHead, masked_mean
from moon_zoo.nn.negatives import NegativeQueue
from moon_zoo.nn.positives import Groups
from tests.nn import plain


def test_masked_mean_passes_over_padding_even_if_it_is_not_a_number() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [math.nan]], [[5.0], [7.0], [9.0]], [[1.0], [1.0], [1.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    assert masked_mean(tokens, mask).tolist() == [[2.0], [7.0], [0.0]]


def test_masked_mean_of_half_precision_sums_in_float32() -> None:
    """300 ones in bf16: summed in bf16 they stop at 256."""
    tokens = torch.ones(1, 300, 1, dtype=torch.bfloat16)
    assert masked_mean(tokens, torch.ones(1, 300)).item() == 1.0


@pytest.mark.parametrize("hidden_dim", [None, 12])
def test_projection_has_unit_length_in_float32_under_autocast(hidden_dim: int | None) -> None:
    head = ProjectionHead(8, 5, hidden_dim=hidden_dim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = head(torch.randn(7, 8))
    assert embeddings.dtype == torch.float32 and embeddings.shape == (7, 5)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(7))


def test_logit_scale_starts_at_the_inverse_temperature() -> None:
    assert LogitScale(0.05)().item() == pytest.approx(20.0)
    assert LogitScale(0.05).temperature.item() == pytest.approx(0.05)


def test_logit_scale_is_held_at_its_bound_and_can_come_back() -> None:
    scale = LogitScale(0.01, min_temperature=0.01)
    optimizer = torch.optim.SGD(scale.parameters(), lr=0.1)
    (-scale()).backward()  # asks for a higher scale
    optimizer.step()
    assert scale().item() == pytest.approx(100.0)
    optimizer.zero_grad()
    scale().mul(0.01).backward()  # asks for a lower one: d/dlog = 1
    optimizer.step()
    assert scale().item() == pytest.approx(100 * math.exp(-0.1))


def test_logit_scale_of_a_fixed_temperature_has_nothing_to_learn() -> None:
    assert not any(parameter.requires_grad for parameter in LogitScale(learnable=False).parameters())
    with pytest.raises(ValueError, match=r"0\.001"):
        LogitScale(0.001)
    assert LogitBias(-3.0)().item() == -3.0


def test_groups_sum_and_count_the_rows_of_each_group() -> None:
    """Groups 5, 2, 5, 9 of rows 1, 10, 100, 1000, the last invalid; asked for 5, 9, 2, 7."""
    groups = Groups.of(torch.tensor([5, 2, 5, 9]), torch.tensor([True, True, True, False]))
    asked = torch.tensor([5, 9, 2, 7])
    rows = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    assert groups.sum_for(asked, rows).squeeze(1).tolist() == [101.0, 0.0, 10.0, 0.0]
    assert groups.count_for(asked).tolist() == [2.0, 0.0, 1.0, 0.0]


def test_mean_pairwise_cosine_equals_the_mean_over_pairs() -> None:
    rows = plain.unit(9, seed=1).detach()
    cosines = rows @ rows.T
    expected = (cosines.sum() - cosines.trace()) / (9 * 8)
    torch.testing.assert_close(mean_pairwise_cosine(rows), expected)
    valid = torch.tensor([True] * 5 + [False] * 4)
    few = cosines[:5, :5]
    torch.testing.assert_close(mean_pairwise_cosine(rows, valid), (few.sum() - few.trace()) / 20)


def test_mean_pairwise_cosine_of_collapsed_opposite_and_single_rows() -> None:
    axis = torch.tensor([[1.0, 0.0]])
    assert mean_pairwise_cosine(axis.expand(4, 2)).item() == 1.0
    assert mean_pairwise_cosine(torch.cat([axis, -axis])).item() == -1.0
    assert mean_pairwise_cosine(axis).item() == 0.0


def pushed(queue: NegativeQueue, *values: int) -> None:
    rows = torch.tensor([[float(value)] for value in values])
    queue.push(rows, torch.tensor(values))


def test_queue_forgets_the_oldest_first() -> None:
    queue = NegativeQueue(5, 1)
    pushed(queue, 1, 2)
    pushed(queue, 3, 4)
    held = queue.documents()
    assert sorted(held.groups[held.valid].tolist()) == [1, 2, 3, 4]
    pushed(queue, 5, 6)
    held = queue.documents()
    assert held.valid.all() and sorted(held.groups.tolist()) == [2, 3, 4, 5, 6]
    assert held.embeddings.squeeze(1).tolist() == [float(group) for group in held.groups.tolist()]


def test_queue_keeps_the_last_rows_of_a_batch_larger_than_itself() -> None:
    queue = NegativeQueue(2, 1)
    pushed(queue, 1, 2, 3)
    assert sorted(queue.documents().groups.tolist()) == [2, 3]


def test_queue_has_nothing_valid_before_the_warm_up_is_over() -> None:
    queue = NegativeQueue(4, 1, warmup_steps=2)
    pushed(queue, 1)
    assert not queue.documents().valid.any()
    pushed(queue, 2)
    assert queue.documents().valid.sum() == 2


def test_queue_passes_over_invalid_rows() -> None:
    queue = NegativeQueue(4, 1)
    queue.push(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 2]), torch.tensor([False, True]))
    held = queue.documents()
    assert held.groups[held.valid].tolist() == [2]


def test_queue_staleness_is_the_mean_age_in_steps() -> None:
    """After pushes of one row each at steps 1, 2, 3, the ages at step 4 are 3, 2, 1."""
    queue = NegativeQueue(10, 1)
    assert queue.staleness().item() == 0.0
    for value in (1, 2, 3):
        pushed(queue, value)
    assert queue.staleness().item() == 2.0


def test_queue_travels_with_the_checkpoint_and_goes_on_where_it_was() -> None:
    queue, resumed = NegativeQueue(3, 1), NegativeQueue(3, 1)
    pushed(queue, 1, 2)
    resumed.load_state_dict(queue.state_dict())
    for one in (queue, resumed):
        pushed(one, 3, 4)
    assert queue.documents().groups.tolist() == resumed.documents().groups.tolist()


def test_what_a_loss_was_given_does_not_change_with_the_next_push() -> None:
    queue = NegativeQueue(2, 1)
    pushed(queue, 1, 2)
    before = queue.documents()
    pushed(queue, 3, 4)
    assert before.groups.tolist() == [1, 2] and before.embeddings.flatten().tolist() == [1.0, 2.0]
    assert not before.embeddings.requires_grad
