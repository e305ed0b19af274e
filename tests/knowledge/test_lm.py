"""A language model's answers read, its likelihoods against a plain twin, and answers that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moon_zoo.knowledge.finding import KnowledgeFinder
from moon_zoo.knowledge.lm import (
    LanguageModel,
    LmSource,
    LmTopics,
    LmWriter,
    UprRanker,
    read_related,
    read_topics,
)
from moon_zoo.knowledge.recognition import Topics
from moon_zoo.knowledge.source import Page
from tests.models.followup.tiny import tiny

from .toy import ToySource


def model_of(architecture: str = "causal") -> LanguageModel:
    module = tiny(architecture)
    return LanguageModel(module.network.lm, module.inputs.tokenizer)


class Saying(LanguageModel):
    """Says what it is told to say, and notes what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def complete(self, prompt: str, **options: Any) -> str:
        self.asked.append({"prompt": prompt, **options})
        return self.answers[min(len(self.asked), len(self.answers)) - 1]

    def fingerprint(self) -> str:
        return "saying"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"topic": "mug", "keywords": ["glaze", "kiln", "clay", "tea"]}', Topics("mug", ("glaze", "kiln", "clay"))),
        ('Sure: {"topic": "", "keywords": "glaze, kiln"} and so on', Topics("glaze", ("kiln",))),
        ('{"topic": 3, "keywords": [null, "tea"]}', Topics("tea", ())),
        ('{"topic": "", "keywords": []}', None),
        ("mug", None),
        ('{"topic": ', None),
        ("[1]", None),
    ],
)
def test_structured_answers_are_read_and_others_count_as_none(text: str, wanted: Topics | None) -> None:
    assert read_topics(text) == wanted


def test_an_answer_that_cannot_be_read_is_asked_for_again_with_other_draws() -> None:
    model = Saying("no", "still no", '{"topic": "mug"}')
    assert LmTopics(model)("a?", "b").topic == "mug"
    assert [one["temperature"] > 0 for one in model.asked] == [False, True, True]
    assert len({one["seed"] for one in model.asked}) == 3
    mute = Saying("no")
    assert LmTopics(mute, retries=1)("a?", "b") == Topics("")
    assert len(mute.asked) == 2


def test_related_concepts_are_read_without_numbers_repetitions_and_the_concept_itself() -> None:
    text = "1. Glaze | covers it\n2) glaze | again\n- Mug | itself\nno bar\n* Kiln | fires it\n🙂 | no word\nx | y"
    found = read_related(text, "mug", 2)
    assert [(edge.target, edge.reason) for edge in found] == [("glaze", "covers it"), ("kiln", "fires it")]
    assert found[0].weight > found[1].weight > 0


@pytest.mark.parametrize("architecture", ["causal", "seq2seq"])
def test_log_probability_equals_that_of_one_token_after_another(architecture: str) -> None:
    model = model_of(architecture)
    text, given = "is the mug new?", "passage: a mug"
    wanted = model.tokenizer.ids(text)
    prompt, whole = model._prompt(given), 0.0
    for place, token in enumerate(wanted):
        with torch.no_grad():
            if architecture == "seq2seq":
                before = torch.tensor([[0, *wanted[:place]]])
                logits = model.lm(input_ids=torch.tensor([prompt]), decoder_input_ids=before).logits[0, -1]
            else:
                logits = model.lm(input_ids=torch.tensor([[*prompt, *wanted[:place]]])).logits[0, -1]
        whole += float(logits.log_softmax(0)[token])
    assert model.log_probability(text, given) == pytest.approx(whole / len(wanted), abs=1e-4)
    assert model.log_probability("", given) == float("-inf")


def test_upr_ranks_by_likelihood_and_calls_all_alike_where_nothing_was_asked() -> None:
    pages = [Page("a", "mug", "a mug"), Page("b", "lamp", "a lamp")]
    scores = UprRanker(model_of())("is the mug new?", "", pages)
    assert len(set(scores)) == 2 and all(score < 0 for score in scores)
    assert UprRanker(model_of())("", "", pages) == [0.0, 0.0]


def test_a_continuation_ends_with_a_whole_sentence() -> None:
    said = LmWriter(Saying("It is glassy. It keeps\nstains away. And then it"))
    assert said.continued("a?", "b", "glaze", "a coat") == "It is glassy. It keeps stains away."
    assert LmWriter(Saying("no end")).continued("a?", "b", "glaze", "a coat") == "no end"


def test_the_model_itself_is_a_source_and_is_asked_once_for_each_concept() -> None:
    model = Saying("a cup | holds tea\nclay | is made of")
    source = LmSource(model)
    found = KnowledgeFinder(source).find("Is the mug new?", "Yes.")
    assert found.selected.node is not None
    asked = [one["prompt"] for one in model.asked]
    assert len(asked) == len(set(asked))
    assert source.search("  ", []) == []
    assert LmSource(Saying("nonsense")).neighbours(Page("mug", "mug"), 5) == []


def test_a_real_tiny_model_that_talks_nonsense_breaks_nothing() -> None:
    model = model_of()
    finder = KnowledgeFinder(ToySource(), topics=LmTopics(model), ranker=UprRanker(model), writer=LmWriter(model))
    for question in ("Is the mug new?", "", "🙂", "clay " * 50_000):
        finder.find(question, "yes")
    assert len(model.fingerprint()) == 64
