"""The mixture as a layer: who reaches whom, pads, statistics, copies."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from moon_zoo.nn.moe.guided import GuidedMoE
from moon_zoo.nn.moe.install import plain_state_dict
from moon_zoo.nn.moe.layout import Layout, grouped, padded, static
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, PAD
from tests.nn.moe.plain import DIM, TYPES, SwiGLU

GUIDANCES = ("hard", "additive", "none")
EXPERTS = ("full", "lora")


def mixture(guidance: str = "hard", experts: str = "full", *, num_experts: int = 6, top_k: int = 2) -> GuidedMoE:
    """Experts that differ: the noise is as large as the weights."""
    torch.manual_seed(1)
    made = GuidedMoE(
        SwiGLU(), guidance=guidance, num_experts=num_experts, top_k=top_k, experts=experts, lora_rank=4, noise=1.0
    )
    torch.nn.init.normal_(made.router.weight)
    if experts == "lora":
        for name in ("gate_b", "up_b", "down_b"):
            torch.nn.init.normal_(getattr(made.experts, name), std=0.3)
    made.token_type = TYPES
    return made


def hidden_states() -> Tensor:
    return torch.randn(*TYPES.shape, DIM, generator=torch.Generator().manual_seed(3))


def expert_parameters(made: GuidedMoE) -> list[Tensor]:
    return [value for name, value in made.experts.named_parameters() if not name.startswith("shared.")]


@pytest.mark.parametrize("experts", EXPERTS)
@pytest.mark.parametrize(("field", "expert"), [(CATEGORY, 4), (ATTRIBUTE, 5)])
def test_in_hard_guidance_a_field_s_tokens_reach_only_their_expert(field: int, expert: int, experts: str) -> None:
    made = mixture("hard", experts)
    output = made(hidden_states())
    gradients = torch.autograd.grad(output[field == TYPES].sum(), expert_parameters(made))
    for gradient in gradients:
        reached = gradient.flatten(1).abs().sum(1) > 0
        assert reached.nonzero().flatten().tolist() == [expert]


@pytest.mark.parametrize("experts", EXPERTS)
def test_in_hard_guidance_no_other_token_reaches_a_field_s_expert(experts: str) -> None:
    made = mixture("hard", experts)
    others = (TYPES != CATEGORY) & (TYPES != ATTRIBUTE)
    gradients = torch.autograd.grad(made(hidden_states())[others].sum(), expert_parameters(made))
    for gradient in gradients:
        assert gradient[4:].abs().max() == 0
        assert gradient[:4].abs().max() > 0


def test_additive_guidance_reaches_the_field_s_expert_and_the_routed_ones() -> None:
    made = mixture("additive")
    gradient, _ = torch.autograd.grad(made(hidden_states())[TYPES == CATEGORY].sum(), expert_parameters(made))
    reached = gradient.flatten(1).abs().sum(1) > 0
    assert reached[4] and not reached[5]
    assert 2 <= reached[:4].sum() <= 4


@pytest.mark.parametrize("experts", EXPERTS)
@pytest.mark.parametrize("guidance", GUIDANCES)
def test_what_stands_on_pads_changes_nothing(guidance: str, experts: str) -> None:
    made = mixture(guidance, experts)
    pads = TYPES == PAD
    hidden = hidden_states()
    output, statistics = made(hidden), made.statistics
    assert output[pads].abs().max() == 0
    made_again = made(torch.where(pads[..., None], hidden * 50 + 3, hidden))
    torch.testing.assert_close(made_again, output)
    for field in ("probability", "load", "z", "tokens", "type_load"):
        torch.testing.assert_close(getattr(made.statistics, field), getattr(statistics, field))


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("layout", [grouped, static, lambda ids, experts: padded(ids, experts, 16)])
def test_low_rank_experts_equal_whole_ones_of_the_same_matrices(
    layout: Callable[[Tensor, int], Layout], guidance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moon_zoo.nn.moe.experts.layout_of", layout)
    made = mixture(guidance, "lora")
    whole = mixture(guidance, "full")
    whole.router.load_state_dict(made.router.state_dict())
    parts = [plain_state_dict(made, expert) for expert in range(6)]
    gate_up = [torch.cat([part["gate_proj.weight"], part["up_proj.weight"]]) for part in parts]
    down = torch.stack([part["down_proj.weight"] for part in parts])
    whole.experts.load_state_dict({"gate_up_proj": torch.stack(gate_up), "down_proj": down})
    hidden = hidden_states().requires_grad_()
    output = made(hidden)
    expected = whole(hidden)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    found = torch.autograd.grad(output.square().sum(), [hidden, made.router.weight, made.experts.down_b])
    wanted = torch.autograd.grad(
        expected.square().sum(), [hidden, whole.router.weight, whole.experts.down_proj], materialize_grads=True
    )
    torch.testing.assert_close(found[:2], wanted[:2], rtol=1e-4, atol=1e-5)
    # down = shared + down_b @ down_a
    torch.testing.assert_close(found[2], wanted[2] @ made.experts.down_a.mT, rtol=1e-4, atol=1e-4)


def test_statistics_are_sums_over_each_sequence_s_plain_tokens() -> None:
    made = mixture("hard")
    hidden = hidden_states()
    made(hidden)
    found = made.statistics
    for sequence in range(2):
        plain = [place for place in range(TYPES.shape[1]) if TYPES[sequence, place] in (1, 2)]
        logits = (hidden[sequence, plain] @ made.router.weight.T)[:, :4]
        torch.testing.assert_close(found.probability[sequence], logits.softmax(1).sum(0))
        load = torch.bincount(logits.topk(2, 1).indices.flatten(), minlength=4).float()
        assert found.load[sequence].tolist() == load.tolist()
        torch.testing.assert_close(found.z[sequence], logits.exp().sum(1).log().square().sum())
        assert found.tokens[sequence] == len(plain)
    # image, text, category and attribute tokens' slots
    assert found.type_load.sum(2).tolist() == [[4, 4, 2, 1], [0, 6, 1, 1]]
    assert found.type_load[0, 2].tolist() == [0, 0, 0, 0, 2, 0]


def test_without_guidance_all_tokens_but_pads_are_plain() -> None:
    made = mixture("none")
    made(hidden_states())
    assert made.statistics.tokens.tolist() == [7, 5]
    assert made.statistics.probability.shape == (2, 6)


def test_without_token_types_all_is_text() -> None:
    made = mixture("hard")
    made.token_type = torch.full_like(TYPES, 2)
    expected = made(hidden_states())
    made.token_type = None
    torch.testing.assert_close(made(hidden_states()), expected)


def test_token_types_of_another_shape_are_refused() -> None:
    made = mixture()
    with pytest.raises(ValueError, match=r"token_type is \(2, 8\), the hidden states are \(2, 5\)"):
        made(torch.randn(2, 5, DIM))


def test_recomputed_activations_give_the_same_gradients_with_the_statistics_in_the_loss() -> None:
    def gradients(recompute: bool) -> list[Tensor]:
        made = mixture()
        hidden = hidden_states().requires_grad_()
        output = checkpoint(made, hidden, use_reentrant=False) if recompute else made(hidden)
        loss = output.square().sum() + made.statistics.probability.square().sum() + made.statistics.z.sum()
        return list(torch.autograd.grad(loss, [hidden, *made.parameters()]))

    for ours, theirs in zip(gradients(True), gradients(False)):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("experts", EXPERTS)
def test_autocast_keeps_the_statistics_in_float32(experts: str) -> None:
    made = mixture("hard", experts)
    expected = made(hidden_states())
    probability = made.statistics.probability
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = made(hidden_states())
    assert output.dtype == torch.bfloat16
    assert (output.float() - expected).norm() < 0.02 * expected.norm()
    torch.testing.assert_close(made.statistics.probability, probability)


def test_a_mixture_that_has_run_can_be_copied_and_saved() -> None:
    made = mixture()
    expected = made(hidden_states())
    twin = copy.deepcopy(made)
    assert twin.statistics is None and made.statistics is not None
    twin.token_type = TYPES
    torch.testing.assert_close(twin(hidden_states()), expected)
    torch.save(made.state_dict(), io.BytesIO())


@pytest.mark.parametrize("experts", EXPERTS)
def test_shapes_are_known_without_weights(experts: str) -> None:
    with torch.device("meta"):
        made = GuidedMoE(SwiGLU(), experts=experts)
        hidden = torch.randn(2, 5, DIM, requires_grad=True)
    output = made(hidden)
    (output.sum() + made.statistics.probability.sum()).backward()
    assert output.is_meta and output.shape == (2, 5, DIM)
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.filterwarnings("ignore:The tensor attribute")
@pytest.mark.parametrize("experts", EXPERTS)
def test_an_exported_graph_gives_the_same(experts: str) -> None:
    class WithTypes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixture = mixture("hard", experts)

        def forward(self, hidden: Tensor, types: Tensor) -> Tensor:
            self.mixture.token_type = types
            return self.mixture(hidden)

    network = WithTypes()
    given = (hidden_states(), TYPES)
    exported = torch.export.export(network, given)
    operators = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert not any("grouped_mm" in name for name in operators)
    torch.testing.assert_close(exported.module()(*given), network(*given), rtol=1e-5, atol=1e-5)
