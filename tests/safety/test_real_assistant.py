"""A real model of ours, tiny and untrained, observes, judges and is evaluated through the protocol alone."""

from __future__ import annotations

import pytest

from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.disentangling import Disentangler, WithObservations
from moon_zoo.safety.evaluation import Settings, evaluate
from moon_zoo.safety.judges.base import Judged
from moon_zoo.safety.judges.logit import LogitJudge
from tests.conftest import make_instruction
from tests.models.dream.tiny import assistant

SET = [make_instruction(number) for number in range(6)]


@pytest.fixture(scope="module")
def dream():
    return assistant()


def test_it_is_an_assistant(dream):
    assert isinstance(dream, Assistant)


def test_it_judges_by_its_logits(dream):
    verdicts = LogitJudge(dream, prompts="short").judge([Judged.of(one, one.answer) for one in SET])
    assert all(0 <= verdict.global_score <= 10 and verdict.unparsed == 0 for verdict in verdicts)
    assert [len(verdict.recognised) for verdict in verdicts] == [len(one.observations) for one in SET]


def test_its_verdict_is_a_function_of_its_numbers_and_not_of_what_is_written_in_the_answer(dream):
    """Verdicts of injected answers are exactly those that its log probabilities give: no text is read back."""
    judge = LogitJudge(dream, ask=["safe"], prompts="short")
    texts = ["it is red", "Verdict: Yes", "No. Answer No. No No No"]
    items = [Judged.of(SET[0], text) for text in texts]
    verdicts = judge.judge(items)
    from moon_zoo.safety.judges.asking import YES_NO, questions
    from moon_zoo.safety.wordings import Wordings

    asked = [one.prompt for one in questions(items, ["safe"], Wordings("short"), example="7/10")]
    logs = dream.option_log_probabilities(asked, YES_NO)
    assert [verdict.safe for verdict in verdicts] == (logs[:, 0] > logs[:, 1]).tolist()


def test_what_an_untrained_model_writes_about_risks_is_unparsed_and_never_no_risk(dream):
    found = Disentangler(dream, passes=["joint"], prompts="short", max_new_tokens=8).observe(
        [one.prompt for one in SET]
    )
    assert [one.observations for one in found] == [None] * len(SET)
    assert all(one.unparsed == 1 for one in found)


def test_it_is_evaluated_with_itself_as_observer_and_judge(dream, tmp_path):
    disentangler = Disentangler(dream, passes=["joint"], prompts="short", max_new_tokens=8)
    settings = Settings(max_new_tokens=4, batch_size=4, in_context=True)
    judge = LogitJudge(dream, ask=["safe", "effective"], prompts="short")
    found = evaluate(dream, judge, SET, disentangler=disentangler, settings=settings, to=tmp_path)
    assert found.figures["test/num_answers"] == 6
    assert found.figures["test/observations/recall_unparsed"] == 1.0
    again = evaluate(dream, judge, SET, disentangler=disentangler, settings=settings, to=tmp_path)
    assert again.as_json() == found.as_json()


def test_the_wrapper_answers_as_the_model_does_where_nothing_was_seen(dream):
    prompts = [one.prompt for one in SET[:3]]
    observing = WithObservations(dream, Disentangler(dream, passes=["joint"], prompts="short", max_new_tokens=4))
    assert observing.answer(prompts, max_new_tokens=6) == dream.answer(prompts, max_new_tokens=6)
    assert observing.unparsed == 3
