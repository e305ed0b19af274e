"""Micro-batches with cached gradients: the same gradient as the whole batch at once, dropout included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moon_zoo.nn.grad_cache import cached_embeddings, grad_cached, split_batch
from moon_zoo.nn.heads import LogitScale
from moon_zoo.nn.info_nce import symmetric_info_nce


class Towers(nn.Module):
    """Two tiny towers with dropout; the second has a parameter that only the loss uses beside it."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.photo = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(dropout), nn.Linear(8, 4))
        self.text = nn.Linear(5, 4)
        self.scale = LogitScale(0.2)
        self.calls = 0

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.calls += 1
        photo = self.photo(batch["photo"])
        return {
            "photo": nn.functional.normalize(photo, dim=1),
            "text": nn.functional.normalize(self.text(batch["text"]), dim=1),
            "auxiliary": photo.square().mean(),
        }

    def loss(self, embeddings: dict[str, Tensor]) -> Tensor:
        return symmetric_info_nce(embeddings["photo"], embeddings["text"], self.scale()) + embeddings["auxiliary"]


def batch(rows: int = 10) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"photo": torch.randn(rows, 6, generator=generator), "text": torch.randn(rows, 5, generator=generator)}


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)


def joined_with_dropout_replayed(towers: Towers, parts: list[dict[str, Tensor]]) -> Tensor:
    """The whole batch in one graph, encoded part by part so that dropout draws the same numbers."""
    outputs = [towers.encode(part) for part in parts]
    joined = {name: torch.cat([output[name] for output in outputs]) for name in ("photo", "text")}
    return towers.loss(joined | {"auxiliary": torch.stack([output["auxiliary"] for output in outputs]).mean()})


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("size", [1, 4, 5, 10, 99])
def test_gradients_equal_those_of_the_whole_batch(dropout: float, size: int) -> None:
    parts = split_batch(batch(), size)
    whole, cached = Towers(dropout), Towers(dropout)
    torch.manual_seed(7)
    expected = joined_with_dropout_replayed(whole, parts)
    after = torch.rand(1)
    expected.backward()
    torch.manual_seed(7)
    loss = grad_cached(cached.encode, parts, cached.loss, cached.parameters())
    assert torch.rand(1) == after  # the first pass drew what one pass draws
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert_same(gradients(cached), gradients(whole))
    assert cached.calls == 2 * len(parts)


def test_the_second_pass_leaves_the_random_state_as_it_was() -> None:
    towers = Towers(dropout=0.5)
    loss = grad_cached(towers.encode, split_batch(batch(), 3), towers.loss, towers.parameters())
    state = torch.get_rng_state()
    loss.backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_differs_between_micro_batches() -> None:
    """Else the replay test could pass with one mask for all."""
    layer = nn.Dropout(0.5)
    weight = nn.Parameter(torch.ones(64))
    parts = [torch.ones(1, 64)] * 2
    embeddings = cached_embeddings(lambda part: {"x": layer(part * weight)}, parts, [weight])["x"]
    assert not torch.equal(embeddings[0], embeddings[1])


def test_a_scaled_loss_has_scaled_gradients_and_gradients_accumulate() -> None:
    """As a gradient scaler and accumulation over batches need."""
    once, twice = Towers(), Towers()
    parts = split_batch(batch(), 4)
    (8.0 * grad_cached(once.encode, parts, once.loss, once.parameters())).backward()
    for factor in (3.0, 5.0):
        (factor * grad_cached(twice.encode, parts, twice.loss, twice.parameters())).backward()
    assert_same(gradients(twice), gradients(once))


def test_autocast_is_entered_again_in_the_second_pass() -> None:
    seen: list[bool] = []
    layer = nn.Linear(6, 4)

    def encode(part: Tensor) -> dict[str, Tensor]:
        seen.append(torch.is_autocast_enabled("cpu"))
        return {"x": layer(part).float()}

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cached_embeddings(encode, [torch.ones(2, 6)], layer.parameters())["x"].sum()
    loss.backward()
    assert seen == [True, True]


def test_frozen_parameters_get_nothing_and_a_frozen_encoder_runs_once() -> None:
    towers = Towers()
    towers.text.requires_grad_(False)
    grad_cached(towers.encode, split_batch(batch(), 4), towers.loss, towers.parameters()).backward()
    assert towers.text.weight.grad is None and towers.photo[0].weight.grad is not None
    towers.requires_grad_(False)
    towers.calls = 0
    assert not grad_cached(towers.encode, split_batch(batch(), 5), towers.loss, towers.parameters()).requires_grad
    assert towers.calls == 2


def test_ids_and_masks_pass_through() -> None:
    layer = nn.Linear(2, 2)

    def encode(part: Tensor) -> dict[str, Tensor]:
        return {"x": layer(part), "ids": torch.arange(len(part)), "there": torch.ones(len(part), dtype=torch.bool)}

    found = cached_embeddings(encode, [torch.ones(2, 2), torch.ones(1, 2)], layer.parameters())
    assert found["ids"].tolist() == [0, 1, 0] and found["there"].all()
    found["x"].sum().backward()
    assert layer.bias.grad is not None and layer.bias.grad.tolist() == [3.0, 3.0]


def test_parameters_changed_between_the_passes_are_noticed() -> None:
    towers = Towers()
    loss = grad_cached(towers.encode, split_batch(batch(), 5), towers.loss, towers.parameters())
    with torch.no_grad():
        towers.text.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_nothing_to_encode_and_uneven_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="no micro-batches"):
        cached_embeddings(lambda part: part, [], [])
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"different batch sizes: \[1, 2\]"):
        cached_embeddings(lambda part: {"a": layer(part), "b": part[:1]}, [torch.ones(2, 2)], layer.parameters())
    with pytest.raises(ValueError, match="at least 1, not 0"):
        split_batch(batch(), 0)


def test_gradients_that_are_views_or_begin_late_add_up() -> None:
    """The bias of each kind of row is used by its rows alone, expanded: first from the third micro-batch on, shared by two."""
    first, late, twin = (nn.Parameter(torch.zeros(3)) for _ in range(3))
    rows = {"late": torch.tensor([False] * 4 + [True] * 6), "values": torch.arange(30.0).view(10, 3)}

    def encode(part: dict[str, Tensor]) -> dict[str, Tensor]:
        bias = first + (late + twin if part["late"].any() else 0.0)
        return {"values": part["values"] + bias.expand(len(part["values"]), 3)}

    loss = grad_cached(encode, split_batch(rows, 2), lambda out: (2 * out["values"]).sum(), [first, late, twin])
    loss.backward()
    for parameter, count in ((first, 10), (late, 6), (twin, 6)):
        assert parameter.grad is not None
        assert parameter.grad.tolist() == [2.0 * count] * 3
