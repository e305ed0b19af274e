"""Which experts a token goes to, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from moon_zoo.nn.moe.routing import Router, check_routing, route
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, IMAGE, PAD, TEXT

TYPES = torch.tensor([IMAGE, TEXT, CATEGORY, ATTRIBUTE, PAD])
# 5 experts: 0 to 2 are general, 3 is for category, 4 for attributes, and the number 5 is nobody
LOGITS = torch.tensor([[math.log(1), math.log(3), math.log(2), 9.0, 9.0]]).repeat(5, 1)


def test_hard_guidance_sends_field_tokens_to_their_expert_alone() -> None:
    ids, weights = route(LOGITS, TYPES, "hard", 2)
    assert ids.tolist() == [[1, 2], [1, 2], [3, 5], [4, 5], [5, 5]]
    torch.testing.assert_close(weights, torch.tensor([[0.6, 0.4], [0.6, 0.4], [1, 0], [1, 0], [0, 0]]))


def test_additive_guidance_adds_the_field_expert_to_the_general_ones() -> None:
    logits = LOGITS.clone()
    logits[:, 3], logits[:, 4] = math.log(5), math.log(15)
    ids, weights = route(logits, TYPES, "additive", 2)
    assert ids.tolist() == [[5, 1, 2], [5, 1, 2], [3, 1, 2], [4, 1, 2], [5, 5, 5]]
    expected = torch.tensor([[0, 0.6, 0.4], [0, 0.6, 0.4], [0.5, 0.3, 0.2], [0.75, 0.15, 0.1], [0, 0, 0]])
    torch.testing.assert_close(weights, expected)


def test_without_guidance_all_experts_are_general() -> None:
    ids, weights = route(LOGITS, TYPES, "none", 2)
    assert ids[:4].sort(1).values.tolist() == [[3, 4]] * 4
    assert ids[4].tolist() == [5, 5]
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5]] * 4 + [[0.0, 0.0]]))


def test_weights_are_the_softmax_over_allowed_experts_renormalised_over_the_chosen() -> None:
    torch.manual_seed(0)
    logits, types = torch.randn(40, 7), torch.randint(PAD, ATTRIBUTE + 1, (40,))
    ids, weights = route(logits, types, "hard", 3)
    for row in range(40):
        allowed = {CATEGORY: [5], ATTRIBUTE: [6], PAD: []}.get(int(types[row]), list(range(5)))
        masked = logits[row].masked_fill(~torch.isin(torch.arange(7), torch.tensor(allowed)), float("-inf"))
        chosen = masked.softmax(0).sort(descending=True) if allowed else None
        for slot in range(3):
            if slot < min(3, len(allowed)):
                assert ids[row, slot] == chosen.indices[slot]
                share = chosen.values[slot] / chosen.values[: min(3, len(allowed))].sum()
                torch.testing.assert_close(weights[row, slot], share)
            else:
                assert (ids[row, slot], weights[row, slot]) == (7, 0)


def test_the_router_computes_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    router = Router(32, 4)
    torch.nn.init.normal_(router.weight)
    hidden = torch.randn(9, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = router(hidden)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, hidden @ router.weight.T)


@pytest.mark.parametrize(
    ("guidance", "num_experts", "top_k", "message"),
    [
        ("soft", 8, 2, "guidance must be one of hard, additive, none, dense, not 'soft'"),
        ("hard", 4, 3, "top_k 3, of 2 of 4"),
        ("hard", 2, 1, "top_k 1, of 0 of 2"),
        ("none", 4, 5, "top_k 5, of 4 of 4"),
        ("none", 4, 0, "top_k 0"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(guidance: str, num_experts: int, top_k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_routing(guidance, num_experts, top_k)
