"""Several completions of one prompt in one sequence: as likely as each alone, value and gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moon_zoo.nn.multimodal import completions, token_types
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.completions import completion_log_probabilities, token_log_probabilities
from moon_zoo.nn.multimodal.sequence import Sequence
from tests.nn.multimodal import tiny

LENGTHS = torch.tensor([[5, 3], [1, 6], [4, 0]])


def prompts(backbone: MultimodalLM) -> Sequence:
    """Of two photos, of one, of none; the last has one word."""
    return tiny.sequence(backbone, [[True, True], [False, True], [False, False]], [7, 3, 1])


def drawn() -> tuple[Tensor, Tensor]:
    ids = torch.randint(6, tiny.VOCAB, (3, 2, 6), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(6) < LENGTHS[..., None]


def by_hand(backbone: MultimodalLM, given: Sequence, ids: Tensor) -> Tensor:
    """One row with one completion, without pads: ``log_softmax`` of all logits, in float64."""
    prompt = given.mask.sum().item()
    keep = given.mask[0]
    whole = Sequence(
        torch.cat([given.token_ids[:, keep], ids[None]], dim=1),
        torch.ones(1, int(prompt) + len(ids), dtype=torch.bool),
        torch.cat([given.token_type[:, keep], torch.full((1, len(ids)), token_types.TEXT)], dim=1),
        given.photos,
        given.photo_mask,
    )
    scores = backbone.logits(backbone(whole, "causal")).double().log_softmax(-1)[0, int(prompt) - 1 : -1]
    return scores.gather(1, ids[:, None]).sum()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_completions_beside_one_another_are_as_likely_as_each_alone(shared: bool, padded: bool) -> None:
    backbone = tiny.model()
    ids, mask = drawn()
    given = prompts(backbone)
    expected = torch.zeros(3, 2, dtype=torch.float64)
    for row in range(3):
        for number in range(2):
            words = ids[row, number][mask[row, number]]
            if len(words) > 0:
                expected[row, number] = by_hand(backbone, given[row : row + 1], words)
    given = tiny.with_pads(given, [0, 4, 4, 20]) if padded else given
    found = completion_log_probabilities(backbone, given, ids, mask, shared=shared)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_gradients_do_not_depend_on_whether_the_prompt_is_shared_or_logits_are_tiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids, mask = drawn()
    weights = torch.tensor([[1.0, -2.0], [0.5, 1.0], [3.0, 1.0]])
    gradients = []
    for shared, tile in ((True, 1 << 22), (False, 1 << 22), (True, 4 * tiny.VOCAB)):
        monkeypatch.setattr(completions, "TILE_NUMBERS", tile)
        backbone = tiny.model()
        (completion_log_probabilities(backbone, prompts(backbone), ids, mask, shared=shared) * weights).sum().backward()
        gradients.append({name: weight.grad for name, weight in backbone.named_parameters() if weight.grad is not None})
    assert len(gradients[0]) > 20
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(
                other[name], gradient, rtol=1e-4, atol=1e-5, msg=f"the gradient of {name} differs"
            )


def test_a_completion_does_not_see_the_other() -> None:
    backbone = tiny.model()
    ids, mask = drawn()
    other = ids.clone()
    other[:, 0] = torch.randint(6, tiny.VOCAB, (3, 6), generator=torch.Generator().manual_seed(9))
    first = completion_log_probabilities(backbone, prompts(backbone), ids, mask)
    second = completion_log_probabilities(backbone, prompts(backbone), other, mask)
    torch.testing.assert_close(first[:, 1], second[:, 1], rtol=0, atol=1e-6)
    assert not torch.allclose(first[:, 0], second[:, 0])


def test_gradient_checkpointing_and_eager_attention_change_nothing() -> None:
    ids, mask = drawn()
    plain = tiny.model()
    expected = completion_log_probabilities(plain, prompts(plain), ids, mask)
    eager = tiny.model(attn_implementation="eager")
    torch.testing.assert_close(completion_log_probabilities(eager, prompts(eager), ids, mask), expected)
    again = tiny.model().train()
    again.set_gradient_checkpointing(True)
    torch.testing.assert_close(completion_log_probabilities(again, prompts(again), ids, mask), expected)


def test_on_the_meta_device_shapes_are_static() -> None:
    backbone = tiny.model().to("meta")
    ids, mask = drawn()
    given = replace(prompts(tiny.model())).to("meta")
    assert completion_log_probabilities(backbone, given, ids.to("meta"), mask.to("meta")).shape == (3, 2)


def test_a_tokens_log_probability_is_that_of_log_softmax() -> None:
    hidden, table = torch.randn(50, 8), torch.randn(31, 8)
    labels = torch.randint(31, (50,))
    found = token_log_probabilities(lambda part: part @ table.T, hidden, labels, 31)
    expected = (hidden @ table.T).double().log_softmax(-1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
