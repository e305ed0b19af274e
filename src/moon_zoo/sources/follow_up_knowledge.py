"""Follow-ups with the knowledge that a source has for them: looked up once, kept in new shards with where it came from.

Source of the steps: arXiv:2504.05801, recognition, selection and fusion (`moon_zoo.knowledge.finding`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.sets import find_sets
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.knowledge.finding import KnowledgeFinder
from moon_zoo.knowledge.selection import MODES
from moon_zoo.knowledge.source import KnowledgeSource
from moon_zoo.sources.base import Packed, Source

CHOICES = ("best", "random")
REMEMBERED = 10_000
"""Questions whose knowledge is kept: several follow-ups may share one."""


class FollowUpKnowledgeSource(Source):
    """Follow-ups of your own, with knowledge from a store, from Wikipedia, or from a language model.

    For every question with its answer: the topic and its page, concepts around it, and the one that is central and close to
    what was talked about. Samples, keys and splits stay as they are; knowledge is new, with its provenance. What was there
    before is replaced. Counts, settings and the fingerprint of the source are kept in the manifest; where the true concept
    behind a follow-up is known, how often it was chosen, too.

    Args:
        path: A set of follow-ups, or a folder of several sets.
        store: The store of knowledge, as moon-zoo pack knowledge makes one.
        wikipedia: Ask Wikipedia instead, with this contact (a mail address or a page about you), as Wikimedia wants it.
        language: Of Wikipedia.
        cache: Of Wikipedia: where answers are kept; the zoo's cache when not given.
        offline: Of Wikipedia: use what is kept and ask nothing.
        model: A language model (hub name or folder) that reads topics, ranks pages and continues definitions, as in the paper;
            without a store it is also the source. Without one words alone are compared.
        write: With a model: whether it continues definitions.
        mode: deterministic, or paper (a seeded random walk).
        beta: Weight of similarity beside importance.
        rank: Whether pages are ranked; the source's first is taken otherwise.
        choice: best, or random, for ablations.
        seed: Of all draws.
    """

    summary: ClassVar[str] = "follow-ups of your own, with knowledge found for them"
    kind = "follow_up"
    example: ClassVar[str] = (
        "moon-zoo pack follow_up_knowledge shards/talks --store knowledge.sqlite --to shards/talks_informed"
    )

    def __init__(
        self,
        path: str,
        *,
        store: Path | None = None,
        wikipedia: str | None = None,
        language: str = "en",
        cache: Path | None = None,
        offline: bool = False,
        model: str | None = None,
        write: bool = True,
        mode: str = "deterministic",
        beta: float = 1.0,
        rank: bool = True,
        choice: str = "best",
        seed: int = 0,
    ) -> None:
        super().__init__()
        for option, value, known in (("mode", mode, MODES), ("choice", choice, CHOICES)):
            if value not in known:
                raise UsageError(
                    f"{option} is {value!r}, but must be one of {', '.join(known)}",
                    suggestions=did_you_mean(value, known),
                    change=f"--{option}",
                )
        if store is not None and wikipedia is not None:
            raise UsageError("knowledge comes from a store or from Wikipedia", change="--store or --wikipedia")
        if store is None and wikipedia is None and model is None:
            raise UsageError(
                "there is nothing to look knowledge up in",
                change="add --store FILE, --wikipedia CONTACT or --model NAME",
            )
        self.sets = {name: IndexedShards(place) for name, place in find_sets(path).items()}
        for shards in self.sets.values():
            if shards.kind.sample is not FollowUp:
                raise DataError(
                    f"a set of kind {shards.kind.name} holds no follow-ups", where=shards.path, change="path"
                )
        first = next(iter(self.sets.values())).manifest
        self.licence, self.description = first.licence, first.source
        self.total = sum(len(shards) for shards in self.sets.values())
        source: KnowledgeSource | None = None
        if store is not None:
            from moon_zoo.knowledge.store import KnowledgeStore

            source = KnowledgeStore(store)
        elif wikipedia is not None:
            from moon_zoo.knowledge.wikimedia import Wikipedia

            source = Wikipedia(contact=wikipedia, language=language, cache=cache, offline=offline)
        parts: dict[str, Any] = {}
        if model is not None:
            from moon_zoo.knowledge.lm import LanguageModel, LmSource, LmTopics, LmWriter, UprRanker

            lm = LanguageModel.from_pretrained(model)
            parts = {"topics": LmTopics(lm, seed=seed), "ranker": UprRanker(lm)}
            parts |= {"writer": LmWriter(lm)} if write else {}
            source = source or LmSource(lm, seed=seed)
        assert source is not None  # checked above
        self.finder = KnowledgeFinder(
            source,
            mode="paper" if mode == "paper" else "deterministic",
            beta=beta,
            rank=rank,
            choice="random" if choice == "random" else "best",
            seed=seed,
            **parts,
        )

    def read(self) -> Iterator[Packed]:
        """Yield every follow-up of every set with its knowledge."""
        settings = {**self.finder.settings(), "fingerprint": self.finder.fingerprint()}
        known: dict[tuple[str, str], Knowledge] = {}
        for split, shards in self.sets.items():
            self.parents[split] = [shards.manifest.fingerprint]
            counts: Counter[str] = Counter()
            for position in range(len(shards)):
                sample = shards[position]
                asked = (sample.question, sample.answer)
                if asked not in known:
                    if len(known) >= REMEMBERED:
                        known.clear()
                    known[asked] = self._knowledge(*asked)
                counts["found" if known[asked].text else "nothing found"] += 1
                true = sample.truth.get("concept")
                if isinstance(true, str):
                    counts["concept known"] += 1
                    counts["concept right"] += known[asked].concept == true
                yield split, shards.locate(position)[1], replace(sample, knowledge=known[asked])
            self.extras[split] = {**shards.manifest.extra, "knowledge": {"settings": settings, **counts}}
            note = f"{split}: knowledge found for {counts['found']:,} of {len(shards):,}"
            if counts["concept known"]:
                note += f"; the true concept in {counts['concept right']:,} of {counts['concept known']:,}"
            self.notes.append(note)

    def _knowledge(self, question: str, answer: str) -> Knowledge:
        fused = self.finder.find(question, answer).fused
        return Knowledge(fused.text, fused.concept, fused.source, dict(fused.provenance))
