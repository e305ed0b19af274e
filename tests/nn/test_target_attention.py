"""Target attention against the form of the paper, which concatenates ``[t, h, t - h, t * h]`` for every behaviour."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.behaviour.attention import TargetAttention, masked_softmax, weighted_sum
from moon_zoo.nn.behaviour.pieces import AttentionInPieces, rows_per_piece


def plain(layer: TargetAttention, target: Tensor, history: Tensor) -> Tensor:
    """The paper's form."""
    targets = target.unsqueeze(1).expand_as(history)
    hidden = layer.first(torch.cat([targets, history, targets - history, targets * history], dim=-1))
    for following in layer.rest:
        hidden = following(F.relu(hidden))
    return hidden.squeeze(-1)


def given(rows: int, length: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(rows, dim, generator=generator).requires_grad_()
    history = torch.randn(rows, length, dim, generator=generator).requires_grad_()
    return target, history, torch.randn(rows, length, generator=generator)


@pytest.mark.parametrize(("dim", "hidden"), [(16, (64,)), (128, (64,)), (16, (32, 8))])
def test_the_folded_layer_is_the_papers_forward_and_backward(dim: int, hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = TargetAttention(dim, hidden)
    # more rows than one piece, and the last piece is not full
    target, history, gradient = given(301, 20, dim)
    wanted_of = (target, history, *layer.parameters())
    ours, theirs = layer(target, history), plain(layer, target, history)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(ours, wanted_of, gradient), torch.autograd.grad(theirs, wanted_of, gradient)
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))


def test_several_pieces_are_worked_on_in_that_test() -> None:
    assert rows_per_piece((128 + 20) * 64 * 4) < 301 and rows_per_piece((16 + 20) * 64 * 4) < 301


def test_gradients_in_pieces_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = ((3, 2), (3, 4, 2), (5, 8), (5,), (1, 5), (1,))
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(AttentionInPieces.apply, given)


def test_bf16_autocast_agrees_to_its_precision() -> None:
    layer = TargetAttention(16)
    target, history, _ = given(9, 6, 16)
    exact = layer(target, history)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = layer(target, history)
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)


def test_no_behaviours_or_no_rows_give_logits_without_columns_or_rows() -> None:
    layer = TargetAttention(4)
    assert layer(torch.randn(3, 4), torch.randn(3, 0, 4)).shape == (3, 0)
    assert layer(torch.randn(0, 4), torch.randn(0, 5, 4)).shape == (0, 5)


def test_gradients_come_where_the_history_is_a_constant() -> None:
    layer = TargetAttention(4)
    layer(torch.randn(3, 4), torch.randn(3, 2, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_no_hidden_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden is empty"):
        TargetAttention(4, ())


def test_a_softmax_over_nothing_is_zeros_with_zero_gradient() -> None:
    logits = torch.tensor([[1.0, 1.0, 5.0], [2.0, 3.0, 4.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(logits, mask)
    assert weights.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    (weights * torch.randn(2, 3)).sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and (logits.grad[1] == 0).all()


def test_a_weighted_sum_is_over_behaviours() -> None:
    found = weighted_sum(torch.tensor([[2.0, 1.0]]), torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]))
    assert found.tolist() == [[2.0, 3.0]]
