"""Fusion: the chosen concept as a text that a generator reads, with where every part of it comes from.

Source: arXiv:2504.05801: a language model continues the concept's definition with a few sentences that tie it to the context
("LM knowledge"). Without a writer the text is the concept and its definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from moon_zoo.data.follow_ups import Knowledge
from moon_zoo.knowledge.recognition import Recognised
from moon_zoo.knowledge.selection import Selected


class Writer(Protocol):
    """Continues definitions; a language model, say (`moon_zoo.knowledge.lm`)."""

    def continued(self, question: str, answer: str, concept: str, definition: str, *, seed: int = 0) -> str:
        """A few sentences that tie a concept to what was said; empty where it has nothing to say."""
        ...

    def fingerprint(self) -> str:
        """What tells this writer from another."""
        ...


@dataclass(frozen=True, slots=True)
class Fused:
    """Knowledge for one question and answer.

    Args:
        text: What a generator reads; empty where nothing was found.
        concept: The chosen concept's title.
        source: Name of the source of knowledge.
        provenance: Plain values: topic, page, node, reasons, scores, settings, and who wrote the continuation.
    """

    text: str
    concept: str
    source: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def knowledge(self) -> Knowledge:
        """As samples keep it."""
        return Knowledge(self.text, self.concept, self.source, self.provenance)


def fuse(
    question: str,
    answer: str,
    recognised: Recognised,
    selected: Selected,
    *,
    source: str,
    writer: Writer | None = None,
    seed: int = 0,
) -> Fused:
    """Bring what was chosen into words.

    Args:
        question: What was asked.
        answer: What was answered.
        recognised: Topic and page.
        selected: The chosen node, or none.
        source: Name of the source, for the record.
        writer: Continues the definition; None for the definition alone.
        seed: Of the writer's draws.
    """
    provenance: dict[str, Any] = {
        "topic": recognised.topic,
        "keywords": list(recognised.keywords),
        "page": None if recognised.page is None else recognised.page.key,
        "node": None if selected.node is None else selected.node.key,
        "mode": selected.mode,
        "seed": selected.seed,
    }
    node = selected.node
    if node is None or selected.graph is None:
        return Fused("", "", source, provenance)
    score = selected.scores[node.key]
    provenance |= {
        "reasons": selected.graph.reasons(node.key),
        "importance": round(score.importance, 6),
        "similarity": round(score.similarity, 6),
        "score": round(score.total, 6),
    }
    text = f"{node.title}: {node.definition}" if node.definition else node.title
    if writer is not None:
        more = writer.continued(question, answer, node.title, node.definition, seed=seed).strip()
        provenance |= {"writer": writer.fingerprint(), "continuation": more}
        text = f"{text} {more}".strip()
    return Fused(text, node.title, source, provenance)
