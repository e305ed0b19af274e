"""Which documents are negatives of a query: hard ones, those too alike, those of past steps; and how many they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moon_zoo.nn.circle import circle_loss
from moon_zoo.nn.info_nce import info_nce, symmetric_info_nce
from moon_zoo.nn.negative_counts import count_negatives
from moon_zoo.nn.negatives import ExtraDocuments, NegativeQueue
from tests.nn import plain
from tests.nn.test_info_nce import DOUBLE, assert_same, groups, mask

SCALE = torch.tensor(10.0, dtype=DOUBLE)


def expected_of(
    loss: Callable[..., Tensor], queries: Tensor, documents: Tensor, positive: Tensor, there: Tensor
) -> Tensor:
    if loss is circle_loss:
        return plain.circle(queries, documents, 10.0, 0.25, positive, there)
    return (plain.info_nce if loss is info_nce else plain.symmetric)(queries, documents, SCALE, positive, there)


@pytest.mark.parametrize("loss", [info_nce, symmetric_info_nce, circle_loss])
def test_hard_negatives_are_negatives_of_every_query_and_learn(loss: Callable[..., Tensor]) -> None:
    """The second half of the documents are hard negatives; some are another query's product and so its positive."""
    queries, documents = plain.unit(8, seed=1, dtype=DOUBLE), plain.unit(16, seed=2, dtype=DOUBLE)
    own = torch.arange(8)
    hard_groups = torch.tensor([100, 101, 3, 103, 104, 0, 106, 107])
    document_groups = torch.cat([own, hard_groups])
    document_valid = torch.ones(16, dtype=torch.bool)
    document_valid[11] = False  # a sample without a hard negative
    query_ignore, document_ignore = torch.arange(8) % 3, torch.arange(16) % 5
    found = loss(
        queries,
        documents,
        10.0,
        query_groups=own,
        document_groups=document_groups,
        document_valid=document_valid,
        query_ignore=query_ignore,
        document_ignore=document_ignore,
        tile=3,
    )
    positive = plain.same(own, document_groups)
    ignored = plain.same(query_ignore, document_ignore)
    there = plain.there(positive, None, document_valid, ignored)
    assert_same(found, expected_of(loss, queries, documents, positive, there), [queries, documents])
    gradient = plain.gradients(found, documents)[0]
    assert gradient[8:11].abs().max() > 0 and (gradient[11] == 0).all()


@pytest.mark.parametrize("loss", [info_nce, symmetric_info_nce, circle_loss])
@pytest.mark.parametrize("ceiling", [-0.1, 0.0, 0.3])
def test_negatives_above_the_ceiling_are_left_out(loss: Callable[..., Tensor], ceiling: float) -> None:
    """The ceiling stands over the mean similarity of the query's (or document's) positives; positives always stay."""
    queries, documents = plain.unit(15, seed=1, dtype=DOUBLE), plain.unit(21, seed=2, dtype=DOUBLE)
    query_groups, document_groups = groups(15, 8, seed=3), groups(21, 9, seed=4)
    valid = mask(21, seed=5)
    positive = plain.same(query_groups, document_groups)
    similarity = (queries @ documents.T).detach()

    def above(similarity: Tensor, pairs: Tensor) -> Tensor:
        mean = torch.stack([row[of].mean() if of.any() else torch.tensor(9.0) for row, of in zip(similarity, pairs)])
        return similarity > mean[:, None] + ceiling

    out = above(similarity, positive & valid)
    if loss is symmetric_info_nce:
        out |= above(similarity.T, (positive & valid).T).T
    there = valid & (positive | ~out)
    assert not there.all(1).any()  # else the case is vacuous
    found = loss(
        queries,
        documents,
        10.0,
        query_groups=query_groups,
        document_groups=document_groups,
        document_valid=valid,
        similarity_ceiling=ceiling,
        tile=4,
    )
    assert_same(found, expected_of(loss, queries, documents, positive, there), [queries, documents])


@pytest.mark.parametrize("loss", [info_nce, circle_loss])
def test_the_queue_obeys_the_ceiling_and_ids_to_be_ignored(loss: Callable[..., Tensor]) -> None:
    queries, documents = plain.unit(6, seed=1, dtype=DOUBLE), plain.unit(6, seed=2, dtype=DOUBLE)
    past = plain.unit(20, seed=4, dtype=DOUBLE).detach()
    own, items, spus = torch.arange(6), torch.arange(6) + 50, torch.arange(6) // 2 + 70
    extra = ExtraDocuments(
        past,
        groups(20, 8, seed=5),
        mask(20, seed=6),
        torch.stack([groups(20, 9, seed=7) + 50, groups(20, 5, seed=8) + 70], 1),
    )
    assert extra.ignore is not None
    similarity = (queries @ documents.T).detach()
    out = (queries @ past.T).detach() > similarity.diagonal()[:, None] + 0.2
    out |= plain.same(own, extra.groups) | plain.same(items, extra.ignore[:, 0]) | plain.same(spus, extra.ignore[:, 1])
    inside = plain.same(spus, spus) | (similarity > similarity.diagonal()[:, None] + 0.2)
    positive = torch.cat([torch.eye(6, dtype=torch.bool), torch.zeros(6, 20, dtype=torch.bool)], 1)
    there = torch.cat([~inside | torch.eye(6, dtype=torch.bool), extra.valid & ~out], 1)
    found = loss(
        queries,
        documents,
        10.0,
        query_groups=own,
        document_groups=own,
        query_ignore=torch.stack([items, spus], 1),
        document_ignore=torch.stack([items, spus], 1),
        extra_documents=extra,
        similarity_ceiling=0.2,
        tile=5,
    )
    expected = expected_of(loss, queries, torch.cat([documents, past]), positive, there)
    assert_same(found, expected, [queries, documents])


