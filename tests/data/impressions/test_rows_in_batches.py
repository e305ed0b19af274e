"""Batches of rows: every row once under any number of ranks and workers, from sets and tables, exact after a break."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.impressions.columns import Columns
from moon_zoo.data.impressions.dataset import RowDataset
from moon_zoo.data.impressions.histories import histories_of_events
from moon_zoo.data.impressions.reading import RowShards, open_shards
from moon_zoo.data.impressions.schema import Schema
from moon_zoo.data.inputs import Draw
from moon_zoo.data.sampler import EpochSampler, Start
from moon_zoo.errors import DataError
from tests.conftest import impressions_schema, make_impressions


class Reader:
    """The plainest reader: ids and padded histories, and a number drawn for the batch in training."""

    limits: ClassVar[dict[str, int]] = {"history": 4}

    def __call__(self, columns: Columns, draw: Draw) -> dict[str, torch.Tensor]:
        drawn = torch.rand(len(columns), generator=draw.generator) if draw.training else torch.zeros(len(columns))
        return {
            "item": torch.from_numpy(columns.values["item_id"]),
            "history": torch.from_numpy(columns.sequences["history"].padded("item_id", 4)),
            "time": torch.from_numpy(columns.values["time"]),
            "drawn": drawn,
        }


class RowInputs:
    """What a model's inputs offer to rows, as little as that."""

    def __init__(self, schema: Schema | None = None) -> None:
        self.schema = schema
        self.asked = 0

    def fit(self, samples: Any, manifest: Any) -> None:
        self.schema = Schema.from_json(manifest.extra["schema"])

    def reader(self, schema: Schema, vocabularies: Any) -> Reader:
        self.asked += 1
        assert set(vocabularies) == {"user_id", "item_id", "category"}
        return Reader()


def module(schema: Schema | None = None, **options: Any) -> ShardDataModule:
    data = ShardDataModule(batch_size=8, eval_batch_size=16, **options)
    data.inputs = RowInputs(schema)  # type: ignore[assignment]
    return data


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_sees_every_row_once_in_equal_batches(impressions_set: Path, workers: int) -> None:
    data = module(train=str(impressions_set), val=str(impressions_set), num_workers=workers)
    data.setup("fit")
    batches = list(data.val_dataloader())
    assert [len(batch["index"]) for batch in batches] == [16] * 4
    index = torch.cat([batch["index"][batch["valid"]] for batch in batches])
    assert index.tolist() == list(range(61))
    times = torch.cat([batch["time"][batch["valid"]] for batch in batches])
    assert times.tolist() == make_impressions().column("time").to_pylist()


