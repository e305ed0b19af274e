"""FollowupQG in a small made-up copy of its layout, tables of one's own, and knowledge looked up for sets of follow-ups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import write_splits
from moon_zoo.errors import DataError, UsageError
from moon_zoo.shop.follow_ups.facts import STORE_FILE
from moon_zoo.shop.writing import write_shop
from moon_zoo.sources.follow_up_knowledge import FollowUpKnowledgeSource
from moon_zoo.sources.follow_up_table import FollowUpTableSource
from moon_zoo.sources.followupqg import FORUM, FollowupQGSource

REAL = Path(__file__).parents[3] / "shared" / "data" / "followupqg"


def row(number: int, question: str, answer: str, follow_up: str) -> dict[str, Any]:
    return {"id": number, "question": question, "answer": answer, "follow-up": follow_up, "relation": "Related"}


TRAIN = [
    row(0, "ELI5: Why is tea brown?", "Leaves colour the tea.", "[A note: ] Which leaves?"),
    row(1, "[ELI5] Why is tea brown?", "Leaves colour the tea.", "Which leaves?"),
    row(2, "eli5 - How do kites fly?", "Wind lifts the kite.", "[A kite](http://a.b) like this?"),
    row(700, "Eli5: Why do cats purr?", "Bread rises with yeast.", "How long must dough rest?"),
    row(701, "ELI5: Why do cats purr?", "A cat purrs when at ease.", "Do lions purr?"),
    row(2000, "ELI5: Why is snow white?", "Because.", "Really?"),
    row(2001, "ELI5: How do boats float?", "Boats push water aside.", "Do steel boats float too?"),
]
VALID = [row(2790, "Eli5 what keeps boats up?", "Boats push water aside.", "Do steel boats float too?")]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "train.json").write_text(json.dumps(TRAIN))
    (folder / "valid.json").write_text(json.dumps(VALID))
    return folder


def test_followupqg_is_cleaned_and_says_what_it_did(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", "followupqg", str(published), "--to", str(tmp_path / "s")]) == 0
    train = {one.conversation_id: one for one in IndexedShards(tmp_path / "s" / "train")}
    assert sorted(train) == ["followupqg-0", "followupqg-2", "followupqg-2000", "followupqg-701"]
    assert train["followupqg-0"].question == "Why is tea brown?"
    assert train["followupqg-0"].follow_up == "Which leaves?"
    assert train["followupqg-2"].question == "How do kites fly?"
    assert train["followupqg-2"].follow_up.startswith("[A kite](http")
    assert train["followupqg-0"].truth == {"relation": "Related"}
    said = capsys.readouterr().err
    for line in (
        "left out, row that is there twice: 1",
        "left out, training row with another row's question: 1",
        "left out, training row whose answer and follow-up recur in an evaluation split: 1",
        "train: the forum's mark before a question cut off: 7",
        "train: a note in brackets before a follow-up cut off: 1",
        "1 training row stay",
    ):
        assert line in said
    cleaning = read_manifest(tmp_path / "s" / "train").extra["cleaning"]
    assert cleaning["kept"] == 4
    assert sum(cleaning["left_out"].values()) == 3


def test_what_counts_as_another_rows_question_is_an_option(published: Path) -> None:
    def kept(**options: Any) -> int:
        return sum(split == "train" for split, _, _ in FollowupQGSource(published, **options).read())

    assert (kept(foreign="all"), kept(foreign="keep"), kept(clean=False)) == (3, 5, 7)
    with pytest.raises(UsageError, match="foreign is 'some'"):
        FollowupQGSource(published, foreign="some")


@pytest.mark.parametrize("text", ["ELI5:", "Eli5 - ", "[ELI5] ", "eli5, ", "(ELI5) ", "ELI5/", "  ELI 5: "])
def test_the_forums_mark_is_known_in_its_many_forms(text: str) -> None:
    assert FORUM.sub("", f"{text}Why so?") == "Why so?"
    assert FORUM.sub("", "Eli53 is a name?") == "Eli53 is a name?"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1, "question": "a", "answer": "b"}], "the field follow-up holds no text"),
        ([row(1, "a", "b", "c"), row(1, "d", "e", "f")], "the id 1 is there twice"),
        ([{"question": "a"}], "a row without an id"),
        ({"a": 1}, "holds no list"),
    ],
)
def test_files_of_another_layout_are_refused_with_their_place(rows: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        list(FollowupQGSource(tmp_path).read())


def test_a_folder_without_any_of_its_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trains.json").write_text("[]")
    with pytest.raises(DataError, match=r"there is no train\.json or valid\.json"):
        list(FollowupQGSource(tmp_path).read())


@pytest.mark.skipif(not REAL.is_dir(), reason="needs FollowupQG beside the checkout")
def test_the_real_set_is_read_whole() -> None:
    source = FollowupQGSource(REAL)
    found = [split for split, _, _ in source.read()]
    assert found.count("val") == 476
    assert 2400 < found.count("train") < 2650
    assert 120 < source.skipped["training row with another row's question"] < 200


def test_a_table_of_ones_own_keeps_rows_of_one_question_together(tmp_path: Path) -> None:
    lines = ["asked,told,next,extra,about"]
    lines += [f"question {number % 20}?,answer {number},next {number}?,fact {number},thing" for number in range(60)]
    lines += ["question?,answer,,,", ",answer,next?,,"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    named = {"question": "asked", "answer": "told", "follow_up": "next", "knowledge": "extra", "concept": "about"}
    source = FollowUpTableSource(tmp_path / "t.csv", **named)
    splits: dict[str, set[str]] = {}
    for split, _, one in source.read():
        assert isinstance(one, FollowUp)
        assert one.knowledge is not None and one.knowledge.concept == "thing"
        splits.setdefault(one.question, set()).add(split)
    assert len(splits) == 20 and all(len(names) == 1 for names in splits.values())
    assert source.skipped == {"row without a question, an answer or a follow-up": 2}


def test_a_table_with_splits_keeps_them_and_faults_are_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,question,answer,follow_up,split\na,q,b,c?,train\nb,q,b,c?,test\n")
    found = FollowUpTableSource(tmp_path / "t.csv", id="id").read()
    assert sorted((split, key) for split, key, _ in found) == [("test", "b"), ("train", "a")]
    with pytest.raises(DataError, match="has no column 'asked'"):
        FollowUpTableSource(tmp_path / "t.csv", question="asked")
    with pytest.raises(DataError, match="identities that are there twice: q"):
        list(FollowUpTableSource(tmp_path / "t.csv", id="question").read())
    with pytest.raises(UsageError, match="no knowledge is named"):
        FollowUpTableSource(tmp_path / "t.csv", concept="id")


def test_knowledge_is_looked_up_once_and_kept_with_where_it_comes_from(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", kind="follow_up", num_follow_ups=60, progress=False)
    command = ["pack", "follow_up_knowledge", str(tmp_path / "shop"), "--store", str(tmp_path / "shop" / STORE_FILE)]
    assert main([*command, "--to", str(tmp_path / "informed")]) == 0
    before, after = (IndexedShards(tmp_path / name / "train") for name in ("shop", "informed"))
    assert [one.conversation_id for one in before] == [one.conversation_id for one in after]
    right = sum(one.knowledge.concept == one.truth["concept"] for one in after)
    assert right >= 0.9 * len(after)
    one = after[0]
    assert one.knowledge.provenance["page"] == one.truth["topic"]
    manifest = after.manifest
    assert manifest.parents == [before.manifest.fingerprint]
    assert manifest.extra["knowledge"]["concept right"] == right
    assert manifest.extra["knowledge"]["settings"]["source"] == "shop"
    assert main([*command, "--to", str(tmp_path / "again")]) == 0
    assert IndexedShards(tmp_path / "again" / "train").manifest.fingerprint == manifest.fingerprint


def test_what_has_no_knowledge_is_kept_as_nothing_found(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", kind="follow_up", num_follow_ups=20, progress=False)
    odd = [
        FollowUp("a", "\N{HOT BEVERAGE}", "\N{HOT BEVERAGE}", "?"),
        FollowUp("b", "quux?", "", "?", Knowledge("old", "old", "table")),
        FollowUp("c", "Mug " * 20_000, "x" * 100_000, "?"),
    ]
    write_splits(tmp_path / "odd", [("test", one.conversation_id, one) for one in odd])
    source = FollowUpKnowledgeSource(str(tmp_path / "odd"), store=tmp_path / "shop" / STORE_FILE)
    found = [sample for _, _, sample in source.read()]
    assert [one.knowledge.text for one in found[:2]] == ["", ""]
    assert found[1].knowledge.source == "shop"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to look knowledge up in"),
        ({"mode": "papers", "store": Path("a")}, "mode is 'papers'"),
        ({"store": Path("a"), "wikipedia": "me@example.org"}, "a store or from Wikipedia"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        FollowUpKnowledgeSource(str(tmp_path), **options)
