"""Prefixes of embeddings are trained as embeddings of their own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from moon_zoo.nn.circle import circle_loss
from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.matryoshka import matryoshka, prefix
from moon_zoo.nn.negatives import ExtraDocuments
from tests.nn import plain


def test_a_prefix_has_unit_length() -> None:
    """(3, 4, 12) / 13: of its first two numbers, (3, 4) / 5 remains."""
    torch.testing.assert_close(prefix(torch.tensor([3.0, 4.0, 12.0]) / 13, 2), torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("loss", [info_nce, symmetric_info_nce, circle_loss])
def test_the_loss_is_the_weighted_mean_over_prefixes_and_cuts_the_queue(loss: object) -> None:
    assert callable(loss)
    queries, documents, past = plain.unit(7, seed=1), plain.unit(7, seed=2), plain.unit(5, seed=3).detach()
    groups = torch.arange(7)
    extra = ExtraDocuments(past, torch.tensor([0, 9, 9, 1, 9]), torch.tensor([True, True, True, True, False]))
    options = {"query_groups": groups, "document_groups": groups}
    found = matryoshka(loss, [4, 16], [1.0, 3.0])(queries, documents, 10.0, extra_documents=extra, **options)
    short = ExtraDocuments(F.normalize(past[:, :4], dim=1), extra.groups, extra.valid)
    first = loss(
        F.normalize(queries[:, :4], dim=1),
        F.normalize(documents[:, :4], dim=1),
        10.0,
        extra_documents=short,
        **options,
    )
    expected = 0.25 * first + 0.75 * loss(queries, documents, 10.0, extra_documents=extra, **options)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        plain.gradients(found, queries, documents), plain.gradients(expected, queries, documents), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_without_sizes_the_loss_is_left_as_it_is() -> None:
    assert matryoshka(info_nce, []) is info_nce


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [([4, 4], None, "different"), ([0, 4], None, "at least 1"), ([4], [1.0, 2.0], "weight"), ([4], [0.0], "above 0")],
)
def test_sizes_and_weights_that_do_not_fit_are_refused(
    sizes: list[int], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        matryoshka(info_nce, sizes, weights)


def test_a_prefix_longer_than_the_embedding_is_refused_with_its_size() -> None:
    with pytest.raises(ValueError, match="between 1 and 16, not 32"):
        matryoshka(info_nce, [32])(plain.unit(2), plain.unit(2), 10.0)