def test_training_is_the_same_with_and_without_workers(impressions_set: Path) -> None:
    epochs = []
    for workers in (0, 2):
        data = module(train=str(impressions_set), num_workers=workers)
        data.setup("fit")
        epochs.append(list(data.train_dataloader()))
    for one, other in zip(*epochs, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    index = torch.cat([batch["index"] for batch in epochs[0]]).tolist()
    assert len(index) == 56 and len(set(index)) == 56 and index != sorted(index)
    assert len({batch["drawn"][0].item() for batch in epochs[0]}) == 7


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_an_epoch_without_overlap(impressions_set: Path, world: int) -> None:
    shards = RowShards(impressions_set)
    seen = []
    for rank in range(world):
        sampler = EpochSampler(shards.manifest.shard_sizes, batch_size=4, rank=rank, world=world, training=True, seed=3)
        dataset = RowDataset(shards, RowInputs(), training=True, seed=3)
        codes = list(sampler)
        seen += dataset.__getitems__(codes)["index"].tolist()  # type: ignore[index]
    assert len(seen) == len(set(seen)) == 61 // (4 * world) * 4 * world


def test_epoch_goes_on_in_the_middle_with_the_very_rows_that_were_left(impressions_set: Path) -> None:
    sizes = RowShards(impressions_set).manifest.shard_sizes
    whole = list(EpochSampler(sizes, batch_size=8, training=True, seed=5))
    rest = list(EpochSampler(sizes, batch_size=8, training=True, seed=5, start=Start(0, 24)))
    assert rest == whole[24:]


def test_inputs_are_asked_for_a_reader_once_per_set(impressions_set: Path) -> None:
    data = module(train=str(impressions_set), val=str(impressions_set), num_workers=0)
    data.setup("fit")
    for _ in data.val_dataloader():
        pass
    assert data.inputs.asked == 1  # type: ignore[attr-defined]


def test_single_row_is_a_batch_of_one(impressions_set: Path) -> None:
    row = RowDataset(RowShards(impressions_set), RowInputs())[33]
    assert row["index"].tolist() == [33] and row["history"].shape == (1, 4)


def test_damaged_shard_stops_or_is_skipped_and_counted(
    impressions_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(impressions_set, tmp_path / "set")
    tar = tmp_path / "set" / "train-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-512])
    shards = RowShards(tmp_path / "set")
    with pytest.raises(DataError, match=r"was cut") as caught:
        RowDataset(shards, RowInputs(), option="data.init_args.val = x")._batch([3, 40])
    assert "train-000000.tar" in str(caught.value.where) and "data.init_args.val" in str(caught.value.where)
    dataset = RowDataset(shards, RowInputs(), on_error="skip")
    with caplog.at_level(logging.WARNING):
        mixed, none = dataset._batch([3, 40, 5]), dataset._batch([3, 4])
    assert mixed["valid"].tolist() == [False, True, False] and mixed["index"].tolist() == [3, 40, 5]
    assert mixed["time"].tolist() == [make_impressions().column("time")[40].as_py()] * 3
    assert none["valid"].tolist() == [False, False] and dataset.skipped == 4
    assert "was cut" in caplog.text


def test_set_without_a_whole_shard_is_refused_even_when_skipping(impressions_set: Path, tmp_path: Path) -> None:
    shutil.copytree(impressions_set, tmp_path / "set")
    for tar in (tmp_path / "set").glob("*.tar"):
        tar.unlink()
    with pytest.raises(DataError, match="no shard can be read"):
        RowDataset(RowShards(tmp_path / "set"), RowInputs(), on_error="skip")._batch([3])


# Tables ---------------------------------------------------------------------------------------------------------------


def as_csv(table: pa.Table, path: Path, separator: str = "^") -> Path:
    """The table as a CSV whose lists are texts."""
    columns = {}
    for name in table.column_names:
        values = table.column(name).to_pylist()
        lists = bool(values) and isinstance(values[0], list)
        columns[name] = [separator.join(one) for one in values] if lists else values
    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


def named(shards: Any, column: str) -> list[Any]:
    columns = shards.take(np.arange(len(shards)))
    if "." not in column:
        return shards.vocabularies[column].decode(columns.values[column])
    ragged, field = columns.sequences[column.partition(".")[0]], column.partition(".")[2]
    texts = shards.vocabularies[field].decode(ragged.fields[field])
    ends = np.cumsum(ragged.lengths)
    return [texts[end - length : end] for end, length in zip(ends, ragged.lengths, strict=True)]


@pytest.mark.parametrize("kind", ["parquet", "csv ^", "csv |", "jsonl"])
def test_table_of_raw_rows_reads_as_the_set_made_of_it(tmp_path: Path, impressions_set: Path, kind: str) -> None:
    table = make_impressions()
    path = tmp_path / f"rows.{kind.split()[0]}"
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "jsonl":
        import json

        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), "utf-8")
    else:
        as_csv(table, path, kind[-1])
    rows, stored = open_shards(path, schema=impressions_schema()), RowShards(impressions_set)
    assert len(rows) == 61 and rows.manifest.kind == "impressions" and rows.manifest.samples == 61
    for column in ("user_id", "item_id", "category", "history.item_id", "history.category"):
        assert named(rows, column) == named(stored, column), column
    one, other = rows.take(np.arange(61)[::-1], {"history": 3}), stored.take(np.arange(61)[::-1], {"history": 3})
    for name in ("price", "click", "time"):
        np.testing.assert_array_equal(one.values[name], other.values[name])
    assert one.sequences["history"].cut == other.sequences["history"].cut
    np.testing.assert_array_equal(one.sequences["history"].lengths, other.sequences["history"].lengths)


def test_table_may_lack_what_is_not_known_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(make_impressions().drop_columns(["click", "time", "history.item_id", "history.category"]), path)
    with caplog.at_level(logging.WARNING):
        rows = open_shards(path, schema=impressions_schema())
    columns = rows.take(np.arange(61))  # type: ignore[union-attr]
    assert "click" not in columns.values and "time" not in columns.values
    assert columns.sequences["history"].lengths.tolist() == [0] * 61
    assert "every row's history is empty" in caplog.text and "history_log" in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_prediction_reads_a_table_through_the_data_module(tmp_path: Path, workers: int) -> None:
    path = as_csv(make_impressions(), tmp_path / "rows.csv")
    data = module(impressions_schema(), predict=str(path), num_workers=workers)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert torch.cat([batch["index"][batch["valid"]] for batch in batches]).tolist() == list(range(61))


def test_training_on_a_table_asks_for_packing(tmp_path: Path) -> None:
    path = as_csv(make_impressions(), tmp_path / "rows.csv")
    with pytest.raises(DataError, match="whose columns nobody has declared") as caught:
        module(train=str(path)).setup("fit")
    assert "moon-zoo pack impressions" in str(caught.value.change)


TABLE_FAULTS = {
    "no column": (lambda table: table.rename_columns({"category": "categories"}), "lacks the column category"),
    "half a sequence": (lambda table: table.drop_columns(["history.category"]), "but not history.category"),
    "no user": (
        lambda table: table.set_column(0, "user_id", pa.array([None] * 61, pa.string())),
        "rows without a user_id",
    ),
    "no click": (lambda table: table.set_column(7, "click", pa.array([3] * 61)), "the label click is 3"),
    "no rows": (lambda table: table.slice(0, 0), "has no rows"),
}


