"""Alignment and uniformity against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from moon_zoo.metrics.uniformity import alignment, uniformity


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_alignment_of_a_right_angle_and_of_opposites() -> None:
    """Squared distances are 2 and 4, their mean 3."""
    left = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert alignment(left, torch.tensor([[0.0, 1.0], [-1.0, 0.0]])) == pytest.approx(3.0)
    assert alignment(left, left) == 0.0
    assert math.isnan(alignment(left[:0], left[:0]))


def test_uniformity_of_three_points_by_hand() -> None:
    """Of 0, 90 and 180 degrees: squared distances 2, 2, 4, so log((2 e^-4 + e^-8) / 3) with t = 2."""
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert uniformity(points) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), abs=1e-6)


@pytest.mark.parametrize("tile", [1, 7, 50, 51, 2048])
def test_uniformity_in_tiles_equals_that_of_all_pairs(tile: int) -> None:
    points = rows(51)
    distances = torch.pdist(points.double()).square()
    assert uniformity(points, t=1.5, tile=tile) == pytest.approx(float((-1.5 * distances).exp().mean().log()), abs=1e-6)


def test_collapse_is_zero_and_spreading_out_lowers_it() -> None:
    point = rows(1)
    assert uniformity(point.expand(20, -1)) == pytest.approx(0.0, abs=1e-6)
    narrow = F.normalize(point + 0.1 * rows(200, 1), dim=1)
    assert uniformity(rows(200, 1)) < uniformity(narrow) - 1.0


def test_what_is_not_defined_is_nan_and_wrong_shapes_are_named() -> None:
    assert math.isnan(uniformity(rows(1)))
    with pytest.raises(ValueError, match=r"\(3, 8\) and \(2, 8\)"):
        alignment(rows(3), rows(2))
    with pytest.raises(ValueError, match=r"\(8,\)"):
        uniformity(rows(1)[0])
    with pytest.raises(ValueError, match="t must be above 0"):
        uniformity(rows(3), t=0.0)
