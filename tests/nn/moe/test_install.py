"""Up-cycling dense decoders, and getting plain weights back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from moon_zoo.nn.moe.guided import GuidedMoE
from moon_zoo.nn.moe.install import chosen_layers, install, moe_modules, plain_state_dict, upcycled
from tests.nn.moe.plain import DIM, TYPES, SwiGLU, decoder

HIDDEN = torch.randn(*TYPES.shape, DIM, generator=torch.Generator().manual_seed(3))


def run(model: nn.Module) -> Tensor:
    for mixture in moe_modules(model):
        mixture.token_type = TYPES
    return model(HIDDEN)


@pytest.mark.parametrize("experts", ["full", "lora"])
@pytest.mark.parametrize("guidance", ["hard", "additive", "none"])
def test_without_noise_the_up_cycled_model_begins_as_the_dense_one(guidance: str, experts: str) -> None:
    model = decoder()
    expected = run(model)
    install(model, guidance=guidance, num_experts=5, top_k=2, experts=experts, noise=0.0)
    real = TYPES != 0
    torch.testing.assert_close(run(model)[real], expected[real], rtol=1e-5, atol=1e-5)


def test_dense_guidance_installs_nothing() -> None:
    model = decoder()
    assert install(model, guidance="dense") == []
    assert moe_modules(model) == []


def test_noise_is_small_seeded_and_another_for_each_expert_and_layer() -> None:
    def made(seed: int) -> list[GuidedMoE]:
        return install(decoder(), num_experts=4, noise=0.01, seed=seed)

    first, second = made(7)
    weight = decoder()[0].mlp.down_proj.weight
    offset = first.experts.down_proj - weight
    torch.testing.assert_close(offset.std(), 0.01 * weight.std(), rtol=0.1, atol=0.0)
    assert (offset[0] - offset[1]).abs().max() > 0
    assert (first.router.weight - second.router.weight).abs().max() > 0
    assert 0.01 < float(first.router.weight.detach().std()) < 0.03
    for name, value in made(7)[0].state_dict().items():
        torch.testing.assert_close(value, first.state_dict()[name], rtol=0, atol=0)
    assert (made(8)[0].experts.down_proj - first.experts.down_proj).abs().max() > 0


@pytest.mark.parametrize("experts", ["full", "lora"])
def test_the_plain_model_loads_the_weights_strictly_and_computes_as_before(experts: str) -> None:
    model, plain = decoder(3), decoder(3)
    expected = run(plain)
    install(model, num_experts=5, which=[0, 2], experts=experts, noise=0.0)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    plain.load_state_dict(plain_state_dict(model), strict=True)
    torch.testing.assert_close(run(plain), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("experts", ["full", "lora"])
def test_one_expert_or_the_mean_of_all_stands_for_the_mixture(experts: str) -> None:
    model = decoder(1)
    (mixture,) = install(model, num_experts=3, top_k=1, experts=experts, lora_rank=2, noise=0.5)
    if experts == "lora":
        torch.nn.init.normal_(mixture.experts.down_b)
    plain = decoder(1)
    weights = []
    for expert in range(3):
        plain.load_state_dict(plain_state_dict(model, expert), strict=True)
        weights.append(plain[0].mlp.down_proj.weight.detach().clone())
        with torch.no_grad():  # every token to this expert
            mixture.guidance, mixture.router.weight[:] = "none", 0.0
            mixture.router.weight[expert] = 1.0
        hidden = torch.rand(1, 4, DIM)
        mixture.token_type = None
        torch.testing.assert_close(model(hidden), plain(hidden), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain_state_dict(model)["0.mlp.down_proj.weight"], torch.stack(weights).mean(0))
    with pytest.raises(ValueError, match="expert must be 'mean' or from 0 to 2, not 3"):
        plain_state_dict(model, 3)


@pytest.mark.parametrize("experts", ["full", "lora"])
def test_a_dense_checkpoint_fills_every_expert_as_up_cycling_would(experts: str) -> None:
    dense = decoder(2)
    torch.manual_seed(9)
    for parameter in dense.parameters():
        torch.nn.init.normal_(parameter)
    expected = copy.deepcopy(dense)
    install(expected, num_experts=4, which=1, experts=experts, seed=3)
    model = decoder(2)
    install(model, num_experts=4, which=1, experts=experts, seed=3)
    given = dense.state_dict()
    names = set(given)
    model.load_state_dict(upcycled(given, model), strict=True)
    assert set(given) == names
    torch.testing.assert_close(run(model), run(expected))
    torch.testing.assert_close(upcycled(model.state_dict(), model), model.state_dict())


def test_a_transformers_decoder_generates_as_before_and_loads_the_plain_weights() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=50,
    )
    dense = Qwen2ForCausalLM(config).eval()
    model = copy.deepcopy(dense)
    install(model.model.layers, num_experts=5, which=2, noise=0.0)
    prompt = torch.randint(0, 50, (2, 7))
    expected = dense.generate(prompt, max_new_tokens=5, do_sample=False)
    assert model.generate(prompt, max_new_tokens=5, do_sample=False).tolist() == expected.tolist()
    plain = Qwen2ForCausalLM(config).eval()
    plain.load_state_dict(plain_state_dict(model), strict=True)
    assert plain.generate(prompt, max_new_tokens=5, do_sample=False).tolist() == expected.tolist()


def test_layers_are_chosen_by_name_number_or_list() -> None:
    assert chosen_layers("all", 3) == [0, 1, 2]
    assert chosen_layers(2, 5) == [3, 4]
    assert chosen_layers([4, 0, 4], 5) == [0, 4]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (6, "experts in the last 6 layers, but there are 5"),
        (0, "experts in the last 0 layers"),
        ([0, 5], "there is no layer 5: layers are 0 to 4"),
        ("last", "must be 'all', how many of the last, or a list of numbers, not 'last'"),
        (True, "not True"),
    ],
)
def test_layers_that_are_not_there_are_refused(which: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen_layers(which, 5)


class Relu(SwiGLU):
    def __init__(self) -> None:
        super().__init__()
        self.act_fn = nn.ReLU()


class Biased(SwiGLU):
    def __init__(self) -> None:
        super().__init__()
        self.up_proj = nn.Linear(DIM, 24)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Relu(), "Relu cannot become experts: its activation is ReLU"),
        (Biased(), "Biased cannot become experts: up_proj has a bias"),
        (nn.Sequential(nn.Linear(4, 4)), "it has no linear layer gate_proj and no up_proj and no down_proj"),
    ],
)
def test_networks_that_cannot_become_experts_are_refused(network: nn.Module, message: str) -> None:
    layer = nn.Module()
    layer.mlp = network
    with pytest.raises(ValueError, match=message):
        install([layer])


def test_layers_get_experts_once() -> None:
    model = decoder()
    install(model)
    with pytest.raises(ValueError, match="layer 0 has experts already"):
        install(model)
