"""A local store of pages and their links in one file, opened read-only: SQLite with a full-text index of titles and summaries.

Source of the way of searching: arXiv:2504.05801: pages whose titles contain the topic; while several remain, keywords are
added as constraints, the longest first; one that leaves no page is taken back; one page is enough. Ours: a keyword may stand in
the title or in the summary, and of very many pages only the first are looked at. `moon_zoo.knowledge.building` writes it.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from moon_zoo.errors import DataError, did_you_mean
from moon_zoo.knowledge.source import Edge, Page

APPLICATION_ID: Final = 0x6D7A6B73
"""What the head of the file says; other SQLite files are refused."""
VERSION: Final = 1

MOST_PAGES: Final = 50
"""Pages that a search gives at most."""
MOST_LOOKED_AT: Final = 400
"""Of pages that match, how many are looked at for those with the shortest titles."""
MOST_REASONS: Final = 3
"""Links that tell what a page without a summary is."""
MOST_WORDS: Final = 12
"""Of a topic or keyword, the rest is passed over."""
MOST_KEYWORDS: Final = 8

_WORD: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)

_LINKS: Final = """
SELECT pages.key, pages.title, links.weight, links.relation, ? AS forward, links.rowid
FROM links JOIN pages ON pages.id = links.{other} WHERE links.{own} = ? ORDER BY links.weight DESC, links.rowid
"""


class KnowledgeStore:
    """Pages and links in a file that `StoreWriter` wrote.

    Connections are made where they are used, so that it may be handed to other threads and processes.

    Args:
        path: The file.
        name: A short name, kept with what was found; the one given at building when None.

    Raises:
        DataError: There is no such file, or it is no store.

    Example:
        >>> store = KnowledgeStore("knowledge.sqlite")  # doctest: +SKIP
        >>> store.search("oak", ["wood"])[0].title  # doctest: +SKIP
        'oak'
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self.path = Path(path).absolute()
        self._given_name = name
        self._own = threading.local()
        if not self.path.is_file():
            near = [one.name for one in self.path.parent.iterdir()] if self.path.parent.is_dir() else []
            raise DataError(
                f"there is no store of knowledge at {path}",
                suggestions=did_you_mean(self.path.name, near),
                change="the path of the store; `moon-zoo pack knowledge --help` tells how one is made",
            )
        self.about: dict[str, Any] = self._read_about()
        self.name: str = name or self.about["name"]

    def __len__(self) -> int:
        return int(self.about["pages"])

    @property
    def num_links(self) -> int:
        """How many links there are."""
        return int(self.about["links"])

    def fingerprint(self) -> str:
        """sha256 of the pages and links it was built from."""
        return str(self.about["fingerprint"])

    # Searching ----------------------------------------------------------------------------------------------------

    def search(self, topic: str, keywords: Sequence[str] = ()) -> list[Page]:
        """Pages whose titles contain the topic, narrowed by keywords while several remain.

        Args:
            topic: Words that stand in the title in this order; letters in either case, accents or not.
            keywords: In any order; each is tried, the longest first.

        Returns:
            At most `MOST_PAGES`: first those whose title is the topic itself, which no keyword takes away, then the others by
            length of title; none for a topic without words.
        """
        phrase = _phrase(topic)
        if phrase is None:
            return []
        query = f"title : {phrase}"
        found = self._matching(query)
        for keyword in sorted(dict.fromkeys(keywords), key=lambda word: -len(word))[:MOST_KEYWORDS]:
            if len(found) <= 1:
                break
            further = _phrase(keyword)
            if further is None:
                continue
            narrowed = self._matching(f"({query}) AND {further}")
            if narrowed:
                query, found = f"({query}) AND {further}", narrowed
        titled = self._pages(
            f"SELECT id, key, title, summary FROM pages WHERE folded = ? ORDER BY id LIMIT {MOST_PAGES}", folded(topic)
        )
        shortest = sorted(found, key=lambda number: (len(found[number].title), number))
        return [*titled.values(), *(found[number] for number in shortest if number not in titled)][:MOST_PAGES]

    def _matching(self, query: str) -> dict[int, Page]:
        return self._pages(
            "SELECT pages.id, pages.key, pages.title, pages.summary FROM words JOIN pages ON pages.id = words.rowid "
            f"WHERE words MATCH ? LIMIT {MOST_LOOKED_AT}",
            query,
        )

    def _pages(self, statement: str, value: str) -> dict[int, Page]:
        return {number: Page(key, title, summary) for number, key, title, summary in self._rows(statement, value)}

    # Neighbours ---------------------------------------------------------------------------------------------------

    def page(self, key: str) -> Page | None:
        """The page of a key; None where there is none."""
        rows = self._rows("SELECT key, title, summary FROM pages WHERE key = ?", key)
        return Page(*rows[0]) if rows else None

    def neighbours(self, page: Page, k: int) -> list[Edge]:
        """At most ``k`` links from or to a page, the heaviest first, each to another page."""
        rows = self._rows("SELECT id, title FROM pages WHERE key = ?", page.key)
        if not rows or k < 1:
            return []
        number, title = rows[0]
        found: dict[str, Edge] = {}
        for key, other, weight, relation, forward, _ in self._links(number):
            if key not in found:
                head, tail = (title, other) if forward else (other, title)
                found[key] = Edge(key, weight, self._phrases[relation].format(head=head, tail=tail))
                if len(found) == k:
                    break
        return list(found.values())

    def _links(self, number: int) -> Iterator[tuple[Any, ...]]:
        """Links of a page both ways, heaviest first, as they are needed: a page may have very many."""
        try:
            out = self._connection.execute(_LINKS.format(own="source", other="target"), (1, number))
            back = self._connection.execute(_LINKS.format(own="target", other="source"), (0, number))
            yield from heapq.merge(out, back, key=lambda row: (-row[2], -row[4], row[5]))
        except sqlite3.DatabaseError as error:
            raise self._broken(error) from error

    def describe(self, page_key: str) -> str:
        """The summary of a page; one without is told by its heaviest links. Empty for a page that is not there."""
        page = self.page(page_key)
        if page is None:
            return ""
        return page.summary or "; ".join(edge.reason for edge in self.neighbours(page, MOST_REASONS))

    # The file -----------------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection:
        if getattr(self._own, "pid", None) != os.getpid():  # a fork must not share what SQLite has open
            uri = f"{self.path.as_uri()}?mode=ro&immutable=1"
            self._own.connection = sqlite3.connect(uri, uri=True)
            self._own.connection.execute("PRAGMA trusted_schema = OFF")
            self._own.pid = os.getpid()
        return self._own.connection

    @property
    def _phrases(self) -> list[str]:
        return self.about["relations"]

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._broken(error) from error

    def _read_about(self) -> dict[str, Any]:
        ((application,),) = self._rows("PRAGMA application_id")
        if application != APPLICATION_ID:
            raise DataError(
                f"{self.path.name} is an SQLite file, but no store of knowledge of ours",
                where=str(self.path),
                change="the path of the store; `moon-zoo pack knowledge --help` tells how one is made",
            )
        rows = self._rows("SELECT value FROM about")
        try:
            about = json.loads(rows[0][0])
            version = about["version"]
            relations = [str(phrase).format(head="", tail="") for phrase in about["relations"]]
            usable = version == VERSION and bool(relations or not about["links"])
            assert isinstance(about["name"], str) and isinstance(about["fingerprint"], str)
        except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
            raise self._broken(error) from error
        if not usable:
            raise DataError(
                f"the store is of version {version!r}, this release reads {VERSION}",
                where=str(self.path),
                change="the store: build it again with moon-zoo pack knowledge",
            )
        return about

    def _broken(self, error: Exception) -> DataError:
        return DataError(
            f"{self.path.name} cannot be read as a store of knowledge: {error}",
            where=str(self.path),
            change="the store: build it again with moon-zoo pack knowledge",
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self._given_name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], name=state["name"])  # type: ignore[misc]


def folded(text: str) -> str:
    """Words of a title in lower case with single spaces, as pages are looked up by their very title."""
    return " ".join(_WORD.findall(text.lower()))


def _phrase(text: str) -> str | None:
    """A text as FTS5's phrase, whatever signs it holds; None without words. Scripts without spaces match by beginnings."""
    words = _WORD.findall(text[:1000].lower())[:MOST_WORDS]
    if not words:
        return None
    return f'"{" ".join(words)}"' + ("*" if _UNSPACED.search(words[-1]) else "")
