"""Rows to tensors: ids by value in the model's own vocabularies, histories cut to the newest, content rows, numbers."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from moon_zoo.data.content_table import ContentTable
from moon_zoo.data.impressions.columns import Columns
from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.reading import RowShards
from moon_zoo.data.inputs import Draw
from moon_zoo.data.writing import write_splits
from moon_zoo.errors import DataError
from moon_zoo.models.mim.inputs import MimInputs, RowReader
from tests.conftest import impressions_schema, make_impressions


@pytest.fixture(scope="module")
def rows(impressions_set: Path) -> RowShards:
    return RowShards(impressions_set)


def fitted(rows: RowShards, **settings: object) -> MimInputs:
    inputs = MimInputs(**settings)  # type: ignore[arg-type]
    inputs.fit([], rows.manifest)
    return inputs


def read(inputs: MimInputs, rows: RowShards, *positions: int) -> dict[str, torch.Tensor]:
    reader = inputs.reader(rows.schema, rows.vocabularies)
    return reader(rows.take(np.array(positions), reader.limits), Draw())


def other_rows(folder: Path, table: pa.Table) -> RowShards:
    samples = [("train", "rows", RawImpressions(impressions_schema(), table))]
    write_splits(folder, samples, source="drawn", licence="CC0-1.0")
    return RowShards(folder / "train")


def test_ids_mean_the_value_they_stand_for(rows: RowShards) -> None:
    inputs, raw = fitted(rows), make_impressions().to_pylist()
    batch = read(inputs, rows, 0, 7, 33)
    for place, position in enumerate((0, 7, 33)):
        for column in ("user_id", "item_id", "category", "query_item_id"):
            vocabulary = inputs.vocabularies[inputs.learned.vocabulary_of(column)]
            assert vocabulary.decode(batch[f"id/{column}"][place : place + 1].numpy()) == [raw[position][column]]
        assert batch["label"][place] == raw[position]["click"]


def test_raw_rows_of_another_table_get_the_same_ids_and_unknown_ones_are_told_apart(
    rows: RowShards, tmp_path: Path
) -> None:
    """A table of six of the rows orders its vocabulary otherwise; one user and one item there are new."""
    inputs = fitted(rows)
    table = make_impressions(6, first=20)
    users, items = table["user_id"].to_pylist(), table["item_id"].to_pylist()
    users[2], items[4] = "nobody", "item-new"
    for name, values in (("user_id", users), ("item_id", items)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    ours = read(inputs, rows, *range(20, 26))
    theirs = read(inputs, other_rows(tmp_path / "other", table), *range(6))
    expected_users, expected_items = ours["id/user_id"].clone(), ours["id/item_id"].clone()
    expected_users[2], expected_items[4] = 1, 1
    assert torch.equal(theirs["id/user_id"], expected_users)
    assert torch.equal(theirs["id/item_id"], expected_items)
    assert theirs["cold"].tolist() == [False] * 4 + [True, False]
    assert torch.equal(theirs["id/history.item_id"], ours["id/history.item_id"])
    assert theirs["user"].unique().numel() == 6, "users unknown to the model stay users of their own"


def test_histories_keep_the_newest_and_pad_on_the_right(rows: RowShards) -> None:
    """Row 34 has 4 * 6 = 24 behaviours, row 35 none."""
    inputs, raw = fitted(rows, max_history=5), make_impressions().to_pylist()
    batch = read(inputs, rows, 34, 35)
    newest = inputs.vocabularies["item_id"].decode(batch["id/history.item_id"][0].numpy())
    assert newest == raw[34]["history.item_id"][-5:]
    assert batch["mask/history"].tolist() == [[True] * 5, [False] * 5]
    assert batch["id/history.item_id"][1].tolist() == [0] * 5
    assert batch["cut"].tolist() == [1]


def test_reader_given_longer_histories_than_it_asked_for_cuts_them_itself(rows: RowShards) -> None:
    inputs = fitted(rows, max_history=5)
    reader = inputs.reader(rows.schema, rows.vocabularies)
    positions = np.array([34, 12, 35])
    whole, cut = reader(rows.take(positions), Draw()), reader(rows.take(positions, reader.limits), Draw())
    for name in ("id/history.item_id", "id/history.category", "mask/history"):
        assert torch.equal(whole[name], cut[name])


def test_numbers_are_standardised_and_missing_ones_are_zero_with_a_flag(rows: RowShards) -> None:
    inputs = fitted(rows)
    (price,) = inputs.learned.numeric
    batch = read(inputs, rows, 3, 4)
    raw = make_impressions().to_pylist()[3]["price"]
    assert batch["numeric"][0, 0].item() == pytest.approx((raw - price.mean) / price.std, rel=1e-5)
    assert batch["numeric"][1, 0] == 0
    assert batch["numeric_missing"].tolist() == [[False], [True]]


def test_values_rarer_than_the_cut_share_an_id_but_their_items_are_not_cold(rows: RowShards) -> None:
    counts = rows.vocabularies["item_id"].counts
    least = int(counts.max())
    inputs = fitted(rows, min_count=least)
    assert inputs.sizes["item_id"] == int((counts >= least).sum()) + 2
    batch = read(inputs, rows, *range(61))
    assert (batch["id/item_id"] == 1).any() and not batch["cold"].any()


def test_mapped_and_held_tables_give_the_same_vectors(rows: RowShards, content_file: Path, tmp_path: Path) -> None:
    held = ContentTable.open(content_file)
    np.save(tmp_path / "v.npy", held.raw)
    (tmp_path / "v.ids.txt").write_text("\n".join(held.item_ids.to_pylist()), "utf-8")
    mapped = ContentTable.open(tmp_path / "v.npy")
    one = read(fitted(rows, table=held), rows, *range(40))
    two = read(fitted(rows, table=mapped), rows, *range(40))
    assert "content_vectors" not in one
    assert len(two["content_vectors"]) <= 2 + 18
    for column in ("item_id", "query_item_id", "history.item_id"):
        first = torch.from_numpy(held.vectors())[one[f"content/{column}"].long()]
        second = two["content_vectors"][two[f"content/{column}"].long()]
        assert torch.equal(first, second)
        for number in (0, 1):
            assert torch.equal(one[f"content/{column}"] == number, two[f"content/{column}"] == number)


def test_items_without_embedding_are_named_with_their_share(
    rows: RowShards, content_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = fitted(rows, table=ContentTable.open(content_file))
    with caplog.at_level(logging.WARNING):
        inputs.reader(rows.schema, rows.vocabularies)
    assert "2 of 20 items (10.0%) have no content embedding: item-018, item-019" in caplog.text


def test_items_without_embedding_are_refused_where_that_is_asked(rows: RowShards, content_file: Path) -> None:
    inputs = fitted(rows, table=ContentTable.open(content_file), missing="refuse")
    with pytest.raises(DataError, match=r"2 of 20 items \(10.0%\) have no content embedding"):
        inputs.reader(rows.schema, rows.vocabularies)


def test_embeddings_of_another_catalogue_are_refused(rows: RowShards) -> None:
    inputs = fitted(rows, table=ContentTable(["a", "b"], np.eye(2, dtype=np.float32)))
    with pytest.raises(DataError, match="none of 20 items has a content embedding"):
        inputs.reader(rows.schema, rows.vocabularies)


def test_state_is_plain_and_restores_the_same_batches(rows: RowShards) -> None:
    inputs, restored = fitted(rows, max_history=7), MimInputs(max_history=7)
    restored.load_state_dict(json.loads(json.dumps(inputs.state_dict())))
    for name, tensor in read(inputs, rows, *range(61)).items():
        assert torch.equal(read(restored, rows, *range(61))[name], tensor), name
    restored.fit([], rows.manifest)
    assert restored.state_dict() == inputs.state_dict()


def test_table_without_a_column_of_the_model_names_it(rows: RowShards) -> None:
    from dataclasses import replace

    inputs, schema = fitted(rows), impressions_schema()
    fewer = replace(schema, numeric=())
    with pytest.raises(DataError, match="the column price is missing, which the model was trained with"):
        inputs.reader(fewer, rows.vocabularies)


def test_rows_without_labels_can_be_read_but_not_learned_from(rows: RowShards) -> None:
    inputs = fitted(rows)
    reader: RowReader = inputs.reader(rows.schema, rows.vocabularies)
    columns = rows.take(np.arange(3), reader.limits)
    bare = Columns({name: one for name, one in columns.values.items() if name != "click"}, columns.sequences)
    assert reader(bare, Draw())["label"].tolist() == [-1, -1, -1]
    with pytest.raises(DataError, match="no column click, so there is nothing to learn from"):
        reader(bare, Draw(training=True))


def test_sets_that_are_no_impressions_are_refused(product_set: Path) -> None:
    from moon_zoo.data.manifest import read_manifest

    with pytest.raises(DataError, match="of kind product and declares no columns"):
        MimInputs().fit([], read_manifest(product_set))
