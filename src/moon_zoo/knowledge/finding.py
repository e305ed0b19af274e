"""Recognition, selection and fusion in a row: from a question and its answer to the knowledge behind a follow-up.

Example:
    >>> finder = KnowledgeFinder(source)  # doctest: +SKIP
    >>> finder.find("Is the mug safe to heat?", "Yes, it is stoneware.").fused.text  # doctest: +SKIP
    'glaze: a glassy coat on ceramics.'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moon_zoo.knowledge.fusion import Fused, Writer, fuse
from moon_zoo.knowledge.recognition import Ranker, Recognised, TopicReader, recognise
from moon_zoo.knowledge.selection import BREADTH, LEVELS, STEPS, Choice, Mode, Selected, expand, select
from moon_zoo.knowledge.source import KnowledgeSource
from moon_zoo.metrics.text_similarity import Similarity


@dataclass(frozen=True, slots=True)
class Found:
    """All that was found for one question and its answer."""

    recognised: Recognised
    selected: Selected
    fused: Fused


class KnowledgeFinder:
    """Finds knowledge in a source.

    Args:
        source: Where it is looked for.
        mode: ``paper``, seeded, or ``deterministic``; see `moon_zoo.knowledge.selection.importance`.
        beta: Weight of similarity beside importance.
        levels: How many steps from the topic concepts are looked at.
        breadth: Related concepts of each.
        steps: Of the random walk.
        choice: ``best``, or ``random`` for ablations.
        rank: Whether pages are ranked; False for ablations.
        topics: Reads topics; by words alone where None.
        ranker: Ranks pages; by words in common where None.
        similarity: Of definitions to topic and keywords; words in common where None.
        writer: Continues definitions; None for none.
        seed: Of all draws.
    """

    def __init__(
        self,
        source: KnowledgeSource,
        *,
        mode: Mode = "deterministic",
        beta: float = 1.0,
        levels: int = LEVELS,
        breadth: int = BREADTH,
        steps: int = STEPS,
        choice: Choice = "best",
        rank: bool = True,
        topics: TopicReader | None = None,
        ranker: Ranker | None = None,
        similarity: Similarity | None = None,
        writer: Writer | None = None,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.mode: Mode = mode
        self.beta = beta
        self.levels = levels
        self.breadth = breadth
        self.steps = steps
        self.choice: Choice = choice
        self.rank = rank
        self.topics = topics
        self.ranker = ranker
        self.similarity = similarity
        self.writer = writer
        self.seed = seed

    def find(self, question: str, answer: str) -> Found:
        """The knowledge behind a follow-up; without a concept where nothing is known of the topic."""
        *_, found = self.stages(question, answer)
        assert isinstance(found, Found)
        return found

    def stages(self, question: str, answer: str) -> Iterator[Recognised | Selected | Found]:
        """The same, stage by stage, each as soon as it is there: what was recognised, what was selected, and all."""
        recognised = recognise(question, answer, self.source, topics=self.topics, ranker=self.ranker, rank=self.rank)
        yield recognised
        selected = Selected(None, None, {}, self.mode, self.seed)
        if recognised.page is not None:
            selected = select(
                expand(self.source, recognised.page, levels=self.levels, breadth=self.breadth),
                recognised.context,
                mode=self.mode,
                beta=self.beta,
                steps=self.steps,
                seed=self.seed,
                similarity=self.similarity,
                choice=self.choice,
            )
        yield selected
        fused = fuse(
            question,
            answer,
            recognised,
            selected,
            source=self.source.name,
            writer=self.writer,
            seed=self.seed,
        )
        yield Found(recognised, selected, fused)

    def settings(self) -> dict[str, Any]:
        """What decides what is found, as plain values."""
        return {
            "source": self.source.name,
            "source_fingerprint": self.source.fingerprint(),
            "mode": self.mode,
            "beta": self.beta,
            "levels": self.levels,
            "breadth": self.breadth,
            "steps": self.steps,
            "choice": self.choice,
            "rank": self.rank,
            "topics": type(self.topics).__name__ if self.topics is not None else "WordTopics",
            "ranker": type(self.ranker).__name__ if self.ranker is not None else "WordRanker",
            "similarity": type(self.similarity).__name__ if self.similarity is not None else "WordSimilarity",
            "writer": None if self.writer is None else self.writer.fingerprint(),
            "seed": self.seed,
        }

    def fingerprint(self) -> str:
        """sha256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()
