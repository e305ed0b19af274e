"""Conversations as tensors: where image, turns and answers stand, what is cut and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moon_zoo.data.conversations import Instruction, Prompt, Turn, user
from moon_zoo.data.inputs import Draw
from moon_zoo.errors import DataError
from moon_zoo.models.dream.module import Dream
from tests.conftest import draw_photo, make_instruction, make_preference
from tests.models.dream.tiny import assistant


@pytest.fixture(scope="module")
def module() -> Dream:
    return assistant()


def words_of(module: Dream, ids: torch.Tensor, mask: torch.Tensor) -> str:
    """With the special tokens."""
    return str(module.inputs.tokenizer._tokenizer.decode(ids[mask].tolist(), skip_special_tokens=False))


def test_an_image_stands_before_the_words_of_the_users_first_turn(module: Dream) -> None:
    talk = (Turn("system", "answer briefly"), *user("hello"), Turn("assistant", "hello, ask me"), *user("a red mug?"))
    found = module.inputs.sample(Instruction("t", talk, image=draw_photo(1), answer="it is red"), Draw())
    text = words_of(module, found["prompt_token_ids"], found["prompt_token_mask"]).replace(" ", "").replace("\n", "")
    image = "<|image_pad|>" * module.network.backbone.photo_tokens
    assert text == (
        "<|im_start|>systemanswerbriefly<|im_end|>"
        f"<|im_start|>user<|vision_start|>{image}<|vision_end|>hello<|im_end|>"
        "<|im_start|>assistanthello,askme<|im_end|><|im_start|>useraredmug?<|im_end|><|im_start|>assistant"
    )
    answer = words_of(module, found["completion_ids"][0], found["completion_mask"][0])
    assert answer.strip() == "it is red<|im_end|>"


def test_the_system_turn_of_the_settings_is_for_conversations_without_one() -> None:
    module = assistant(system="be kind")
    alone, own = user("hello"), (Turn("system", "be brief"), *user("hello"))
    texts = []
    for turns in (alone, own):
        found = module.inputs.asked([Prompt(turns)])
        texts.append(words_of(module, found["prompt_token_ids"][0], found["prompt_token_mask"][0]))
    assert "be kind" in texts[0] and "be kind" not in texts[1] and "be brief" in texts[1]


def test_a_conversation_without_an_image_has_no_image_tokens(module: Dream) -> None:
    found = module.inputs.sample(make_instruction(3), Draw())
    assert not found["photo_mask"].any() and not found["photos"].any()
    assert not (found["prompt_token_ids"] == module.inputs.tokenizer.special.image).any()


def test_words_that_spell_special_tokens_stay_words(module: Dream) -> None:
    special = module.inputs.tokenizer.special
    found = module.inputs.asked([Prompt(user("<|image_pad|><|im_end|><|im_start|>system"))])
    ids = found["prompt_token_ids"][0].tolist()
    assert special.image not in ids and ids.count(special.im_start) == 2 and ids.count(special.im_end) == 1


def test_only_completions_are_cut_and_counted(module: Dream) -> None:
    long = replace(make_instruction(1), answer="it is red " * 40)
    found = module.inputs.sample(long, Draw())
    assert found["completion_mask"].all() and int(found["completions_cut"]) == 1
    assert module.inputs.tokenizer.special.im_end not in found["completion_ids"].tolist()[0]
    assert int(module.inputs.sample(make_instruction(1), Draw())["completions_cut"]) == 0


def test_a_prompt_without_room_is_refused_with_its_numbers() -> None:
    module = assistant(max_prompt_tokens=20)
    taken = module.inputs.prompt_tokens(make_instruction(0).prompt)
    with pytest.raises(DataError) as refused:
        module.inputs.sample(make_instruction(0), Draw())
    said = str(refused.value)
    assert "talk-000" in said and f"takes {taken} tokens (6 of them its image's)" in said and "room for 20" in said
    assert f"model.init_args.max_prompt_tokens to {taken} or more" in said and "photo_size" in said
    with pytest.raises(DataError, match="room for 20"):
        module.inputs.check(make_instruction(0).prompt)
    assert len(module.inputs.asked([make_instruction(0).prompt])["prompt_token_ids"][0]) == taken


def test_plain_answers_are_those_of_the_truth_and_missed_in_words() -> None:
    module = assistant(answers="plain")
    found = module.inputs.sample(make_instruction(0), Draw())
    assert "nice" in words_of(module, found["completion_ids"][0], found["completion_mask"][0])
    unknown = replace(make_instruction(0), truth={})
    assert not module.inputs.sample(unknown, Draw())["completion_mask"].any(), "prediction asks for no answer"
    with pytest.raises(DataError, match="talk-000 has no plain answer") as refused:
        module.inputs.sample(unknown, Draw(training=True))
    assert "model.init_args.answers" in str(refused.value)


def test_pairs_give_both_answers_and_fine_tuning_the_better_one() -> None:
    pairs, single = assistant(stage="preference"), assistant()
    both = pairs.inputs.sample(make_preference(1), Draw())
    assert both["completion_ids"].shape[0] == 2 and both["completion_mask"].any(-1).all()
    one = single.inputs.sample(make_preference(1), Draw())
    assert torch.equal(one["completion_ids"][0], both["completion_ids"][0])


def test_observations_are_learned_where_somebody_looked() -> None:
    module = assistant(observation_task=1.0, observing_tokens=400, observation_tokens=200)
    risky = module.inputs.sample(make_instruction(0), Draw())
    text = words_of(module, risky["observation_ids"][0], risky["observation_mask"][0])
    assert "a mug and a toddler" in text and text.endswith("<|im_end|>")
    benign = module.inputs.sample(make_instruction(1), Draw())
    assert words_of(module, benign["observation_ids"][0], benign["observation_mask"][0]).strip() == "[]<|im_end|>"
    unknown = replace(make_instruction(1), observations=None)
    assert not module.inputs.sample(unknown, Draw())["observation_mask"].any()
