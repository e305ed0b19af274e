"""Files of others into a store: their layouts are read, and what is malformed is counted and left out."""

from __future__ import annotations

import bz2
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from moon_zoo.cli.main import main
from moon_zoo.errors import DataError
from moon_zoo.knowledge.dumps import pages
from moon_zoo.knowledge.store import KnowledgeStore
from moon_zoo.knowledge.triples import triples

CONCEPTNET = Path(__file__).parents[3] / "shared" / "data" / "conceptnet"

TRIPLES = """\
IsA\toak\thardwood
UsedFor\toak\tmake table\t2.0
DefinedAs\toak\ta tree with acorns
NotMadeOf\toak\tstone
IsA\toak\tstone\t-1
no triple at all
IsA\toak
Is A?\toak\ttree
IsA\t\ttree
/a/[x]\t/r/AtLocation\t/c/en/oak/n\t/c/en/old_forest\t{"weight": 2.0}
/a/[x]\t/r/IsA\t/c/fr/chene\t/c/en/tree\t{"weight": 1.0}
/a/[x]\t/r/IsA\t/c/en/oak\t/c/en/tree\t{weight}
"""

XML = """\
<feed>
<doc>
<title>Wikipedia: Oak</title>
<url>https://en.wikipedia.org/wiki/Oak</url>
<abstract>A tree &amp; its <i>wood</i>.</abstract>
<links>
<sublink linktype="nav"><anchor>a</anchor><link>https://en.wikipedia.org/wiki/Ice_cream#Types</link></sublink>
<sublink linktype="nav"><anchor>b</anchor><link>https://en.wikipedia.org/wiki/Oak#Uses</link></sublink>
</links>
</doc>
<doc><title>broken</doc>
<doc><!DOCTYPE x [<!ENTITY a "b">]><title>&a;</title></doc>
<doc>
<title>Wikipedia: Ice cream</title>
<abstract/>
</doc>
<doc>
<title>unfinished</title>
</feed>
"""


def test_triples_of_both_layouts_are_read_and_faults_counted(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(TRIPLES.encode() + b"IsA\t\xff\xff\tx\n")
    skipped: Counter[str] = Counter()
    found = [(one.relation, one.head, one.tail, one.weight) for one in triples(tmp_path / "t.txt", skipped)]
    assert found == [
        ("IsA", "oak", "hardwood", 1.0),
        ("UsedFor", "oak", "make table", 2.0),
        ("DefinedAs", "oak", "a tree with acorns", 1.0),
        ("AtLocation", "oak", "old forest", 2.0),
    ]
    assert skipped == {
        "a triple that ties nothing": 1,
        "a triple that is held to be wrong": 1,
        "a line that is no triple": 5,
        "a triple of another language": 1,
        "a line that is not UTF-8": 1,
    }


def test_one_command_makes_a_store_of_triples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(TRIPLES.encode()))
    command = ["pack", "knowledge", str(tmp_path / "t.txt.gz"), "--to", str(tmp_path / "t.sqlite")]
    assert main([*command, "--licence", "CC-BY-SA-4.0"]) == 0
    shown = capsys.readouterr().err
    assert "5 pages, 4 links, licence CC-BY-SA-4.0" in shown
    assert "left out, a line that is no triple: 5" in shown
    store = KnowledgeStore(tmp_path / "t.sqlite")
    (oak,) = store.search("oak")
    assert oak.summary == "oak: a tree with acorns"
    assert [edge.reason for edge in store.neighbours(oak, 2)] == [
        "oak is used for make table",
        "oak is found at old forest",
    ]
    assert main(command) == 2
    assert "exists already; nothing was written" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == store.fingerprint()


def test_a_dump_of_json_lines_is_read_and_faults_counted(tmp_path: Path) -> None:
    records = [
        {
            "title": "Oak",
            "summary": "A tree.",
            "links": ["Ice_cream", {"target": "Elm", "weight": 2, "reason": "kin {x}"}],
        },
        {"title": "Elm", "abstract": "Another tree.", "links": [3, {"target": None}]},
        {"title": "Ice cream", "key": 7},
        {"title": ""},
        {"title": "x", "links": "Oak"},
        ["a"],
    ]
    text = "".join(json.dumps(one) + "\n" for one in records) + "{broken\n" + "[" * 100_000 + "\n"
    (tmp_path / "d.jsonl.bz2").write_bytes(bz2.compress(text.encode()))
    skipped: Counter[str] = Counter()
    found = list(pages(tmp_path / "d.jsonl.bz2", skipped))
    assert [(page.key, page.summary, len(page.links)) for page in found] == [
        ("Oak", "A tree.", 2),
        ("Elm", "Another tree.", 0),
        ("7", "", 0),
    ]
    assert skipped == {"a record that is no page": 3, "a line that is no JSON": 2}
    assert main(["pack", "knowledge", str(tmp_path / "d.jsonl.bz2"), "--to", str(tmp_path / "d.sqlite")]) == 0
    store = KnowledgeStore(tmp_path / "d.sqlite")
    assert [edge.reason for edge in store.neighbours(store.search("oak")[0], 5)] == ["kin {x}"]


def test_a_dump_of_xml_is_read_page_by_page(tmp_path: Path) -> None:
    (tmp_path / "d.xml").write_text(XML)
    skipped: Counter[str] = Counter()
    found = list(pages(tmp_path / "d.xml", skipped))
    assert [(page.title, page.summary) for page in found] == [("Oak", "A tree & its wood."), ("Ice cream", "")]
    assert [link[0] for link in found[0].links] == ["Ice cream"]
    assert skipped == {"a <doc> that is no page": 2, "a <doc> without an end": 1}


def test_an_endless_line_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("x" * (20 << 20) + "\nIsA\toak\ttree\n")
    skipped: Counter[str] = Counter()
    assert len(list(triples(tmp_path / "t.txt", skipped))) == 1
    assert skipped == {"an endless line": 1}


def test_files_that_are_missing_or_cut_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        list(triples(tmp_path / "nowhere.txt", Counter()))
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(TRIPLES.encode() * 100)[:100])
    with pytest.raises(DataError, match="cannot be read to its end"):
        list(triples(tmp_path / "t.txt.gz", Counter()))
    assert main(["pack", "knowledge", str(tmp_path / "t.txt.gz"), "--to", str(tmp_path / "t.sqlite")]) == 2
    assert not (tmp_path / "t.sqlite").exists()


@pytest.mark.skipif(not CONCEPTNET.is_dir(), reason="needs the triples of CN-100K beside the checkout")
def test_real_triples_become_a_store(tmp_path: Path) -> None:
    assert main(["pack", "knowledge", str(CONCEPTNET / "valid.txt"), "--to", str(tmp_path / "c.sqlite")]) == 0
    assert len(KnowledgeStore(tmp_path / "c.sqlite")) > 1500
