"""Dumps of an encyclopedia into a store: JSON lines of pages, or Wikipedia's XML of abstracts.

JSON lines: an object a line with ``title``, and where there are any ``summary`` (or ``abstract``, ``text``), ``links`` (titles,
or objects with ``target``, ``weight`` and ``reason``) and ``key``. XML: ``<doc>`` with ``<title>``, ``<abstract>`` and
``<sublink>``. A page is found by its title where it has no key. What is malformed is left out and counted.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from moon_zoo.knowledge.building import RELATED, StoreWriter, Watch
from moon_zoo.knowledge.lines import lines

MOST_LINKS: Final = 1_000
"""Links of a page that are taken."""
MOST_LINES: Final = 20_000
"""Of one ``<doc>``; a longer one is left out."""
PREFIX: Final = "Wikipedia: "
"""What titles in Wikipedia's abstracts begin with."""
_SUMMARIES: Final = ("summary", "abstract", "text")


class DumpPage(NamedTuple):
    """A page with its links: key of the other, weight and how they are related."""

    key: str
    title: str
    summary: str
    links: tuple[tuple[str, float, str], ...]


def pages(path: Path, skipped: Counter[str]) -> Iterator[DumpPage]:
    """Pages of a dump, one at a time.

    Args:
        path: A file whose name says XML (``.xml``, ``.xml.gz``) or else JSON lines.
        skipped: Counts what is left out, by reason.
    """
    yield from (_xml_pages if ".xml" in path.suffixes else _json_pages)(path, skipped)


def add_dump(store: StoreWriter, path: Path, *, watch: Watch | None = None) -> None:
    """Take the pages of a dump into a store.

    Args:
        store: Being written.
        path: As in `pages`.
        watch: Is told of every thousand.
    """
    taken = 0
    for page in pages(path, store.skipped):
        store.page(page.key, page.title, page.summary)
        if page.links:
            store.links_from(page.key, page.links)
        taken += 1
        if watch is not None and taken % 1000 == 0:
            watch(1000)
    if watch is not None:
        watch(taken % 1000)


def _json_pages(path: Path, skipped: Counter[str]) -> Iterator[DumpPage]:
    for line in lines(path, skipped):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            skipped["a line that is no JSON"] += 1
            continue
        page = _json_page(record)
        if page is None:
            skipped["a record that is no page"] += 1
        else:
            yield page


def _json_page(record: Any) -> DumpPage | None:
    if not isinstance(record, dict) or not isinstance(record.get("title"), str) or not record["title"].strip():
        return None
    summary = next((record[name] for name in _SUMMARIES if record.get(name) is not None), "")
    links = record.get("links") or []
    key = record.get("key", record["title"])
    if not isinstance(summary, str) or not isinstance(links, list) or not isinstance(key, (str, int)):
        return None
    found = [(_key(one), 1.0, RELATED) if type(one) is str else _json_link(one) for one in links[:MOST_LINKS]]
    return DumpPage(_key(str(key)), record["title"], summary, tuple(one for one in found if one is not None))


def _json_link(given: Any) -> tuple[str, float, str] | None:
    if not isinstance(given, dict):
        return None
    target, weight, reason = given.get("target"), given.get("weight", 1.0), given.get("reason")
    if not isinstance(target, (str, int)) or not isinstance(weight, (int, float)):
        return None
    return _key(str(target)), float(weight), _plain(reason) if isinstance(reason, str) and reason else RELATED


def _plain(reason: str) -> str:
    """A reason in words as a phrase: braces of its own say nothing."""
    return reason.replace("{", "{{").replace("}", "}}")


def _xml_pages(path: Path, skipped: Counter[str]) -> Iterator[DumpPage]:
    """Each ``<doc>`` is parsed alone: a malformed one spoils no other, and none is larger than `MOST_LINES`."""
    doc: list[str] = []
    within = False
    for line in lines(path, skipped):
        if "<doc>" in line:
            if within:
                skipped["a <doc> without an end"] += 1
            doc, within = [], True
            line = line[line.index("<doc>") :]
        if not within:
            continue
        doc.append(line)
        if "</doc>" in line:
            within = False
            page = _xml_page("\n".join(doc))
            if page is None:
                skipped["a <doc> that is no page"] += 1
            else:
                yield page
        elif len(doc) > MOST_LINES:
            within = False
            skipped["an endless <doc>"] += 1
    if within:
        skipped["a <doc> without an end"] += 1


def _xml_page(text: str) -> DumpPage | None:
    if "<!" in text.replace("<![CDATA[", "").replace("<!--", ""):  # no entities are declared by a page
        return None
    try:
        doc = ET.fromstring(text[: text.index("</doc>") + len("</doc>")])
    except (ET.ParseError, ValueError):
        return None
    title = (doc.findtext("title") or "").removeprefix(PREFIX).strip()
    if not title:
        return None
    found = (_wiki_title(one.findtext("link") or "") for one in doc.iterfind("links/sublink"))
    links = dict.fromkeys(one for one in found if one and one != title)
    abstract = " ".join("".join(doc.find("abstract").itertext()).split()) if doc.find("abstract") is not None else ""  # type: ignore[union-attr]
    return DumpPage(title, title, abstract, tuple((one, 1.0, RELATED) for one in list(links)[:MOST_LINKS]))


def _wiki_title(url: str) -> str:
    """``https://en.wikipedia.org/wiki/Ice_cream#Types`` to ``Ice cream``."""
    from urllib.parse import unquote

    name = url.partition("#")[0].rpartition("/wiki/")[2] if "/wiki/" in url else ""
    return _key(unquote(name))


def _key(text: str) -> str:
    return " ".join(text.replace("_", " ").split())
