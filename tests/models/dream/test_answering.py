"""Answers: what they depend on, what is never written, and how likely beginnings of answers are."""

from __future__ import annotations

import pytest
import torch

from moon_zoo.data.conversations import Prompt, user
from moon_zoo.models.dream.answering import chances_of
from moon_zoo.models.dream.module import Dream
from moon_zoo.safety.assistant import Assistant
from tests.conftest import make_instruction
from tests.models.dream.tiny import assistant

PROMPTS = [make_instruction(number).prompt for number in range(7)]


@pytest.fixture(scope="module")
def module() -> Dream:
    return assistant()


def test_the_module_is_an_assistant(module: Dream) -> None:
    speaker: Assistant = module
    assert isinstance(speaker, Assistant)
    assert len(module.fingerprint()) == 64 and module.fingerprint() != assistant(seed=1).fingerprint()


def test_an_answer_depends_on_prompt_number_and_seed_alone(module: Dream) -> None:
    options = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 0.95}
    together = module.answer(PROMPTS, samples=3, seed=5, batch_size=6, **options)  # type: ignore[arg-type]
    assert [len(texts) for texts in together] == [3] * 7
    assert len({text for texts in together for text in texts}) > 10
    for number in (0, 3, 6):
        alone = module.answer([PROMPTS[number]], samples=1, seed=5, **options)  # type: ignore[arg-type]
        assert alone == [together[number][:1]]
    assert module.answer(PROMPTS[::-1], samples=3, seed=5, **options)[::-1] == together  # type: ignore[arg-type]
    assert module.answer(PROMPTS, samples=3, seed=6, **options) != together  # type: ignore[arg-type]


def test_greedy_answers_of_a_prompt_are_one(module: Dream) -> None:
    found = module.answer(PROMPTS[:2], samples=3, max_new_tokens=6)
    assert all(len(set(texts)) == 1 and len(texts) == 3 for texts in found)
    assert module.answer([], samples=2) == []


def test_numbers_that_answers_are_drawn_by_do_not_depend_on_how_many_are_wanted() -> None:
    prompt = PROMPTS[0]
    assert chances_of(prompt, 1, 2, 40)[:8].tolist() == chances_of(prompt, 1, 2, 8).tolist()
    seen = [chances_of(*given, 4).tolist() for given in ((prompt, 1, 2), (prompt, 2, 1), (PROMPTS[1], 1, 2))]
    assert seen[0] != seen[1] != seen[2] != seen[0]


def test_what_stands_for_images_is_never_written(module: Dream, monkeypatch: pytest.MonkeyPatch) -> None:
    special = module.inputs.tokenizer.special
    rows = module.network.backbone.vocab_size
    banned = module.inputs.tokenizer.unwritable(rows + 3)
    assert {special.image, special.vision_start, special.vision_end, special.im_start, rows, rows + 2} <= set(banned)
    assert special.im_end not in banned and special.end not in banned
    written: list[int] = []
    monkeypatch.setattr(type(module.inputs.tokenizer), "decode", lambda self, ids: written.extend(ids) or "")
    module.answer(PROMPTS, max_new_tokens=40, samples=4, temperature=9.0)
    assert len(set(written)) > 100, "drawn from almost all there is"
    assert not set(written) & set(banned)


def test_options_are_as_likely_as_their_tokens_one_after_another(module: Dream) -> None:
    options = ["yes", "no", "it is red"]
    found = module.option_log_probabilities(PROMPTS, options, batch_size=3)
    assert found.shape == (7, 3) and (found < 0).all()
    backbone, tokenizer = module.network.backbone, module.inputs.tokenizer
    for row in (0, 3):
        for column, option in enumerate(options):
            asked = module.inputs.asked([PROMPTS[row]])
            ids = asked["prompt_token_ids"][0].tolist()
            total = 0.0
            for token in tokenizer.ids(option):
                from moon_zoo.nn.multimodal.sequence import Sequence

                whole = torch.tensor([ids])
                ones = torch.ones_like(whole)
                given = Sequence(whole, ones.bool(), ones * 2, asked["photos"], asked["photo_mask"])
                with torch.no_grad():
                    scores = backbone.logits(backbone(given, "causal"))[0, -1].double().log_softmax(-1)
                total += float(scores[token])
                ids.append(token)
            assert found[row, column].item() == pytest.approx(total, abs=1e-4)


def test_prompts_longer_than_those_of_training_are_answered(module: Dream) -> None:
    long = Prompt(user("is this mug fit for a toddler? " * 30), PROMPTS[0].image)
    assert module.inputs.prompt_tokens(long) > module.inputs.max_prompt_tokens
    assert len(module.answer([long], max_new_tokens=4)[0]) == 1


def test_answering_leaves_a_training_model_in_training() -> None:
    module = assistant().train()
    module.answer(PROMPTS[:1], max_new_tokens=2)
    module.option_log_probabilities(PROMPTS[:1], ["yes"])
    assert all(part.training for part in module.modules())
