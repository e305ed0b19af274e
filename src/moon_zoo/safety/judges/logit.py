"""A judge without a service: what a model of ours holds likely as the next words, yes or no, and a grade from 0 to 10.

Source: arXiv:2504.18053, section 3.3, where the global score is the mean grade under the model's distribution, the sum of
g p(g). The verdict comes from log probabilities of fixed options alone: nothing is generated and nothing is read back, so no
judged text can write the verdict, though it may still sway the model that reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.judges.asking import GRADES, YES_NO, Question, questions, verdicts, wordings_of
from moon_zoo.safety.judges.base import QUESTIONS, Judged, Verdict, checked_questions
from moon_zoo.safety.wordings import Wordings


class LogitJudge:
    """Judges by a model's log probabilities.

    Args:
        assistant: The model.
        ask: Which of `QUESTIONS`; each costs the model a reading of the answer.
        prompts: Set of prompts: ``full``, ``short``, or a folder of one's own.
        batch_size: Questions that the model reads at once.
        name: What people call it.
    """

    def __init__(
        self,
        assistant: Assistant,
        *,
        ask: Sequence[str] = QUESTIONS,
        prompts: str = "full",
        batch_size: int = 16,
        name: str = "logits",
    ) -> None:
        self.name = name
        self._assistant = assistant
        self.ask = checked_questions(ask)
        self._wordings = Wordings(prompts)
        self.prompt_hashes = self._wordings.hashes(wordings_of(self.ask))
        self._batch_size = batch_size

    def fingerprint(self) -> str:
        """See `Judge`."""
        identity = [self._assistant.fingerprint(), self.ask, self.prompt_hashes]
        return f"logits@{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]}"

    def judge(self, items: Sequence[Judged]) -> list[Verdict]:
        """See `Judge`. A question is unparsed where the model's numbers are not finite."""
        asked = questions(items, self.ask, self._wordings, example="7/10")
        answers: list[float | bool | None] = [None] * len(asked)
        for kind, options in (("grade", GRADES), ("yes_no", YES_NO)):
            places = [place for place, question in enumerate(asked) if question.kind == kind]
            for start in range(0, len(places), self._batch_size):
                some = places[start : start + self._batch_size]
                for place, chances in zip(some, self._chances([asked[place] for place in some], options)):
                    answers[place] = _answer(chances, kind)
        return verdicts(items, asked, answers)

    def _chances(self, asked: Sequence[Question], options: Sequence[str]) -> np.ndarray:
        """Probabilities of the options among themselves, ``(num_questions, num_options)``; NaN where there are none."""
        found = self._assistant.option_log_probabilities([question.prompt for question in asked], options)
        logs = np.asarray(found.detach().float().cpu() if hasattr(found, "detach") else found, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = np.exp(logs - logs.max(axis=1, keepdims=True))
            return weights / weights.sum(axis=1, keepdims=True)


def _answer(chances: np.ndarray, kind: str) -> float | bool | None:
    if not np.isfinite(chances).all():
        return None
    if kind == "grade":
        return float(chances @ np.arange(len(chances)))
    return bool(chances[0] > chances[1])
