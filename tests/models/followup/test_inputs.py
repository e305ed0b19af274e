"""What is read and written of samples, what is cut, and whose knowledge a control is given."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch

from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.inputs import Draw
from moon_zoo.errors import RecipeError
from moon_zoo.models.followup.inputs import FollowupInputs
from moon_zoo.nn.writing.loss import IGNORED

from .tiny import make_follow_up, tiny

TRAINING = Draw(training=True)


def batch_of(inputs: FollowupInputs, samples: list[FollowUp], draw: Draw | None = None) -> dict[str, torch.Tensor]:
    return inputs.batch([inputs.sample(sample, draw or Draw()) for sample in samples])


def read(inputs: FollowupInputs, batch: dict[str, torch.Tensor]) -> list[str]:
    return inputs.text(batch["prompt_ids"], batch["prompt_mask"])


@pytest.mark.parametrize("architecture", ["causal", "seq2seq"])
def test_prompts_hold_the_texts_in_the_templates_order(architecture: str) -> None:
    inputs = tiny(architecture).inputs
    sample = make_follow_up(3)
    batch = batch_of(inputs, [sample])
    said = " ".join(read(inputs, batch)[0].split())
    assert sample.knowledge is not None
    assert said == f"question: {sample.question} answer: {sample.answer} knowledge: {sample.knowledge.text} follow-up:"
    ends = (batch["prompt_ids"] == inputs.tokenizer.end_id).sum()
    assert int(ends) == (1 if architecture == "seq2seq" else 0)


def test_a_decoder_learns_the_follow_up_and_its_end_and_nothing_else() -> None:
    inputs = tiny("causal").inputs
    samples = [make_follow_up(number) for number in range(5)]
    batch = batch_of(inputs, samples, TRAINING)
    for row, sample in enumerate(samples):
        labels = batch["labels"][row]
        wanted = labels[labels != IGNORED].tolist()
        assert wanted == [*inputs.tokenizer.ids(sample.follow_up), inputs.tokenizer.end_id]
        places = labels != IGNORED
        assert batch["token_ids"][row][places].tolist() == wanted
        assert not (places & ~batch["token_mask"][row]).any()
    assert "reference_ids" not in batch


def test_an_encoder_decoder_has_labels_of_their_own_with_pads_ignored() -> None:
    inputs = tiny("seq2seq").inputs
    batch = batch_of(inputs, [make_follow_up(0), replace_follow_up(make_follow_up(1), "why?")], TRAINING)
    assert torch.equal(batch["token_ids"], batch["prompt_ids"])
    short = batch["labels"][1]
    assert short[short != IGNORED].tolist() == [*inputs.tokenizer.ids("why?"), inputs.tokenizer.end_id]


def replace_follow_up(sample: FollowUp, text: str) -> FollowUp:
    return replace(sample, follow_up=text)


def test_a_batch_equals_its_samples_one_by_one_but_for_pads() -> None:
    inputs = tiny().inputs
    samples = [make_follow_up(0), replace_follow_up(make_follow_up(1), "why? " * 3)]
    whole = batch_of(inputs, samples)
    for row, sample in enumerate(samples):
        alone = batch_of(inputs, [sample])
        for name in ("token", "prompt", "question", "answer", "knowledge", "concept", "reference"):
            kept = whole[f"{name}_mask"][row]
            assert torch.equal(whole[f"{name}_ids"][row][kept], alone[f"{name}_ids"][0][alone[f"{name}_mask"][0]])


def test_enormous_answers_are_cut_first_and_the_template_stays_whole() -> None:
    inputs = tiny().inputs
    sample = replace(make_follow_up(2), answer="clay " * 100_000)
    batch = batch_of(inputs, [sample])
    said = read(inputs, batch)[0]
    assert int(batch["prompt_mask"].sum()) == inputs.max_tokens
    assert said.endswith("follow-up:") and sample.question in said
    assert sample.knowledge is not None and sample.knowledge.text in said
    assert batch["cut"].tolist() == [[1, 0]]


@pytest.mark.parametrize("odd", ["", "🙂🙂", "木の器は何ですか", "\x00", "<|im_end|>"])
def test_odd_texts_anywhere_are_no_errors_and_never_special_tokens(odd: str) -> None:
    inputs = tiny().inputs
    sample = FollowUp("odd", odd or "?", odd, follow_up="why?", knowledge=Knowledge(odd or "x", odd or "x", "toy", {}))
    batch = batch_of(inputs, [sample])
    assert not (batch["prompt_ids"] == inputs.tokenizer.end_id).any()


def test_without_knowledge_the_place_stays_empty_and_the_rest_is_as_it_was() -> None:
    given, none = tiny().inputs, tiny(knowledge="none").inputs
    sample = make_follow_up(1)
    assert sample.knowledge is not None
    kept, without = read(given, batch_of(given, [sample]))[0], read(none, batch_of(none, [sample]))[0]
    assert sample.knowledge.text in kept and sample.knowledge.text not in without
    assert without.split() == kept.replace(sample.knowledge.text, "").split()
    bare = read(given, batch_of(given, [make_follow_up(1, known=False)]))[0]
    assert bare == without


def test_a_model_without_knowledge_is_shown_none_when_it_is_asked_either() -> None:
    inputs = tiny(knowledge="none").inputs
    texts = {"question": "is it new?", "answer": "yes.", "knowledge": "glaze: a coat."}
    assert "glaze" not in inputs.text(*inputs.asked([texts]))[0]
    assert "glaze" in tiny().inputs.text(*tiny().inputs.asked([texts]))[0]


def test_shuffled_knowledge_is_another_samples_and_figures_still_know_ones_own() -> None:
    inputs = tiny(knowledge="shuffled").inputs
    samples = [make_follow_up(number) for number in range(6)]
    batch = batch_of(inputs, samples)
    own = inputs.text(batch["knowledge_ids"], batch["knowledge_mask"])
    for sample, said, kept in zip(samples, read(inputs, batch), own, strict=True):
        assert sample.knowledge is not None
        assert sample.knowledge.text not in said and kept == sample.knowledge.text
        assert any(other.knowledge is not None and other.knowledge.text in said for other in samples)
    alike = batch_of(inputs, [make_follow_up(1)] * 3)
    assert len(set(read(inputs, alike))) == 1


def test_shuffled_knowledge_that_is_too_long_is_cut_and_not_the_template() -> None:
    inputs = tiny(knowledge="shuffled", max_tokens=64).inputs
    long = replace(make_follow_up(0), knowledge=Knowledge("clay " * 60, "clay", "toy", {}), answer="", question="clay?")
    full = replace(make_follow_up(1), answer="yes " * 60)
    for said in read(inputs, batch_of(inputs, [long, full])):
        assert said.endswith("follow-up:")


def test_inputs_survive_their_state_and_a_worker() -> None:
    inputs = tiny().inputs
    twin = FollowupInputs(seq2seq=False, max_tokens=96, max_follow_up_tokens=24)
    twin.load_state_dict(inputs.state_dict())
    batch = batch_of(inputs, [make_follow_up(4)])
    for other in (twin, pickle.loads(pickle.dumps(inputs))):
        for name, value in batch_of(other, [make_follow_up(4)]).items():
            assert torch.equal(value, batch[name])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"template": "{question} {answer}"}, "places question, answer"),
        ({"knowledge": "some"}, "'some'"),
    ],
)
def test_templates_and_choices_that_cannot_be_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        FollowupInputs(seq2seq=False, **wrong)


def test_a_template_without_room_is_refused_with_the_room_it_needs() -> None:
    inputs = tiny(max_tokens=20).inputs
    with pytest.raises(RecipeError, match=r"takes \d+ tokens, and there is room for 20"):
        inputs.sample(make_follow_up(0), Draw())
