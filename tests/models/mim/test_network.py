"""The click network in all its settings, against loops over single rows."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.data.impressions.schema import Categorical, Numeric, Schema, Sequence
from moon_zoo.errors import RecipeError
from moon_zoo.models.mim.interests import History, HistoryInterest, most_similar
from moon_zoo.models.mim.network import MimNetwork
from moon_zoo.nn.content import ContentVectors

BEHAVIOURS = ("none", "din", "simtier", "sa_ta", "ciubm", "cube")
SIZES = {"user_id": 20, "item_id": 30, "type": 9}  # a column may be called as a module's method is
CONTENT_ROWS, CONTENT_DIM = 40, 8

SCHEMA = Schema(
    (
        Categorical("user_id", "user", "user_id"),
        Categorical("item_id", "item", "item_id"),
        Categorical("type", "item", "type"),
        Categorical("query_item_id", "query", "item_id"),
    ),
    (Numeric("price", "item"),),
    (Sequence("history", ("item_id", "type")), Sequence("queries", ("query_item_id",))),
    query="query_item_id",
)


def rows_of(size: int = 16, length: int = 7, seed: int = 0, schema: Schema = SCHEMA) -> dict[str, Tensor]:
    """A batch of random rows; about one history in eight is empty, some items have no embedding."""
    generator = torch.Generator().manual_seed(seed)

    def draw(end: int, *shape: int) -> Tensor:
        return torch.randint(1, end, shape, generator=generator)

    batch: dict[str, Tensor] = {}
    for one in schema.categorical:
        batch[f"id/{one.name}"] = draw(SIZES[one.vocabulary], size)
        if one.name in schema.content_columns:
            batch[f"content/{one.name}"] = draw(CONTENT_ROWS, size)
    for sequence in schema.sequences:
        lengths = torch.randint(0, length + 1, (size,), generator=generator)
        mask = torch.arange(length) < lengths.unsqueeze(1)
        batch[f"mask/{sequence.name}"] = mask
        for column in sequence.columns:
            batch[f"id/{column}"] = draw(SIZES[schema.vocabulary_of(column)], size, length) * mask
            if column in schema.content_columns:
                batch[f"content/{column}"] = draw(CONTENT_ROWS, size, length) * mask
    batch["numeric"] = torch.randn(size, 1, generator=generator)
    batch["numeric_missing"] = torch.rand(size, 1, generator=generator) < 0.2
    return batch


def table() -> Tensor:
    content = torch.randn(CONTENT_ROWS, CONTENT_DIM, generator=torch.Generator().manual_seed(1))
    content = F.normalize(content, dim=1)
    content[:2] = 0
    return content


def network(behaviour: str, **settings: object) -> MimNetwork:
    torch.manual_seed(0)
    settings = {"content_dim": CONTENT_DIM, "embedding_std": 0.3, **settings}
    return MimNetwork(SCHEMA, SIZES, behaviour=behaviour, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_parameter_gets_a_gradient_in_every_setting(behaviour: str) -> None:
    """What DDP asks for; and what is handed to MAKE is as wide as announced."""
    for deep, use_ids, top_k in itertools.product(("mlp", "dcnv2"), (True, False), (None, 3)):
        net = network(behaviour, deep=deep, use_ids=use_ids, top_k=top_k)
        found = net.features(rows_of(), table())
        assert found.logits.shape == (16,) and found.logits.isfinite().all()
        assert found.joined().shape == (16, net.joined_dim)
        found.logits.sum().backward()
        assert [name for name, one in net.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("use_ids", [True, False])
def test_padding_changes_nothing(behaviour: str, use_ids: bool) -> None:
    net = network(behaviour, use_ids=use_ids)
    batch = rows_of()
    longer = {
        name: F.pad(one, (0, 5)) if "." in name or name.startswith("mask/") else one for name, one in batch.items()
    }
    torch.testing.assert_close(net(longer, table()), net(batch, table()))


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_row_does_not_depend_on_the_others(behaviour: str) -> None:
    net = network(behaviour)
    batch = rows_of()
    alone = torch.cat([net({name: one[row : row + 1] for name, one in batch.items()}, table()) for row in range(16)])
    torch.testing.assert_close(alone, net(batch, table()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("length", [0, 4])
def test_histories_all_empty_give_finite_logits_and_gradients(behaviour: str, length: int) -> None:
    net = network(behaviour)
    batch = rows_of(length=4)
    for name, one in batch.items():
        if "." in name or name.startswith("mask/"):
            batch[name] = torch.zeros_like(one)[:, :length]
    logits = net(batch, table())
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(one.grad is None or one.grad.isfinite().all() for one in net.parameters())


def test_ciubm_is_the_three_interests_of_the_paper_row_by_row() -> None:
    """Softmax over a user's behaviours of cos / tau, then sums of content vectors and of ids' embeddings."""
    torch.manual_seed(0)
    layer, vectors, content = HistoryInterest("ciubm", 4, CONTENT_DIM), ContentVectors(CONTENT_DIM), table()
    vectors.default.data.normal_()
    layer.similarity.unknown.data.fill_(0.3)
    rows = torch.tensor([[3, 4, 1], [5, 0, 0], [0, 0, 0], [6, 7, 0]])
    target_rows = torch.tensor([8, 9, 10, 1])
    mask = rows > 0
    behaviours, target = torch.randn(4, 3, 4) * mask.unsqueeze(-1), torch.randn(4, 4)
    cosine = torch.einsum("bld,bd->bl", content[rows], content[target_rows])
    _, found = layer(History(target, behaviours, mask, target_rows, rows, cosine, content), vectors)
    attended, content_interest, similarity, fused = found
    for row in range(4):
        there = range(int(mask[row].sum()))
        s = [0.3 if 1 in (rows[row, b], target_rows[row]) else float(cosine[row, b]) for b in there]
        weights = torch.tensor([x / 0.1 for x in s]).softmax(0) if s else torch.zeros(0)
        stretched = [vectors.default if rows[row, b] == 1 else content[rows[row, b]] * CONTENT_DIM**0.5 for b in there]
        logits = layer.attention(target[row : row + 1], behaviours[row : row + 1])[0]
        zero = torch.zeros(())
        expected = {
            "id": sum((logits[b] * behaviours[row, b] for b in there), zero.expand(4)),
            "content": sum((weights[b] * stretched[b] for b in there), zero.expand(CONTENT_DIM)),
            "fused": sum((weights[b] * behaviours[row, b] for b in there), zero.expand(4)),
        }
        torch.testing.assert_close(attended[row], expected["id"])
        torch.testing.assert_close(content_interest[row], expected["content"])
        torch.testing.assert_close(fused[row], expected["fused"])
        assert similarity[row].item() == pytest.approx(sum(float(w) * x for w, x in zip(weights, s)), abs=1e-6)


def test_din_and_none_do_not_look_at_content() -> None:
    batch = rows_of()
    for behaviour in ("din", "none"):
        net = network(behaviour, content_dim=None)
        assert not net.needs_content
        assert net({name: one for name, one in batch.items() if "content/" not in name}).shape == (16,)


def test_none_does_not_look_at_histories() -> None:
    batch = rows_of()
    net = network("none")
    without = {name: one for name, one in batch.items() if "." not in name and "mask/" not in name}
    assert torch.equal(net(without), net(batch))


@pytest.mark.parametrize("behaviour", ["simtier", "sa_ta", "ciubm", "cube"])
def test_content_is_a_constant_that_changes_the_logits(behaviour: str) -> None:
    net = network(behaviour)
    content = table().requires_grad_()
    batch = rows_of()
    logits = net(batch, content.detach())
    shuffled = torch.cat([content[:2], content[2:].flip(0)]).detach()
    assert not torch.allclose(logits, net(batch, shuffled))


def test_an_earlier_query_is_compared_with_the_item_shown() -> None:
    net = network("din")
    batch = rows_of()
    other = {**batch, "id/item_id": batch["id/item_id"].flip(0)}
    queries = slice(32, 48)  # the interest of the second history, one field of 16
    assert not torch.allclose(net.features(batch).interest[:, queries], net.features(other).interest[:, queries])


def test_retrieval_first_equals_a_history_of_the_most_similar_alone() -> None:
    net = network("cube", top_k=2)
    batch = rows_of()
    content = table()
    short = dict(batch)
    for sequence, column in (("history", "item_id"), ("queries", "query_item_id")):
        mask, rows = batch[f"mask/{sequence}"], batch[f"content/{sequence}.{column}"]
        target = batch["content/item_id"]
        cosine = torch.einsum("bld,bd->bl", content[rows], content[target])
        kept = most_similar(cosine, rows, target, mask, 2)
        for name in (f"mask/{sequence}", *(one for one in batch if one.partition("/")[2].startswith(f"{sequence}."))):
            short[name] = batch[name].gather(1, kept)
    torch.testing.assert_close(net(batch, content), net(short, content))
    assert not torch.allclose(net(batch, content), network("cube")(batch, content))


def test_the_most_similar_come_oldest_first_those_without_content_last_and_newest_for_a_target_without() -> None:
    rows = torch.tensor([[5, 6, 7, 8], [5, 1, 7, 0], [5, 6, 7, 0], [5, 0, 0, 0]])
    cosine = torch.tensor([[0.1, 0.9, -0.5, 0.3], [-0.9, 0.0, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    found = most_similar(cosine, rows, torch.tensor([9, 9, 1, 9]), rows > 0, 2)
    assert found[:3].tolist() == [[1, 3], [0, 2], [1, 2]]
    assert found[3, 0] == 0  # beside padding


def test_makes_first_step_becomes_features_and_stays_as_it_is() -> None:
    first = network("din", use_ids=False)
    net = network("cube", make=first)
    net.train()
    assert not first.training and not any(one.requires_grad for one in first.parameters())
    net(rows_of(), table()).sum().backward()
    assert all(one.grad is None for one in first.parameters())
    before = net(rows_of(), table())
    first.out.weight.data.add_(1.0)
    assert not torch.allclose(before, net(rows_of(), table()))
    assert any(name.startswith("make.") for name in net.state_dict())


def test_an_item_taken_for_unknown_in_training_is_itself_in_evaluation() -> None:
    net = network("none", item_dropout=1.0)
    batch = rows_of()
    unknown = {**batch, "id/item_id": torch.ones_like(batch["id/item_id"])}
    assert torch.equal(net(batch), net(unknown))
    net.eval()
    assert not torch.allclose(net(batch), net(unknown))


def test_the_penalty_is_of_rows_looked_up() -> None:
    """Four features, and two histories of 2 fields and 1, each a vector of 16 values of .3."""
    net = network("din")
    net.embeddings.weight.data[1:].fill_(0.3)
    batch = rows_of()
    full = {name: torch.ones_like(one) if "." in name or "mask/" in name else one for name, one in batch.items()}
    assert net.features(full).penalty.item() == pytest.approx(16 * 0.09 * (4 + 2 + 1), rel=1e-5)
    net.features(batch).penalty.backward()
    looked_up = {int(one) for one in net.embeddings.rows(batch["id/user_id"], "user_id")}
    assert net.embeddings.weight.grad is not None
    of_users = net.embeddings.weight.grad[1 : SIZES["user_id"]].abs().sum(1)
    assert {row + 1 for row in of_users.nonzero().flatten().tolist()} == looked_up


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_bf16_autocast_agrees_to_its_precision(behaviour: str) -> None:
    net = network(behaviour)
    exact = net(rows_of(), table())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(rows_of(), table())
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.05)


def test_int32_ids_do_as_well() -> None:
    batch = rows_of()
    small = {name: one.int() if one.dtype == torch.int64 else one for name, one in batch.items()}
    net = network("cube")
    assert torch.equal(net(small, table()), net(batch, table()))


def test_settings_that_a_table_cannot_serve_are_refused_by_name() -> None:
    bare = Schema(SCHEMA.categorical, SCHEMA.numeric)
    with pytest.raises(RecipeError, match="behaviour layer din reads histories, and the table has none"):
        MimNetwork(bare, SIZES, behaviour="din")
    with pytest.raises(RecipeError, match="cube compares items by content embeddings, and none are given"):
        network("cube", content_dim=None)
    no_items = Schema(SCHEMA.categorical, (), (Sequence("history", ("type",)),))
    with pytest.raises(RecipeError, match="the history history holds no column of items"):
        MimNetwork(no_items, SIZES, behaviour="ciubm", content_dim=8)
    assert MimNetwork(no_items, SIZES, behaviour="din").interests


def test_a_history_without_items_beside_one_with_gets_attention_by_ids_alone() -> None:
    schema = Schema(SCHEMA.categorical, (), (Sequence("history", ("item_id",)), Sequence("types", ("type",))))
    net = MimNetwork(schema, SIZES, behaviour="cube", content_dim=CONTENT_DIM)
    logits = net(rows_of(schema=schema), table())
    logits.sum().backward()
    assert [name for name, one in net.named_parameters() if one.grad is None] == []
