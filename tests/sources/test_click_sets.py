"""Published click data sets, in small made-up copies of their layouts: FuxiCTR's, MicroLens-1M (MM-CTR) and Taobao-MM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moon_zoo.data.content_table import ContentTable
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.fuxictr import FuxiCTRSource
from moon_zoo.sources.microlens import MicroLensSource
from moon_zoo.sources.taobao_mm import TaobaoMMSource
from tests.sources.making import write
from tests.sources.test_impressions import rows_of

CONFIG = """tiny_x1:
    data_root: ../data/
    data_format: csv
    train_data: ../data/tiny_x1/train.csv
    min_categr_count: 1
    feature_cols:
        - {name: [user, gender], active: True, dtype: str, type: categorical, source: user}
        - {name: adgroup_id, active: True, dtype: str, type: categorical, source: item}
        - {name: cate_id, active: True, dtype: str, type: categorical, source: item}
        - {name: price, active: True, dtype: float, type: numeric, source: item}
        - {name: pid, active: True, dtype: str, type: categorical, source: context}
        - {name: noclk, active: False, dtype: float, type: categorical}
        - {name: cate_his, active: True, dtype: str, type: sequence, share_embedding: cate_id, splitter: "^", max_len: 50}
        - {name: ad_his, active: True, dtype: str, type: sequence, share_embedding: adgroup_id, splitter: "^", max_len: 50}
        - {name: btag_his, active: True, dtype: str, type: sequence, splitter: "^", max_len: 50}
    label_col: {name: clk, dtype: float}
"""

RAW = """clk,user,gender,adgroup_id,cate_id,price,pid,noclk,cate_his,ad_his,btag_his
1,u1,f,a1,c1,2.5,p,0,c2^c3,a2^a3,1^2
0,u2,m,a2,c2,,p,1,,,
"""


def raw_fuxictr(folder: Path, config: str = CONFIG) -> Path:
    write(folder / "dataset_config.yaml", config)
    for split in ("train", "valid", "test"):
        write(folder / f"{split}.csv", RAW)
    return folder


def encoded_fuxictr(folder: Path, vocab: bool = True) -> Path:
    """Tables of ids as FuxiCTR writes them, with its files about them."""
    features: list[dict[str, Any]] = [
        {"user_id": {"source": "user", "type": "categorical", "padding_idx": 0, "vocab_size": 4}},
        {"item_id": {"source": "item", "type": "categorical", "padding_idx": 0, "vocab_size": 4}},
        {
            "item_history": {
                "source": "",
                "type": "sequence",
                "share_embedding": "item_id",
                "max_len": 3,
                "vocab_size": 4,
            }
        },
    ]
    about = {"dataset_id": "tiny", "labels": ["label"], "features": features}
    write(folder / "feature_map.json", json.dumps(about))
    items = {"__PAD__": 0, "red": 1, "blue": 2, "__OOV__": 3}
    if vocab:
        people = {"__PAD__": 0, "ann": 1, "bob": 2, "__OOV__": 3}
        write(folder / "feature_vocab.json", json.dumps({"user_id": people, "item_id": items, "item_history": items}))
    table = {"user_id": [1, 2], "item_id": [2, 3], "label": [1.0, 0.0], "item_history": [[0, 1, 2], [0, 0, 0]]}
    for split in ("train", "valid"):
        pq.write_table(pa.table(table), folder / f"{split}.parquet")
    return folder


def test_fuxictr_configuration_gives_roles_histories_and_numbers(tmp_path):
    source = FuxiCTRSource(raw_fuxictr(tmp_path))
    rows = rows_of(source)
    assert list(rows) == ["train", "val", "test"]
    assert rows["train"][0] == {
        "user": "u1",
        "gender": "f",
        "adgroup_id": "a1",
        "cate_id": "c1",
        "pid": "p",
        "price": 2.5,
        "history.cate_id": ["c2", "c3"],
        "history.adgroup_id": ["a2", "a3"],
        "clk": 1,
    }
    assert rows["train"][1]["history.adgroup_id"] == [] and rows["train"][1]["price"] is None
    schema = source.features.schema
    assert (schema.user, schema.item, schema.label) == ("user", "adgroup_id", "clk")
    assert {one.name: one.role for one in schema.categorical} == {
        "user": "user",
        "gender": "user",
        "adgroup_id": "item",
        "cate_id": "item",
        "pid": "context",
    }
    assert any(
        note.startswith("sequences left out, as they share no feature's embedding: btag_his") for note in source.notes
    )


def test_fuxictr_ids_become_the_values_they_stand_for(tmp_path):
    rows = rows_of(FuxiCTRSource(encoded_fuxictr(tmp_path)))
    assert (
        rows["val"]
        == rows["train"]
        == [
            {"user_id": "ann", "item_id": "blue", "history.item_id": ["red", "blue"], "label": 1},
            {"user_id": "bob", "item_id": "__OOV__", "history.item_id": [], "label": 0},
        ]
    )


def test_fuxictr_ids_without_a_vocabulary_stand_for_themselves(tmp_path):
    source = FuxiCTRSource(encoded_fuxictr(tmp_path, vocab=False))
    assert [row["history.item_id"] for row in rows_of(source)["train"]] == [[1, 2], []]
    assert any("stand for themselves" in note for note in source.notes)


def test_fuxictr_faults_name_what_to_change(tmp_path):
    def fault(folder: Path, **options: Any) -> DataError | UsageError:
        with pytest.raises((DataError, UsageError)) as caught:
            rows_of(FuxiCTRSource(folder, **options))
        return caught.value

    assert (
        "neither feature_map.json nor dataset_config.yaml"
        in fault(write(tmp_path / "a" / "train.csv", RAW).parent).what
    )
    two = raw_fuxictr(tmp_path / "b", CONFIG + CONFIG.replace("tiny_x1:", "tiny_x2:"))
    assert fault(two).what == "dataset_config.yaml describes 2 data sets: tiny_x1, tiny_x2"
    assert (
        fault(two, dataset="tiny_x3").suggestions == ("tiny_x2", "tiny_x1") or fault(two, dataset="tiny_x3").suggestions
    )
    assert fault(raw_fuxictr(tmp_path / "c"), label="click").what == "the labels are: clk; none of them is 'click'"
    assert "no feature_cols and label_col" in fault(raw_fuxictr(tmp_path / "d", "x:\n    feature_cols: [1]\n")).what
    broken = encoded_fuxictr(tmp_path / "e")
    write(broken / "feature_map.json", "{")
    assert "cannot be read" in fault(broken).what
    missing = raw_fuxictr(tmp_path / "f", CONFIG.replace("name: pid", "name: pit"))
    assert fault(missing).what == "a column is missing: 'pit'" and "what dataset_config.yaml describes" in str(
        fault(missing).change
    )
    small = encoded_fuxictr(tmp_path / "g")
    write(small / "feature_vocab.json", json.dumps({"user_id": {"__PAD__": 0, "ann": 1}}))
    assert fault(small).what == "user_id holds the id 2, but feature_vocab.json knows 2"


def microlens(folder: Path) -> Path:
    """The challenge's tables with two rows each: item 0 is padding."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "user_id": [11, 12],
            "item_seq": pa.array([[0, 0, 2, 3], [0, 0, 0, 0]], pa.list_(pa.int64())),
            "item_id": [1, 3],
            "likes_level": [7, 2],
            "views_level": [1, 1],
            "label": [1, 0],
        }
    )
    for name in ("train", "valid"):
        pq.write_table(table, folder / f"{name}.parquet")
    pq.write_table(table.drop_columns(["label"]), folder / "test.parquet")
    info = {
        "item_id": [0, 1, 2, 3],
        "item_tags": pa.array([[0, 0], [0, 5], [5, 6], [0, 0]], pa.list_(pa.int64(), 2)),
        "item_emb_d128": pa.array(np.eye(4, 128, dtype=np.float32).tolist(), pa.list_(pa.float32(), 128)),
    }
    pq.write_table(pa.table(info), folder / "item_info.parquet")
    return folder