@pytest.mark.parametrize("loss", [info_nce, circle_loss])
def test_a_weight_of_two_counts_as_the_query_twice(loss: Callable[..., Tensor]) -> None:
    queries, documents = plain.unit(3, seed=1, dtype=DOUBLE), plain.unit(3, seed=2, dtype=DOUBLE)
    one_by_one = [
        loss(queries[[row]], documents, 10.0, query_groups=torch.tensor([row]), document_groups=torch.arange(3))
        for row in range(3)
    ]
    weighted = loss(queries, documents, 10.0, query_weights=torch.tensor([2.0, 1.0, 0.0]))
    assert_same(weighted, (2 * one_by_one[0] + one_by_one[1]) / 3, [queries, documents])
    nothing = loss(queries, documents, 10.0, query_weights=torch.zeros(3))
    assert nothing.item() == 0.0 and (plain.gradients(nothing, queries)[0] == 0).all()


def test_in_one_process_all_documents_are_local() -> None:
    queries, documents = plain.unit(5, seed=1), plain.unit(5, seed=2)
    for loss in (info_nce, symmetric_info_nce, circle_loss):
        torch.testing.assert_close(
            loss(queries, documents, 10.0, gather=False), loss(queries, documents, 10.0), rtol=0, atol=0
        )


def test_a_queue_keeps_ids_to_be_ignored_beside_its_rows() -> None:
    queue = NegativeQueue(3, 2, ignore_kinds=1)
    rows = torch.eye(2)
    queue.push(rows, torch.tensor([1, 2]), ignore=torch.tensor([10, 20]))
    queue.push(rows, torch.tensor([3, 4]), ignore=torch.tensor([30, 40]))
    found = queue.documents()
    assert found.ignore is not None
    assert dict(zip(found.groups.tolist(), found.ignore[:, 0].tolist(), strict=True)) == {4: 40, 2: 20, 3: 30}
    with pytest.raises(ValueError, match="keeps 1 kinds"):
        queue.push(rows, torch.tensor([5, 6]))


def test_a_queue_without_such_ids_loads_older_checkpoints() -> None:
    assert "ignore" not in NegativeQueue(3, 2).state_dict()


def test_negatives_are_counted_by_where_they_come_from() -> None:
    """Three queries with an item and a hard negative each; the third query is invalid, the second has no hard one.

    Query 0 (group 0): the items of groups 1 and 2, the hard ones of 7 and 9 (8 is invalid); its SPU 5 takes item 1
    away; the queue's 0 is its own, 6 is not, 9 is not filled. Query 1 (group 1): items 0 and 2, but not 0 for SPU 5;
    hard 7 and 9; the queue's 0 and 6.
    """
    queries, documents = plain.unit(3, seed=1), plain.unit(6, seed=2)
    extra = ExtraDocuments(plain.unit(3, seed=3).detach(), torch.tensor([0, 6, 9]), torch.tensor([True, True, False]))
    found = count_negatives(
        queries,
        documents,
        hard=3,
        query_groups=torch.tensor([0, 1, 2]),
        document_groups=torch.tensor([0, 1, 2, 7, 8, 9]),
        query_valid=torch.tensor([True, True, False]),
        document_valid=torch.tensor([True, True, True, True, False, True]),
        query_ignore=torch.tensor([5, 5, 6]),
        document_ignore=torch.tensor([5, 5, 6, 0, 0, 0]),
        extra_documents=extra,
        tile=2,
    )
    expected = {"in_batch": 1.0, "hard": 2.0, "other_ranks": 0.0, "queue": 1.5, "all": 4.5}
    assert {name: value.item() for name, value in found.items()} == expected


def test_negatives_above_the_ceiling_are_not_counted() -> None:
    """Query (1, 0); its item (0.6, 0.8); negatives at 0.8 and 0: with ceiling 0.1 the first is too alike."""
    query = torch.tensor([[1.0, 0.0]])
    documents = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    assert count_negatives(query, documents)["all"].item() == 2
    assert count_negatives(query, documents, similarity_ceiling=0.1)["all"].item() == 1
    assert count_negatives(query, documents, hard=1, similarity_ceiling=0.1)["hard"].item() == 1
