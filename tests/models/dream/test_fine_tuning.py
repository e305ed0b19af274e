"""Fine-tuning: the loss of answers, and beside it that of observations."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import make_instruction
from tests.models.dream.tiny import assistant, batch_of


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_photos_read_once_for_both_losses_give_the_gradients_of_reading_them_for_each(weight: float) -> None:
    module = assistant(observation_task=weight, observing_tokens=400, observation_tokens=200).double()
    batch = batch_of(module, range(6), make_instruction)
    assert batch["photo_mask"].any()

    loss, _ = module._sft_step(batch)
    loss.backward()
    found = {name: parameter.grad for name, parameter in module.named_parameters()}

    module.zero_grad()
    expected = module.network.answer_loss(batch)[0]
    if weight > 0:
        expected = expected + weight * module.network.observation_loss(batch)[0]
    expected.backward()

    torch.testing.assert_close(loss, expected)
    assert any("visual" in name and gradient is not None and gradient.any() for name, gradient in found.items())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)
