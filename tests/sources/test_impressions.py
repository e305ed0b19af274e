"""Click tables of one's own: what becomes of their columns, how they are split, and what faults say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.base import Source
from moon_zoo.sources.impressions import ImpressionsSource
from tests.sources.making import write, write_jsonl


def rows_of(source: Source) -> dict[str, list[dict[str, Any]]]:
    """Split to its rows, as the source gives them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for split, _, sample in source.read():
        assert isinstance(sample, RawImpressions)
        found.setdefault(split, []).extend(pa.table(sample.rows).to_pylist())
    return found


CLICKS = """user_id,item_id,category,price,click,timestamp
u1,007,mug,9.5,1,100
u2,008,lamp,,0,101
u1,008,lamp,20,0,102
u1,009,,7,1,103
u2,007,mug,9.5,1,104
"""


def clicks(folder: Path, text: str = CLICKS, name: str = "clicks.csv") -> Path:
    return write(folder / name, text)


def test_ids_stay_texts_and_gaps_are_missing_numbers_or_values_of_their_own(tmp_path):
    source = ImpressionsSource(
        clicks(tmp_path), item_features="category,price", numeric="price", split_by="random", test_share=0, val_share=0
    )
    rows = rows_of(source)["train"]
    assert [row["item_id"] for row in rows] == ["007", "008", "008", "009", "007"]
    assert [row["price"] for row in rows] == [9.5, None, 20.0, 7.0, 9.5]
    assert [row["category"] for row in rows] == ["mug", "lamp", "lamp", "(missing)", "mug"]
    assert [row["click"] for row in rows] == [1, 0, 0, 1, 1]
    assert "1 row without a category; it is called (missing) there" in source.notes
    schema = source.features.schema
    assert [(one.name, one.role) for one in schema.categorical] == [
        ("user_id", "user"),
        ("item_id", "item"),
        ("category", "item"),
    ]
    assert [(one.name, one.role) for one in schema.numeric] == [("price", "item")]
    assert (schema.label, schema.time) == ("click", "timestamp")


def test_the_newest_rows_of_each_user_are_for_testing_whatever_the_order_of_the_table(tmp_path):
    header, *lines = CLICKS.splitlines()
    backwards = "\n".join([header, *reversed(lines)]) + "\n"
    source = ImpressionsSource(clicks(tmp_path, backwards), test_share=0.3, val_share=0.3)
    found = {split: [(row["user_id"], row["timestamp"]) for row in rows] for split, rows in rows_of(source).items()}
    # u1 has three rows: .3 of them is one for testing, .6 two held out. u2 has two: one and one.
    assert {split: sorted(rows) for split, rows in found.items()} == {
        "train": [("u1", 100)],
        "val": [("u1", 102)],
        "test": [("u1", 103), ("u2", 104)],
    } | {"train": [("u1", 100), ("u2", 101)]}
    assert any(note.startswith("times are not sorted (3 rows") for note in source.notes)


def test_a_split_by_time_cuts_the_whole_log(tmp_path):
    rows = rows_of(ImpressionsSource(clicks(tmp_path), split_by="time", test_share=0.2, val_share=0.2))
    assert {split: [row["timestamp"] for row in part] for split, part in rows.items()} == {
        "train": [100, 101, 102],
        "val": [103],
        "test": [104],
    }


def test_histories_from_clicks_hold_what_was_clicked_strictly_before(tmp_path):
    source = ImpressionsSource(
        clicks(tmp_path),
        item_features="category",
        history_from_clicks=True,
        history_features="category",
        split_by="time",
        test_share=0.2,
        val_share=0.2,
    )
    rows = [row for part in rows_of(source).values() for row in part]
    histories = {(row["user_id"], row["timestamp"]): row["history.item_id"] for row in rows}
    assert histories == {("u1", 100): [], ("u2", 101): [], ("u1", 102): ["007"], ("u1", 103): ["007"], ("u2", 104): []}
    assert [row["history.category"] for row in rows if row["timestamp"] == 103] == [["mug"]]


@pytest.mark.parametrize("cell", ["a^b^c", "a|b|c", "a b c", '"a, b, c"', '"[""a"", ""b"", ""c""]"', "a;b;c"])
def test_lists_in_cells_are_split_at_what_separates_them(tmp_path, cell):
    alone = '"[""x""]"' if cell.startswith('"[') else "x"
    table = f"user_id,item_id,click,seen\nu,a,0,{cell}\nu,b,1,\nu,c,1,{alone}\n"
    source = ImpressionsSource(clicks(tmp_path, table), history="seen", test_share=0, val_share=0)
    assert [row["history.item_id"] for row in rows_of(source)["train"]] == [["a", "b", "c"], [], ["x"]]
    assert (
        "columns have these names in the shards, and in tables to predict for: seen as history.item_id" in source.notes
    )