def test_microlens_rows_get_their_items_tags_and_lose_their_padding(tmp_path):
    source = MicroLensSource(microlens(tmp_path))
    rows = rows_of(source)
    assert list(rows) == ["train", "val"]
    first, second = rows["train"]
    assert (first["user_id"], first["item_id"], first["label"]) == (11, 1, 1)
    assert (first["likes_level"], first["tag_1"], first["tag_2"]) == (7, "(missing)", "5")
    assert (first["history.item_id"], second["history.item_id"]) == ([2, 3], [])
    assert source.features.schema.vocabulary_of("tag_2") == source.features.schema.vocabulary_of("tag_1") == "tag"
    assert any(note.startswith("test has no labels") for note in source.notes)


def test_microlens_embeddings_are_read_from_where_the_note_says(tmp_path):
    source = MicroLensSource(microlens(tmp_path))
    rows_of(source)
    words = next(note for note in source.notes if note.startswith("content embeddings")).split()
    table = ContentTable.open(words[words.index("--model.embeddings") + 1], words[words.index("--model.modality") + 1])
    assert table.dim == 128 and table.rows_of(["1", "9"]).tolist() == [3, 1]


def taobao_rows(split: str) -> dict[str, list[Any]]:
    """Samples: six users of three rows; user 2 has no history."""
    users = [user for user in range(1, 7) for _ in range(3)]
    offset = 0 if split == "train" else 100
    return {"129_1": [user + offset for user in users], "205": [-5, 6, 7] * 6, "label_0": [[1, 0], [0, 1], [1, 0]] * 6}


