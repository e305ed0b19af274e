"""What knowledge is asked of: pages found by a topic, their neighbours, and a short text about each.

Source: arXiv:2504.05801, sections on recognition and selection; the protocol is ours, so that the same steps run over a local
table, triples, a language model or Wikipedia.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Page:
    """Something that is known.

    Args:
        key: Identity within its source.
        title: What it is called.
        summary: A short text about it; may be empty.
    """

    key: str
    title: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one page to another that has to do with it.

    Args:
        target: Key of the other page.
        weight: How close they are, above 0; the higher the closer.
        reason: How they are related, in words.
    """

    target: str
    weight: float
    reason: str


class KnowledgeSource(Protocol):
    """Anything that knows pages.

    Example:
        >>> source = KnowledgeStore("knowledge.sqlite")  # doctest: +SKIP
        >>> page = source.search("oak", ["wood"])[0]  # doctest: +SKIP
        >>> source.neighbours(page, 5)[0].reason  # doctest: +SKIP
        'oak is a hardwood'
    """

    @property
    def name(self) -> str:
        """A short name, kept with what was found."""
        ...

    def search(self, topic: str, keywords: Sequence[str]) -> list[Page]:
        """Pages whose titles contain the topic, narrowed by keywords while several remain, the likeliest first."""
        ...

    def neighbours(self, page: Page, k: int) -> list[Edge]:
        """At most ``k`` edges from a page, the closest first, each to another page; none from a page it does not know."""
        ...

    def describe(self, page_key: str) -> str:
        """A short text about a page; empty where nothing is known."""
        ...

    def fingerprint(self) -> str:
        """What tells this state of the source from another."""
        ...
