"""The tiled InfoNCE equals the formula written out, in value and gradient, in every case of masks, groups and scale."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.negatives import ExtraDocuments
from moon_zoo.nn.tiles import Exclusions, tiled_logsumexp
from tests.nn import plain

DOUBLE = torch.float64


def groups(rows: int, among: int, seed: int) -> Tensor:
    return torch.randint(0, among, (rows,), generator=torch.Generator().manual_seed(seed))


def mask(rows: int, seed: int) -> Tensor:
    return torch.rand(rows, generator=torch.Generator().manual_seed(seed)) < 0.7


def assert_same(found: Tensor, expected: Tensor, inputs: list[Tensor], tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(plain.gradients(found, *inputs), plain.gradients(expected, *inputs)):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_one_query_two_documents_by_hand() -> None:
    """q = (1, 0), documents (1, 0) and (0, 1), scale 2: logits 2 and 0, so log(e^2 + e^0) - 2 = 0.126928."""
    queries, documents = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    assert info_nce(queries, documents, 2.0).item() == pytest.approx(math.log(math.e**2 + 1) - 2, abs=1e-6)


def test_two_positives_by_hand_take_the_mean_outside_the_logarithm() -> None:
    """Logits 2 (positive), 0 (positive), -2: log(e^2 + 1 + e^-2) - (2 + 0) / 2."""
    queries, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = info_nce(queries, documents, 2.0, query_groups=torch.tensor([7]), document_groups=torch.tensor([7, 7, 8]))
    assert loss.item() == pytest.approx(math.log(math.e**2 + 1 + math.e**-2) - 1, abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 14.3, 60.0, 100.0])
@pytest.mark.parametrize("tile", [1, 7, 64])
def test_one_positive_each_equals_cross_entropy(scale: float, tile: int) -> None:
    queries, documents = plain.unit(20, seed=1, dtype=DOUBLE), plain.unit(20, seed=2, dtype=DOUBLE)
    factor = torch.tensor(scale, dtype=DOUBLE, requires_grad=True)
    logits, labels = factor * queries @ documents.T, torch.arange(20)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    assert_same(symmetric_info_nce(queries, documents, factor, tile=tile), expected, [queries, documents, factor])
    assert_same(
        info_nce(queries, documents, factor, tile=tile), F.cross_entropy(logits, labels), [queries, documents, factor]
    )


@pytest.mark.parametrize("scale", [10.0, 90.0])
@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_groups_masks_and_ignored_pairs_equal_the_loop(scale: float, with_masks: bool, with_ignored: bool) -> None:
    queries, documents = plain.unit(23, seed=1, dtype=DOUBLE), plain.unit(31, seed=2, dtype=DOUBLE)
    factor = torch.tensor(scale, dtype=DOUBLE, requires_grad=True)
    # 12 groups of queries and 10 of documents: some queries have no positive, some several.
    query_groups, document_groups = groups(23, 12, seed=3), groups(31, 10, seed=4)
    options: dict[str, Tensor] = {"query_groups": query_groups, "document_groups": document_groups}
    if with_masks:
        options |= {"query_valid": mask(23, seed=5), "document_valid": mask(31, seed=6)}
    ignored = None
    if with_ignored:
        options |= {"query_ignore": groups(23, 4, seed=7), "document_ignore": groups(31, 4, seed=8)}
        ignored = plain.same(options["query_ignore"], options["document_ignore"])
    positive = plain.same(query_groups, document_groups)
    assert not positive.any(1).all() and positive.sum(1).max() > 1  # else the case is vacuous
    counts = plain.there(positive, options.get("query_valid"), options.get("document_valid"), ignored)
    inputs = [queries, documents, factor]
    assert_same(
        symmetric_info_nce(queries, documents, factor, tile=8, **options),
        plain.symmetric(queries, documents, factor, positive, counts),
        inputs,
    )
    assert_same(
        info_nce(queries, documents, factor, tile=8, **options),
        plain.info_nce(queries, documents, factor, positive, counts),
        inputs,
    )


@pytest.mark.parametrize("scale", [10.0, 90.0])
def test_extra_documents_are_negatives_except_those_of_the_own_group(scale: float) -> None:
    queries, documents = plain.unit(9, seed=1, dtype=DOUBLE), plain.unit(9, seed=2, dtype=DOUBLE)
    factor = torch.tensor(scale, dtype=DOUBLE, requires_grad=True)
    own = groups(9, 5, seed=3)
    extra = ExtraDocuments(plain.unit(21, seed=4, dtype=DOUBLE).detach(), groups(21, 7, seed=5), mask(21, seed=6))
    other = ExtraDocuments(plain.unit(11, seed=7, dtype=DOUBLE).detach(), groups(11, 7, seed=8), mask(11, seed=9))

    def expected_side(rows: Tensor, columns: Tensor, further: ExtraDocuments) -> Tensor:
        logits = factor * torch.cat([rows @ columns.T, rows @ further.embeddings.T], 1)
        positive = torch.cat([plain.same(own, own), torch.zeros(9, len(further.groups), dtype=torch.bool)], 1)
        counts = torch.cat([torch.ones(9, 9, dtype=torch.bool), further.valid & ~plain.same(own, further.groups)], 1)
        return plain.one_direction(logits, positive, counts)

    found = symmetric_info_nce(
        queries,
        documents,
        factor,
        query_groups=own,
        document_groups=own,
        extra_documents=extra,
        extra_queries=other,
        tile=4,
    )
    expected = (expected_side(queries, documents, extra) + expected_side(documents, queries, other)) / 2
    assert_same(found, expected, [queries, documents, factor])
    alone = info_nce(queries, documents, factor, query_groups=own, document_groups=own, extra_documents=extra, tile=4)
    assert_same(alone, expected_side(queries, documents, extra), [queries, documents, factor])


def test_padded_rows_change_nothing() -> None:
    queries, documents = plain.unit(6, seed=1), plain.unit(6, seed=2)
    padding = torch.zeros(3, 16)
    whole = symmetric_info_nce(queries, documents, 20.0)
    valid = torch.tensor([True] * 6 + [False] * 3)
    padded = symmetric_info_nce(
        torch.cat([queries, padding]),
        torch.cat([documents, padding]),
        20.0,
        query_valid=valid,
        document_valid=valid,
    )
    assert_same(padded, whole, [queries, documents], tolerance=1e-6)


def test_nothing_left_gives_zero_and_zero_gradients() -> None:
    queries, documents = plain.unit(4, seed=1), plain.unit(4, seed=2)
    none = torch.zeros(4, dtype=torch.bool)
    for scale in (5.0, 100.0):
        loss = symmetric_info_nce(queries, documents, scale, query_valid=none, document_valid=none)
        assert loss.item() == 0.0
        assert all((gradient == 0).all() for gradient in plain.gradients(loss, queries, documents))


def test_logits_of_any_size_stay_finite() -> None:
    """Scale 10,000: exp of a logit overflows float32, the loss does not. Documents equal their queries: loss 0."""
    queries = plain.unit(5, seed=1)
    loss = info_nce(queries, queries.detach(), 10_000.0)
    assert loss.item() == pytest.approx(0.0, abs=1e-3)
    assert plain.gradients(loss, queries)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_summed_in_float32(dtype: torch.dtype) -> None:
    queries, documents = plain.unit(40, seed=1).detach().to(dtype), plain.unit(40, seed=2).detach().to(dtype)
    queries.requires_grad_()
    expected = symmetric_info_nce(queries.float(), documents.float(), 30.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # must not reach into the tiles
        found = symmetric_info_nce(queries, documents, 30.0, tile=16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    (gradient,) = plain.gradients(found, queries)
    assert gradient.dtype == dtype


def test_bounded_and_shifted_sums_agree() -> None:
    """Just under and just over the bound at which maxima are subtracted: same function, so nearly the same values."""
    rows, columns = plain.unit(12, seed=1, dtype=DOUBLE), plain.unit(13, seed=2, dtype=DOUBLE)
    under = tiled_logsumexp(rows, columns, torch.tensor(63.999999, dtype=DOUBLE), by_column=True, tile=5)
    over = tiled_logsumexp(rows, columns, torch.tensor(64.000001, dtype=DOUBLE), by_column=True, tile=5)
    for first, second in zip(under, over):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    ours = plain.gradients(under[0].sum() + under[1].square().sum(), rows, columns)
    theirs = plain.gradients(over[0].sum() + over[1].square().sum(), rows, columns)
    for first, second in zip(ours, theirs):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [3.0, 80.0])
def test_gradients_agree_with_finite_differences(scale: float) -> None:
    rows, columns = plain.unit(5, 4, seed=1, dtype=DOUBLE), plain.unit(6, 4, seed=2, dtype=DOUBLE)
    factor = torch.tensor(scale, dtype=DOUBLE, requires_grad=True)
    out = Exclusions(row_ids=torch.arange(5), column_ids=torch.arange(6))
    assert torch.autograd.gradcheck(
        lambda *inputs: tiled_logsumexp(*inputs, out, by_column=True, tile=4), (rows, columns, factor)
    )


def test_constants_get_no_gradient_and_a_learned_scale_does() -> None:
    queries, documents = plain.unit(4, seed=1).detach(), plain.unit(4, seed=2).detach()
    factor = torch.tensor(5.0, requires_grad=True)
    logits = factor * queries @ documents.T
    assert_same(info_nce(queries, documents, factor), F.cross_entropy(logits, torch.arange(4)), [factor], 1e-5)


def test_groups_of_one_side_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="query_groups and document_groups"):
        info_nce(plain.unit(2), plain.unit(2), 1.0, query_groups=torch.arange(2))
    with pytest.raises(ValueError, match="needs a document: 3 and 2"):
        info_nce(plain.unit(3), plain.unit(2), 1.0)
    with pytest.raises(ValueError, match="at least 1 row, not 0"):
        info_nce(plain.unit(2), plain.unit(2), 1.0, tile=0)
