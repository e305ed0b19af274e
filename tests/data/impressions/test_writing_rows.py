"""Raw rows become blocks that say the same: ids by training counts, histories stored once, every bad value refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.reading import RowShards
from moon_zoo.data.impressions.schema import Categorical, Numeric, Schema, Sequence
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import write_splits
from moon_zoo.errors import DataError
from tests.conftest import impressions_schema, make_impressions, make_product

SCHEMA = Schema(
    categorical=(Categorical("user_id", "user", "user_id"), Categorical("item_id", "item", "item_id")),
    numeric=(Numeric("price", "item"),),
    sequences=(Sequence("history", ("item_id",)),),
    time="time",
)


def table(**columns: Any) -> pa.Table:
    """Two rows of `SCHEMA` with some columns given."""
    rows = {
        "user_id": ["ann", "bob"],
        "item_id": ["mug", "lamp"],
        "price": [1.0, 2.0],
        "history.item_id": [["mug"], []],
        "click": [0, 1],
        "time": [5, 6],
    }
    return pa.table(rows | columns)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Every row of a set as the table had it."""
    shards = RowShards(folder)
    columns = shards.take(np.arange(len(shards)))
    out: list[dict[str, Any]] = [{} for _ in range(len(shards))]
    for name, values in columns.values.items():
        ids = any(one.name == name for one in shards.schema.categorical)
        shown = shards.vocabularies[shards.schema.vocabulary_of(name)].decode(values) if ids else values.tolist()
        for row, value in zip(out, shown, strict=True):
            row[name] = value
    for sequence in shards.schema.sequences:
        ragged = columns.sequences[sequence.name]
        ends = np.cumsum(ragged.lengths)
        for field in sequence.fields:
            names = shards.vocabularies[shards.schema.vocabulary_of(field)].decode(ragged.fields[field])
            for row, end, length in zip(out, ends, ragged.lengths, strict=True):
                row[f"{sequence.name}.{field}"] = names[end - length : end]
    return out


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal, where a missing number is None in the one and NaN in the other."""
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            assert np.isnan(one[name]) if value is None else one[name] == value, (name, one, other)


@pytest.mark.parametrize("block_rows", [1, 7, 61, 1000])
def test_rows_come_back_as_they_were_whatever_the_size_of_blocks(tmp_path: Path, block_rows: int) -> None:
    whole = make_impressions()
    batches = [whole.slice(0, 10), whole.slice(10, 0), whole.slice(10, 30), whole.slice(40)]
    samples = [("train", f"b{number}", RawImpressions(impressions_schema(), one)) for number, one in enumerate(batches)]
    manifest = write_splits(tmp_path / "out", samples, block_rows=block_rows, max_samples=3)["train"]
    assert manifest.samples == 61
    assert sum(shard.blocks or 0 for shard in manifest.shards) == -(-61 // block_rows)
    same(rows_of(tmp_path / "out" / "train"), whole.to_pylist())


def test_ids_follow_training_counts_and_splits_share_them(tmp_path: Path) -> None:
    train = table(user_id=["ann", "ann"], item_id=["lamp", "sofa"], **{"history.item_id": [["mug"] * 9, []]})
    test = table(user_id=["bob", "bob"], item_id=["mug", "sofa"], **{"history.item_id": [["vase"], []]})
    manifests = write_splits(
        tmp_path / "out",
        [("test", "b", RawImpressions(SCHEMA, test)), ("train", "a", RawImpressions(SCHEMA, train))],
        min_count=1,
    )
    assert list(manifests) == ["test", "train"]
    for manifest in manifests.values():
        # By hand: lamp and sofa have one training row each and stand by name; histories do not count, nor do test rows.
        assert manifest.vocabularies["item_id"] == {"values": ["lamp", "sofa", "mug", "vase"], "counts": [1, 1, 0, 0]}
        assert manifest.vocabularies["user_id"] == {"values": ["ann", "bob"], "counts": [2, 0]}
    found = manifests["test"].extra["impressions"]
    assert (found["rows"], found["clicks"], found["cold_rows"], found["users"], found["items"]) == (2, 1, 1, 1, 2)
    assert found["out_of_vocabulary"] == {"user_id": 2, "item_id": 1, "history.item_id": 1}
    assert found["empty_histories"] == {"history": 1} and found["longest_history"] == {"history": 1}
    assert manifests["train"].extra["impressions"]["out_of_vocabulary"]["history.item_id"] == 9
    shards = RowShards(tmp_path / "out" / "test")
    assert shards.vocabularies["item_id"].known(1) == 2 and shards.vocabularies["item_id"].known(2) == 0
    assert shards.take(np.array([0, 1])).values["item_id"].tolist() == [4, 3]


def test_without_a_split_called_train_all_rows_count(tmp_path: Path) -> None:
    samples = [(split, "a", RawImpressions(SCHEMA, table())) for split in ("one", "two")]
    manifest = write_splits(tmp_path / "out", samples)["one"]
    assert manifest.vocabularies["item_id"] == {"values": ["lamp", "mug"], "counts": [2, 2]}


def test_what_was_asked_for_does_not_count_as_shown(tmp_path: Path) -> None:
    schema = replace(
        SCHEMA, categorical=(*SCHEMA.categorical, Categorical("query", "query", "item_id")), query="query", numeric=()
    )
    rows = table(item_id=["lamp", "lamp"], query=["mug", "mug"])
    manifest = write_splits(tmp_path / "out", [("train", "a", RawImpressions(schema, rows))])["train"]
    assert manifest.vocabularies["item_id"] == {"values": ["lamp", "mug"], "counts": [2, 0]}


def test_numbers_are_described_by_training_alone(tmp_path: Path) -> None:
    train, test = table(price=[1.0, None]), table(price=[float("nan"), 1000.0])
    more = table(price=[3.0, 8.0])
    manifests = write_splits(
        tmp_path / "out",
        [
            (split, split, RawImpressions(SCHEMA, one))
            for split, one in (("train", train), ("test", test), ("train", more))
        ],
    )
    price = manifests["test"].extra["schema"]["numeric"][0]
    assert price["mean"] == pytest.approx(4.0)  # of 1, 3 and 8
    assert price["std"] == pytest.approx(np.sqrt((9 + 1 + 16) / 3))
    assert price["missing"] == pytest.approx(1 / 4)
    assert manifests["test"].extra["impressions"]["nan"] == {"price": 1}


def test_history_that_rows_share_is_stored_once(tmp_path: Path) -> None:
    rows, length = 50, 200
    pool = pa.array([f"i{number % 30}" for number in range(length)])
    starts, sizes = pa.array(np.zeros(rows, np.int32)), pa.array(np.arange(length - rows, length, dtype=np.int32))
    history = pa.ListViewArray.from_arrays(starts, sizes, pool)
    batch = pa.table(
        {
            "user_id": ["ann"] * rows,
            "item_id": ["i1"] * rows,
            "price": [1.0] * rows,
            "history.item_id": history,
            "click": [1] * rows,
            "time": list(range(rows)),
        }
    )
    write_splits(tmp_path / "out", [("train", "a", RawImpressions(SCHEMA, batch))], block_rows=20)
    shards = IndexedShards(tmp_path / "out" / "train")
    stored = [len(block.sequences["history"].fields["item_id"]) for block in shards]
    assert stored == [169, 189, 199]  # as long as the longest history of each block, not the sum of all
    found = rows_of(tmp_path / "out" / "train")
    assert [len(row["history.item_id"]) for row in found] == list(range(length - rows, length))
    assert found[49]["history.item_id"] == pool.to_pylist()[:199]


def test_lists_of_every_arrow_kind_and_missing_ones_are_read(tmp_path: Path) -> None:
    values = [["mug", "mug"], None, [], ["lamp"]]
    kinds = [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_view(pa.string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ]
    for number, kind in enumerate(kinds):
        history = pa.array(values, kind)
        rows = table(
            user_id=[1, 2, 3, 4], item_id=pa.array(["a", "b", "a", "b"]).dictionary_encode(), price=[1, None, 3, 4],
            click=[True, False, True, False], time=pa.array([1, 2, 3, 4], pa.timestamp("s")),
            **{"history.item_id": history},
        ).slice(1)  # fmt: skip
        write_splits(tmp_path / str(number), [("train", "a", RawImpressions(SCHEMA, rows))])
        found = rows_of(tmp_path / str(number) / "train")
        assert [row["history.item_id"] for row in found] == [[], [], ["lamp"]]
        assert [(row["user_id"], row["item_id"], row["click"], row["time"]) for row in found] == [
            ("2", "b", 0, 2), ("3", "a", 1, 3), ("4", "b", 0, 4)
        ]  # fmt: skip


BAD = {
    "label 2": ({"click": [1, 2]}, "the label click of row 2 is 2, but must be 0 or 1"),
    "rating": ({"click": [0.5, 1.0]}, "the label click of row 1 is 0.5, but must be 0 or 1"),
    "missing label": ({"click": [None, 1]}, "the label click of row 1 is None"),
    "text label": ({"click": ["no", "yes"]}, "the label click holds string, but must be 0 or 1"),
    "missing id": ({"item_id": ["mug", None]}, "item_id of row 2 is missing"),
    "ids as fractions": ({"item_id": [1.0, 2.0]}, "the column item_id holds double; ids and names are texts or whole"),
    "infinite": ({"price": [1.0, float("inf")]}, "price of row 2 is inf"),
    "beyond float32": ({"price": [1.0, 1e39]}, "price of row 2 is 1e+39"),
    "text price": ({"price": ["a", "b"]}, "the column price holds string, not numbers"),
    "missing time": ({"time": [None, 3]}, "the time time of row 1 is missing"),
    "fraction of time": ({"time": [1.5, 3.0]}, "the time time is no whole number"),
    "no list": ({"history.item_id": ["mug", "mug"]}, "the column history.item_id holds string, not lists"),
    "missing in list": ({"history.item_id": [["mug"], ["lamp", None]]}, "history.item_id of row 2 is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_value_is_refused_with_its_row_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    columns, said = BAD[case]
    with pytest.raises(DataError) as caught:
        write_splits(tmp_path / "out", [("train", "a", RawImpressions(SCHEMA, table(**columns)))])
    assert said in caught.value.what
    assert caught.value.where == "split train"
    assert list(tmp_path.iterdir()) == []


def test_row_numbers_go_on_over_batches(tmp_path: Path) -> None:
    batches = [
        ("train", "a", RawImpressions(SCHEMA, table())),
        ("train", "b", RawImpressions(SCHEMA, table(click=[0, -1]))),
    ]
    with pytest.raises(DataError, match="row 4 is -1"):
        write_splits(tmp_path / "out", batches)


def test_lists_of_one_sequence_must_be_equally_long() -> None:
    from moon_zoo.data.impressions.raw import sequence

    rows = pa.record_batch({"h.a": [["x"], ["x", "y"]], "h.b": [["x"], ["x"]]})
    with pytest.raises(DataError, match=r"row 12 has 2 values in h\.a, but 1 in h\.b"):
        sequence(rows, Sequence("h", ("a", "b")), str, lambda name, texts: np.arange(len(texts)), 11)


def test_missing_column_is_named_with_the_likeliest() -> None:
    with pytest.raises(DataError, match="the column click is missing") as caught:
        RawImpressions(
            SCHEMA, table().rename_columns(["user_id", "item_id", "price", "history.item_id", "clicks", "time"])
        )
    assert caught.value.suggestions == ("clicks",)


def test_names_that_no_file_can_have_are_refused() -> None:
    schema = replace(SCHEMA, numeric=(Numeric("price/eur", "item"),))
    with pytest.raises(DataError, match="'price/eur' cannot be written"):
        RawImpressions(schema, table(**{"price/eur": [1, 2]}))


def test_batches_of_another_schema_are_refused(tmp_path: Path) -> None:
    other = replace(SCHEMA, numeric=())
    samples = [("train", "a", RawImpressions(SCHEMA, table())), ("train", "b", RawImpressions(other, table()))]
    with pytest.raises(DataError, match="b of train has other columns"):
        write_splits(tmp_path / "out", samples)


def test_rows_and_products_stand_side_by_side_and_extras_go_to_their_split(tmp_path: Path) -> None:
    extras: dict[str, dict[str, Any]] = {}

    def samples() -> Any:
        yield "items", "p1", make_product(1)
        yield "train", "a", RawImpressions(SCHEMA, table())
        extras["train"] = {"bayes": {"auc": 0.75}}
        yield "items", "p2", make_product(2)

    manifests = write_splits(tmp_path / "out", samples(), extras=extras, extra={"seed": 3})
    assert list(manifests) == ["items", "train"]
    assert manifests["items"].kind == "product" and manifests["items"].extra == {"seed": 3}
    assert manifests["train"].kind == "impressions" and manifests["train"].extra["bayes"] == {"auc": 0.75}
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["items", "train"]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        rows = RawImpressions(impressions_schema(), make_impressions())
        write_splits(tmp_path / name, [("train", "rows", rows)], block_rows=16)
    one, two = tmp_path / "one" / "train", tmp_path / "two" / "train"
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_manifests_of_other_kinds_are_what_they_were(product_set: Path) -> None:
    stored = json.loads((product_set / "manifest.json").read_text("utf-8"))
    assert set(stored["shards"][0]) == {"name", "samples", "bytes", "sha256", "index_sha256"}
