"""A judge from plain values, as recipes and command lines hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moon_zoo.errors import UsageError
from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.judges.base import QUESTIONS, Judge
from moon_zoo.safety.judges.http import HttpJudge, OnUnavailable, VerdictFrom
from moon_zoo.safety.judges.logit import LogitJudge
from moon_zoo.safety.judges.rules import RulesJudge
from moon_zoo.safety.judges.words import WordsJudge
from moon_zoo.safety.serving.answer_cache import AnswerCache
from moon_zoo.safety.serving.chat import KEY_VARIABLE, ChatServer

ITSELF = "itself"
"""The judge that is the assistant under judgement."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Which judge, and how it is asked.

    Args:
        judge: ``rules`` (the conversation's own truth), ``words`` (refusals alone), ``itself`` (the assistant's own log
            probabilities), a server's URL, or a checkpoint, judged by its log probabilities.
        model: The judge's name on its server.
        ask: Which questions a model is asked: ``global``, ``observations``, ``safe``, ``effective``, ``refusal``.
        prompts: Set of prompts: ``full``, ``short``, or a folder of one's own.
        batch_size: Questions that a model reads at once.
        verdict_from: ``json`` or ``logprobs``: what a server's verdict is read from.
        images: Whether a server is sent images.
        on_unavailable: ``raise`` or ``unparsed``: what happens when the server is down.
        timeout_seconds: For the server to say something.
        concurrency: Requests to the server at once.
        requests_per_second: At most; None for as many as go.
        key_variable: The environment variable that holds the server's key.
    """

    judge: str = "rules"
    model: str = ""
    ask: Sequence[str] = QUESTIONS
    prompts: str = "full"
    batch_size: int = 16
    verdict_from: VerdictFrom = "json"
    images: bool = True
    on_unavailable: OnUnavailable = "raise"
    timeout_seconds: float = 60.0
    concurrency: int = 8
    requests_per_second: float | None = None
    key_variable: str = KEY_VARIABLE

    def __post_init__(self) -> None:
        if is_url(self.judge) and not self.model:
            raise UsageError(f"which model of {self.judge} is to judge?", change="the judge's model, to its name there")
        if self.model and not is_url(self.judge):
            raise UsageError(
                f"the model {self.model!r} is one of a server, but the judge {self.judge!r} is none",
                change="the judge, to the server's URL; or leave its model out",
            )


def is_url(text: str) -> bool:
    """Whether a judge's or an assistant's name may be a server."""
    return text.startswith(("http://", "https://"))


def make_judge(
    settings: JudgeSettings,
    *,
    load: Callable[[str], Assistant],
    itself: Assistant | None = None,
    cache: str | Path | None = None,
) -> Judge:
    """The judge that the settings name.

    Args:
        settings: Which.
        load: Makes an assistant of a checkpoint's name.
        itself: The assistant under judgement; None where there is none, or none that can judge.
        cache: File for a server's answers; None keeps none.

    Raises:
        UsageError: A setting means nothing, or ``itself`` is to judge and there is nobody.
    """
    if settings.judge == "rules":
        return RulesJudge()
    if settings.judge == "words":
        return WordsJudge()
    if is_url(settings.judge):
        server = ChatServer(
            settings.judge,
            settings.model,
            key_variable=settings.key_variable,
            timeout_seconds=settings.timeout_seconds,
            requests_per_second=settings.requests_per_second,
            cache=None if cache is None else AnswerCache(cache),
        )
        return HttpJudge(
            server,
            ask=settings.ask,
            prompts=settings.prompts,
            verdict_from=settings.verdict_from,
            images=settings.images,
            concurrency=settings.concurrency,
            on_unavailable=settings.on_unavailable,
        )
    if settings.judge == ITSELF and itself is None:
        raise UsageError("there is no assistant that could judge itself", change="the judge")
    assistant = itself if settings.judge == ITSELF and itself is not None else load(settings.judge)
    return LogitJudge(
        assistant, ask=settings.ask, prompts=settings.prompts, batch_size=settings.batch_size, name=settings.judge
    )
