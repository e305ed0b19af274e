"""MuonAdamW: beside torch's own Muon and AdamW, stacks beside single matrices, state and schedule."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moon_zoo.models.base import ZooModule
from moon_zoo.nn.optim import MuonAdamW, orthogonal

STEPS = 5


def parameters(seed: int, *shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def gradients(step: int, params: list[nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for parameter in params:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_matrices_move_as_under_torchs_muon() -> None:
    shapes = ((6, 4), (4, 6), (6, 4), (5, 5))
    ours, theirs = parameters(0, *shapes), parameters(0, *shapes)
    optimizer = MuonAdamW([{"params": ours, "hidden": True}], muon_lr=0.02, weight_decay=0.1)
    peer = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(STEPS):
        gradients(step, ours)
        gradients(step, theirs)
        optimizer.step()
        peer.step()
    for one, other, start in zip(ours, theirs, parameters(0, *shapes), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=0)  # both iterate in bfloat16, rounded in another order
        assert (one - start).abs().max() > 0.01


def test_all_else_moves_as_under_torchs_adamw() -> None:
    ours, theirs = parameters(1, (7, 3), (3,)), parameters(1, (7, 3), (3,))
    optimizer = MuonAdamW(
        [{"params": ours[:1]}, {"params": ours[1:], "weight_decay": 0.0}], lr=0.01, weight_decay=0.1, betas=(0.9, 0.95)
    )
    peer = torch.optim.AdamW(
        [{"params": theirs[:1]}, {"params": theirs[1:], "weight_decay": 0.0}],
        lr=0.01,
        weight_decay=0.1,
        betas=(0.9, 0.95),
    )
    for step in range(STEPS):
        gradients(step, ours)
        gradients(step, theirs)
        optimizer.step()
        peer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


def test_a_stack_of_experts_moves_as_its_matrices_would() -> None:
    (stack,) = parameters(2, (3, 6, 4))
    apart = [nn.Parameter(matrix.clone()) for matrix in stack.detach()]
    together = MuonAdamW([{"params": [stack], "hidden": True}])
    alone = MuonAdamW([{"params": apart, "hidden": True}])
    for step in range(STEPS):
        gradients(step, [stack])
        assert stack.grad is not None
        for matrix, gradient in zip(apart, stack.grad, strict=True):
            matrix.grad = gradient.clone()
        together.step()
        alone.step()
    torch.testing.assert_close(stack, torch.stack(apart), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16, 4), (2, 4, 16)])
def test_orthogonal_gives_singular_values_about_one(shape: tuple[int, ...]) -> None:
    found = orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(3))).float()
    values = torch.linalg.svdvals(found)
    assert found.shape == shape
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_no_gradient_moves_nothing_and_zero_gradients_stay_finite() -> None:
    still, zero = parameters(4, (3, 3), (3, 3))
    before = still.detach().clone()
    optimizer = MuonAdamW([{"params": [still, zero], "hidden": True}], weight_decay=0.0)
    zero.grad = torch.zeros(3, 3)
    start = zero.detach().clone()
    optimizer.step()
    assert torch.equal(still, before)
    assert torch.equal(zero, start)


def test_state_saved_and_loaded_goes_on_as_if_never_stopped() -> None:
    shapes = ((4, 4), (2, 3, 3), (4,))
    whole, resumed = parameters(5, *shapes), parameters(5, *shapes)

    def optimizer(params: list[nn.Parameter]) -> MuonAdamW:
        return MuonAdamW([{"params": params[:2], "hidden": True}, {"params": params[2:]}], lr=0.01, muon_lr=0.05)

    first, second = optimizer(whole), optimizer(resumed)
    for step in range(2):
        for params, one in ((whole, first), (resumed, second)):
            gradients(step, params)
            one.step()
    third = optimizer(resumed)
    third.load_state_dict(copy.deepcopy(second.state_dict()))
    for step in range(2, STEPS):
        for params, one in ((whole, first), (resumed, third)):
            gradients(step, params)
            one.step()
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_a_schedule_reaches_both_parts() -> None:
    params = parameters(6, (4, 4), (4,))
    optimizer = MuonAdamW([{"params": params[:1], "hidden": True}, {"params": params[1:]}], lr=0.01, muon_lr=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    before = [parameter.detach().clone() for parameter in params]
    gradients(0, params)
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.005]
    for _ in range(200):  # rates fall to nothing: all stands still
        scheduler.step()
    still = [parameter.detach().clone() for parameter in params]
    gradients(1, params)
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(still, params, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(before, params, strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": -1.0}, "lr must be at least 0: -1.0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1: 1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MuonAdamW(parameters(7, (2, 2)), **options)


def test_a_hidden_parameter_that_is_no_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no matrix, nor a stack of them: \(4,\)"):
        MuonAdamW([{"params": parameters(8, (4,)), "hidden": True}])


class _Outputs(nn.Module):
    """As models of transformers tell their output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 10, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        return self.layer


class _Model(ZooModule):
    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.table = nn.Embedding(10, 4)
        self.hidden = nn.Linear(4, 4)
        self.experts = nn.Parameter(torch.zeros(2, 4, 4))
        self.patches = nn.Conv2d(3, 4, 2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = _Outputs()


def test_groups_of_a_model_leave_tables_and_outputs_out_of_the_hidden() -> None:
    model = _Model()
    hidden, others, vectors = model.parameter_groups()

    def names(group: dict[str, Any]) -> set[str]:
        of = {id(parameter): name for name, parameter in model.named_parameters()}
        return {of[id(parameter)] for parameter in group["params"]}

    assert hidden["hidden"]
    assert names(hidden) == {"hidden.weight", "experts"}
    assert names(others) == {"table.weight", "patches.weight", "head.layer.weight"}
    assert names(vectors) == {"hidden.bias", "patches.bias"}
    assert vectors["weight_decay"] == 0.0


def test_other_optimisers_take_the_groups_as_they_are() -> None:
    def loss(model: Any) -> Tensor:
        return model.hidden(model.table.weight).square().sum()

    model = _Model()
    optimizer = torch.optim.AdamW(model.parameter_groups())
    loss(model).backward()
    optimizer.step()