@pytest.mark.parametrize("case", TABLE_FAULTS)
def test_fault_of_a_table_is_named(tmp_path: Path, case: str) -> None:
    change, said = TABLE_FAULTS[case]
    pq.write_table(change(make_impressions()), tmp_path / "rows.parquet")
    with pytest.raises(DataError) as caught:
        open_shards(tmp_path / "rows.parquet", schema=impressions_schema())
    assert said in caught.value.what
    if case == "no column":
        assert caught.value.suggestions[0] == "categories"


# Histories ------------------------------------------------------------------------------------------------------------


def test_history_is_what_the_user_clicked_strictly_earlier() -> None:
    rng = np.random.default_rng(1)
    for limit in (None, 2):
        users, items = rng.integers(0, 5, 300), rng.integers(0, 50, 300)
        times, labels = rng.integers(0, 40, 300), rng.integers(0, 2, 300)
        start, length, pool, rows = histories_of_events(users, items, times, labels, limit)
        for row in range(300):
            earlier = [
                one for one in range(300) if users[one] == users[row] and times[one] < times[row] and labels[one] == 1
            ]
            earlier.sort(key=lambda one: (times[one], one))  # of one time in the order of rows
            earlier = earlier if limit is None else earlier[-limit:]
            assert pool[start[row] : start[row] + length[row]].tolist() == items[earlier].tolist()
            assert rows[start[row] : start[row] + length[row]].tolist() == earlier


def test_users_may_be_names_and_nobody_may_have_clicked() -> None:
    users = np.array(["b", "a", "b"])
    start, length, pool, _ = histories_of_events(users, np.array([1, 2, 3]), np.array([1, 1, 2]), np.array([1, 0, 0]))
    assert (start.tolist(), length.tolist(), pool.tolist()) == ([0, 0, 0], [0, 0, 1], [1])
    start, length, pool, _ = histories_of_events(users, np.array([1, 2, 3]), np.array([1, 1, 2]), np.zeros(3))
    assert length.tolist() == [0, 0, 0] and len(pool) == 0


def test_history_log_gives_raw_rows_their_histories(tmp_path: Path) -> None:
    table = make_impressions()
    bare = table.drop_columns(["history.item_id", "history.category"])
    pq.write_table(bare.slice(40), tmp_path / "rows.parquet")
    as_csv(bare.slice(0, 50), tmp_path / "log.csv")
    rows = open_shards(tmp_path / "rows.parquet", schema=impressions_schema(), history_log=str(tmp_path / "log.csv"))
    events = bare.slice(0, 50).to_pylist()
    for found, kinds, row in zip(
        named(rows, "history.item_id"), named(rows, "history.category"), bare.slice(40).to_pylist(), strict=True
    ):
        earlier = [
            one for one in events if one["user_id"] == row["user_id"] and one["time"] < row["time"] and one["click"]
        ]
        assert found == [one["item_id"] for one in earlier] and kinds == [one["category"] for one in earlier]
    # Rows that tell no time are asked about after the whole log.
    pq.write_table(bare.slice(40).drop_columns(["time"]), tmp_path / "now.parquet")
    now = open_shards(tmp_path / "now.parquet", schema=impressions_schema(), history_log=str(tmp_path / "log.csv"))
    clicks = [
        one["item_id"] for one in events if one["user_id"] == bare.slice(40).to_pylist()[0]["user_id"] and one["click"]
    ]
    assert named(now, "history.item_id")[0] == clicks


def test_log_beside_histories_and_log_without_times_are_refused(tmp_path: Path) -> None:
    table = make_impressions()
    pq.write_table(table, tmp_path / "rows.parquet")
    pq.write_table(table.drop_columns(["time"]), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"has its own history\.item_id, and a log"):
        open_shards(tmp_path / "rows.parquet", schema=impressions_schema(), history_log=str(tmp_path / "log.parquet"))
    pq.write_table(table.drop_columns(["history.item_id", "history.category"]), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match="lacks the column time"):
        open_shards(tmp_path / "bare.parquet", schema=impressions_schema(), history_log=str(tmp_path / "log.parquet"))


def test_missing_tables_name_the_option_they_were_given_by(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(make_impressions().drop_columns(["history.item_id", "history.category"]), path)
    for options, option in (
        ({"predict": str(tmp_path / "row.parquet")}, "data.init_args.predict"),
        ({"predict": str(path), "history_log": str(tmp_path / "log.csv")}, "data.init_args.history_log"),
    ):
        data = module(impressions_schema(), num_workers=0, **options)
        data.setup("predict")
        with pytest.raises(DataError, match="there is no table") as caught:
            data.predict_dataloader()
        assert caught.value.change == option and str(caught.value.where).count("data.init_args") == 1
