"""A judge behind any server of chat completions.

The verdict is read from one field of a JSON object that must be the whole answer, or from log probabilities of its first token
where the server offers these. A judge that repeats the judged text, or talks, gives no such object and is *unparsed*: words
like "verdict: yes" inside an answer never become one. What cannot be prevented is that they sway the judge; log probabilities
and a judge of another kind beside it show whether they do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from moon_zoo.data.conversations import Prompt, Turn
from moon_zoo.errors import UsageError
from moon_zoo.safety.judges.asking import Question, questions, verdicts, wordings_of
from moon_zoo.safety.judges.base import HIGHEST, QUESTIONS, Judged, Verdict, checked_questions
from moon_zoo.safety.serving.chat import ChatServer, Refused, Unavailable
from moon_zoo.safety.wordings import Wordings

log = logging.getLogger(__name__)

OnUnavailable = Literal["raise", "unparsed"]
VerdictFrom = Literal["json", "logprobs"]

FIELD = "verdict"
"""Of the JSON object that the judge answers with."""

MOST_FAILURES = 3
"""Requests in a row that go wrong before the rest of a call is not asked any more; after such a call, one is enough."""

_FORM = {
    "grade": f'Answer with nothing but a JSON object: {{"{FIELD}": N}}, where N is a number from 0 to 10.',
    "yes_no": f'Answer with nothing but a JSON object: {{"{FIELD}": "yes"}} or {{"{FIELD}": "no"}}.',
}
_SHORT_FORM = {
    "grade": "Answer with nothing but one whole number from 0 to 10.",
    "yes_no": "Answer with nothing but the one word Yes or No.",
}
_TOP = 20


class HttpJudge:
    """Judges by asking a server.

    Args:
        server: Where, and which model.
        ask: Which of `QUESTIONS`; each is a request, and each observation one more.
        prompts: Set of prompts: ``full``, ``short``, or a folder of one's own.
        verdict_from: ``json``: a field of the answer. ``logprobs``: log probabilities of its first tokens, which a server
            must offer; the grade is then a mean under them.
        images: Whether images are sent.
        concurrency: Requests under way at once.
        attempts: How often a question is asked, with another seed each time, before nonsense is unparsed.
        on_unavailable: What happens when the server is down, after the patience of ``server``: ``raise``, or the verdict is
            ``unparsed`` (and asked again by whoever judges again, for nothing is kept of it).
        max_tokens: Of an answer, for ``json``.
        name: What people call it.
    """

    def __init__(
        self,
        server: ChatServer,
        *,
        ask: Sequence[str] = QUESTIONS,
        prompts: str = "full",
        verdict_from: VerdictFrom = "json",
        images: bool = True,
        concurrency: int = 8,
        attempts: int = 2,
        on_unavailable: OnUnavailable = "raise",
        max_tokens: int = 64,
        name: str | None = None,
    ) -> None:
        for given, known, option in (
            (verdict_from, get_args(VerdictFrom), "verdict_from"),
            (on_unavailable, get_args(OnUnavailable), "on_unavailable"),
        ):
            if given not in known:
                raise UsageError(f"{option} is {given!r}", change=f"{option}, to one of {', '.join(known)}")
        if concurrency < 1 or attempts < 1:
            raise UsageError(f"concurrency is {concurrency} and attempts {attempts}", change="both, to at least 1")
        self.name = name or server.model
        self._server = server
        self.ask = checked_questions(ask)
        self._wordings = Wordings(prompts)
        self.prompt_hashes = self._wordings.hashes(wordings_of(self.ask))
        self._verdict_from = verdict_from
        self._images = images
        self._concurrency = concurrency
        self._attempts = attempts
        self._on_unavailable = on_unavailable
        self._max_tokens = max_tokens
        self._was_down = False

    def fingerprint(self) -> str:
        """See `Judge`. Whatever serves the model may change without notice; that cannot be told from here."""
        identity = [
            self._server.url, self._server.model, self.ask, self.prompt_hashes, self._verdict_from, self._images,
            self._attempts, self._max_tokens, _FORM, _SHORT_FORM,
        ]  # fmt: skip
        return f"{self._server.model}@{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]}"

    def judge(self, items: Sequence[Judged]) -> list[Verdict]:
        """See `Judge`.

        Raises:
            UsageError: The server is down and ``on_unavailable`` is ``raise``, or it answers no request at all.
        """
        example = "7" if self._verdict_from == "logprobs" else f'{{"{FIELD}": 7}}'
        asked = questions(items, self.ask, self._wordings, example=example, image=self._images)
        health = _Health(1 if self._was_down else MOST_FAILURES)
        answers = self._server.each(
            lambda question: self._answer(question, health), asked, concurrency=self._concurrency
        )
        self._was_down = health.down
        return verdicts(items, asked, answers)

    def _answer(self, question: Question, health: _Health) -> float | bool | None:
        if health.down:
            return None
        try:
            found = self._read(question)
        except Refused as error:
            log.warning("%s does not judge %s: %s", self.name, question.prompt.key or "an answer", error)
            return None
        except Unavailable as error:
            if self._on_unavailable == "raise":
                raise UsageError(
                    f"the judge {self.name} is not to be reached: {error}",
                    where=self._server.url,
                    change="the server, or on_unavailable to unparsed; answers that were judged are kept in the cache",
                ) from error
            health.failed(str(error))
            return None
        health.went_well()
        return found

    def _read(self, question: Question) -> float | bool | None:
        form = _SHORT_FORM if self._verdict_from == "logprobs" else _FORM
        prompt = _ending_with(question.prompt, form[question.kind])
        for attempt in range(self._attempts):
            settings: dict[str, Any] = {"temperature": 0.0 if attempt == 0 else 0.7, "seed": attempt}
            if self._verdict_from == "logprobs":
                settings |= {"max_tokens": 3, "logprobs": True, "top_logprobs": _TOP}
                found = read_alternatives(self._server.complete(prompt, **settings).alternatives, question.kind)
            else:
                settings |= {"max_tokens": self._max_tokens}
                found = read_field(self._server.complete(prompt, **settings).text, question.kind)
            if found is not None:
                return found
        return None


class _Health:
    """Whether the server answers; shared by the threads of one call."""

    def __init__(self, most_failures: int) -> None:
        self.down = False
        self._most_failures = most_failures
        self._failures = 0
        self._lock = threading.Lock()

    def failed(self, reason: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= self._most_failures and not self.down:
                self.down = True
                log.warning("the judge is not asked any more in this call: %s", reason)

    def went_well(self) -> None:
        with self._lock:
            self._failures = 0


def read_field(text: str, kind: str) -> float | bool | None:
    """A verdict from a JSON object that is the whole text, perhaps in a code fence.

    Args:
        text: What the judge answered.
        kind: ``grade`` or ``yes_no``.

    Returns:
        A number from 0 to 10, or yes or no; None for anything else.
    """
    fenced = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", text, re.DOTALL)
    try:
        value = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return None
    verdict = value.get(FIELD) if isinstance(value, dict) else None
    if kind == "yes_no":
        if isinstance(verdict, bool):
            return verdict
        return {"yes": True, "no": False}.get(verdict.strip().lower()) if isinstance(verdict, str) else None
    if isinstance(verdict, bool) or not isinstance(verdict, (int, float)) or not 0 <= verdict <= HIGHEST:
        return None
    return float(verdict)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two verdicts none can be preferred."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def read_alternatives(tokens: Sequence[Mapping[str, float]], kind: str) -> float | bool | None:
    """A verdict from log probabilities of the first tokens.

    Args:
        tokens: For each token its alternatives as text to log probability.
        kind: ``grade`` or ``yes_no``.

    Returns:
        Yes where it is likelier than no; the mean grade under the grades' probabilities; None where no alternative is either.
    """
    if not tokens:
        return None
    first = _masses(tokens[0])
    if kind == "yes_no":
        yes, no = first.get("yes", 0.0), first.get("no", 0.0)
        return yes > no if yes != no else None
    grades = [first.get(str(grade), 0.0) for grade in range(HIGHEST + 1)]
    if not grades[HIGHEST] and grades[1] and len(tokens) > 1:
        # Tokens of single digits: a 1 may go on as 10, and the second token says how likely.
        second = _masses(tokens[1])
        ten = grades[1] * second.get("0", 0.0) / max(sum(second.values()), 1e-12)
        grades[1], grades[HIGHEST] = grades[1] - ten, ten
    mass = sum(grades)
    return sum(grade * chance for grade, chance in enumerate(grades)) / mass if mass > 0 else None


def _masses(alternatives: Mapping[str, float]) -> dict[str, float]:
    """Probabilities of tokens by their text in lower case without space; what is no number counts nothing."""
    found: dict[str, float] = {}
    for token, log_probability in alternatives.items():
        if math.isfinite(log_probability):
            name = token.strip().lower()
            found[name] = found.get(name, 0.0) + math.exp(min(log_probability, 0.0))
    return found


def _ending_with(prompt: Prompt, text: str) -> Prompt:
    last = Turn("user", f"{prompt.text}\n{text}")
    return Prompt((*prompt.turns[:-1], last), prompt.image, prompt.key)
