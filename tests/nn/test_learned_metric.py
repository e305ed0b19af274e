"""Similarities by a learned metric: cosines of projections, zeros for padding, one value for either order of work."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from moon_zoo.nn.content import cosines
from moon_zoo.nn.learned_metric import LearnedMetric


def table(rows: int, dim: int = 6) -> torch.Tensor:
    content = F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(0)), dim=-1)
    content[:2] = 0
    return content


@pytest.fixture
def metric() -> LearnedMetric:
    torch.manual_seed(0)
    return LearnedMetric(6, 4)


TARGET, ROWS = torch.tensor([2, 1, 4]), torch.tensor([[2, 5, 0], [3, 4, 5], [1, 2, 0]])


def test_similarity_is_the_cosine_of_projections_and_zero_without_an_embedding(metric: LearnedMetric) -> None:
    content = table(7)
    found = metric(TARGET, ROWS, content)
    for row in range(3):
        for place in range(3):
            one, other = content[TARGET[row]], content[ROWS[row, place]]
            expected = F.cosine_similarity(metric.projection(one), metric.projection(other), dim=0)
            torch.testing.assert_close(found[row, place], expected)
    assert (found[1] == 0).all() and found[0, 2] == 0


def test_a_full_rotation_gives_the_cosines_of_the_embeddings() -> None:
    content = table(7)
    torch.testing.assert_close(LearnedMetric(6, 6)(TARGET, ROWS, content), cosines(TARGET, ROWS, content))


def test_small_tables_projected_whole_give_what_large_ones_give_row_by_row(metric: LearnedMetric) -> None:
    """Nine places are looked up: a table of 7 rows is projected whole, one of 20 row by row."""
    small, large = table(7), torch.cat([table(7), torch.randn(13, 6)])
    gradients = []
    for content in (small, large):
        metric.zero_grad()
        similarity = metric(TARGET, ROWS, content)
        similarity.square().sum().backward()
        gradients.append((similarity.detach(), metric.projection.weight.grad.clone()))
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0][1].abs().sum() > 0