def test_parquet_lists_lose_their_padding_and_keep_the_newest(tmp_path):
    seen = [[0, 0, 5, 6], [0, 0, 0, 0], None, [1, 2, 3, 4]]
    table = pa.table(
        {"uid": [1, 1, 2, 2], "iid": [5.0, 6.0, 7.0, 8.0], "label": [True, False, True, False], "seen": seen}
    )
    pq.write_table(table, tmp_path / "train.parquet")
    pq.write_table(table.slice(0, 1), tmp_path / "test.parquet")
    source = ImpressionsSource(tmp_path, history="iid=seen", history_padding="0", longest_history=3)
    rows = rows_of(source)
    assert list(rows) == ["train", "test"]
    assert [row["history.iid"] for row in rows["train"]] == [[5, 6], [], [], [2, 3, 4]]
    assert [row["iid"] for row in rows["train"]] == [5, 6, 7, 8]
    assert "1 list in seen had more than 3 elements; the newest are kept" in source.notes


def test_sequences_named_as_in_the_schema_are_found_and_may_be_several(tmp_path):
    table = 'user_id,item_id,asked,click,history.item_id,looked\nu,a,b,1,"x y","p q"\n'
    source = ImpressionsSource(
        clicks(tmp_path, table),
        query="asked",
        shared="asked=item_id",
        history="queries.asked=looked",
        test_share=0,
        val_share=0,
    )
    row = rows_of(source)["train"][0]
    assert (row["history.item_id"], row["queries.asked"]) == (["x", "y"], ["p", "q"])
    assert source.features.schema.vocabularies == ("user_id", "item_id")


def test_ratings_become_clicks_from_the_threshold_on(tmp_path):
    table = "user_id,item_id,rating\nu,a,4\nu,b,3.5\nu,c,5\n"
    path = clicks(tmp_path, table)
    source = ImpressionsSource(path, label="rating", label_threshold=4, test_share=0, val_share=0)
    assert [row["click"] for row in rows_of(source)["train"]] == [1, 0, 1]


def test_the_split_column_decides_and_json_lines_are_read(tmp_path):
    rows = [{"user_id": 1, "item_id": n, "click": n % 2, "split": s} for n, s in enumerate(("Train", "valid", "test"))]
    found = rows_of(ImpressionsSource(write_jsonl(tmp_path / "log.jsonl", rows)))
    assert {split: [row["item_id"] for row in part] for split, part in found.items()} == {
        "train": ["0"],
        "val": ["1"],
        "test": ["2"],
    }


def test_timestamps_become_milliseconds(tmp_path):
    table = "user_id,item_id,click,time\nu,a,1,1970-01-01 00:00:01\nu,b,0,1970-01-01T00:00:02.500\n"
    rows = rows_of(ImpressionsSource(clicks(tmp_path, table), split_by="random", test_share=0, val_share=0))["train"]
    assert [row["time"] for row in rows] == [1000, 2500]


def test_a_column_called_time_may_be_a_feature_or_nothing(tmp_path):
    path = clicks(tmp_path, "user_id,item_id,click,time\nu,a,1,evening\nu,b,0,noon\n")
    shares = {"test_share": 0.0, "val_share": 0.0}
    rows = rows_of(ImpressionsSource(path, context_features="time", **shares))["train"]
    assert [row["time"] for row in rows] == ["evening", "noon"]
    assert "time" not in rows_of(ImpressionsSource(path, time="", **shares))["train"][0]


def test_a_random_split_is_of_the_shares_and_depends_on_the_seed_alone(tmp_path):
    lines = "".join(f"u{n},i{n},{n % 2}\n" for n in range(2000))
    path = clicks(tmp_path, "user_id,item_id,click\n" + lines)

    def split(seed: int) -> dict[str, list[str]]:
        source = ImpressionsSource(path, test_share=0.3, val_share=0.1, seed=seed)
        return {name: [row["user_id"] for row in rows] for name, rows in rows_of(source).items()}

    found = split(0)
    assert found == split(0) != split(1)
    assert 540 < len(found["test"]) < 660 and 150 < len(found["val"]) < 250


def fault(tmp_path: Path, text: str, **options: Any) -> DataError | UsageError:
    with pytest.raises((DataError, UsageError)) as caught:
        rows_of(ImpressionsSource(clicks(tmp_path, text), **options))
    return caught.value


