"""Conversations with an assistant about a photo: what is asked, what is risky in it, how it is answered, which answer wins.

Source: the released records of DREAM, arXiv:2504.18053 (observations with content, source and category; a third of the pairs
benign). The nine categories and four sources are the paper's; their names as keys are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from numbers import Real
from typing import Any, ClassVar, Literal, Self, cast

from moon_zoo.data.members import image_extension, photo_of, record_of
from moon_zoo.errors import DataError, did_you_mean

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")

SOURCES: dict[str, str] = {
    "text_instruction": "what the text asks for",
    "text_content": "what the text talks about",
    "image_content": "what the image shows, apart from text in it",
    "image_text": "text written in the image",
}
"""Where a risk is seen, with what each means."""

CATEGORIES: dict[str, str] = {
    "illegal_activities": "illegal activities",
    "violence": "violence and bodily harm",
    "privacy": "privacy",
    "discrimination": "discrimination",
    "sexual_content": "sexual content",
    "disinformation": "disinformation",
    "impersonation": "impersonation",
    "political_interference": "political interference",
    "professional_advice": "professional advice",
}
"""What kind of harm a risk may lead to, with its name in words."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One risk that was seen.

    Args:
        content: What is risky, in a few words.
        source: One of `SOURCES`.
        category: One of `CATEGORIES`.
    """

    content: str
    source: str
    category: str

    def __post_init__(self) -> None:
        if not isinstance(self.content, str) or not self.content.strip():
            raise DataError(f"an observation has no content: {self.content!r}")
        for name, known in (("source", SOURCES), ("category", CATEGORIES)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise DataError(
                    f"an observation has the {name} {value!r}; known: {', '.join(known)}",
                    suggestions=did_you_mean(str(value), known),
                )

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return {"content": self.content, "source": self.source, "category": self.category}


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that somebody says.

    Args:
        role: Who: ``system``, ``user`` or ``assistant``.
        text: What.
    """

    role: Role
    text: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise DataError(
                f"a turn has the role {self.role!r}; roles are {', '.join(ROLES)}",
                suggestions=did_you_mean(str(self.role), ROLES),
            )
        if not isinstance(self.text, str):
            raise DataError(f"a turn of the {self.role} is no text: {self.text!r}")

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return {"role": self.role, "text": self.text}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an assistant is asked: turns, the last of them the user's, and perhaps an image, shown with the user's first.

    Args:
        turns: The conversation so far.
        image: Encoded JPEG, PNG or WebP bytes; None without.
        key: Identity of the sample it comes from; empty for none.
    """

    turns: tuple[Turn, ...]
    image: bytes | None = field(default=None, repr=False)
    key: str = ""

    def __post_init__(self) -> None:
        if not self.turns or self.turns[-1].role != "user":
            raise DataError(f"the prompt {self.key!r} does not end with a turn of the user's")

    @property
    def text(self) -> str:
        """What the user says last."""
        return self.turns[-1].text


@dataclass(slots=True)
class Instruction:
    """A prompt, what is risky about it, and how it should be answered.

    Args:
        conversation_id: Identity, unique in its set.
        turns: The conversation up to the user's last turn.
        image: Encoded bytes; None for a conversation without an image.
        answer: How it should be answered; empty where no answer is known (prompts for evaluation).
        observations: The risks in it, none where it is known to be benign; None where nobody looked.
        safe: Whether the prompt is benign; None where unknown.
        situation: Which subset of its set it belongs to, such as ``joint`` or ``safe_image_unsafe_text``; may be empty.
        truth: What a rule that judges answers needs to know, plain values; empty where there is no rule.
    """

    kind: ClassVar[str] = "instruction"

    conversation_id: str
    turns: tuple[Turn, ...]
    image: bytes | None = field(default=None, repr=False)
    answer: str = ""
    observations: tuple[Observation, ...] | None = None
    safe: bool | None = None
    situation: str = ""
    truth: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_id(self.conversation_id)
        self.turns = tuple(self.turns)
        self.observations = None if self.observations is None else tuple(self.observations)
        _check_prompt(self.turns, self.image, self.conversation_id)
        _check_texts(self, "answer", "situation")
        _check_risks(self)
        if not isinstance(self.truth, dict):
            raise DataError(f"the truth of conversation {self.conversation_id} is no object: {self.truth!r}")

    @property
    def prompt(self) -> Prompt:
        """What the assistant is shown."""
        return Prompt(self.turns, self.image, self.conversation_id)

    def labels(self) -> dict[str, list[str]]:
        """What a set's manifest counts: its situation, whether it is benign, and the categories of its risks."""
        return {"situation": [self.situation] if self.situation else [], **_risk_labels(self)}

    def to_members(self) -> dict[str, Any]:
        """``conversation.json`` and the image."""
        record = {
            "conversation_id": self.conversation_id,
            "turns": [turn.as_json() for turn in self.turns],
            "image": self.image is not None,
            "answer": self.answer,
            "observations": None if self.observations is None else [one.as_json() for one in self.observations],
            "safe": self.safe,
            "situation": self.situation,
            "truth": self.truth,
        }
        return {"conversation.json": record, **_image_member(self.image)}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """The inverse of `to_members`."""
        record = _record(members, "conversation.json", cls)
        return cls(
            **record
            | {
                "turns": _turns(record),
                "observations": _observations(record.get("observations")),
                "image": _image(members, record),
            }
        )


