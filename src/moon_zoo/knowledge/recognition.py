"""Recognition: what a question and its answer are about, and the page of it in a source of knowledge.

Source: arXiv:2504.05801: one topic and three keywords (without a topic, the first keyword); pages whose titles contain the
topic, narrowed by keywords (which is the source's part, see `moon_zoo.knowledge.source`); what remains is ranked by how likely
the question is under the page. Ours: a reader of topics without a model, by words alone; where a topic has no page, keywords
and parts of phrases are tried; and without a language model what remains is ranked by words in common.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from moon_zoo.data.words import STOP_WORDS, content_words, stem, words
from moon_zoo.knowledge.source import KnowledgeSource, Page
from moon_zoo.metrics.text_similarity import LONGEST, Similarity, WordSimilarity

NUM_KEYWORDS: Final = 3
MOST_RANKED: Final = 50
"""Pages that are ranked, as the source orders them."""
_MOST_TRIED: Final = 12
_LONGEST_PHRASE: Final = 3
_CLAUSES: Final = re.compile(r"[^\w\s'\u2019-]+|\n")


@dataclass(frozen=True, slots=True)
class Topics:
    """What a text is about.

    Args:
        topic: In a word or a few; empty where none was seen.
        keywords: At most three more.
        further: What else may have a page, the likeliest first.
    """

    topic: str
    keywords: tuple[str, ...] = ()
    further: tuple[str, ...] = ()


class TopicReader(Protocol):
    """Reads topics out of a question and its answer."""

    def __call__(self, question: str, answer: str) -> Topics:
        """What they are about."""
        ...


class Ranker(Protocol):
    """Tells how well pages fit a question."""

    def __call__(self, question: str, answer: str, pages: Sequence[Page]) -> Sequence[float]:
        """A score for each page, the higher the better."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A page that was found, and how well it fits."""

    page: Page
    score: float


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a question and its answer are about.

    Args:
        topic: As it was searched for; empty where nothing was seen.
        keywords: The others.
        page: The best of `candidates`; None where no page was found.
        candidates: All that were ranked, the best first.
    """

    topic: str
    keywords: tuple[str, ...]
    page: Page | None
    candidates: tuple[Candidate, ...] = ()

    @property
    def context(self) -> str:
        """Topic and keywords as one text, to compare definitions with."""
        return " ".join(part for part in (self.topic, *self.keywords) if part)


class WordTopics:
    """Topics by words alone: runs of content words, those that are said often and in the question before others.

    Languages whose stop words are not known give longer runs; texts without words (emoji, say) give none.
    """

    def __call__(self, question: str, answer: str) -> Topics:
        """What they are about."""
        question, answer = question[:LONGEST], answer[:LONGEST]
        weights: Counter[str] = Counter()
        for word in content_words(question):
            weights[word] += 2
        for word in content_words(answer):
            weights[word] += 1
        phrases = list(dict.fromkeys(_phrases(question) + _phrases(answer)))
        place = {phrase: number for number, phrase in enumerate(phrases)}
        asked = set(content_words(question))

        def rank(phrase: str) -> tuple[bool, float, int]:
            parts = [stem(word) for word in phrase.split()]
            mean = sum(weights[part] for part in parts) / len(parts)
            return not asked & set(parts), -mean * len(parts) ** 0.5, place[phrase]

        ordered = sorted(phrases, key=rank)
        if not ordered:
            return Topics("")
        topic, rest = ordered[0], ordered[1:]
        parts = [part for phrase in ordered[: 1 + NUM_KEYWORDS] for part in _parts(phrase)]
        further = tuple(dict.fromkeys([*parts, *rest[NUM_KEYWORDS:]]))
        return Topics(topic, tuple(rest[:NUM_KEYWORDS]), further)


class WordRanker:
    """Pages by words in common with question and answer; a title that is the topic itself, or is said in full, comes first.

    Args:
        similarity: Of pages to what was said.
    """

    def __init__(self, similarity: Similarity | None = None) -> None:
        self.similarity = similarity or WordSimilarity()

    def __call__(self, question: str, answer: str, pages: Sequence[Page]) -> Sequence[float]:
        """A score in ``[0, 2]`` for each page."""
        context = f"{question[:LONGEST]}\n{answer[:LONGEST]}"
        said = f" {' '.join(stem(word) for word in words(context))} "
        close = self.similarity(context, [f"{page.title}. {page.summary}" for page in pages])
        whole = [f" {' '.join(stem(word) for word in words(page.title))} " in said for page in pages]
        return [float(score) + float(full) for score, full in zip(close, whole, strict=True)]


def recognise(
    question: str,
    answer: str,
    source: KnowledgeSource,
    *,
    topics: TopicReader | None = None,
    ranker: Ranker | None = None,
    rank: bool = True,
) -> Recognised:
    """Find what a question and its answer are about, and its page.

    Args:
        question: What was asked; may be empty, in any language, and long.
        answer: What was answered.
        source: Where pages are looked for.
        topics: Reads the topic; by words alone where None.
        ranker: Ranks pages; by words in common where None.
        rank: Whether pages are ranked; False takes the source's first, for ablations.

    Returns:
        Without a page where nothing was found, which is no error.
    """
    read = (topics or WordTopics())(question, answer)
    keywords = tuple(word for word in read.keywords if word)[:NUM_KEYWORDS]
    topic = read.topic or next(iter(keywords), "")
    for attempt in _distinct((topic, *keywords, *read.further))[:_MOST_TRIED]:
        pages = source.search(attempt, [word for word in keywords if word != attempt])[:MOST_RANKED]
        if not pages:
            continue
        scores: Sequence[float] = [0.0] * len(pages)
        if rank and len(pages) > 1:
            scores = (ranker or WordRanker())(question, answer, pages)
        order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
        found = tuple(Candidate(pages[place], float(scores[place])) for place in order.tolist())
        rest = tuple(word for word in _distinct((topic, *keywords)) if word != attempt)[:NUM_KEYWORDS]
        return Recognised(attempt, rest, found[0].page, found)
    return Recognised(topic, tuple(word for word in keywords if word != topic), None)


def _phrases(text: str) -> list[str]:
    """Runs of content words inside a clause, at most `_LONGEST_PHRASE` long, in order."""
    found: list[str] = []
    for clause in _CLAUSES.split(text):
        run: list[str] = []
        for word in [*words(clause), "the"]:  # a stop word ends the last run
            if word not in STOP_WORDS and not (len(word) == 1 and word.isascii()):
                run.append(word)
            elif run:
                found += [" ".join(run[at : at + _LONGEST_PHRASE]) for at in range(0, len(run), _LONGEST_PHRASE)]
                run = []
    return found


def _parts(phrase: str) -> list[str]:
    """Shorter runs inside a phrase, the longest and last first: English puts the thing itself at the end."""
    run = phrase.split()
    found = [" ".join(run[start : start + size]) for size in range(len(run) - 1, 0, -1) for start in range(len(run))]
    inside = [part for part in found if part]
    inside.sort(key=lambda part: (-len(part.split()), not phrase.endswith(part)))
    singular = [stem(part) for part in inside if " " not in part]
    return [*inside, *singular, *([" ".join([*run[:-1], stem(run[-1])])] if stem(run[-1]) != run[-1] else [])]


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
