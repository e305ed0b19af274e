"""Frozen content embeddings in a network: sums, cosines, and items without an embedding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.content import ContentSimilarity, ContentVectors, cosines, without_content


def table(rows: int = 50, dim: int = 16) -> Tensor:
    content = F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(1)), dim=1)
    content[:2] = 0
    return content


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_cosines_are_products_of_rows_and_zero_where_there_is_no_embedding(dtype: torch.dtype) -> None:
    content = table()
    target = torch.randint(1, 50, (400,)).to(dtype)
    rows = torch.randint(0, 50, (400, 30)).to(dtype)
    found = cosines(target, rows, content)
    expected = torch.einsum("bld,bd->bl", content[rows.long()], content[target.long()])
    torch.testing.assert_close(found, expected)
    assert (found[rows <= 1] == 0).all() and (found[target == 1] == 0).all()


def test_a_half_precision_table_is_compared_in_full_precision() -> None:
    content = table().half()
    target, rows = torch.tensor([5, 6]), torch.tensor([[5, 7], [8, 0]])
    expected = torch.einsum("bld,bd->bl", content[rows].float(), content[target].float())
    torch.testing.assert_close(cosines(target, rows, content), expected)


def test_pairs_without_an_embedding_have_one_learned_similarity() -> None:
    similarity = ContentSimilarity()
    similarity.unknown.data.fill_(0.25)
    target, rows = torch.tensor([3, 1]), torch.tensor([[3, 1, 0], [3, 1, 0]])
    missing = without_content(target, rows)
    assert missing.tolist() == [[False, True, False], [True, True, False]]
    found = similarity(cosines(target, rows, table()), missing)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.25, 0.0], [0.25, 0.25, 0.0]]))


@pytest.mark.parametrize("half", [False, True])
def test_a_weighted_sum_is_that_of_the_vectors_looked_up(half: bool) -> None:
    content = table().half() if half else table()
    vectors = ContentVectors(16)
    vectors.default.data.normal_()
    rows = torch.randint(0, 50, (20, 9))
    weights = (torch.rand(20, 9) * (rows > 0)).requires_grad_()
    looked_up = vectors(rows, content)
    expected = torch.einsum("bl,bld->bd", weights, looked_up)
    found = vectors.weighted_sum(weights, rows, content)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(found)
    wanted_of = (weights, vectors.default)
    there = (rows > 0).float()
    ours, theirs = (torch.autograd.grad(one, wanted_of, gradient) for one in (found, expected))
    torch.testing.assert_close(ours[0] * there, theirs[0] * there)
    torch.testing.assert_close(ours[1], theirs[1])


def test_vectors_have_coordinates_of_variance_one_and_padding_is_zero() -> None:
    content = table(dim=64)
    found = ContentVectors(64)(torch.tensor([0, 1, 2]), content)
    torch.testing.assert_close(found[2].square().mean(), torch.tensor(1.0))
    assert (found[:2] == 0).all()
