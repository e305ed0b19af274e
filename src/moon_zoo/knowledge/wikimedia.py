"""Wikipedia and Wikidata as sources of knowledge, over HTTP: who asks says so, answers are kept, and it works offline.

Wikipedia: pages by their titles, short introductions, and pages that its own search holds to be alike. Wikidata: things by
their labels, descriptions, and statements, which say why two things have to do with one another. For many questions a local
store of a dump is quicker and kinder (`moon_zoo.knowledge.dumps`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from moon_zoo.data.fetch import PATIENCE, Patience
from moon_zoo.errors import UsageError
from moon_zoo.knowledge.source import Edge, Page
from moon_zoo.knowledge.web import PoliteClient

WIKIPEDIA: Final = "https://{language}.wikipedia.org/w/api.php"
WIKIDATA: Final = "https://www.wikidata.org/w/api.php"
MOST_PAGES: Final = 20
"""Of a search: as many as introductions are given with."""
MOST_WORDS: Final = 12
MOST_LABELS: Final = 50
"""Things whose labels are asked for together."""
MOST_SUMMARY: Final = 1000
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[a-z]+)*")
_QUERY: Final = {"action": "query", "format": "json", "formatversion": "2", "maxlag": "5"}


class _Wikimedia:
    """What both have in common: a client, and a memory of what was said of pages."""

    name: ClassVar[str]
    url: ClassVar[str]
    """Of the API, where no other is given."""

    def __init__(
        self,
        *,
        contact: str,
        language: str = "en",
        cache: str | os.PathLike[str] | None = None,
        offline: bool = False,
        url: str | None = None,
        patience: Patience = PATIENCE,
        gap_seconds: float = 0.1,
    ) -> None:
        if not _LANGUAGE.fullmatch(language):
            raise UsageError(f"{language!r} is no language's code", change="language, such as en")
        self.language = language
        self.client = PoliteClient(
            (self.url if url is None else url).format(language=language),
            contact=contact,
            cache=cache,
            offline=offline,
            patience=patience,
            gap_seconds=gap_seconds,
        )

    def fingerprint(self) -> str:
        """What is asked, and whom; a living source may change without notice, which cannot be told from here."""
        identity = [type(self).__name__, self.client.url, self.language]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


class Wikipedia(_Wikimedia):
    """Wikipedia's pages; the key of a page is its title.

    Args:
        contact: A mail address or a page about who asks; Wikimedia wants it.
        language: Of the Wikipedia.
        cache: Folder of answers; the zoo's cache when None.
        offline: Use what is kept, and ask nothing.
        url: Of the API, with ``{language}``; Wikipedia's own when None.
        patience: How often a failing request is tried.
        gap_seconds: Least time between two requests.

    Raises:
        UsageError: The contact, the language or the URL cannot be used.

    Example:
        >>> source = Wikipedia(contact="you@example.org")  # doctest: +SKIP
        >>> source.search("oak", ["furniture"])[0].title  # doctest: +SKIP
        'Oak'
    """

    name = "wikipedia"
    url = WIKIPEDIA

    def search(self, topic: str, keywords: Sequence[str] = ()) -> list[Page]:
        """Pages whose titles contain the topic, narrowed by keywords while several remain; at most `MOST_PAGES`.

        Raises:
            DataError: It cannot be asked.
        """
        words = _words(topic)
        if not words:
            return []
        query = f'intitle:"{words}"'
        found = self._pages({"generator": "search", "gsrsearch": query, "gsrlimit": str(MOST_PAGES)})
        for keyword in sorted(dict.fromkeys(map(_words, keywords)), key=lambda word: -len(word)):
            if len(found) <= 1:
                break
            if not keyword:
                continue
            narrowed = self._pages(
                {"generator": "search", "gsrsearch": f'{query} "{keyword}"', "gsrlimit": str(MOST_PAGES)}
            )
            if narrowed:
                query, found = f'{query} "{keyword}"', narrowed
        return found

    def neighbours(self, page: Page, k: int) -> list[Edge]:
        """Pages that Wikipedia's search holds to be like one, the likest first; weights are 1, 1/2, 1/3 and so on.

        Raises:
            DataError: It cannot be asked.
        """
        if k < 1:
            return []
        wanted = str(min(k + 1, MOST_PAGES))
        title = page.key.replace('"', " ").replace("|", " ")
        found = self._pages({"generator": "search", "gsrsearch": f"morelike:{title}", "gsrlimit": wanted})
        others = [one for one in found if one.key != page.key][:k]
        return [Edge(one.key, 1 / (1 + rank), f"{one.title} is like {page.title}") for rank, one in enumerate(others)]

    def describe(self, page_key: str) -> str:
        """The first sentences of a page; empty where there is none.

        Raises:
            DataError: It cannot be asked.
        """
        title = page_key.replace("|", " ").strip()
        found = self._pages({"titles": title, "redirects": "1"}) if title else []
        return found[0].summary if found else ""

    def _pages(self, parameters: Mapping[str, str]) -> list[Page]:
        extract = {"prop": "extracts", "exintro": "1", "explaintext": "1", "exlimit": str(MOST_PAGES)}
        answer = self.client.get({**_QUERY, **extract, **parameters})
        pages = _list(_dict(answer.get("query")).get("pages"))
        known = [one for one in pages if isinstance(one, dict) and not one.get("missing") and not one.get("invalid")]
        known = [one for one in known if isinstance(one.get("title"), str)]
        known.sort(key=lambda one: one["index"] if isinstance(one.get("index"), int) else 0)
        return [Page(one["title"], one["title"], _brief(one.get("extract"))) for one in known]


class Wikidata(_Wikimedia):
    """Wikidata's things; the key of one is its number, such as ``Q12004``.

    Args:
        contact: A mail address or a page about who asks; Wikimedia wants it.
        language: Of labels and descriptions.
        cache: Folder of answers; the zoo's cache when None.
        offline: Use what is kept, and ask nothing.
        url: Of the API; Wikidata's own when None.
        patience: How often a failing request is tried.
        gap_seconds: Least time between two requests.

    Raises:
        UsageError: The contact, the language or the URL cannot be used.
    """

    name = "wikidata"
    url = WIKIDATA

    def search(self, topic: str, keywords: Sequence[str] = ()) -> list[Page]:
        """Things whose label contains the topic; those whose description says more keywords come first.

        Raises:
            DataError: It cannot be asked.
        """
        words = _words(topic)
        if not words:
            return []
        asked = {"action": "wbsearchentities", "search": words, "language": self.language, "uselang": self.language}
        answer = self.client.get({"format": "json", "maxlag": "5", "type": "item", "limit": str(MOST_PAGES), **asked})
        found = [
            Page(one["id"], _text(one.get("label")) or one["id"], _text(one.get("description")))
            for one in _list(answer.get("search"))
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]
        said = [word for keyword in keywords for word in _words(keyword).lower().split()]
        return sorted(found, key=lambda page: -sum(word in page.summary.lower() for word in said))

    def neighbours(self, page: Page, k: int) -> list[Edge]:
        """Things that statements about one name, those of the most statements first; the property is the reason.

        Raises:
            DataError: It cannot be asked.
        """
        if k < 1 or not re.fullmatch(r"Q\d+", page.key):
            return []
        claims = _dict(self._entities([page.key], "claims").get(page.key, {}).get("claims"))
        named: dict[str, list[str]] = {}
        for number, statements in claims.items():
            for statement in _list(statements):
                target = _item_of(statement)
                if target is not None and target != page.key:
                    named.setdefault(target, []).append(number)
        chosen = sorted(named, key=lambda target: -len(named[target]))[:k]
        labels = self._entities([*chosen, *dict.fromkeys(named[target][0] for target in chosen)], "labels")

        def label(number: str) -> str:
            return self._in_words(labels.get(number, {}).get("labels")) or number

        return [
            Edge(target, float(len(named[target])), f"{page.title}: {label(named[target][0])} {label(target)}")
            for target in chosen
        ]

    def describe(self, page_key: str) -> str:
        """Label and description of a thing; empty where there is none.

        Raises:
            DataError: It cannot be asked.
        """
        if not re.fullmatch(r"Q\d+", page_key):
            return ""
        found = self._entities([page_key], "labels|descriptions").get(page_key, {})
        parts = (self._in_words(found.get("labels")), self._in_words(found.get("descriptions")))
        return ": ".join(part for part in parts if part)

    def _entities(self, numbers: Sequence[str], what: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(numbers), MOST_LABELS):
            some = "|".join(numbers[start : start + MOST_LABELS])
            asked = {"action": "wbgetentities", "ids": some, "props": what, "languages": self.language}
            answer = self.client.get({"format": "json", "maxlag": "5", "languagefallback": "1", **asked})
            found |= {name: _dict(one) for name, one in _dict(answer.get("entities")).items()}
        return found

    def _in_words(self, given: Any) -> str:
        return _text(_dict(_dict(given).get(self.language)).get("value"))


def _item_of(statement: Any) -> str | None:
    """The thing that a statement names; None for texts, numbers and whatever else."""
    value = _dict(_dict(_dict(_dict(statement).get("mainsnak")).get("datavalue")).get("value"))
    number = value.get("id")
    return number if isinstance(number, str) and re.fullmatch(r"Q\d+", number) else None


def _words(text: str) -> str:
    """Words alone: nothing of a question becomes an operator of the search."""
    return " ".join(_WORD.findall(text[:1000])[:MOST_WORDS])


def _brief(text: Any) -> str:
    return " ".join(_text(text)[:MOST_SUMMARY].split())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
