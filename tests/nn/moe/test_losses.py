"""Load balance and z-loss from sums: by hand, over micro-batches, and over two processes."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from moon_zoo.nn.grad_cache import cached_embeddings, split_batch
from moon_zoo.nn.moe.guided import RouterStatistics
from moon_zoo.nn.moe.install import install, moe_modules
from moon_zoo.nn.moe.losses import expert_load, load_balance, stack, unstack, z_loss
from tests.nn.moe import two_processes
from tests.nn.moe.plain import DIM, TYPES, decoder
from tests.ranks import run_two


def statistics(probability: list[list[float]], load: list[list[float]], tokens: list[float]) -> RouterStatistics:
    sequences, general = len(tokens), len(load[0])
    type_load = torch.zeros(sequences, 4, general + 2)
    type_load[:, 1, :general] = torch.tensor(load)
    return RouterStatistics(
        torch.tensor(probability), torch.tensor(load), torch.tensor(tokens) * 2.0, torch.tensor(tokens), type_load
    )


def test_balance_is_1_where_experts_are_used_alike_and_their_number_where_one_takes_all() -> None:
    even = statistics([[1.0, 1.0, 1.0, 1.0]], [[2.0, 2.0, 2.0, 2.0]], [4.0])
    one = statistics([[4.0, 0.0, 0.0, 0.0]], [[4.0, 0.0, 0.0, 0.0]], [4.0])
    assert load_balance([even]) == pytest.approx(1.0)
    assert load_balance([one]) == pytest.approx(4.0)
    assert load_balance([even, one]) == pytest.approx(2.5)


def test_balance_is_of_the_whole_batch_not_the_mean_of_sequences() -> None:
    """Two sequences that each use one expert alone are balanced together: 2 * (.5 * .5 + .5 * .5) = 1."""
    both = statistics([[3.0, 0.0], [0.0, 3.0]], [[3.0, 0.0], [0.0, 3.0]], [3.0, 3.0])
    assert load_balance([both]) == pytest.approx(1.0)


def test_z_loss_is_the_mean_over_plain_tokens() -> None:
    torch.manual_seed(0)
    model = decoder(1)
    (mixture,) = install(model, num_experts=5)
    torch.nn.init.zeros_(mixture.router.weight)
    mixture.token_type = TYPES
    model(torch.randn(*TYPES.shape, DIM))
    assert z_loss([mixture.statistics]).item() == pytest.approx(math.log(3) ** 2)


def test_a_batch_of_pads_costs_nothing() -> None:
    model = decoder(1)
    (mixture,) = install(model)
    mixture.token_type = torch.zeros_like(TYPES)
    model(torch.randn(*TYPES.shape, DIM))
    assert load_balance([mixture.statistics]) == 0
    assert z_loss([mixture.statistics]) == 0
    assert set(expert_load([mixture.statistics])) == {"imbalance"}


def test_expert_load_is_shares_per_token_type() -> None:
    model = decoder(2)
    install(model, num_experts=5)
    for mixture in moe_modules(model):
        mixture.token_type = TYPES
    model(torch.randn(*TYPES.shape, DIM))
    figures = expert_load([mixture.statistics for mixture in moe_modules(model)])
    assert figures["category/3"] == 1 and figures["attribute/4"] == 1
    assert figures["text/3"] == figures["text/4"] == figures["image/3"] == 0
    for name in ("image", "text", "category", "attribute"):
        assert sum(float(figures[f"{name}/{expert}"]) for expert in range(5)) == pytest.approx(1.0)
    assert 1 <= figures["imbalance"] <= 3


def test_stacked_statistics_come_back() -> None:
    model = decoder(3)
    install(model)
    for mixture in moe_modules(model):
        mixture.token_type = TYPES
    model(torch.randn(*TYPES.shape, DIM))
    given = [mixture.statistics for mixture in moe_modules(model)]
    tensors = stack(given)
    assert {len(value) for value in tensors.values()} == {2}
    assert tensors["router/probability"].shape == (2, 3, 6)
    found = unstack(tensors | {"query": torch.zeros(2, 4)})
    for ours, theirs in zip(found, given, strict=True):
        assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in ("probability", "load", "z"))
    assert unstack(stack([])) == []


@pytest.mark.parametrize("size", [1, 3, 4])
def test_micro_batches_give_the_gradients_of_the_whole_batch_with_the_routers_losses_inside(size: int) -> None:
    model = decoder(2)
    install(model, num_experts=5, noise=0.5)
    batch = {
        "hidden": torch.randn(6, TYPES.shape[1], DIM, generator=torch.Generator().manual_seed(1)),
        "types": TYPES.repeat(3, 1),
    }

    def encode(part: dict[str, Tensor]) -> dict[str, Tensor]:
        for mixture in moe_modules(model):
            mixture.token_type = part["types"]
        found = {"embedding": model(part["hidden"]).mean(1)}
        return found | stack([mixture.statistics for mixture in moe_modules(model)])

    def gradients(found: dict[str, Tensor]) -> list[Tensor]:
        routers = unstack(found)
        similarity = found["embedding"] @ found["embedding"].T
        loss = similarity.logsumexp(1).mean() + load_balance(routers) + 0.1 * z_loss(routers)
        return list(torch.autograd.grad(loss, list(model.parameters())))

    expected = gradients(encode(batch))
    found = gradients(cached_embeddings(encode, split_batch(batch, size), model.parameters()))
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    routers = [name for name, _ in model.named_parameters()].index("0.mlp.router.weight")
    assert expected[routers].abs().max() > 1e-3


def test_two_processes_give_the_losses_and_gradients_of_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ranks")
    run_two("tests.nn.moe.two_processes", folder)
    expected = two_processes.step(slice(None))
    assert expected["0.mlp.router.weight"].abs().max() > 1e-3
    for rank in range(2):
        found = load_file(folder / f"rank{rank}.safetensors")
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=f"rank {rank}: {name}")
