"""Queries from tables: which columns, which rows are refused and how, and photos that stay below the table's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo.errors import DataError, UsageError
from moon_zoo.search.queries import Query, read_queries
from tests.search.catalogues import photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "boot.jpg").write_bytes(photo(1))
    return tmp_path


def table(folder: Path, text: str, name: str = "queries.csv") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_words_photos_and_both_are_read_in_order(folder: Path) -> None:
    queries = read_queries(
        table(folder, "id,text,photo,more\na,red  shoe ,,1\nb,,photos/boot.jpg,2\nc,x,photos/boot.jpg,3\n")
    )
    assert [(query.id, query.text) for query in queries] == [("a", "red shoe"), ("b", None), ("c", "x")]
    assert queries[0].photo_bytes() is None
    assert queries[1].photo_bytes() == photo(1)
    assert str(queries[2]) == f'"x" + photo {folder / "photos" / "boot.jpg"}'


def test_queries_without_id_are_numbered(folder: Path) -> None:
    path = folder / "queries.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("one", "two")))
    assert [(query.id, query.text, query.where) for query in read_queries(path)] == [
        ("1", "one", "queries.jsonl, line 1"),
        ("2", "two", "queries.jsonl, line 2"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("query,image\nx,y\n", r"neither a column text nor a column photo, but query, image"),
        ("text\n", r"holds no query"),
        ("text,photo\nx,\n,\n", r"(?s)neither text nor photo.*queries.csv, line 3"),
        ("photo\nphotos/bot.jpg\n", r"(?s)there is no photo photos/bot.jpg.*did you mean: boot.jpg.*line 2"),
        ("photo\n../queries.csv\n", r"(?s)does not stay below its folder.*line 2"),
        ("photo\n/etc/hostname\n", r"does not stay below its folder"),
        ("id,text\na,x\nb,y\na,z\n", r"(?s)the id 'a' names two queries.*line 2 and queries.csv, line 4"),
    ],
)
def test_rows_that_ask_nothing_are_refused(folder: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_queries(table(folder, text))


def test_a_list_for_words_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="the text of a query is no text"):
        read_queries(table(folder, '{"text": ["x"]}\n', "queries.jsonl"))


def test_missing_table_suggests(folder: Path) -> None:
    table(folder, "text\nx\n")
    with pytest.raises(DataError, match=r"did you mean: queries\.csv"):
        read_queries(folder / "querys.csv")


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_a_query_of_nothing_is_refused(text: str | None) -> None:
    with pytest.raises(UsageError, match="a query needs words, a photo or both"):
        Query(text=text)


def test_a_missing_photo_suggests_its_neighbour(folder: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)bot\.jpg cannot be read: No such file.*did you mean: boot\.jpg"):
        Query(photo=folder / "photos" / "bot.jpg").photo_bytes()
