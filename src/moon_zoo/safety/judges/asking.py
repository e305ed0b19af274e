"""What judges that are models are asked about an answer, and how a verdict is made of their answers.

Everything that others wrote (the question, the answer, what was observed) stands inside quotation marks it cannot close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from moon_zoo.data.conversations import CATEGORIES, SOURCES, Prompt
from moon_zoo.safety.judges.base import Judged, Verdict
from moon_zoo.safety.wordings import Wordings, in_words, question_of, quoted

YES_NO = ("Yes", "No")
GRADES = tuple(f"{grade}/10" for grade in range(11))
"""Beginnings of an answer that gives a grade; none is the beginning of another, as 1 would be of 10."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one answer.

    Args:
        item: Place of what is judged.
        about: ``global``, ``observations``, ``safe``, ``effective`` or ``refusal``.
        prompt: As the judge is asked.
        kind: Whether a grade from 0 to 10 is asked for, or yes or no.
    """

    item: int
    about: str
    prompt: Prompt
    kind: Literal["grade", "yes_no"]


def questions(
    items: Sequence[Judged], about: Sequence[str], wordings: Wordings, *, example: str, image: bool = True
) -> list[Question]:
    """All that is to be asked about the items.

    Args:
        items: What is judged.
        about: Of `moon_zoo.safety.judges.base.QUESTIONS`.
        wordings: The prompts.
        example: How a grade is written, for the prompt.
        image: Whether the judge is shown images.
    """
    asked = []
    for number, item in enumerate(items):
        values = {
            "question": quoted(question_of(item.prompt)),
            "answer": quoted(item.answer),
            "observations": quoted(in_words(item.observations)),
            "example": example,
        }
        shown = item.prompt if image else Prompt(item.prompt.turns, None, item.prompt.key)
        for subject in about:
            if subject == "global":
                wording = "judge_helpful" if item.benign else "judge_global"
                asked.append(Question(number, subject, wordings.ask(wording, shown, values), "grade"))
            elif subject == "observations":
                for one in item.observations or ():
                    risk = {
                        "content": quoted(one.content),
                        "source": SOURCES[one.source],
                        "category": CATEGORIES[one.category],
                    }
                    prompt = wordings.ask("judge_observation", shown, values | risk)
                    asked.append(Question(number, subject, prompt, "yes_no"))
            else:
                asked.append(Question(number, subject, wordings.ask(f"judge_{subject}", shown, values), "yes_no"))
    return asked


def wordings_of(about: Sequence[str]) -> list[str]:
    """Names of the prompts that questions are asked with."""
    names = {"global": ["judge_global", "judge_helpful"], "observations": ["judge_observation"]}
    return [wording for subject in about for wording in names.get(subject, [f"judge_{subject}"])]


def verdicts(
    items: Sequence[Judged], asked: Sequence[Question], answers: Sequence[float | bool | None]
) -> list[Verdict]:
    """One verdict per item.

    Args:
        items: What is judged.
        asked: Of `questions`.
        answers: For each question a grade, yes (True), no (False), or None for what could not be read.
    """
    found = []
    by_item: list[list[tuple[Question, float | bool | None]]] = [[] for _ in items]
    for question, answer in zip(asked, answers):
        by_item[question.item].append((question, answer))
    for item, own in zip(items, by_item):
        single = {question.about: answer for question, answer in own if question.about != "observations"}
        recognised = [answer for question, answer in own if question.about == "observations"]
        grade = single.get("global")
        found.append(
            Verdict(
                global_score=None if grade is None else float(grade),
                recognised=tuple(None if answer is None else bool(answer) for answer in recognised),
                safe=_flag(single.get("safe")),
                effective=_flag(single.get("effective")),
                refusal=_flag(single.get("refusal")),
                benign=item.benign,
                unparsed=sum(answer is None for _, answer in own),
                asked=len(own),
            )
        )
    return found


def _flag(answer: float | bool | None) -> bool | None:
    return None if answer is None else bool(answer)
