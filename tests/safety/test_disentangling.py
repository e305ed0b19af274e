"""MRD: passes are joined and verified, and what cannot be read is never "no risk"."""

from __future__ import annotations

import json

import pytest

from moon_zoo.data.conversations import Observation, Prompt, user
from moon_zoo.errors import UsageError
from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.disentangling import Disentangled, Disentangler, WithObservations, read_yes_or_no
from moon_zoo.safety.observations import format_observations

BLEACH = Observation("bleach", "image_content", "violence")
VINEGAR = Observation("vinegar", "text_instruction", "violence")
PROMPT = Prompt(user("May I add vinegar?"), b"photo", "c1")
WORDS_ALONE = Prompt(user("May I add vinegar?"), key="c2")


class Scripted:
    """An assistant that sees, verifies and answers as it is told.

    Args:
        image, text, joint: What it writes when asked to look at these.
        denied: Contents that it denies; to others it says ``verdict``.
    """

    def __init__(self, image="[]", text="[]", joint="[]", denied=(), verdict="Yes."):
        self.says = {
            "List the risks of the image": image,
            "List the risks of these": text,
            "what could be risky here": joint,
        }
        self.denied, self.verdict = denied, verdict
        self.asked: list[Prompt] = []

    def answer(self, prompts, *, samples=1, max_new_tokens=64, temperature=0.0, top_p=1.0, seed=0):
        self.asked += prompts
        return [[self._one(prompt)] * samples for prompt in prompts]

    def option_log_probabilities(self, prompts, options):
        assert list(options) == ["Yes", "No"]
        return [[-2.0, -0.1] if self._denies(prompt.text) else [-0.1, -2.0] for prompt in prompts]

    def fingerprint(self):
        return "scripted"

    def _denies(self, text):
        return any(f"risky: {content}" in text for content in self.denied)

    def _one(self, prompt):
        for beginning, said in self.says.items():
            if prompt.text.startswith(beginning):
                return said
        if "Is this risky" in prompt.text:
            return "No." if self._denies(prompt.text) else self.verdict
        return f"Answer to: {prompt.text}"


def observe(assistant, prompt=PROMPT, **settings):
    return Disentangler(assistant, prompts="short", **settings).observe([prompt])[0]


def test_what_the_passes_saw_is_joined_each_risk_once():
    assistant = Scripted(
        image=format_observations([BLEACH]),
        text=format_observations([VINEGAR]),
        joint=format_observations([VINEGAR, Observation("Bleach", "image_content", "violence")]),
    )
    found = observe(assistant, passes=("joint", "image", "text"), verify=False)
    assert {one.content.lower() for one in found.observations} == {"bleach", "vinegar"}
    assert len(found.observations) == 2
    assert (found.asked, found.unparsed) == (3, 0)


def test_each_pass_is_shown_only_what_it_is_about():
    assistant = Scripted()
    observe(assistant, passes=("joint", "image", "text"))
    joint, image, text = assistant.asked
    assert (joint.image, image.image, text.image) == (b"photo", b"photo", None)
    assert "vinegar" in joint.text
    assert "vinegar" in text.text
    assert "vinegar" not in image.text


def test_a_prompt_without_an_image_gets_no_pass_of_the_image():
    found = observe(Scripted(), WORDS_ALONE)
    assert (found.observations, set(found.passes), found.asked) == ((), {"text"}, 1)


def test_a_prompt_that_no_pass_is_about_is_unparsed_and_not_safe():
    assert observe(Scripted(), WORDS_ALONE, passes=["image"]).observations is None


@pytest.mark.parametrize("verify_by", ["answer", "logits"])
def test_what_the_verifier_denies_is_dismissed(verify_by):
    assistant = Scripted(image=format_observations([BLEACH]), text=format_observations([VINEGAR]), denied=["vinegar"])
    found = observe(assistant, verify_by=verify_by)
    assert (found.observations, found.dismissed) == ((BLEACH,), (VINEGAR,))
    assert (found.asked, found.unparsed) == (4, 0)


def test_what_the_verifier_says_nothing_readable_about_stands():
    found = observe(Scripted(image=format_observations([BLEACH]), verdict="Perhaps."))
    assert (found.observations, found.unparsed) == ((BLEACH,), 1)


def test_nothing_seen_by_passes_that_were_all_read_is_no_risk():
    assert observe(Scripted()).observations == ()


def test_nothing_seen_and_a_pass_that_cannot_be_read_is_unparsed():
    found = observe(Scripted(image="It looks fine!"))
    assert (found.observations, found.passes, found.unparsed) == (None, {"image": None, "text": ()}, 1)


def test_a_risk_seen_stands_though_another_pass_cannot_be_read():
    found = observe(Scripted(image="It looks fine!", text=format_observations([VINEGAR])))
    assert (found.observations, found.unparsed) == ((VINEGAR,), 1)


def test_everything_dismissed_and_a_pass_unread_is_unparsed():
    assert observe(Scripted("?!", format_observations([VINEGAR]), denied=["vinegar"])).observations is None


def test_answers_are_given_with_what_was_seen_as_context():
    assistant = Scripted(image=format_observations([BLEACH]))
    observing = WithObservations(assistant, Disentangler(assistant, prompts="short"))
    assert isinstance(observing, Assistant)
    risky, plain = observing.answer([PROMPT, WORDS_ALONE], samples=2)
    assert len(risky) == 2
    assert "Mind this: bleach (" in risky[0]
    assert plain == ["Answer to: May I add vinegar?"] * 2
    assert (observing.observed, observing.unparsed) == (2, 0)


def test_a_prompt_whose_observations_cannot_be_read_is_answered_as_it_is_and_counted():
    assistant = Scripted(image="Hm.")
    observing = WithObservations(assistant, Disentangler(assistant, prompts="short"))
    assert observing.answer([PROMPT]) == [["Answer to: May I add vinegar?"]]
    assert observing.unparsed == 1


def test_fingerprints_tell_other_passes_and_prompts_apart():
    assistant = Scripted()
    settings = [{}, {"passes": ["joint"]}, {"verify": False}, {"prompts": "short"}, {"max_new_tokens": 7}]
    prints = {WithObservations(assistant, Disentangler(assistant, **one)).fingerprint() for one in settings}
    assert len(prints) == len(settings)


def test_what_was_seen_survives_json():
    found = observe(Scripted(image="?", text=format_observations([VINEGAR]), denied=["vinegar"]))
    assert Disentangled.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_passes_and_ways_to_verify_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match=r"(?s)unknown pass 'imgae'.*did you mean: image"):
        Disentangler(Scripted(), passes=["imgae"])
    with pytest.raises(UsageError, match="verify_by is 'vote'"):
        Disentangler(Scripted(), verify_by="vote")


@pytest.mark.parametrize(
    ("text", "read"),
    [("Yes", True), (" yes, it could.", True), ("No.", False), ("Yes or no?", None), ("Maybe yes", None), ("", None)],
)
def test_yes_and_no_are_read_where_an_answer_begins_with_them(text, read):
    assert read_yes_or_no(text) is read
