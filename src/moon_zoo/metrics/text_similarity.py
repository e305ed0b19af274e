"""How close texts are to a context: by the words they share, without a model; or by embeddings of any model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from moon_zoo.data.words import content_words, tokens

LONGEST = 20_000
"""Characters of a text that are looked at: what is beyond changes little, and takes long."""


class Similarity(Protocol):
    """Scores texts against one context."""

    def __call__(self, context: str, texts: Sequence[str]) -> np.ndarray:
        """Cosines in ``[-1, 1]``, ``(texts,)``; 0 where a text or the context is empty."""
        ...


class WordSimilarity:
    """Cosine of counts of content words and of their groups of three letters, half and half.

    Letters see that ``glaze`` and ``glazed`` are akin; and they serve languages that are written without spaces.
    """

    def __call__(self, context: str, texts: Sequence[str]) -> np.ndarray:
        """Cosines in ``[0, 1]``, ``(texts,)``."""
        asked = _counts(context)
        return np.array([sum(_cosine(one, other) for one, other in zip(asked, _counts(text))) / 2 for text in texts])


class EmbeddingSimilarity:
    """Cosine of embeddings.

    Args:
        embed: Texts to vectors ``(texts, dim)``.
    """

    def __init__(self, embed: Callable[[Sequence[str]], np.ndarray]) -> None:
        self.embed = embed

    def __call__(self, context: str, texts: Sequence[str]) -> np.ndarray:
        """Cosines in ``[-1, 1]``, ``(texts,)``."""
        if not texts:
            return np.zeros(0)
        vectors = np.asarray(self.embed([context, *texts]), dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        dots = vectors[1:] @ vectors[0]
        scale = lengths[1:] * lengths[0]
        return np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)


def _counts(text: str) -> tuple[Counter[str], Counter[str]]:
    text = text[:LONGEST]
    found = content_words(text) or tokens(text)
    letters: Counter[str] = Counter()
    for word, times in Counter(found).items():
        marked = f" {word} "
        for start in range(len(marked) - 2):
            letters[marked[start : start + 3]] += times
    return Counter(found), letters


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    if len(other) < len(one):
        one, other = other, one
    dot = sum(count * other[key] for key, count in one.items() if key in other)
    if dot == 0:
        return 0.0
    return dot / (sum(n * n for n in one.values()) * sum(n * n for n in other.values())) ** 0.5
