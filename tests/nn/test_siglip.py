"""The tiled sigmoid loss equals the formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.siglip import sigmoid_loss
from tests.nn import plain
from tests.nn.test_info_nce import DOUBLE, assert_same, groups, mask


def test_two_pairs_by_hand() -> None:
    """Unit axes, scale 2, bias -1: logits 1 on the diagonal, -1 off it. Each of the four pairs costs log(1 + e^-1)."""
    loss = sigmoid_loss(torch.eye(2), torch.eye(2), 2.0, -1.0)
    assert loss.item() == pytest.approx(4 * math.log(1 + math.exp(-1)) / 2, abs=1e-6)


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("with_ignored", [False, True])
@pytest.mark.parametrize("with_extra", [False, True])
def test_groups_masks_and_extra_documents_equal_the_formula(
    with_masks: bool, with_ignored: bool, with_extra: bool
) -> None:
    queries, documents = plain.unit(23, seed=1, dtype=DOUBLE), plain.unit(31, seed=2, dtype=DOUBLE)
    scale = torch.tensor(12.0, dtype=DOUBLE, requires_grad=True)
    bias = torch.tensor(-6.0, dtype=DOUBLE, requires_grad=True)
    query_groups, document_groups = groups(23, 12, seed=3), groups(31, 10, seed=4)
    options: dict[str, Tensor] = {"query_groups": query_groups, "document_groups": document_groups}
    ignored, extra = None, None
    if with_masks:
        options |= {"query_valid": mask(23, seed=5), "document_valid": mask(31, seed=6)}
    if with_ignored:
        options |= {"query_ignore": groups(23, 4, seed=7), "document_ignore": groups(31, 4, seed=8)}
        ignored = plain.same(options["query_ignore"], options["document_ignore"])
    positive = plain.same(query_groups, document_groups)
    counts = plain.there(positive, options.get("query_valid"), options.get("document_valid"), ignored)
    logits = scale * queries @ documents.T + bias
    num_queries = int(options["query_valid"].sum()) if with_masks else 23
    expected = plain.siglip(logits, positive, counts, num_queries)
    if with_extra:
        extra = ExtraDocuments(plain.unit(9, seed=9, dtype=DOUBLE).detach(), groups(9, 12, seed=10), mask(9, seed=11))
        beyond = extra.valid & ~plain.same(query_groups, extra.groups)
        if with_masks:
            beyond = beyond & options["query_valid"][:, None]
        negative = scale * queries @ extra.embeddings.T + bias
        expected = expected + plain.siglip(negative, torch.zeros_like(beyond), beyond, num_queries)
    found = sigmoid_loss(queries, documents, scale, bias, extra_documents=extra, tile=8, **options)
    assert_same(found, expected, [queries, documents, scale, bias])


def test_large_logits_stay_finite_and_a_second_backward_is_the_first() -> None:
    queries, documents = plain.unit(6, seed=1), plain.unit(6, seed=2)
    loss = sigmoid_loss(queries, documents, 10_000.0, -10.0)
    first = torch.autograd.grad(loss, queries, retain_graph=True)[0]
    assert loss.isfinite() and first.isfinite().all()
    torch.testing.assert_close(torch.autograd.grad(loss, queries)[0], first, rtol=0, atol=0)


def test_without_gradients_the_value_is_the_same() -> None:
    queries, documents = plain.unit(6, seed=1), plain.unit(6, seed=2)
    with torch.no_grad():
        quiet = sigmoid_loss(queries, documents, 10.0, -10.0)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, sigmoid_loss(queries, documents, 10.0, -10.0).detach(), rtol=0, atol=0)
