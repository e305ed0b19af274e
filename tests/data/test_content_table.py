"""Content embeddings by item id: every format gives the same rows, and what is no table is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moon_zoo.data.content_table import FILE, FOLDER, ContentTable
from moon_zoo.errors import DataError

IDS = ["mug", "lamp", "shirt"]
VECTORS = np.array([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]], np.float32)


def write_npy(folder: Path, vectors: np.ndarray = VECTORS) -> Path:
    np.save(folder / "items.npy", vectors)
    (folder / "items.ids.txt").write_text("\n".join(IDS) + "\n", "utf-8")
    return folder / "items.npy"


def write_parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table({"item_id": IDS, "vector": VECTORS.tolist(), **columns}), path)
    return path


@pytest.fixture(params=["held", "parquet", "npy", "checkpoint"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> ContentTable:
    held = ContentTable(IDS, VECTORS, model="f" * 64, modality="product")
    if request.param == "held":
        return held
    if request.param == "checkpoint":
        held.write(tmp_path / FOLDER)
        return ContentTable.open(tmp_path)
    return ContentTable.open(
        write_npy(tmp_path) if request.param == "npy" else write_parquet(tmp_path / "items.parquet")
    )


def test_rows_begin_after_padding_and_missing_and_vectors_have_length_one(table: ContentTable) -> None:
    """(3, 4) has length 5; row 0 is padding, row 1 no embedding."""
    assert table.rows_of(["lamp", "sofa", "mug"]).tolist() == [3, 1, 2]
    rows = np.array([0, 1, 2, 3])
    np.testing.assert_allclose(table.gather(rows), [[0, 0], [0, 0], [0.6, 0.8], [0, -1]], atol=1e-7)
    np.testing.assert_array_equal(table.vectors()[:4], table.gather(rows))
    assert (len(table), table.dim) == (3, 2)


def test_every_format_has_the_same_fingerprint(table: ContentTable) -> None:
    assert table.fingerprint == ContentTable(IDS, VECTORS).fingerprint
    other = VECTORS.copy()
    other[0, 0] += 1e-6
    assert table.fingerprint != ContentTable(IDS, other).fingerprint
    assert table.fingerprint != ContentTable(["mug", "lamp", "skirt"], VECTORS).fingerprint


def test_written_table_keeps_bits_type_and_maker(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float32, np.int8):
        written = ContentTable(IDS, VECTORS.astype(dtype), model="abc", modality="photo")
        written.write(tmp_path / str(dtype.__name__))
        read = ContentTable.open(tmp_path / str(dtype.__name__) / FILE)
        assert read.raw.dtype == dtype and np.array_equal(read.raw, written.raw)
        assert (read.model, read.modality) == ("abc", "photo")


def test_zero_vector_counts_as_no_embedding() -> None:
    assert ContentTable(IDS, VECTORS).rows_of(["shirt"]).tolist() == [1]


def test_first_vector_of_an_id_that_comes_twice_counts() -> None:
    table = ContentTable(["mug", "mug"], np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    assert table.rows_of(["mug"]).tolist() == [2]


def test_integer_ids_are_found_as_texts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item": [7, 9], "item_emb_d128": [[1.0, 0.0], [0.0, 1.0]]}), tmp_path / "info.parquet")
    assert ContentTable.open(tmp_path / "info.parquet").rows_of(["9", "7", "8"]).tolist() == [3, 2, 1]


def test_mapped_table_stays_on_the_disk_also_in_another_process(tmp_path: Path) -> None:
    table = ContentTable.open(write_npy(tmp_path, np.tile(VECTORS, (1, 5000))))
    assert table.is_mapped and isinstance(table.raw, np.memmap)
    sent = pickle.dumps(table)
    assert len(sent) < 3000
    np.testing.assert_array_equal(pickle.loads(sent).gather(np.array([2])), table.gather(np.array([2])))


@pytest.mark.parametrize("mapped", [False, True])
def test_shuffled_table_has_the_same_vectors_for_other_items(mapped: bool, tmp_path: Path) -> None:
    ids = [str(number) for number in range(40)]
    vectors = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    if mapped:
        np.save(tmp_path / "v.npy", vectors)
        (tmp_path / "v.ids.txt").write_text("\n".join(ids), "utf-8")
    table = ContentTable.open(tmp_path / "v.npy") if mapped else ContentTable(ids, vectors)
    before, after = table.gather(table.rows_of(ids)), table.shuffled(5).gather(table.shuffled(5).rows_of(ids))
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(np.sort(before, 0), np.sort(after, 0))
    assert table.shuffled(5).fingerprint == table.shuffled(5).fingerprint != table.fingerprint


def test_vector_without_numbers_is_refused_by_item() -> None:
    with pytest.raises(DataError, match="embedding of item lamp holds NaN"):
        ContentTable(IDS[:2], np.array([[1.0, 0.0], [np.nan, 0.0]], np.float32))


def test_npy_without_ids_says_where_they_belong(tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", VECTORS)
    with pytest.raises(DataError, match=r"neither items.ids.txt nor items.ids.npy"):
        ContentTable.open(tmp_path / "items.npy")


def test_npy_of_pickled_objects_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no array of numbers"):
        ContentTable.open(tmp_path / "items.npy")


def test_lists_of_different_lengths_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="lists of lengths 1, 2"):
        ContentTable.open(tmp_path / "items.parquet")


def test_several_columns_of_vectors_want_a_name(tmp_path: Path) -> None:
    path = tmp_path / "info.parquet"
    pq.write_table(pa.table({"item_id": IDS, "photo": VECTORS.tolist(), "text": VECTORS.tolist()}), path)
    with pytest.raises(DataError, match="2 columns of vectors: photo, text"):
        ContentTable.open(path)
    assert ContentTable.open(path, "text").modality == "text"


def test_folder_without_embeddings_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="moon-zoo embed"):
        ContentTable.open(tmp_path)
