"""`pack` and `inspect` of impressions, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from moon_zoo.cli.main import main
from tests.conftest import make_impressions, write_products


@pytest.fixture
def packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    pq.write_table(make_impressions(200), tmp_path / "rows.parquet")
    words = ["pack", "impressions", str(tmp_path / "rows.parquet"), "--to", str(tmp_path / "out")]
    words += ["--item-features", "category", "--numeric", "price", "--query", "query_item_id", "--min-count", "5"]
    assert main([*words, "--shared", "query_item_id=item_id"]) == 0
    shown = capsys.readouterr()
    assert "packed 200 rows" in shown.err and "photos" not in shown.err + shown.out
    assert "moon-zoo fit --config mim/base --model.behaviour din --data.train" in shown.err
    return tmp_path / "out"


def test_inspect_tells_rows_columns_and_histories(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(packed)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("set\trows")).split("\t")[1:] == [
        "rows", "clicked", "users", "items", "cold rows",
    ]  # fmt: skip
    column = next(line for line in lines if line.startswith("query_item_id\t")).split("\t")
    assert column[1:3] == ["query", "the query"] and column[3].startswith("20 values of item_id, ")
    assert any(line.startswith("history\ttrain\thistory.item_id, history.category\t") for line in lines)
    assert "at least 5 training rows" in "".join(lines)


def test_inspect_as_json_counts_without_listing_every_value(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(packed), "--json"]) == 0
    train = json.loads(capsys.readouterr().out)["sets"]["train"]
    manifest = json.loads((packed / "train" / "manifest.json").read_text("utf-8"))
    assert train["samples"] == train["impressions"]["rows"] == manifest["samples"]
    assert train["impressions"]["click_rate"] == manifest["extra"]["impressions"]["clicks"] / manifest["samples"]
    assert (
        train["vocabularies"]["item_id"]["values"] == 20 and len(train["vocabularies"]["item_id"]["most_frequent"]) == 3
    )
    assert train["schema"]["user"] == "user_id" and train["min_count"] == 5


def test_inspect_shows_a_row_in_the_words_of_the_table(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(packed / "train"), "--sample", "4"]) == 0
    row, expected = json.loads(capsys.readouterr().out), make_impressions(200).to_pylist()[4]
    assert {name: row[name] for name in expected} == expected  # the price is missing: null
    assert main(["inspect", str(packed / "train"), "--sample", "user-3"]) == 2
    assert "rows of impressions have no keys" in capsys.readouterr().err


def test_inspect_verifies_and_draws_no_rows(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(packed), "--verify"]) == 0
    assert "no faults" in capsys.readouterr().err
    assert main(["inspect", str(packed), "--sheet", str(packed / "x.png")]) == 2
    assert "no photos to draw" in capsys.readouterr().err
    tar = packed / "val" / "val-000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b"\x93NUMPY", b"\x93NUMPI", 1))
    assert main(["inspect", str(packed), "--verify"]) == 2
    assert "was changed after it was written" in capsys.readouterr().err


def test_products_and_rows_are_inspected_together(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_products(packed / "items", 3)
    assert main(["inspect", str(packed), "--sheet", str(packed / "x.png")]) == 0
    out = capsys.readouterr().out
    assert "items\tproduct\t3" in out and "items:      3 categories" in out and "train\timpressions" in out
    assert (packed / "x.png").stat().st_size > 1000
    assert main(["inspect", str(packed), "--sample", "p001"]) == 0
    assert json.loads(capsys.readouterr().out)["item_id"] == "item-001"


def test_blocks_alone_cannot_be_indexed(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(packed / "train" / "train-000000.tar", tmp_path / "alone")
    assert main(["inspect", str(tmp_path / "alone"), "--index"]) == 2
    assert "cannot be read without their manifest" in capsys.readouterr().err