def taobao_users(split: str) -> dict[str, Any]:
    offset = 0 if split == "train" else 100
    seen = [[0, 0, user, -5] if user != 2 else [0, 0, 0, 0] for user in range(1, 7)]
    kinds = [[0, 0, 60, 50] if user != 2 else [0, 0, 0, 0] for user in range(1, 7)]
    profile = {f"130_{number}": [number] * 6 for number in range(1, 6)}
    return {"129_1": [user + offset for user in range(1, 7)], **profile, "150_2_180": seen, "151_2_180": kinds}


ITEMS = {"205": [-5, 6, 7], "206": [50, 60, 70], "213": [1, 1, 2], "214": [0, 0, 0]}


def taobao(folder: Path, joined: bool) -> Path:
    """The published tables, or the shards that are made of them."""
    for split in ("train", "test"):
        samples, users = pa.table(taobao_rows(split)), pa.table(taobao_users(split))
        if joined:
            people, items = users.to_pylist(), pa.table(ITEMS).to_pylist()
            rows = [
                row
                | next(one for one in people if one["129_1"] == row["129_1"])
                | next(one for one in items if one["205"] == row["205"])
                for row in samples.to_pylist()
            ]
            for shard in range(2):
                (folder / split).mkdir(parents=True, exist_ok=True)
                part = pa.Table.from_pylist(rows[9 * shard : 9 * shard + 9])
                pq.write_table(part, folder / split / f"{split}-shard-{shard:06d}.parquet")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(samples, folder / f"{split}_samples.parquet")
            pq.write_table(users, folder / f"{split}_user_features.parquet")
    if not joined:
        pq.write_table(pa.table(ITEMS), folder / "item_features.parquet")
    vectors = pa.array([[127, 0], [0, -127], [90, 90]], pa.list_(pa.int8()))
    pq.write_table(pa.table({"205": ITEMS["205"], "205_c": vectors}), folder / "scl_embedding_int8_p90.parquet")
    return folder


@pytest.mark.parametrize("joined", [True, False], ids=["shards", "tables"])
def test_taobao_mm_is_read_from_shards_and_from_the_tables_they_are_made_of(tmp_path, joined):
    source = TaobaoMMSource(taobao(tmp_path, joined), val_share=0)
    rows = rows_of(source)
    assert {split: len(part) for split, part in rows.items()} == {"train": 18, "test": 18}
    second = rows["train"][1]
    assert (second["user_id"], second["item_id"], second["category"], second["click"]) == (1, 6, 60, 1)
    assert (second["history.item_id"], second["history.category"]) == ([1, -5], [60, 50])
    assert rows["train"][3]["history.item_id"] == []  # user 2
    assert [row["click"] for row in rows["test"][:3]] == [0, 1, 0]


def test_taobao_mm_validates_on_users_that_are_not_trained_on(tmp_path):
    rows = rows_of(TaobaoMMSource(taobao(tmp_path, False), val_share=0.4))
    train, val = ({row["user_id"] for row in rows[split]} for split in ("train", "val"))
    assert train and val and not train & val and train | val == set(range(1, 7))


def test_taobao_mm_takes_the_first_rows_and_its_embeddings_have_length_one(tmp_path):
    source = TaobaoMMSource(taobao(tmp_path, True), val_share=0, max_rows=10, longest_history=1)
    rows = rows_of(source)
    assert {split: len(part) for split, part in rows.items()} == {"train": 10, "test": 10}
    assert rows["train"][0]["history.item_id"] == [-5]
    words = next(note for note in source.notes if note.startswith("content embeddings")).split()
    table = ContentTable.open(words[words.index("--model.embeddings") + 1], words[words.index("--model.modality") + 1])
    vectors = table.gather(table.rows_of(["-5", "6", "7"]))
    assert np.allclose(vectors, [[1, 0], [0, -1], [0.5**0.5, 0.5**0.5]])


def test_taobao_mm_faults_are_placed(tmp_path):
    folder = taobao(tmp_path / "a", False)
    pq.write_table(pa.table({name: values[:2] for name, values in ITEMS.items()}), folder / "item_features.parquet")
    with pytest.raises(DataError, match="6 rows whose item_id is not in the table of its features"):
        rows_of(TaobaoMMSource(folder))
    (folder / "test_user_features.parquet").unlink()
    pq.write_table(pa.table(ITEMS), folder / "item_features.parquet")
    with pytest.raises(DataError, match=r"no test_user_features\.parquet"):
        rows_of(TaobaoMMSource(folder))
    with pytest.raises(DataError, match="13 columns are missing: '129_1', '130_1', '130_2', '130_3' and 9 more"):
        TaobaoMMSource(microlens(tmp_path / "b"))
    with pytest.raises(UsageError, match="--max-rows takes 0 or more"):
        TaobaoMMSource(folder, max_rows=-1)
