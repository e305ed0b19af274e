"""Learning, asking, and what a checkpoint keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from moon_zoo.data.inputs import Draw
from moon_zoo.errors import RecipeError
from moon_zoo.knowledge.finding import Found, KnowledgeFinder
from moon_zoo.knowledge.recognition import Recognised
from moon_zoo.knowledge.selection import Selected
from moon_zoo.models.base import ZooModule
from moon_zoo.models.followup.asking import NO_QUESTION, Asked, one_question, write_questions
from moon_zoo.models.followup.module import Followup
from moon_zoo.nn.optim import MuonAdamW
from moon_zoo.nn.writing.generation import Writing
from tests.knowledge.toy import ToySource

from .tiny import SIZES, make_follow_up, tiny


def learnt(architecture: str = "causal", steps: int = 100, **options: Any) -> tuple[Followup, dict[str, torch.Tensor]]:
    """A model that has been shown a few samples until it knows them by heart."""
    wide = {"hidden_size": 48, "intermediate_size": 96} if architecture == "causal" else {"d_model": 48, "d_ff": 96}
    module = tiny(architecture, backbone_options=SIZES[architecture] | wide, **options)
    samples = [module.inputs.sample(make_follow_up(number), Draw()) for number in range(4)]
    batch = module.inputs.batch(samples) | {"valid": torch.ones(4, dtype=torch.bool), "index": torch.arange(4)}
    optimizer = MuonAdamW(module.parameter_groups(), lr=1e-2, muon_lr=2e-2)
    # at a constant rate the last steps still jump about, and rounding decides where they end
    schedule = LambdaLR(optimizer, lambda step: 1 - step / steps)
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        module(batch)[0].backward()
        optimizer.step()
        schedule.step()
    return module.eval(), batch


@pytest.mark.parametrize("architecture", ["causal", "seq2seq"])
def test_a_few_samples_are_learnt_by_heart_and_asked(architecture: str) -> None:
    module, batch = learnt(architecture)
    assert float(module(batch)[0].detach()) < 0.1
    asked = module.predict_step(batch, 0)
    right = [make_follow_up(number).follow_up for number in range(4)]
    assert asked["follow_up"] == right
    assert asked["reference"] == right
    assert asked["concept"] == ["glaze", "wool", "linen shade", "oak"]
    assert set(asked) == set(module.predict_columns())


def test_rows_that_are_not_valid_change_nothing() -> None:
    module = tiny()
    samples = [module.inputs.sample(make_follow_up(number), Draw()) for number in range(3)]
    some = module.inputs.batch(samples[:2]) | {"valid": torch.tensor([True, True])}
    padded = module.inputs.batch(samples) | {"valid": torch.tensor([True, True, False])}
    torch.testing.assert_close(module(some)[0], module(padded)[0])


def test_asking_goes_step_by_step_through_topic_graph_knowledge_and_question() -> None:
    module = tiny()
    steps = list(module.ask_in_steps("is the mug number 0 new?", "yes.", finder=KnowledgeFinder(ToySource())))
    assert [type(step) for step in steps] == [Recognised, Selected, Found, Asked]
    asked = steps[-1]
    assert isinstance(asked, Asked) and asked.found is steps[2]
    assert asked.knowledge.startswith(asked.concept) and asked.concept
    assert asked == module.ask("is the mug number 0 new?", "yes.", finder=KnowledgeFinder(ToySource()))


def test_a_model_that_asks_nothing_is_tried_a_few_times_and_then_says_so() -> None:
    module = tiny(retries=3)
    tries: list[Writing] = []

    def mute(ids: torch.Tensor, mask: torch.Tensor, writing: Writing, **rest: Any) -> list[list[int]]:
        tries.append(writing)
        return [module.inputs.tokenizer.ids("no idea.")] * len(ids)

    module.network.write = mute  # type: ignore[method-assign]
    asked = module.ask("", "")
    assert asked.follow_up is None and str(asked) == NO_QUESTION
    assert len(tries) == 4
    assert [one.temperature > 0 for one in tries] == [False, True, True, True]
    assert len({one.seed for one in tries[1:]}) == 3
    assert module.ask_all(["a?", "b?"], ["", ""]) == [None, None]


def test_only_prompts_without_a_question_are_tried_again() -> None:
    module = tiny()
    rows: list[int] = []

    def write(ids: torch.Tensor, mask: torch.Tensor, writing: Writing, **rest: Any) -> list[list[int]]:
        rows.append(len(ids))
        texts = ["why?", "no."] if len(rows) == 1 else ["and then?"]
        return [module.inputs.tokenizer.ids(text) for text in texts]

    module.network.write = write  # type: ignore[method-assign]
    ids, mask = module.inputs.asked([{"question": "a", "answer": "b", "knowledge": ""}] * 2)
    assert write_questions(module.network, module.inputs, ids, mask, module.writing) == ["why?", "and then?"]
    assert rows == [2, 1]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Is it oak? Yes.", "Is it oak?"),
        ("It is. Is it\noak?", "It is. Is it oak?"),
        ("no question", ""),
        ("?", ""),
        ("🙂?", ""),
        ("木ですか\uff1f", "木ですか\uff1f"),
    ],
)
def test_a_text_is_cut_behind_its_first_question_mark(text: str, wanted: str) -> None:
    assert one_question(text) == wanted


@pytest.mark.parametrize("odd", ["", "🙂", "木の器は何ですか", "clay " * 100_000])
def test_odd_questions_and_answers_are_asked_about_without_errors(odd: str) -> None:
    module = tiny()
    found = module.ask(odd, odd, finder=KnowledgeFinder(ToySource()))
    assert found.follow_up is None or found.follow_up


@pytest.mark.parametrize("architecture", ["causal", "seq2seq"])
def test_a_checkpoint_keeps_weights_tokenizer_and_what_is_asked(architecture: str, tmp_path: Path) -> None:
    module = tiny(architecture)
    module.save_pretrained(tmp_path / "saved")
    again = ZooModule.from_pretrained(tmp_path / "saved")
    assert isinstance(again, Followup)
    assert again.fingerprint() == module.fingerprint()
    assert again.ask("is it?", "yes.") == module.ask("is it?", "yes.")


def test_a_checkpoint_of_a_named_backbone_loads_without_it(tmp_path: Path) -> None:
    first = tiny("causal")
    lm, tokenizer = first.network.lm, first.inputs.tokenizer
    folder = tmp_path / "named"
    lm.save_pretrained(folder)
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    ).save_pretrained(folder)
    module = Followup(backbone=str(folder), max_tokens=96, max_follow_up_tokens=24).eval()
    assert module.pretrained_names() == (str(folder),)
    module.save_pretrained(tmp_path / "saved")
    for file in folder.iterdir():
        file.unlink()
    again = ZooModule.from_pretrained(tmp_path / "saved")
    assert again.ask("is it?", "yes.") == module.ask("is it?", "yes.")  # type: ignore[attr-defined]
    assert "named" not in json.dumps((tmp_path / "saved" / "config.yaml").read_text())


def test_adapters_alone_are_trained_and_reach_every_linear_layer() -> None:
    module = tiny("causal", lora={"rank": 2})
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    with pytest.raises(RecipeError, match="no setting 'rang'"):
        Followup(lora={"rang": 2})


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"length_groups": 0}, {"retries": -1}])
def test_numbers_out_of_their_range_name_their_option(wrong: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match=f"{next(iter(wrong))} is"):
        Followup(**wrong)  # type: ignore[arg-type]
