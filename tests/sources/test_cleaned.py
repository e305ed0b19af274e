"""`moon-zoo pack cleaned`: a new set of searches that names its parent, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import verify
from moon_zoo.data.writing import write_splits
from tests.sources.making import photo


def item(name: str, spu: str, category: str) -> Product:
    return Product(
        item_id=name,
        spu_id=spu,
        title=name,
        category=("all", category),
        attributes={"colour": "red"},
        photos=[photo()],
    )


def searches() -> list[tuple[str, Search]]:
    shirt, variant, mug = (
        item("shirt-1", "shirt", "shirt"),
        item("shirt-2", "shirt", "shirt"),
        item("mug-1", "mug", "mug"),
    )
    asked = photo()
    return [
        ("alike", Search(item=shirt, query_photo=asked)),
        ("far", Search(item=shirt, query_photo=asked, hard_negatives=[mug])),
        ("variant", Search(item=variant, query_photo=asked)),
        ("clicked", Search(item=mug, query_photo=asked, behaviour="click")),
        ("vague", Search(item=mug, query_text="something nice")),
        ("clear", Search(item=mug, query_text="a red mug")),
    ]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    splits = [(split, key, sample) for split in ("train", "val") for key, sample in searches()]
    write_splits(tmp_path / "searches", splits, source="a test", licence="CC0-1.0")
    return tmp_path / "searches"


def packed(out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["pack", "cleaned", *words, "--to", str(out), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["pack", "cleaned", *words, "--to", str(out)]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def test_the_new_set_holds_what_stays_and_names_its_parent(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("key,score\nalike,.9\nfar,.1\nvariant,.2\nclicked,.0\nvague,.0\nclear,.3\n")
    found = packed(tmp_path / "new", capsys, str(shards), "--similarity", str(scores))
    assert found["skipped"] == {
        "no purchase": 1,
        "words that name fewer than 2 entities": 1,
        "a less similar pair of the same item": 1,
        "another pair of the same SPU": 1,
    }
    parent, new = IndexedShards(shards / "train"), IndexedShards(tmp_path / "new" / "train")
    assert [new.locate(place)[1] for place in range(len(new))] == ["far", "clear"]
    assert new[0] == parent[1] and new[1] == parent[5]  # photos and hard negatives too
    assert new.manifest.parents == [parent.manifest.fingerprint]
    assert new.manifest.licence == "CC0-1.0" and new.manifest.source == "a test, cleaned"
    about = new.manifest.extra["cleaning"]
    assert (about["pairs"], about["kept"], about["settings"]["similarity"]) == (6, 2, "scores.csv")
    assert not (tmp_path / "new" / "val").exists()  # what is measured on stays as it is
    assert verify(tmp_path / "new" / "train") == []


def test_without_similarities_the_first_pair_stays_and_it_is_said(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = packed(tmp_path / "new", capsys, str(shards / "train"), "--merge-skus=false", "--min-entities", "0")
    new = IndexedShards(tmp_path / "new" / "train")
    assert [new.locate(place)[1] for place in range(len(new))] == ["alike", "far", "variant", "vague", "clear"]
    assert any("no --similarity" in note for note in found["notes"])


def test_categories_are_drawn_to_a_table_of_exposures(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exposure.csv").write_text("category,exposure\nshirt,100\nmug,100\nhat,5\n")
    words = (str(shards), "--merge-skus=false", "--behaviours", "purchase,click", "--min-entities", "0")
    found = packed(tmp_path / "new", capsys, *words, "--exposure", str(tmp_path / "exposure.csv"), "--min-kept", "0")
    assert found["splits"]["train"]["samples"] == 6  # three of each
    assert any("that no search is for: hat" in note for note in found["notes"])


def test_more_entities_come_from_a_file(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("Something\n\nnice\n")
    found = packed(tmp_path / "new", capsys, str(shards), "--entities", str(tmp_path / "words.txt"))
    assert "words that name fewer than 2 entities" not in found["skipped"]


def test_mistakes_are_told_with_what_to_change(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    (tmp_path / "other.csv").write_text("key,score\nnobody,.5\n")
    (tmp_path / "words.csv").write_text("key,score\nfar,high\n")
    (tmp_path / "names.csv").write_text("name,score\nfar,1\n")
    (tmp_path / "hats.csv").write_text("category,exposure\nshirts,5\n")
    (tmp_path / "minus.csv").write_text("category,exposure\nshirt,-5\n")
    write_splits(tmp_path / "products", [("train", "one", item("one", "one", "mug"))])
    cases = {
        (str(shards), "--split", "trian"): "no set 'trian', but train, val",
        (str(shards), "--behaviours", "buy"): "unknown behaviour 'buy'",
        (str(shards), "--behaviours", ","): "no behaviour is named",
        (str(shards), "--similarity", str(shards)): "is a folder",
        (str(shards), "--similarity", str(tmp_path / "none.csv")): "change: --similarity",
        (str(shards), "--similarity", str(tmp_path / "other.csv")): "none of the keys",
        (str(shards), "--similarity", str(tmp_path / "words.csv")): "the score 'high' is no number",
        (str(shards), "--similarity", str(tmp_path / "names.csv")): "the columns name, score, but not key and score",
        (str(shards), "--exposure", "unifrom"): "did you mean: uniform?",
        (str(shards), "--exposure", str(tmp_path / "hats.csv")): "did you mean: shirts?",
        (str(shards), "--exposure", str(tmp_path / "minus.csv")): "the exposure -5 is negative",
        (str(shards), "--min-kept", "2"): "between 0 and 1, not 2",
        (str(shards), "--min-entities", "-1"): "0 or more, not -1",
        (str(shards), "--entities", str(tmp_path / "none.txt")): "--entities",
        (str(tmp_path / "products"),): "holds product samples; only pairs of a query and an item",
    }
    for words, expected in cases.items():
        assert expected in refused(out, capsys, *words), words
