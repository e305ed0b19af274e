"""Building a store of knowledge: pages and links are taken one after another and written in large transactions.

Memory does not grow with their number: what is wrong is counted, not kept; links wait in a file of their own until all pages
are known. The store has its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from moon_zoo.errors import DataError
from moon_zoo.knowledge.store import APPLICATION_ID, VERSION, folded

BATCH: Final = 20_000
"""Pages or links that are handed to SQLite together."""
CACHE_KIB: Final = 65_536
INDEX_BYTES: Final = 32 << 20
MOST_SUMMARY: Final = 2_000
"""Characters of a summary that are kept."""
MOST_TITLE: Final = 300
"""Longest title in characters; a page with a longer one is no page."""

RELATED: Final = "{head} links to {tail}"
"""How links are told that say nothing else."""

_INFINITY: Final = float("inf")

Watch = Callable[[int], object]
"""Is told how many more pages and links were taken."""


class StoreWriter:
    """Writes a store. Use it as a context: the file is there afterwards, or, after an error, is not.

    Args:
        path: The file to be.
        name: A short name of the source.
        overwrite: Whether a file that is there may be replaced.
        licence: Of what is put in.
        origin: Where it comes from, in words.

    Raises:
        DataError: Something is there already, or it cannot be written there.

    Attributes:
        skipped: What was left out: reason to count.
        pages: How many pages there are so far.
        links: How many links there are; known once it is closed.

    Example:
        >>> with StoreWriter("knowledge.sqlite", name="mine") as store:  # doctest: +SKIP
        ...     store.page("oak", "oak", "A hardwood.")
        ...     store.link("oak", "table", 1.0, "{tail} is made of {head}")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        overwrite: bool = False,
        licence: str = "not stated",
        origin: str = "",
    ) -> None:
        self.path = Path(path).absolute()
        self.name, self.licence, self.origin = name, licence, origin
        self.skipped: Counter[str] = Counter()
        self.pages = 0
        self.links = 0
        self._overwrite = overwrite
        self._again = 0
        self._hash = hashlib.sha256()
        self._relations: dict[str, int] = {}
        self._pages: list[tuple[str, str, str, str]] = []
        self._links: list[tuple[str, str, float, int]] = []
        self._check_target()
        self._work = self.path.with_name(f".{self.path.name}.partial-{secrets.token_hex(4)}")
        self._waiting = self._work.with_name(self._work.name + ".links")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._work, isolation_level=None)
            self._begin()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def page(self, key: str, title: str, summary: str = "", *, again: bool = False) -> None:
        """Take a page. One without a title, or with a key that is there already, is left out and counted.

        Args:
            key: Identity within the store.
            title: What it is called.
            summary: A short text about it.
            again: That it may well be there already, which is not counted then.
        """
        title = " ".join(title.split())
        if not key or not title or len(title) > MOST_TITLE or len(key) > MOST_TITLE:
            self.skipped["a page without a usable title"] += 1
            return
        self._again += again
        self._pages.append((key, title, " ".join(summary[:MOST_SUMMARY].split()), folded(title)))
        if len(self._pages) >= BATCH:
            self._flush()

    def link(self, source: str, target: str, weight: float = 1.0, phrase: str = RELATED) -> None:
        """Take a link between pages that are there or still to come. One that leads nowhere is left out and counted.

        Args:
            source: Key of a page.
            target: Key of another.
            weight: How close they are, above 0.
            phrase: How they are related, with ``{head}`` and ``{tail}`` for the titles of source and target.
        """
        self.links_from(source, ((target, weight, phrase),))

    def links_from(self, source: str, links: Iterable[tuple[str, float, str]]) -> None:
        """Take several links of one page: target, weight and phrase of each, as in `link`."""
        relations = self._relations
        for target, weight, phrase in links:
            if not 0 < weight < _INFINITY:
                self.skipped["a link without a usable weight"] += 1
            elif source == target:
                self.skipped["a link of a page to itself"] += 1
            else:
                relation = relations.get(phrase)
                if relation is None:
                    relation = relations[phrase] = len(relations)
                self._links.append((source, target, float(weight), relation))
        if len(self._links) >= BATCH:
            self._flush()

    # Writing ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except (OSError, sqlite3.Error) as failure:
            raise self._failed(failure) from failure
        finally:
            with suppress(sqlite3.Error):
                self._db.close()
            for left in self._work.parent.glob(f"{self._work.name}*"):
                left.unlink(missing_ok=True)

    def _begin(self) -> None:
        for pragma in (
            "page_size = 8192",
            "journal_mode = OFF",  # a build that breaks off is thrown away
            "synchronous = OFF",
            "locking_mode = EXCLUSIVE",
            f"cache_size = -{CACHE_KIB}",
            f"application_id = {APPLICATION_ID}",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("ATTACH ? AS waiting", (str(self._waiting),))
        self._db.execute("PRAGMA waiting.journal_mode = OFF")
        self._db.execute("PRAGMA waiting.synchronous = OFF")
        self._db.execute("CREATE TABLE waiting.links (source INTEGER, target INTEGER, weight REAL, relation INTEGER)")
        self._db.execute("CREATE TABLE waiting.keys (hash INTEGER PRIMARY KEY, id INTEGER)")
        self._db.execute(
            "CREATE TABLE pages (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL, "
            "summary TEXT NOT NULL, folded TEXT NOT NULL)"
        )
        self._db.execute(
            "CREATE VIRTUAL TABLE words USING fts5(title, summary, content='pages', content_rowid='id', "
            "tokenize='unicode61 remove_diacritics 2', columnsize=0)"
        )
        # Words are gathered in memory before they go to disk; the default of 1 MB means many small pieces to be merged.
        self._db.execute("INSERT INTO words (words, rank) VALUES ('hashsize', ?)", (INDEX_BYTES,))
        self._db.execute("BEGIN")

    def _flush(self) -> None:
        """Hand what was taken to SQLite. Pages come before links, so the fingerprint is one of the order of each."""
        try:
            if self._pages:
                before = self.pages
                self._db.executemany(
                    "INSERT OR IGNORE INTO pages (key, title, summary, folded) VALUES (?, ?, ?, ?)", self._pages
                )
                self.pages = self._db.execute("SELECT coalesce(max(id), 0) FROM pages").fetchone()[0]
                self._count(
                    len(self._pages) - (self.pages - before) - self._again, "a page of a key that is there already"
                )
                self._again = 0
                self._db.execute(
                    "INSERT INTO words (rowid, title, summary) SELECT id, title, summary FROM pages WHERE id > ?",
                    (before,),
                )
                self._take("pages", self._pages)
                self._pages = []
            if self._links:
                # The keys' hashes are integers of 64 bits, valid for this process alone: enough until the pages are known.
                self._db.executemany(
                    "INSERT INTO waiting.links VALUES (?, ?, ?, ?)",
                    [(hash(source), hash(target), weight, which) for source, target, weight, which in self._links],
                )
                self._take("links", self._links)
                self._links = []
            self._db.execute("COMMIT")
            self._db.execute("BEGIN")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _take(self, what: str, rows: list[Any]) -> None:
        # Version 2 of the format writes values alone (later ones also which objects were shared); json takes ten times as long.
        self._hash.update(marshal.dumps((what, rows), 2))

    def _count(self, number: int, reason: str) -> None:
        if number > 0:
            self.skipped[reason] += number

    def _finish(self) -> None:
        self._flush()
        self._db.create_function("hash_of", 1, hash, deterministic=True)
        self._db.execute("INSERT OR IGNORE INTO waiting.keys SELECT hash_of(key), id FROM pages")
        self._db.execute(
            "CREATE TABLE links AS SELECT a.id AS source, b.id AS target, w.weight AS weight, w.relation AS relation "
            "FROM waiting.links w JOIN waiting.keys a ON a.hash = w.source JOIN waiting.keys b ON b.hash = w.target"
        )
        (self.links,) = self._db.execute("SELECT count(*) FROM links").fetchone()
        (waited,) = self._db.execute("SELECT count(*) FROM waiting.links").fetchone()
        self._count(waited - self.links, "a link that leads to no page")
        self._db.execute("CREATE INDEX links_source ON links (source, weight DESC)")
        self._db.execute("CREATE INDEX links_target ON links (target, weight DESC)")
        self._db.execute("CREATE INDEX pages_folded ON pages (folded)")
        self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        about = {
            "version": VERSION,
            "name": self.name,
            "licence": self.licence,
            "origin": self.origin,
            "pages": self.pages,
            "links": self.links,
            "relations": list(self._relations),
            "skipped": dict(self.skipped),
            "fingerprint": self._hash.hexdigest(),
        }
        self._db.execute("CREATE TABLE about (value TEXT)")
        self._db.execute("INSERT INTO about VALUES (?)", (json.dumps(about),))
        self._db.execute("COMMIT")
        self._db.close()
        self._check_target()
        self._work.replace(self.path)

    def _check_target(self) -> None:
        if not self.path.exists():
            return
        if not self._overwrite:
            raise DataError(
                f"{self.path} exists already; nothing was written",
                where=str(self.path),
                change="the path, or overwrite to replace what is there",
            )
        if not is_store(self.path):
            raise DataError(
                f"{self.path} is no store of knowledge, so it is not replaced", where=str(self.path), change="the path"
            )

    def _failed(self, error: Exception) -> DataError:
        return DataError(
            f"the store cannot be written: {getattr(error, 'strerror', None) or error}",
            where=str(self.path),
            change="the path, to a folder with room that can be written",
        )


def is_store(path: Path) -> bool:
    """Whether a file is a store of ours, by its head."""
    try:
        with path.open("rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:72] == APPLICATION_ID.to_bytes(4, "big")
