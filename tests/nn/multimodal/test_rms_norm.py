"""The short way of normalising beside transformers' own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm

from moon_zoo.nn.multimodal.rms_norm import fast_norms, rms_norm


def layer(dim: int) -> nn.Module:
    made = Qwen2_5_VLRMSNorm(dim, eps=1e-3)
    nn.init.normal_(made.weight, generator=torch.Generator().manual_seed(1))
    return made


def results(made: nn.Module, hidden: Tensor) -> list[Tensor]:
    hidden = hidden.clone().requires_grad_()
    output = made(hidden)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    return [output, *torch.autograd.grad(output, [hidden, made.weight], gradient)]


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 7, 16), (1, 4)])
def test_outputs_and_gradients_are_those_of_transformers(shape: tuple[int, ...]) -> None:
    own, fast = layer(shape[-1]), layer(shape[-1])
    fast_norms(fast)
    hidden = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    hidden[0] = 0  # a row of nothing is divided by epsilon's root
    for ours, theirs in zip(results(fast, hidden), results(own, hidden), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_backward_is_the_forwards_derivative() -> None:
    hidden = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: rms_norm(*given, 1e-3), (hidden, weight))


def test_halves_are_computed_with_in_float32() -> None:
    own, fast = layer(16), layer(16)
    fast_norms(fast)
    hidden = torch.randn(6, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact = results(own, hidden.float())
    for ours, best in zip(results(fast, hidden), exact, strict=True):
        torch.testing.assert_close(ours.float(), best, rtol=0.01, atol=0.01)
    assert fast(hidden).dtype == own(hidden).dtype == torch.float32


def test_evaluation_computes_what_training_does() -> None:
    """To the last digit: a reference is cached without gradients, and compared with what has them."""
    fast = layer(8)
    fast_norms(fast)
    fast_norms(fast)  # twice is once
    own = layer(8)
    hidden = torch.randn(4, 8)
    with torch.no_grad():
        evaluated = fast(hidden)
    assert torch.equal(evaluated, copy.deepcopy(fast)(hidden))
    torch.testing.assert_close(evaluated, own(hidden), rtol=1e-5, atol=1e-6)
    assert isinstance(fast, Qwen2_5_VLRMSNorm)
    assert fast.state_dict().keys() == own.state_dict().keys()