def test_faults_name_the_row_and_the_option(tmp_path):
    table = CLICKS.replace("u1,008,lamp,20,0,102", "u1,008,lamp,20,2,102")
    error = fault(tmp_path, table)
    assert error.what == "the label click is '2', but must be 0 or 1 (1 such among 5 rows)"
    assert error.where == "clicks.csv, row 3" and "--label-threshold" in str(error.change)

    error = fault(tmp_path, CLICKS.replace("20,0,102", "cheap,0,102"), item_features="price", numeric="price")
    assert error.what == "price is 'cheap', which is no number" and error.where == "clicks.csv, row 3"

    error = fault(tmp_path, CLICKS.replace("u2,008", ",008"))
    assert error.what == "1 row without a user_id, the first in row 2"

    error = fault(tmp_path, CLICKS.replace(",102", ",soon"))
    assert "is neither a whole number nor a timestamp" in error.what or "neither" in error.what

    error = fault(tmp_path, CLICKS, item_features="categroy")
    assert error.what == "a column is missing: 'categroy' (--item-features)" and error.suggestions == ("category",)

    error = fault(tmp_path, CLICKS.replace("user_id", "who"))
    assert "no column is known to be the user" in error.what and "--user COLUMN" in str(error.change)

    error = fault(tmp_path, "user_id,item_id,click\nu,a,1\n", history_from_clicks=True)
    assert "nothing is known of the order of rows" in error.what and error.change == "--time COLUMN"

    error = fault(tmp_path, CLICKS, history="categry=seen")
    assert "names no feature" in error.what

    error = fault(tmp_path, CLICKS, test_share=0.6, val_share=0.5)
    assert "leave no rows to train on" in error.what

    error = fault(tmp_path, CLICKS, split_by="users")
    assert error.suggestions == ("user_time",)

    error = fault(tmp_path, CLICKS + "u1,1,2\n")
    assert "Expected 6 columns, got 3" in error.what

    error = fault(tmp_path, CLICKS.replace("9.5", "inf"), item_features="price", numeric="price")
    assert error.what == "price is infinite" and error.where == "clicks.csv, row 1"


def test_lists_of_one_sequence_that_differ_in_length_are_refused_by_the_writer(tmp_path):
    from moon_zoo.data.writing import write_splits

    table = "user_id,item_id,cat,click,seen,cats\nu,a,m,1,a^b,m\n"
    source = ImpressionsSource(
        clicks(tmp_path, table), item_features="cat", history="item_id=seen,cat=cats", test_share=0, val_share=0
    )
    with pytest.raises(DataError, match=r"row 1 has 2 values in history\.item_id, but 1 in history\.cat"):
        write_splits(tmp_path / "out", source.read())


def test_a_folder_without_tables_of_splits_is_refused(tmp_path):
    clicks(tmp_path)
    with pytest.raises(DataError, match=r"no table in .* is named after a split"):
        ImpressionsSource(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        ImpressionsSource(tmp_path / "click.csv")


def test_a_large_log_is_read_in_blocks_with_the_histories_of_a_plain_loop(tmp_path):
    draw = np.random.default_rng(0)
    count = 40_000
    table = pa.table(
        {
            "user_id": draw.integers(0, 300, count),
            "item_id": draw.integers(0, 50, count),
            "click": draw.integers(0, 2, count),
            "time": draw.integers(0, 5000, count),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    source = ImpressionsSource(tmp_path / "log.parquet", history_from_clicks=True, longest_history=4, split_by="random")
    rows = [row for part in rows_of(source).values() for row in part]
    seen: dict[int, list[tuple[int, int]]] = {}
    for row in table.to_pylist():
        if row["click"]:
            seen.setdefault(row["user_id"], []).append((row["time"], row["item_id"]))
    for events in seen.values():
        events.sort(key=lambda event: event[0])
    assert len(rows) == count
    for row in rows[::97]:
        before = [str(item) for time, item in seen.get(row["user_id"], []) if time < row["time"]]
        assert row["history.item_id"] == before[-4:]


def test_the_command_line_writes_a_set_and_a_flag_needs_no_value(tmp_path, capsys):
    from moon_zoo.cli.main import main
    from moon_zoo.data.manifest import read_manifest

    words = ["pack", "impressions", str(clicks(tmp_path)), "--history-from-clicks", "--item-features", "category,price"]
    assert main([*words, "--numeric", "price", "--min-count", "2", "--to", str(tmp_path / "shards")]) == 0
    assert "note: histories are made from clicks" in capsys.readouterr().err
    extra = read_manifest(tmp_path / "shards" / "train").extra
    assert extra["min_count"] == 2 and extra["schema"]["sequences"][0]["fields"] == ["item_id"]
    assert main([*words, "--history-from-clicks=false", "--to", str(tmp_path / "other")]) == 0
    assert read_manifest(tmp_path / "other" / "train").extra["schema"]["sequences"] == []
