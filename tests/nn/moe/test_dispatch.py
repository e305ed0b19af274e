"""Every layout gives what a plain loop gives, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from moon_zoo.nn.moe import dispatch
from moon_zoo.nn.moe.layout import Layout, grouped, padded, rounded, static
from tests.nn.moe.plain import looped


def busiest_padded(expert_ids: Tensor, num_experts: int) -> Layout:
    capacity = int(torch.bincount(expert_ids.flatten(), minlength=num_experts + 1)[:num_experts].max())
    return padded(expert_ids, num_experts, capacity)


def given_layout(layout: str) -> Callable[..., Layout]:
    """As `dispatch.layout_of` is called."""
    return lambda ids, experts, dtype=None: LAYOUTS[layout](ids, experts)


LAYOUTS = {
    "grouped": grouped,
    "static": static,
    "padded": busiest_padded,
    "rounded": lambda ids, experts: rounded(ids, experts, 4),
}


def given(tokens: int, experts: int, slots: int, dim: int, hidden_dim: int, *, unused: float) -> list[Tensor]:
    """Hidden states, both stacks, expert numbers and weights; a share of slots has no expert."""
    torch.manual_seed(tokens)
    ids = torch.rand(tokens, experts).argsort(1)[:, :slots]
    ids = ids.masked_fill(torch.rand(tokens, slots) < unused, experts)
    weights = torch.rand(tokens, slots).masked_fill(ids == experts, 0.0)
    return [
        torch.randn(tokens, dim, requires_grad=True),
        (torch.randn(experts, 2 * hidden_dim, dim) * 0.3).requires_grad_(),
        (torch.randn(experts, dim, hidden_dim) * 0.3).requires_grad_(),
        ids,
        weights.requires_grad_(),
    ]


def results(run: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """Output and all gradients."""
    trained = [tensor for tensor in tensors if tensor.requires_grad]
    output = run(*tensors)
    # Seeded by its size: the same for both contenders.
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(len(output)))
    return [output.detach(), *torch.autograd.grad(output, trained, gradient.to(output.dtype), materialize_grads=True)]


def assert_equal(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-5) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("tokens", "experts", "slots", "dim", "hidden_dim", "unused"),
    [
        (1, 4, 1, 8, 8, 0.0),
        (50, 5, 2, 16, 24, 0.0),
        (50, 5, 2, 16, 24, 0.4),
        (30, 40, 3, 16, 8, 0.2),  # experts without any token
        (20, 4, 2, 6, 5, 0.3),  # sizes that grouped products refuse
        (9, 3, 2, 8, 8, 1.0),  # pads alone
    ],
)
def test_layouts_equal_a_loop_over_tokens(
    layout: str,
    tokens: int,
    experts: int,
    slots: int,
    dim: int,
    hidden_dim: int,
    unused: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensors = given(tokens, experts, slots, dim, hidden_dim, unused=unused)
    monkeypatch.setattr(dispatch, "layout_of", given_layout(layout))
    assert_equal(results(dispatch.expert_ffn, tensors), results(looped, tensors))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_backward_is_the_forward_s_derivative(layout: str) -> None:
    tensors = [tensor.double() if tensor.is_floating_point() else tensor for tensor in given(5, 3, 2, 4, 3, unused=0.3)]
    hidden, gate_up, down, ids, weights = (
        tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors
    )
    plan = LAYOUTS[layout](ids, 3)
    assert torch.autograd.gradcheck(
        lambda *given: dispatch._ExpertFFN.apply(*given, plan), (hidden, gate_up, down, weights), fast_mode=False
    )


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Padded products are for several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("tokens", "experts", "is_padded"), [(12, 6, True), (400, 6, False), (1, 64, False)])
def test_few_tokens_are_padded_and_many_or_one_are_not(tokens: int, experts: int, is_padded: bool) -> None:
    tensors = given(tokens, experts, 2, 16, 24, unused=0.0)
    assert (dispatch.layout_of(tensors[3], experts).capacity > 0) == is_padded
    assert_equal(results(dispatch.expert_ffn, tensors), results(looped, tensors))


def test_shapes_of_products_in_reduced_precision_are_few() -> None:
    """Each new one would have a kernel written for it."""
    shapes = set()
    for tokens in range(600, 700):
        ids = given(tokens, 4, 1, 8, 8, unused=0.2)[3]
        layout = dispatch.layout_of(ids, 4, torch.bfloat16)
        assert layout.ends is not None
        shapes |= set(torch.diff(layout.ends, prepend=layout.ends.new_zeros(1)).tolist())
    assert len(shapes) <= 5
    assert all(rows % dispatch.ROUNDED_ROWS == 0 for rows in shapes)
    hidden, gate_up, down, ids, weights = given(600, 4, 2, 16, 24, unused=0.2)
    exact = dispatch.expert_ffn(hidden, gate_up, down, ids, weights)
    halved = dispatch.expert_ffn(hidden.bfloat16(), gate_up.bfloat16(), down.bfloat16(), ids, weights)
    torch.testing.assert_close(halved.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grouped_linear_maps_each_expert_s_rows(layout: str) -> None:
    tensors = given(30, 5, 2, 16, 24, unused=0.2)
    hidden, gate_up, ids = tensors[0], tensors[1], tensors[3]
    plan = LAYOUTS[layout](ids, 5)

    def ours(hidden: Tensor, weight: Tensor) -> Tensor:
        return dispatch.to_tokens(dispatch.grouped_linear(dispatch.to_rows(hidden, plan), weight, plan), plan)

    def theirs(hidden: Tensor, weight: Tensor) -> Tensor:
        return torch.stack(
            [
                sum((weight[expert] @ row for expert in chosen if expert < 5), torch.zeros(48))
                for row, chosen in zip(hidden, ids.tolist())
            ]
        )

    assert_equal(results(ours, [hidden, gate_up]), results(theirs, [hidden, gate_up]))


@pytest.mark.parametrize("tokens", [4, 200])
def test_autocast_computes_in_its_type_and_gives_gradients_in_the_weights(tokens: int) -> None:
    tensors = given(tokens, 6, 2, 16, 24, unused=0.2)
    expected = results(looped, tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = dispatch.expert_ffn(*tensors)
        found = results(dispatch.expert_ffn, tensors)
    assert output.dtype == torch.bfloat16
    assert all(gradient.dtype == torch.float32 for gradient in found[1:])
    for ours, theirs in zip(found, expected):
        # bfloat16 has 8 bits
        assert (ours.float() - theirs).norm() < 0.02 * theirs.norm()


def test_half_precision_weights_are_used_as_they_are() -> None:
    tensors = given(200, 6, 2, 16, 24, unused=0.2)
    halves = [tensor.detach().bfloat16().requires_grad_() for tensor in tensors[:3]] + tensors[3:]
    for ours, theirs in zip(results(dispatch.expert_ffn, halves), results(looped, tensors)):
        assert (ours.float() - theirs).norm() < 0.02 * theirs.norm()


def test_gradients_that_are_no_contiguous_rows_are_taken() -> None:
    """The gradient of a sum is an expanded scalar."""
    tensors = given(40, 4, 2, 16, 24, unused=0.0)
    found = torch.autograd.grad(dispatch.expert_ffn(*tensors).sum(), tensors[1])
    expected = torch.autograd.grad(looped(*tensors).sum(), tensors[1])
    assert_equal(list(found), list(expected))