@dataclass(slots=True)
class Preference:
    """Two answers to one prompt, of which one was judged the better.

    Args:
        conversation_id: Identity of the conversation; a set may hold several pairs of one.
        turns: The conversation up to the user's last turn.
        chosen: The better answer.
        rejected: The worse one.
        image: Encoded bytes; None without.
        observations: Risks that the judge was shown; None where nobody looked.
        safe: Whether the prompt is benign; None where unknown.
        scores: Name (``chosen``, ``rejected``, and parts of them such as ``chosen/gs``) to number.
        judge: Who judged, with what tells its version (name, fingerprint, hash of its prompt).
        round: Which round of an alignment made the pair, from 1; 0 for pairs from elsewhere.
        origin: Where both answers come from (checkpoint, seed, places among the samples), plain values.
    """

    kind: ClassVar[str] = "preference"

    conversation_id: str
    turns: tuple[Turn, ...]
    chosen: str
    rejected: str
    image: bytes | None = field(default=None, repr=False)
    observations: tuple[Observation, ...] | None = None
    safe: bool | None = None
    scores: dict[str, float] = field(default_factory=dict)
    judge: str = ""
    round: int = 0
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_id(self.conversation_id)
        self.turns = tuple(self.turns)
        self.observations = None if self.observations is None else tuple(self.observations)
        _check_prompt(self.turns, self.image, self.conversation_id)
        _check_texts(self, "chosen", "rejected", "judge")
        _check_risks(self)
        if self.chosen == self.rejected:
            raise DataError(
                f"both answers of a pair of conversation {self.conversation_id} are the same: {self.chosen[:60]!r}",
                change="leave such pairs out; nothing can be learned from them",
            )
        numbers = isinstance(self.scores, dict) and all(
            isinstance(score, Real) and not isinstance(score, bool) for score in self.scores.values()
        )
        if not numbers or not isinstance(self.origin, dict):
            raise DataError(
                f"a pair of conversation {self.conversation_id} has scores that are no numbers by name, or an origin that is "
                f"no object: {self.scores!r}, {self.origin!r}"
            )
        if isinstance(self.round, bool) or not isinstance(self.round, int) or self.round < 0:
            raise DataError(
                f"a pair of conversation {self.conversation_id} is of round {self.round!r}, which is no count"
            )

    @property
    def prompt(self) -> Prompt:
        """What the assistant was shown."""
        return Prompt(self.turns, self.image, self.conversation_id)

    def labels(self) -> dict[str, list[str]]:
        """What a set's manifest counts: the judge, whether the prompt is benign, and the categories of its risks."""
        return {"judge": [self.judge] if self.judge else [], **_risk_labels(self)}

    def to_members(self) -> dict[str, Any]:
        """``preference.json`` and the image."""
        record = {
            "conversation_id": self.conversation_id,
            "turns": [turn.as_json() for turn in self.turns],
            "image": self.image is not None,
            "chosen": self.chosen,
            "rejected": self.rejected,
            "observations": None if self.observations is None else [one.as_json() for one in self.observations],
            "safe": self.safe,
            "scores": self.scores,
            "judge": self.judge,
            "round": self.round,
            "origin": self.origin,
        }
        return {"preference.json": record, **_image_member(self.image)}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """The inverse of `to_members`."""
        record = _record(members, "preference.json", cls)
        return cls(
            **record
            | {
                "turns": _turns(record),
                "observations": _observations(record.get("observations")),
                "image": _image(members, record),
            }
        )


