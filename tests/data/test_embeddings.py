"""A folder of embeddings: equal rows give equal bytes, what is there is kept, and nothing half made is ever read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from moon_zoo.data import embedding_parts
from moon_zoo.data.embedding_parts import PartWriter, Record
from moon_zoo.data.embeddings import Embeddings, EmbeddingWriter, SetPlan
from moon_zoo.errors import CheckpointError, DataError, UsageError

MODEL = {"source": "mine/one", "class_path": "a.B", "fingerprint": "1" * 64, "embedding_dim": 3, "moon_zoo": "0"}
OTHER = {**MODEL, "source": "mine/two", "fingerprint": "2" * 64}
SIZES = (4, 0, 5)
"""Items of the shards of the set; one holds none."""


def a_set(path: str = "/sets/a", sizes: Sequence[int] = SIZES, mark: str = "a") -> SetPlan:
    shards = tuple((f"{number}.tar", mark * 64, size) for number, size in enumerate(sizes))
    return SetPlan(path, "f" * 64, "product", sum(sizes), shards)


def vector(shard: int, row: int) -> list[float]:
    return [shard + 0.5, row, -1.0]


def write(folder: Path, *, sets: Sequence[SetPlan] = (a_set(),), batch: int = 2, **options: Any) -> EmbeddingWriter:
    """Every item has a product vector; those of odd rows have a text."""
    given: dict[str, Any] = {"model": MODEL, "modalities": ("product", "text"), "sets": sets, **options}
    with EmbeddingWriter(folder, **given) as writer:
        for plan in writer.pending:
            with PartWriter(writer.folder, plan) as part:
                for start in range(0, plan.samples, batch):
                    rows = range(start, min(start + batch, plan.samples))
                    records = [
                        Record(row, f"k{row}", f"{plan.shard}-{row}", f"s{row}", "home/mug", f"mug {row}")
                        for row in rows
                    ]
                    values = np.array([vector(plan.number, row) for row in rows], dtype=np.float32)
                    odd = np.array([row % 2 == 1 for row in rows])
                    part.write(records, {"product": (values, np.ones(len(rows), bool)), "text": (2 * values, odd)})
            assert part.entry is not None
            writer.add(part.entry)
        writer.finish()
    return writer


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".embed.lock"}


def test_vectors_and_columns_come_back_in_one_order(tmp_path: Path) -> None:
    write(tmp_path / "e")
    found = Embeddings(tmp_path / "e", verify=True)
    assert found.model == MODEL
    assert (found.modalities, found.embedding_dim, found.rows) == (("product", "text"), 3, 9 + 4)
    expected = [vector(0, row) for row in range(4)] + [vector(2, row) for row in range(5)]
    assert found.vectors("product").tolist() == expected
    assert found.vectors("product").dtype == np.float32
    table = found.table(["item_id", "index", "set"], "product")
    assert table["item_id"].to_pylist() == [f"0.tar-{row}" for row in range(4)] + [f"2.tar-{row}" for row in range(5)]
    assert set(table["set"].to_pylist()) == {"/sets/a"}
    # Of the rows 1 and 3 of each shard, twice the product's.
    assert found.vectors("text").tolist() == [[2 * x for x in vector(shard, row)] for shard in (0, 2) for row in (1, 3)]
    assert found.table(["title"], "text")["title"].to_pylist() == ["mug 1", "mug 3"] * 2


def test_columns_are_those_that_the_format_promises(tmp_path: Path) -> None:
    write(tmp_path / "e", dtype="float16")
    schema = pq.read_schema(tmp_path / "e" / "part-00000.parquet")
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "set: dictionary<values=string, indices=int32, ordered=0>",
        "index: int64",
        "key: string",
        "item_id: string",
        "spu_id: string",
        "category: string",
        "title: string",
        "modality: dictionary<values=string, indices=int8, ordered=0>",
        "vector: fixed_size_list<element: halffloat not null>[3]",
    ]
    assert Embeddings(tmp_path / "e").vectors("product").dtype == np.float32
    about = json.loads((tmp_path / "e" / "embeddings.json").read_text())
    assert about["sets"] == [{"path": "/sets/a", "fingerprint": "f" * 64, "kind": "product", "samples": 9}]
    assert [part["rows"] for part in about["parts"]] == [6, 0, 7]
    assert about["complete"] is True


def test_row_groups_hold_one_modality_and_do_not_depend_on_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_parts, "_GROUP_BYTES", 3 * 3 * 4)  # three vectors
    for batch in (1, 2, 5):
        write(tmp_path / str(batch), batch=batch)
    assert files(tmp_path / "1") == files(tmp_path / "2") == files(tmp_path / "5")
    groups = pq.read_metadata(tmp_path / "1" / "part-00002.parquet")
    column = groups.schema.names.index("modality")
    kinds = [groups.row_group(number).column(column).statistics for number in range(groups.num_row_groups)]
    assert all(kind.min == kind.max for kind in kinds)
    assert len(kinds) == 3
    assert Embeddings(tmp_path / "1").vectors("text").shape == (4, 3)


def test_batches_are_bounded_and_together_the_table(tmp_path: Path) -> None:
    write(tmp_path / "e")
    found = Embeddings(tmp_path / "e")
    batches = list(found.batches(["item_id"], "product", batch_rows=2))
    assert [batch.num_rows for batch in batches] == [2, 2, 2, 2, 1]
    joined = [name for batch in batches for name in batch.column(0).to_pylist()]
    assert joined == found.table(["item_id"], "product")["item_id"].to_pylist()


def test_empty_embeddings_have_columns_and_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "e", sets=[a_set(sizes=(0,))])
    found = Embeddings(tmp_path / "e")
    assert found.vectors("product").shape == (0, 3)
    assert found.table(["item_id"]).column_names == ["item_id"]


def test_finished_parts_are_kept_and_a_changed_shard_is_made_again(tmp_path: Path) -> None:
    write(tmp_path / "e")
    assert write(tmp_path / "e").pending == []
    before = files(tmp_path / "e")
    changed = SetPlan("/sets/a", "g" * 64, "product", 9, (*a_set().shards[:2], ("2.tar", "c" * 64, 5)))
    again = write(tmp_path / "e", sets=[changed])
    assert [plan.file for plan in again.pending] == ["part-00002.parquet"]
    after = files(tmp_path / "e")
    assert {name for name in before if before[name] != after[name]} == {"part-00002.parquet", "embeddings.json"}
    assert Embeddings(tmp_path / "e").sets[0]["fingerprint"] == "g" * 64


@pytest.mark.parametrize("change", [{"dtype": "float16"}, {"precision": "bf16"}, {"modalities": ("product",)}])
def test_another_number_format_or_modality_makes_all_parts_again(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path / "e")
    assert len(write(tmp_path / "e", **change).pending) == len(SIZES)


def test_the_same_model_under_another_name_keeps_its_parts(tmp_path: Path) -> None:
    write(tmp_path / "e")
    assert write(tmp_path / "e", model={**MODEL, "source": "runs/1"}).pending == []
    assert Embeddings(tmp_path / "e").model["source"] == "runs/1"


def test_another_models_parts_are_refused_with_both_names_unless_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "e")
    with pytest.raises(CheckpointError, match=r"embeddings of mine/one \(111111111111\).*mine/two \(222222222222\)"):
        write(tmp_path / "e", model=OTHER)
    assert Embeddings(tmp_path / "e").model == MODEL
    write(tmp_path / "e", model=OTHER, overwrite=True)
    assert Embeddings(tmp_path / "e", verify=True).model == OTHER


def test_a_set_that_would_be_dropped_is_refused_and_one_more_set_is_not(tmp_path: Path) -> None:
    write(tmp_path / "e", sets=[a_set()])
    more = write(tmp_path / "e", sets=[a_set(), a_set("/sets/b", sizes=(2,), mark="b")])
    assert [plan.set for plan in more.pending] == ["/sets/b"]
    with pytest.raises(DataError, match="embeddings of /sets/b, which is not among the sets"):
        write(tmp_path / "e", sets=[a_set()])
    write(tmp_path / "e", sets=[a_set()], overwrite=True)
    assert sorted(path.name for path in (tmp_path / "e").glob("*.parquet")) == [
        f"part-0000{number}.parquet" for number in range(3)
    ]


def test_parts_that_lack_skipped_samples_are_kept_only_where_skipping_is_wanted(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": MODEL, "modalities": ("product",), "sets": [a_set(sizes=(2,))]}
    with EmbeddingWriter(tmp_path / "e", **options) as writer:
        with PartWriter(writer.folder, writer.pending[0]) as part:
            part.skip(2)
        assert part.entry is not None
        assert part.entry.skipped == 2
        writer.add(part.entry)
        writer.finish()
    with EmbeddingWriter(tmp_path / "e", keep_skipped=True, **options) as writer:
        assert writer.pending == []
    with EmbeddingWriter(tmp_path / "e", **options) as writer:
        assert len(writer.pending) == 1


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with EmbeddingWriter(tmp_path / "e", model=MODEL, modalities=("product",), sets=[a_set()]) as writer:
        with pytest.raises(ZeroDivisionError), PartWriter(writer.folder, writer.pending[0]):
            _ = 1 // 0
        assert list(files(tmp_path / "e")) == []


def test_vectors_that_are_not_finite_are_refused_with_the_item(tmp_path: Path) -> None:
    record = Record(0, "k", "item-7", "s", "", "")
    with (
        EmbeddingWriter(tmp_path / "e", model=MODEL, modalities=("product",), sets=[a_set()]) as writer,
        pytest.raises(DataError, match=r"product vectors that are not finite.*item-7"),
        PartWriter(writer.folder, writer.pending[0]) as part,
    ):
        part.write([record], {"product": (np.array([[1, np.nan, 0]]), np.ones(1, bool))})


def test_two_writers_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": MODEL, "modalities": ("product",), "sets": [a_set()]}
    with (
        EmbeddingWriter(tmp_path / "e", **options),
        pytest.raises(UsageError, match="another process is writing"),
        EmbeddingWriter(tmp_path / "e", **options),
    ):
        pass


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match=r"holds other things, such as thesis\.tex"):
        write(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write to"):
        write(tmp_path / "file")


def test_what_is_not_complete_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Embeddings(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no embeddings"):
        Embeddings(tmp_path)
    write(tmp_path / "e")
    (tmp_path / "e" / "embeddings.json").unlink()
    with pytest.raises(DataError, match=r"not complete[^$]*change: run the same moon-zoo embed again"):
        Embeddings(tmp_path / "e")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda part: part.unlink(), "part-00002.parquet is missing"),
        (lambda part: part.write_bytes(part.read_bytes()[:-40]), "bytes instead of"),
    ],
)
def test_missing_and_cut_parts_are_noticed_when_opened(tmp_path: Path, harm: Any, said: str) -> None:
    write(tmp_path / "e")
    harm(tmp_path / "e" / "part-00002.parquet")
    with pytest.raises(DataError, match=said):
        Embeddings(tmp_path / "e")
    write(tmp_path / "e")
    assert Embeddings(tmp_path / "e", verify=True).rows == 13


def test_one_altered_number_is_noticed_when_read_and_when_verified(tmp_path: Path) -> None:
    write(tmp_path / "e")
    path = tmp_path / "e" / "part-00000.parquet"
    data = path.read_bytes()
    numbers = np.array(vector(0, 2), dtype=np.float32).tobytes()
    assert data.count(numbers) == 1
    path.write_bytes(data.replace(numbers, np.array(vector(0, 3), dtype=np.float32).tobytes()))
    found = Embeddings(tmp_path / "e")
    with pytest.raises(DataError, match=r"part-00000\.parquet is not as it was written"):
        found.vectors("product")
    with pytest.raises(DataError, match="its sha256 is another"):
        found.verify()
    assert [plan.number for plan in write(tmp_path / "e").pending] == [0]
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "it has format 2, this version of moon-zoo reads format 1"),
        ({"complete": False}, "not complete"),
        ({"model": {}}, "cannot be used"),
        ({"parts": [{"file": "../x.parquet"}]}, "cannot be used"),
    ],
)
def test_an_index_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write(tmp_path / "e")
    path = tmp_path / "e" / "embeddings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=said):
        Embeddings(tmp_path / "e")


def test_a_part_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "e")
    path = tmp_path / "e" / "embeddings.json"
    about = json.loads(path.read_text())
    about["parts"][0]["file"] = "../part-00000.parquet"
    path.write_text(json.dumps(about))
    with pytest.raises(DataError, match="is no name of a part"):
        Embeddings(tmp_path / "e")


def test_unknown_modalities_and_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path / "e")
    found = Embeddings(tmp_path / "e")
    with pytest.raises(UsageError, match=r"no 'prodct' vectors[^$]*did you mean: product"):
        found.vectors("prodct")
    with pytest.raises(UsageError, match=r"no column 'titel'[^$]*did you mean: title"):
        found.table(["titel"])
