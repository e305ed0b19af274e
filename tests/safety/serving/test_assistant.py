"""An assistant behind a real server answers in order, draws by seeds, and says in words what it cannot."""

from __future__ import annotations

import time

import pytest

from moon_zoo.data.conversations import Prompt, Turn, user
from moon_zoo.data.fetch import Patience
from moon_zoo.errors import UsageError
from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.serving.assistant import ServedAssistant
from moon_zoo.safety.serving.chat import ChatServer
from tests.safety.server import Reply, serving, text_of


def served(server):
    return ServedAssistant(
        ChatServer(server.url, "m", patience=Patience(attempts=2, backoff_seconds=0.01)), concurrency=3
    )


def test_answers_come_in_the_order_of_prompts_and_samples():
    with serving(lambda body, number: Reply(f"{text_of(body)}/{body['seed'] % 1009}")) as server:
        assistant = served(server)
        assert isinstance(assistant, Assistant)
        prompts = [Prompt(user(f"q{n}")) for n in range(4)]
        answers = assistant.answer(prompts, samples=2, temperature=1.0, seed=5)
    assert answers == [[f"q{n}/0", f"q{n}/1"] for n in range(4)]
    assert {body["temperature"] for body in server.bodies} == {1.0}


def test_all_turns_are_sent_and_the_image_with_the_users_first():
    turns = (Turn("system", "s"), Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    with serving(lambda body, number: Reply("x")) as server:
        served(server).answer([Prompt(turns, b"\xff\xd8\xffphoto")])
    messages = server.bodies[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[1]["content"][0]["type"] == "image_url"
    assert messages[3]["content"] == "c"


def test_a_server_that_is_down_is_said_in_words():
    with serving(lambda body, number: Reply(status=500)) as server:
        assistant = served(server)
        with pytest.raises(UsageError, match=r"(?s)gives no answer: .*answered 500; tried 2 times.*where:  c9"):
            assistant.answer([Prompt(user("?"), key="c9")])


def test_the_first_failure_ends_the_work_and_what_waits_is_not_asked():
    """Three at once, of which the first fails for good; the others under way may try once more, the other 197 never."""
    with serving(lambda body, number: Reply(status=404)) as server:
        with pytest.raises(UsageError, match="answered 404"):
            served(server).answer([Prompt(user(f"q{n}")) for n in range(200)])
        assert len(server.bodies) < 20


def test_work_that_was_given_up_does_not_wait_for_its_next_try():
    def answer(body, number):
        return Reply(status=404) if text_of(body) == "q1" else Reply(status=503, headers={"Retry-After": "30"})

    with serving(answer) as server:
        assistant = ServedAssistant(ChatServer(server.url, "m"), concurrency=2)
        began = time.monotonic()
        with pytest.raises(UsageError):
            assistant.answer([Prompt(user("q2")), Prompt(user("q1"))])
        assert time.monotonic() - began < 10
        with pytest.raises(UsageError, match="answered 404"):  # and the next call is not given up from the start
            assistant.answer([Prompt(user("q1"))])


def test_log_probabilities_of_given_answers_are_refused_with_what_to_do():
    with pytest.raises(UsageError, match=r"(?s)no log probabilities.*HttpJudge"):
        ServedAssistant(ChatServer("http://localhost/v1", "m")).option_log_probabilities([], [])
