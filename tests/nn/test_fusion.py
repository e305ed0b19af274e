"""Fusion of photo and text: what stands alone passes, learned forms begin as the mean, tensor fusion is the formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from moon_zoo.nn.fusion import FUSIONS, TensorFusion, fusion_layer

LEARNED = tuple(kind for kind in FUSIONS if kind != "mean")
YES, NO = torch.tensor([True]), torch.tensor([False])


def unit(rows: int, dim: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_mean_of_both_one_or_none() -> None:
    """Photo (1, 0) and text (0, 1) give (1, 1) / sqrt(2); one alone gives itself; none gives zeros."""
    photo = torch.tensor([[1.0, 0.0]] * 4)
    text = torch.tensor([[0.0, 1.0]] * 4)
    has_photo = torch.tensor([True, True, False, False])
    has_text = torch.tensor([True, False, True, False])
    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(fusion_layer("mean", 2)(photo, text, has_photo, has_text), expected)


@pytest.mark.parametrize("kind", LEARNED)
def test_learned_fusion_begins_as_the_mean(kind: str) -> None:
    torch.manual_seed(0)
    photo, text, both = unit(32, 24), unit(32, 24, seed=1), torch.ones(32, dtype=torch.bool)
    mean = fusion_layer("mean", 24)(photo, text, both, both)
    fused = fusion_layer(kind, 24)(photo, text, both, both)
    assert (mean * fused).sum(-1).min() > 0.97


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_rows_have_length_one_and_nothing_gives_zeros_with_finite_gradients(kind: str, precision: torch.dtype) -> None:
    layer = fusion_layer(kind, 16)
    photo, text = unit(4, 16).requires_grad_(), unit(4, 16, seed=1)
    has_photo, has_text = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        fused = layer(photo, text, has_photo, has_text)
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused.norm(dim=-1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    fused.square().sum().backward()
    assert photo.grad is not None and photo.grad.isfinite().all()


@pytest.mark.parametrize("kind", FUSIONS)
def test_what_is_missing_has_no_influence(kind: str) -> None:
    layer = fusion_layer(kind, 8)
    photo = unit(1, 8)
    torch.testing.assert_close(
        layer(photo, unit(1, 8, seed=1), YES, NO), layer(photo, unit(1, 8, seed=2), YES, NO), rtol=0, atol=0
    )


def test_tensor_fusion_is_one_linear_layer_over_the_outer_product() -> None:
    """dim 2: sum over i, j of W[k, i, j] * [p; 1]_i * [t; 1]_j, normalised, by hand in loops."""
    layer = TensorFusion(2)
    photo, text = unit(1, 2), unit(1, 2, seed=1)
    p, t = [*photo[0].tolist(), 1.0], [*text[0].tolist(), 1.0]
    weight = layer.linear.weight.view(2, 3, 3)
    sums = torch.stack([sum(weight[k, i, j] * p[i] * t[j] for i in range(3) for j in range(3)) for k in range(2)])
    torch.testing.assert_close(layer(photo, text, YES, YES)[0], F.normalize(sums, dim=0))


def test_unknown_fusion_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="mean, tfn, gated, concat, not 'sum'"):
        fusion_layer("sum", 4)  # type: ignore[arg-type]
