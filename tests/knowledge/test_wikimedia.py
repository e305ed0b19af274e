"""Wikipedia and Wikidata against a real server on this machine, which answers, or misbehaves, as a function says."""

from __future__ import annotations

import contextlib
import http.server
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from moon_zoo.data.fetch import Patience
from moon_zoo.errors import DataError, UsageError
from moon_zoo.knowledge.finding import KnowledgeFinder
from moon_zoo.knowledge.source import KnowledgeSource, Page
from moon_zoo.knowledge.wikimedia import Wikidata, Wikipedia

Answer = tuple[int, dict[str, str], Any]
QUICK = Patience(attempts=3, backoff_seconds=0.01)
ME = "me@example.org"
TEXTS = {"Oak": "A tree with acorns.", "Oak furniture": "Furniture of oak wood.", "Acorn": "The nut of an oak."}


class Server:
    def __init__(self, answer: Callable[[dict[str, str], int], Answer]) -> None:
        self.answer = answer
        self.asked: list[dict[str, str]] = []
        self.agents: list[str] = []
        self.url = ""


@contextlib.contextmanager
def serving(answer: Callable[[dict[str, str], int], Answer]) -> Iterator[Server]:
    server = Server(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = dict(parse_qsl(urlsplit(self.path).query))
            server.asked.append(asked)
            server.agents.append(self.headers["User-Agent"])
            status, headers, body = answer(asked, len(server.asked) - 1)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    server.url = f"http://127.0.0.1:{running.server_port}/w/api.php"
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()


def encyclopedia(asked: dict[str, str], number: int) -> Answer:
    """As MediaWiki answers, with three pages."""
    if "titles" in asked:
        titles = [asked["titles"]]
    elif asked["gsrsearch"].startswith("morelike:"):
        titles = list(TEXTS)
    elif "furniture" in asked["gsrsearch"]:
        titles = ["Oak furniture"]
    elif asked["gsrsearch"].startswith('intitle:"oak"'):
        titles = ["Oak", "Oak furniture"] if asked["gsrsearch"].endswith('"oak"') else []
    else:
        return 200, {}, {"batchcomplete": True}
    pages = [
        {"title": title, "index": place, "extract": TEXTS.get(title, "")}
        | ({} if title in TEXTS else {"missing": True})
        for place, title in enumerate(titles)
    ]
    return 200, {}, {"query": {"pages": pages[::-1]}}


def wikipedia(server: Server, cache: Path, **options: Any) -> Wikipedia:
    return Wikipedia(
        **{"contact": ME, "url": server.url, "cache": cache, "patience": QUICK, "gap_seconds": 0.0} | options
    )


def test_pages_are_found_narrowed_and_described(tmp_path: Path) -> None:
    with serving(encyclopedia) as server:
        source: KnowledgeSource = wikipedia(server, tmp_path)
        assert [page.title for page in source.search("oak", [])] == ["Oak", "Oak furniture"]
        # the longest leaves nothing and is taken back
        assert [page.title for page in source.search("oak", ["furniture", "photosynthesis"])] == ["Oak furniture"]
        assert source.search("\N{HOT BEVERAGE}", ()) == source.search("quux", ()) == []
        assert source.describe("Oak") == TEXTS["Oak"]
        assert source.describe("Quux") == source.describe("") == ""
        edges = source.neighbours(Page("Oak", "Oak"), 2)
        assert [(edge.target, edge.weight) for edge in edges] == [("Oak furniture", 1.0), ("Acorn", 0.5)]
        assert all(f"({ME})" in agent and agent.startswith("moon-zoo/") for agent in server.agents)
        assert source.name == "wikipedia"
        assert pickle.loads(pickle.dumps(source)).fingerprint() == source.fingerprint()


def test_a_topic_cannot_become_an_operator_of_the_search(tmp_path: Path) -> None:
    with serving(encyclopedia) as server:
        wikipedia(server, tmp_path).search('oak" OR insource:/x/ "', [])
    assert server.asked[0]["gsrsearch"] == 'intitle:"oak OR insource x"'


def test_what_was_asked_once_is_kept_and_found_offline(tmp_path: Path) -> None:
    with serving(encyclopedia) as server:
        source = wikipedia(server, tmp_path)
        found = source.search("oak", [])
        asked = len(server.asked)
        assert source.search("oak", []) == wikipedia(server, tmp_path).search("oak", []) == found
        assert len(server.asked) == asked
    offline = wikipedia(server, tmp_path, offline=True, contact="")
    assert offline.search("oak", []) == found
    with pytest.raises(DataError, match="nothing is kept"):
        offline.search("elm", [])


def test_it_waits_as_long_as_it_is_asked_to(tmp_path: Path) -> None:
    def busy(asked: dict[str, str], number: int) -> Answer:
        if number == 0:
            return 429, {"Retry-After": "1"}, {}
        if number == 1:
            return 503, {"Retry-After": formatdate(time.time() + 1, usegmt=True)}, {}
        return encyclopedia(asked, number)

    with serving(busy) as server:
        began = time.monotonic()
        assert wikipedia(server, tmp_path).search("oak", [])
        assert time.monotonic() - began > 1.0
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "message", "requests"),
    [
        ((500, {}, {}), "is not to be reached: it answered 500, 3 times in a row", 3),
        ((200, {}, b"<html>"), "its answer is no JSON", 3),
        ((200, {}, []), "its answer is no object", 3),
        ((200, {}, {"error": {"code": "maxlag"}}), "it answered maxlag", 3),
        ((200, {}, {"error": {"code": "badvalue"}}), "refuses: .*badvalue", 1),
        ((403, {}, {}), "refuses: it answered 403", 1),
        ((301, {"Location": "http://127.0.0.1:1/"}, {}), "refuses: it answered 301", 1),
        ((200, {}, b" " * (9 << 20)), "its answer is larger than", 3),
    ],
)
def test_a_server_that_misbehaves_ends_in_words_after_a_few_tries(
    answer: Answer, message: str, requests: int, tmp_path: Path
) -> None:
    with serving(lambda asked, number: answer) as server:
        with pytest.raises(DataError, match=message):
            wikipedia(server, tmp_path).search("oak", [])
        assert len(server.asked) == requests
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "answer", [{"query": []}, {"query": {"pages": [1, {"title": 3}, {"title": "Oak", "index": "x"}]}}]
)
def test_answers_of_another_shape_give_what_can_be_read(answer: Any, tmp_path: Path) -> None:
    with serving(lambda asked, number: (200, {}, answer)) as server:
        assert [page.title for page in wikipedia(server, tmp_path).search("oak", [])] in ([], ["Oak"])


