"""Follow-up questions: what was asked, how it was answered, what is asked next, and the knowledge behind it.

Source: "Follow-up question generation enhanced by external knowledge", arXiv:2504.05801. Knowledge is kept with the sample,
with where it comes from, so that it is looked up once and not again in every epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self

from moon_zoo.data.members import record_of
from moon_zoo.errors import DataError

FOLLOW_UP_MEMBER = "follow_up.json"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was found outside of a question and its answer.

    Args:
        text: What a model reads; empty where nothing was found.
        concept: Title of the concept that it is about; empty where nothing was found.
        source: Name of the source of knowledge.
        provenance: How it was found, plain values: topic, page, node, scores, settings, fingerprints.
    """

    text: str
    concept: str = ""
    source: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("text", "concept", "source"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise DataError(f"the {name} of knowledge is no text: {value!r}")
        if not isinstance(self.provenance, Mapping):
            raise DataError(f"the provenance of knowledge is no object: {self.provenance!r}")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "text": self.text,
            "concept": self.concept,
            "source": self.source,
            "provenance": dict(self.provenance),
        }


@dataclass(slots=True)
class FollowUp:
    """A question, its answer, and the question that was asked next.

    Args:
        conversation_id: Identity, unique in its set.
        question: What was asked.
        answer: How it was answered.
        follow_up: What was asked next; empty where it is to be found out.
        knowledge: What was found outside of the two; None where nobody looked.
        truth: What is known about the follow-up, plain values: ``concept`` (the concept behind it), ``page`` (its key). Empty
            where nothing is known.
    """

    kind: ClassVar[str] = "follow_up"

    conversation_id: str
    question: str
    answer: str
    follow_up: str = ""
    knowledge: Knowledge | None = None
    truth: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.conversation_id, str) or not self.conversation_id:
            raise DataError("a follow-up without a conversation_id", change="the column or field that holds it")
        for name in ("question", "answer", "follow_up"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise DataError(f"the {name} of conversation {self.conversation_id} is no text: {value!r}")
        if not self.question.strip() and not self.answer.strip():
            raise DataError(f"conversation {self.conversation_id} has neither a question nor an answer")
        if self.knowledge is not None and not isinstance(self.knowledge, Knowledge):
            raise DataError(f"the knowledge of conversation {self.conversation_id} is {self.knowledge!r:.60}")
        if not isinstance(self.truth, dict):
            raise DataError(f"the truth of conversation {self.conversation_id} is no object: {self.truth!r}")

    def labels(self) -> dict[str, list[str]]:
        """What a set's manifest counts: where knowledge comes from, and whether any was found."""
        known = self.knowledge
        if known is None:
            return {"knowledge": ["none"]}
        return {"knowledge": [(known.source or "unnamed source") if known.text else "nothing found"]}

    def to_members(self) -> dict[str, Any]:
        """``follow_up.json``."""
        record = {
            "conversation_id": self.conversation_id,
            "question": self.question,
            "answer": self.answer,
            "follow_up": self.follow_up,
            "knowledge": None if self.knowledge is None else self.knowledge.as_json(),
            "truth": self.truth,
        }
        return {FOLLOW_UP_MEMBER: record}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """The inverse of `to_members`."""
        record = record_of(members, FOLLOW_UP_MEMBER)
        _check_fields(record, cls, FOLLOW_UP_MEMBER)
        known = record.get("knowledge")
        return cls(**record | {"knowledge": None if known is None else _knowledge(known, record["conversation_id"])})


def _knowledge(given: Any, conversation_id: Any) -> Knowledge:
    where = f"the knowledge of conversation {conversation_id}"
    if not isinstance(given, dict):
        raise DataError(f"{where} is no object: {given!r:.60}")
    _check_fields(given, Knowledge, where)
    return Knowledge(**given)


def _check_fields(record: Mapping[str, Any], kind: type[Any], where: str) -> None:
    known = {one.name: one for one in fields(kind)}
    needed = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
    unknown, missing = set(record) - set(known), needed - set(record)
    if unknown or missing:
        faults = [f"unknown fields {', '.join(sorted(unknown))}"] if unknown else []
        faults += [f"no {', '.join(sorted(missing))}"] if missing else []
        raise DataError(f"{where} holds {' and '.join(faults)}")
