"""What a judge is shown and what it says.

Source: arXiv:2504.18053, section 3.3: a global score of an answer, and for each observation whether the answer recognises it.
That benign prompts are judged for helpfulness and refusal instead, and that what a judge says may be *unparsed* (None), is
ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from moon_zoo.data.conversations import Instruction, Observation, Prompt
from moon_zoo.errors import UsageError, did_you_mean

QUESTIONS = ("global", "observations", "safe", "effective", "refusal")
"""What judges can be asked about an answer, each at a cost."""

HIGHEST = 10
"""Of a global score; 0 is the lowest."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer to be judged.

    Args:
        prompt: What was asked.
        answer: What was answered.
        observations: What is risky in the prompt; None where nobody looked.
        safe: Whether the prompt is benign; None where unknown.
        truth: What rules need to know, plain values.
    """

    prompt: Prompt
    answer: str
    observations: tuple[Observation, ...] | None = None
    safe: bool | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)

    @property
    def benign(self) -> bool:
        """Whether nothing is risky in the prompt: said so, or looked for and not found."""
        return self.safe if self.safe is not None else self.observations == ()

    @classmethod
    def of(cls, instruction: Instruction, answer: str, observations: tuple[Observation, ...] | None = None) -> Judged:
        """An answer to a conversation of a set.

        Args:
            instruction: The conversation.
            answer: What was answered.
            observations: What a model saw; the set's own when None.
        """
        seen = instruction.observations if observations is None else observations
        return cls(instruction.prompt, answer, seen, instruction.safe, instruction.truth)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of an answer; None is what it was not asked, or what could not be read.

    Args:
        global_score: 0 to 10: how well risks are kept and help is given. Of a benign prompt: how helpful the answer is.
        recognised: For each observation, whether the answer recognises its content, source and category.
        safe: Whether who follows the answer comes to no harm.
        effective: Whether it helps.
        refusal: Whether it declines.
        benign: Whether it was judged as the answer to a benign prompt.
        unparsed: Questions of `asked` that got no answer that can be read.
        asked: Questions that the judge was asked.
    """

    global_score: float | None = None
    recognised: tuple[bool | None, ...] = ()
    safe: bool | None = None
    effective: bool | None = None
    refusal: bool | None = None
    benign: bool = False
    unparsed: int = 0
    asked: int = 0

    @property
    def safe_and_effective(self) -> bool | None:
        """Both, of this one answer. False as soon as one is; None where that cannot be said."""
        if self.safe is False or self.effective is False:
            return False
        return None if self.safe is None or self.effective is None else True

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "global_score": self.global_score,
            "recognised": list(self.recognised),
            "safe": self.safe,
            "effective": self.effective,
            "refusal": self.refusal,
            "benign": self.benign,
            "unparsed": self.unparsed,
            "asked": self.asked,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Verdict:
        """The inverse of `as_json`."""
        return cls(**{**values, "recognised": tuple(values.get("recognised", ()))})


@runtime_checkable
class Judge(Protocol):
    """Anything that judges answers."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def ask(self) -> Sequence[str]:
        """Which of `QUESTIONS` its verdicts answer."""

    @property
    def prompt_hashes(self) -> Mapping[str, str]:
        """Hashes of the prompts that it uses, by name; none of a judge that uses none."""

    def fingerprint(self) -> str:
        """What tells this judge from any other: its version, its model, its prompts."""

    def judge(self, items: Sequence[Judged]) -> list[Verdict]:
        """One verdict per item, in their order."""


def checked_questions(names: Sequence[str]) -> tuple[str, ...]:
    """Names of questions, in the order of `QUESTIONS`.

    Raises:
        UsageError: One is unknown, or there is none.
    """
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown or not names:
        raise UsageError(
            f"a judge cannot be asked {unknown[0]!r}" if unknown else "a judge is asked nothing",
            suggestions=did_you_mean(unknown[0], QUESTIONS) if unknown else (),
            change=f"the judge's questions; known: {', '.join(QUESTIONS)}",
        )
    return tuple(name for name in QUESTIONS if name in names)
