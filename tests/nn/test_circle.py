"""The tiled circle loss equals the formula written out pair by pair, in value and gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moon_zoo.nn.circle import circle_loss
from moon_zoo.nn.negatives import ExtraDocuments
from tests.nn import plain
from tests.nn.test_info_nce import assert_same, groups, mask

DOUBLE = torch.float64


def test_one_positive_and_one_negative_by_hand() -> None:
    """Cosines .6 and .8, m = .25, gamma = 2: positive 2 * .65 * .15 = .195, negative 2 * 1.05 * .55 = 1.155."""
    queries, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    loss = circle_loss(queries, documents, 2.0, margin=0.25)
    assert loss.item() == pytest.approx(math.log1p(math.exp(1.155 + 0.195)), abs=1e-6)


@pytest.mark.parametrize("gamma", [4.0, 128.0])
@pytest.mark.parametrize("options", [(), ("valid",), ("ignore",), ("valid", "ignore")])
def test_groups_masks_and_ignored_pairs_equal_the_loop(gamma: float, options: tuple[str, ...]) -> None:
    queries, documents = plain.unit(23, seed=1, dtype=DOUBLE), plain.unit(31, seed=2, dtype=DOUBLE)
    given: dict[str, Tensor] = {"query_groups": groups(23, 12, seed=3), "document_groups": groups(31, 10, seed=4)}
    ignored = None
    if "valid" in options:
        given |= {"query_valid": mask(23, seed=5), "document_valid": mask(31, seed=6)}
    if "ignore" in options:
        given |= {"query_ignore": groups(23, 4, seed=7), "document_ignore": groups(31, 4, seed=8)}
        ignored = plain.same(given["query_ignore"], given["document_ignore"])
    positive = plain.same(given["query_groups"], given["document_groups"])
    assert not positive.any(1).all() and positive.sum(1).max() > 1  # else the case is vacuous
    counts = plain.there(positive, given.get("query_valid"), given.get("document_valid"), ignored)
    expected = plain.circle(queries, documents, gamma, 0.25, positive, counts)
    assert_same(circle_loss(queries, documents, gamma, tile=8, **given), expected, [queries, documents])


def test_a_queue_adds_negatives_except_those_of_the_own_group() -> None:
    queries, documents = plain.unit(9, seed=1, dtype=DOUBLE), plain.unit(9, seed=2, dtype=DOUBLE)
    own = groups(9, 5, seed=3)
    extra = ExtraDocuments(plain.unit(21, seed=4, dtype=DOUBLE).detach(), groups(21, 7, seed=5), mask(21, seed=6))
    positive = torch.cat([plain.same(own, own), torch.zeros(9, 21, dtype=torch.bool)], 1)
    counts = torch.cat([torch.ones(9, 9, dtype=torch.bool), extra.valid & ~plain.same(own, extra.groups)], 1)
    found = circle_loss(queries, documents, 64.0, query_groups=own, document_groups=own, extra_documents=extra, tile=4)
    everything = torch.cat([documents, extra.embeddings])
    expected = plain.circle(queries, everything, 64.0, 0.25, positive, counts)
    assert_same(found, expected, [queries, documents])


def test_without_negatives_or_without_queries_the_loss_is_zero() -> None:
    queries, documents = plain.unit(3, seed=1), plain.unit(3, seed=2)
    one_group = torch.zeros(3, dtype=torch.int64)
    alone = circle_loss(queries, documents, query_groups=one_group, document_groups=one_group)
    nobody = circle_loss(queries, documents, query_valid=torch.zeros(3, dtype=torch.bool))
    for loss in (alone, nobody):
        assert loss.item() == 0.0
        assert all((gradient == 0).all() for gradient in plain.gradients(loss, queries, documents))


def test_half_precision_inputs_are_summed_in_float32() -> None:
    queries, documents = (plain.unit(20, seed=seed).detach().bfloat16().requires_grad_() for seed in (1, 2))
    expected = circle_loss(queries.float(), documents.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = circle_loss(queries, documents, tile=8)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert plain.gradients(found, queries)[0].dtype == torch.bfloat16


@pytest.mark.parametrize(("options", "message"), [({"margin": 1.5}, "margin .* 1.5"), ({"scale": 0.0}, "scale .* 0.0")])
def test_margin_and_scale_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        circle_loss(plain.unit(2), plain.unit(2), **options)
