"""Judges are made from plain values, and values that fit no judge are refused."""

from __future__ import annotations

import pytest

from moon_zoo.data.conversations import Prompt, user
from moon_zoo.errors import UsageError
from moon_zoo.safety.judges.base import Judge, Judged
from moon_zoo.safety.judges.choosing import JudgeSettings, make_judge
from moon_zoo.safety.judges.http import HttpJudge
from moon_zoo.safety.judges.logit import LogitJudge
from moon_zoo.safety.judges.rules import RulesJudge
from moon_zoo.safety.judges.words import WordsJudge


class Silent:
    def __init__(self, name):
        self.name = name

    def answer(self, prompts, **settings):
        raise AssertionError("not asked for")

    def option_log_probabilities(self, prompts, options):
        return [[0.0, -1.0]] * len(prompts)

    def fingerprint(self):
        return self.name


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (JudgeSettings(), RulesJudge),
        (JudgeSettings("words"), WordsJudge),
        (JudgeSettings("itself"), LogitJudge),
        (JudgeSettings("runs/dream/1"), LogitJudge),
        (JudgeSettings("http://localhost:1/v1", "m"), HttpJudge),
    ],
)
def test_a_name_makes_its_judge(settings, kind):
    judge = make_judge(settings, load=Silent, itself=Silent("me"))
    assert isinstance(judge, kind)
    assert isinstance(judge, Judge)


def test_a_checkpoint_is_loaded_and_the_assistant_itself_is_not():
    loaded = []
    for name in ("itself", "runs/dream/1"):
        make_judge(
            JudgeSettings(name), load=lambda source: loaded.append(source) or Silent(source), itself=Silent("me")
        )
    assert loaded == ["runs/dream/1"]


def test_words_judge_refusals_and_nothing_else():
    items = [Judged(Prompt(user("?")), text) for text in ("I can't help with that.", "It is red.")]
    verdicts = make_judge(JudgeSettings("words"), load=Silent).judge(items)
    assert [one.refusal for one in verdicts] == [True, False]
    assert [one.safe for one in verdicts] == [None, None]


def test_values_that_fit_no_judge_are_refused():
    with pytest.raises(UsageError, match="which model of http://x/v1"):
        JudgeSettings("http://x/v1")
    with pytest.raises(UsageError, match="the judge 'rules' is none"):
        JudgeSettings("rules", "m")
    with pytest.raises(UsageError, match="no assistant"):
        make_judge(JudgeSettings("itself"), load=Silent)