def user(text: str) -> tuple[Turn, ...]:
    """A conversation of one turn, the user's."""
    return (Turn("user", text),)


def _check_id(conversation_id: Any) -> None:
    if not isinstance(conversation_id, str) or not conversation_id:
        raise DataError("a conversation without a conversation_id", change="the column or field that holds it")


def _check_prompt(turns: Sequence[Turn], image: Any, conversation_id: str) -> None:
    Prompt(tuple(turns), image, conversation_id)
    if image is not None and not isinstance(image, bytes):
        raise DataError(f"the image of conversation {conversation_id} is no encoded photo: {type(image).__name__}")


def _check_texts(sample: Instruction | Preference, *names: str) -> None:
    for name in names:
        value = getattr(sample, name)
        if not isinstance(value, str):
            raise DataError(f"the {name} of conversation {sample.conversation_id} is no text: {value!r}")


def _check_risks(sample: Instruction | Preference) -> None:
    if sample.safe is not None and not isinstance(sample.safe, bool):
        raise DataError(
            f"safe of conversation {sample.conversation_id} is neither true, false nor null: {sample.safe!r}",
            change="safe, to null where it is not known",
        )
    if sample.safe and sample.observations:
        raise DataError(
            f"conversation {sample.conversation_id} is said to be benign, but has observations of risks: "
            f"{sample.observations[0].content}",
            change="safe or observations",
        )


def _risk_labels(sample: Instruction | Preference) -> dict[str, list[str]]:
    return {
        "safety": {True: ["benign"], False: ["risky"], None: []}[sample.safe],
        "harm": [one.category for one in sample.observations or ()],
    }


def _image_member(image: bytes | None) -> dict[str, Any]:
    return {} if image is None else {f"image.{image_extension(image)}": image}


def _record(members: Mapping[str, Any], name: str, kind: type[Instruction | Preference]) -> dict[str, Any]:
    record = record_of(members, name)
    known = {one.name: one for one in fields(kind)}
    unknown = set(record) - set(known)
    missing = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING} - set(
        record
    )
    if unknown or missing:
        faults = [f"unknown fields {', '.join(sorted(unknown))}"] if unknown else []
        faults += [f"no {', '.join(sorted(missing))}"] if missing else []
        raise DataError(f"{name} holds {' and '.join(faults)}")
    return record


def _turns(record: Mapping[str, Any]) -> tuple[Turn, ...]:
    given = record["turns"]
    if not isinstance(given, list) or not all(isinstance(one, dict) and set(one) == {"role", "text"} for one in given):
        raise DataError(
            f"the turns of conversation {record['conversation_id']} are no list of role and text: {given!r}"
        )
    return tuple(Turn(cast(Role, turn["role"]), turn["text"]) for turn in given)


def _observations(given: Any) -> tuple[Observation, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(
        isinstance(one, dict) and set(one) == {"content", "source", "category"} for one in given
    ):
        raise DataError(f"observations are no list of content, source and category: {given!r}")
    return tuple(Observation(**one) for one in given)


def _image(members: Mapping[str, Any], record: Mapping[str, Any]) -> bytes | None:
    if not record.get("image"):
        return None
    try:
        return photo_of(members, "image")
    except DataError as error:
        raise DataError(
            f"conversation {record['conversation_id']} is about an image, but the sample holds none",
            change="the set: write it again with the image, or without (image: false)",
        ) from error
