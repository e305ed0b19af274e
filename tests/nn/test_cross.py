"""Cross layers, the deep part and the table of ids, by hand."""

from __future__ import annotations

import pytest
import torch

from moon_zoo.nn.cross import CrossNetwork
from moon_zoo.nn.id_embeddings import IdEmbeddings
from moon_zoo.nn.mlp import MLP


def test_two_cross_layers_follow_the_equation() -> None:
    """x1 = x0 (W x0 + b) + x0, x2 = x0 (W x1 + b) + x1 with W = 1, b = 1: x0 = 2 gives 8, then 2 * 9 + 8 = 26."""
    layer = CrossNetwork(1, num_layers=2)
    for one in layer.parameters():
        one.data.fill_(1.0)
    assert layer(torch.tensor([[2.0]])).item() == 26.0


def test_a_rank_makes_matrices_of_two_factors() -> None:
    layer = CrossNetwork(10, num_layers=3, rank=2)
    assert sum(one.numel() for one in layer.parameters()) == 3 * (2 * 10 * 2 + 10)
    assert layer(torch.randn(4, 10)).shape == (4, 10)


def test_the_deep_part_tells_what_each_layer_held_and_drops_in_training_alone() -> None:
    layer = MLP(3, (5, 4), dropout=0.5)
    features = torch.randn(64, 3)
    assert [tuple(one.shape) for one in layer(features)] == [(64, 5), (64, 4)]
    assert not torch.equal(layer(features)[-1], layer(features)[-1])
    layer.eval()
    assert torch.equal(layer(features)[-1], layer(features)[-1])
    with pytest.raises(ValueError, match="hidden is empty"):
        MLP(3, ())


def test_vocabularies_share_a_table_but_no_row_except_padding() -> None:
    table = IdEmbeddings({"a": 4, "b": 3}, 2)
    rows = torch.cat([table.rows(torch.arange(4), "a"), table.rows(torch.arange(3), "b")])
    assert rows.tolist() == [0, 1, 2, 3, 0, 4, 5]
    assert len(table.weight) == 6


def test_unknown_ids_start_at_zero_but_learn_and_padding_does_not() -> None:
    table = IdEmbeddings({"a": 4, "b": 3}, 2)
    ids = torch.tensor([0, 1, 2])
    embedded = table.columns([ids, ids], ["a", "b"])  # (3, 4)
    assert (embedded[:2] == 0).all() and (embedded[2] != 0).all()
    embedded.sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.sum(1).tolist() == [0, 2, 2, 0, 2, 2]


def test_columns_lie_side_by_side_for_histories_too() -> None:
    table = IdEmbeddings({"a": 9}, 2)
    first, second = torch.randint(0, 9, (3, 5)), torch.randint(0, 9, (3, 5))
    found = table.columns([first, second], ["a", "a"])
    torch.testing.assert_close(found[..., :2], table(first))
    torch.testing.assert_close(found[..., 2:], table(second))


def test_a_vocabulary_without_room_for_unknown_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="a has 1"):
        IdEmbeddings({"a": 1}, 2)