def test_a_server_that_is_down_is_said_in_words(tmp_path: Path) -> None:
    with serving(encyclopedia) as server:
        pass
    with pytest.raises(DataError, match="is not to be reached"):
        wikipedia(server, tmp_path).search("oak", [])


@pytest.mark.parametrize("contact", ["", "me", "a@b\r\nX: y"])
def test_who_asks_must_say_so(contact: str) -> None:
    with pytest.raises(UsageError, match="is no contact"):
        Wikipedia(contact=contact)
    with pytest.raises(UsageError, match="no language's code"):
        Wikipedia(contact=ME, language="evil.example/")


def wikidata_answers(asked: dict[str, str], number: int) -> Answer:
    """As Wikibase answers, with an oak that is a subclass of tree."""
    labels = {"Q1": "oak", "Q2": "tree", "Q3": "acorn", "P279": "subclass of", "P1": "has fruit"}
    if asked["action"] == "wbsearchentities":
        rows = [
            {"id": "Q9", "label": "Oak", "description": "a village"},
            {"id": "Q1", "label": "oak", "description": "a tree"},
        ]
        return 200, {}, {"search": rows}

    def to(number: str) -> dict[str, Any]:
        return {"mainsnak": {"datavalue": {"value": {"id": number}}}}

    claims = {
        "P279": [to("Q2"), {"mainsnak": {"snaktype": "novalue"}}],
        "P1": [to("Q3"), to("Q2")],
        "P2": [to("Q1"), 3],
    }
    return 200, {}, {
        "entities": {
            one: {
                "labels": {"en": {"value": labels[one]}},
                "descriptions": {"en": {"value": f"what is called {labels[one]}"}},
                "claims": claims,
            }
            for one in asked["ids"].split("|")
        }
    }  # fmt: skip


def test_wikidata_gives_things_and_the_statements_between_them(tmp_path: Path) -> None:
    with serving(wikidata_answers) as server:
        source = Wikidata(contact=ME, url=server.url, cache=tmp_path, patience=QUICK, gap_seconds=0.0)
        found = source.search("oak", ["tree"])
        assert [page.key for page in found] == ["Q1", "Q9"]
        assert [(edge.target, edge.weight, edge.reason) for edge in source.neighbours(found[0], 5)] == [
            ("Q2", 2.0, "oak: subclass of tree"),
            ("Q3", 1.0, "oak: has fruit acorn"),
        ]
        assert source.describe("Q1") == "oak: what is called oak"
        assert source.describe("Q1|Q2") == ""
        assert source.neighbours(Page("Oak", "Oak"), 5) == []


def test_the_whole_way_from_a_question_to_knowledge(tmp_path: Path) -> None:
    with serving(encyclopedia) as server:
        found = KnowledgeFinder(wikipedia(server, tmp_path)).find("Is an oak a tree?", "Yes, it is.")
    assert found.fused.source == "wikipedia"
    assert found.fused.text
