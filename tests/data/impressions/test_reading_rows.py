"""Rows are read in any order, cut to the newest, the same through every path; damage is named and never read past."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moon_zoo.data.impressions.block import Impressions, Pool
from moon_zoo.data.impressions.pools import expand, used
from moon_zoo.data.impressions.reading import RowShards, open_shards
from moon_zoo.data.impressions.vocabulary import Vocabulary, ordered
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import build_index, verify
from moon_zoo.data.writing import ShardWriter
from moon_zoo.errors import DataError
from tests.conftest import impressions_schema, make_impressions


def plain(shards: Any, positions: list[int], limit: int | None = None) -> list[dict[str, Any]]:
    """Rows through `take`, one by one in Python."""
    columns = shards.take(np.array(positions), None if limit is None else {"history": limit})
    history = columns.sequences["history"]
    ends = np.cumsum(history.lengths)
    rows = []
    for row in range(len(positions)):
        one = {name: values[row].item() for name, values in columns.values.items()}
        for name, vocabulary in (("user_id", "user_id"), ("item_id", "item_id"), ("category", "category")):
            one[name] = shards.vocabularies[vocabulary].decode(columns.values[name][row : row + 1])[0]
        for field in ("item_id", "category"):
            ids = history.fields[field][ends[row] - history.lengths[row] : ends[row]]
            one[f"history.{field}"] = shards.vocabularies[field].decode(ids)
        rows.append(one)
    return rows


def test_any_order_gives_the_rows_asked_for_with_the_newest_history(impressions_set: Path) -> None:
    table = make_impressions().to_pylist()
    shards = RowShards(impressions_set)
    assert len(shards) == 61 and shards.sizes.tolist() == [32, 29] and len(shards.manifest.shards) == 2
    positions = [60, 3, 33, 5, 5, 31, 32, 0]
    for limit in (None, 4, 1):
        for found, position in zip(plain(shards, positions, limit), positions, strict=True):
            expected = table[position]
            for field in ("history.item_id", "history.category"):
                wanted = expected[field] if limit is None else expected[field][-limit:]
                assert found[field] == wanted
            for name in ("user_id", "item_id", "category", "click", "time"):
                assert found[name] == expected[name]
            assert found["price"] == expected["price"] or (np.isnan(found["price"]) and expected["price"] is None)


def test_cut_counts_the_rows_whose_history_was_longer(impressions_set: Path) -> None:
    lengths = [len(one) for one in make_impressions().column("history.item_id").to_pylist()]
    ragged = RowShards(impressions_set).take(np.arange(61), {"history": 4}).sequences["history"]
    assert ragged.cut == sum(length > 4 for length in lengths)
    assert ragged.lengths.tolist() == [min(length, 4) for length in lengths]


def test_padding_is_on_the_right_and_the_newest_stay(impressions_set: Path) -> None:
    shards = RowShards(impressions_set)
    whole = shards.take(np.arange(61)).sequences["history"]
    cut = shards.take(np.arange(61), {"history": 5}).sequences["history"]
    assert np.array_equal(whole.padded("item_id", 5), cut.padded("item_id", 5))
    ends = np.cumsum(whole.lengths)
    for row, (end, length) in enumerate(zip(ends, whole.lengths, strict=True)):
        newest = whole.fields["item_id"][end - min(length, 5) : end].tolist()
        assert whole.padded("item_id", 5)[row].tolist() == newest + [0] * (5 - len(newest))
        assert whole.mask(5)[row].tolist() == [True] * len(newest) + [False] * (5 - len(newest))


def test_no_rows_and_all_rows(impressions_set: Path) -> None:
    shards = RowShards(impressions_set)
    assert len(shards.take(np.zeros(0, np.int64))) == 0
    assert sum(len(part) for part in shards) == 61
    with pytest.raises(IndexError):
        shards.take(np.array([61]))
    assert shards.locate(60) == ("train-000001.tar", "000001, row 28")


def test_set_at_a_url_reads_the_same(impressions_set: Path) -> None:
    local, remote = RowShards(impressions_set), RowShards(f"file://{impressions_set}")
    assert plain(local, [7, 50]) == plain(remote, [7, 50])


def test_open_shards_tells_kinds_apart(impressions_set: Path, product_set: Path) -> None:
    assert isinstance(open_shards(impressions_set), RowShards)
    assert isinstance(open_shards(product_set), IndexedShards)
    with pytest.raises(DataError, match="not rows of impressions"):
        RowShards(product_set)
    with pytest.raises(DataError, match="is a table, whose columns nobody has declared"):
        open_shards("rows.csv")


def test_blocks_are_samples_of_a_plain_tar(impressions_set: Path) -> None:
    blocks = list(IndexedShards(impressions_set))
    assert [type(block) for block in blocks] == [Impressions, Impressions]
    assert [block.rows for block in blocks] == [32, 29]


# Ranges of pools ------------------------------------------------------------------------------------------------------


def test_used_keeps_what_rows_use_and_no_more() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        pool = rng.integers(0, 1000, rng.integers(1, 40))
        length = rng.integers(0, len(pool) + 1, rng.integers(0, 12))
        start = np.array([rng.integers(0, len(pool) - one + 1) for one in length], dtype=np.int64)
        moved, kept = used(start, length)
        wanted = sorted(
            {element for one, size in zip(start, length, strict=True) for element in range(one, one + size)}
        )
        assert kept.tolist() == wanted
        for one, other, size in zip(start, moved, length, strict=True):
            assert pool[kept][other : other + size].tolist() == pool[one : one + size].tolist()


def test_expand_spells_ranges_out() -> None:
    assert expand(np.array([5, 0, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]
    assert expand(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


# Vocabularies ---------------------------------------------------------------------------------------------------------


def test_values_stand_by_count_then_by_name_and_a_cut_is_a_prefix() -> None:
    vocabulary, ids = ordered(["b", "a", "ä", "Z", "c"], np.array([2, 2, 0, 2, 5]))
    assert vocabulary.values == ["c", "Z", "a", "b", "ä"]  # of equal counts by code point
    assert ids.tolist() == [5, 4, 6, 3, 2]
    assert [vocabulary.known(cut) for cut in (0, 1, 2, 3, 6)] == [4, 4, 4, 1, 0]


def test_ids_are_mapped_by_value() -> None:
    here, there = Vocabulary(["c", "Z", "a"], np.array([3, 2, 1])), Vocabulary(["a", "x", "c"], np.array([3, 2, 1]))
    assert here.mapping(there).tolist() == [0, 1, 4, 1, 2]
    assert here.mapping(there, known=1).tolist() == [0, 1, 1, 1, 2]
    assert here.ids_of(["a", "nobody", "c"]).tolist() == [4, 1, 2]
    assert here.decode(np.array([0, 1, 2, 4])) == ["<padding>", "<unknown>", "c", "a"]


@pytest.mark.parametrize(
    "stored",
    [{}, {"values": ["a"], "counts": []}, {"values": [1], "counts": [1]}, {"values": ["a", "b"], "counts": [1, 2]}],
)
def test_what_is_no_vocabulary_is_refused(stored: Any) -> None:
    with pytest.raises(DataError, match="the vocabulary x"):
        Vocabulary.from_json(stored, "x")


# Damage ---------------------------------------------------------------------------------------------------------------


def block(**changes: Any) -> Impressions:
    """Three rows of the fixture's schema."""
    ids = np.array([2, 3, 2], dtype="<i4")
    columns = dict.fromkeys(("user_id", "item_id", "category", "query_item_id"), ids)
    columns |= {"price": np.ones(3, "<f4"), "click": np.array([0, 1, 0], "u1"), "time": np.arange(3, dtype="<i8")}
    pool = Pool(np.array([0, 0, 1], "<i4"), np.array([2, 0, 1], "<i4"), {"item_id": ids[:2], "category": ids[:2]})
    return Impressions(columns | changes, {"history": pool})


def write(folder: Path, sample: Impressions) -> Path:
    values = {"values": ["a", "b"], "counts": [1, 1]}
    with ShardWriter(
        folder,
        kind="impressions",
        extra={"schema": impressions_schema().to_json()},
        vocabularies=dict.fromkeys(("user_id", "item_id", "category"), values),
    ) as writer:
        writer.write("000000", sample)
    return folder


DAMAGE = {
    "ids beyond": ({"item_id": np.array([2, 4, 3], "<i4")}, "item_id holds ids beyond its vocabulary of 2 values"),
    "negative ids": ({"item_id": np.array([2, -1, 3], "<i4")}, "item_id holds ids beyond its vocabulary"),
    "another type": ({"item_id": np.array([2, 2, 3], "<i8")}, "item_id.npy holds 3 values of type int64"),
    "byte order": ({"price": np.ones(3, ">f4")}, "price.npy holds 3 values of type >f4"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_columns_are_named(tmp_path: Path, case: str) -> None:
    changes, said = DAMAGE[case]
    folder = write(tmp_path / "set", block(**changes))
    with pytest.raises(DataError) as caught:
        RowShards(folder).take(np.arange(3))
    assert said in caught.value.what and "set-000000.tar" in str(caught.value.where)
    assert any(said in fault.what for fault in verify(folder))


def test_label_that_is_no_click_is_found_by_verify(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", block(click=np.array([0, 7, 0], "u1")))
    assert "the label click is 7" in verify(folder)[0].what


def test_range_outside_of_its_pool_is_refused(tmp_path: Path) -> None:
    for start, length in ((1, 2), (-1, 1), (0, -1)):
        sample = block()
        sample.sequences["history"].start[2], sample.sequences["history"].length[2] = start, length
        with pytest.raises(DataError, match="lies outside of its pool"):
            Impressions(sample.columns, sample.sequences)
        folder = write(tmp_path / f"set{start}{length}", sample)
        with pytest.raises(DataError, match="lies outside of its pool"):
            RowShards(folder).take(np.arange(3))


def test_columns_of_several_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="columns of one block have 2, 3 rows"):
        block(price=np.ones(2, "<f4"))


def test_pickled_column_is_never_opened(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", block())
    stream = io.BytesIO()
    np.save(stream, np.array([{}, {}, {}], dtype=object))
    _replace_member(folder, "000000.item_id.npy", stream.getvalue())
    with pytest.raises(DataError, match=r"item_id\.npy"):
        RowShards(folder).take(np.arange(3))


def test_cut_missing_and_changed_shards_are_named(impressions_set: Path, tmp_path: Path) -> None:
    shutil.copytree(impressions_set, tmp_path / "set")
    tar = tmp_path / "set" / "train-000001.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[:-512])
    with pytest.raises(DataError, match="it was cut after it was written"):
        RowShards(tmp_path / "set").take(np.array([40]))
    assert len(RowShards(tmp_path / "set").take(np.array([3]))) == 1  # the other shard is whole
    tar.unlink()
    with pytest.raises(DataError, match="is missing"):
        RowShards(tmp_path / "set").take(np.array([40]))


def test_manifest_without_schema_or_vocabulary_is_refused(impressions_set: Path, tmp_path: Path) -> None:
    shutil.copytree(impressions_set, tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    whole = json.loads(path.read_text("utf-8"))
    lacking = whole | {"vocabularies": {"user_id": whole["vocabularies"]["user_id"]}}
    path.write_text(json.dumps(lacking), "utf-8")
    with pytest.raises(DataError, match="lacks the vocabulary item_id"):
        RowShards(tmp_path / "set").take(np.array([0]))
    path.write_text(json.dumps(whole | {"extra": {}}), "utf-8")
    with pytest.raises(DataError, match="no schema of its rows"):
        RowShards(tmp_path / "set")


def test_verify_finds_no_fault_in_a_sound_set_and_index_again_keeps_it(impressions_set: Path, tmp_path: Path) -> None:
    done: list[int] = []
    assert verify(impressions_set, progress=done.append) == []
    assert sum(done) == 61
    shutil.copytree(impressions_set, tmp_path / "set")
    before = (tmp_path / "set" / "manifest.json").read_bytes()
    (tmp_path / "set" / "train-000000.index.npz").unlink()
    build_index(tmp_path / "set")
    assert (tmp_path / "set" / "manifest.json").read_bytes() == before
    assert len(RowShards(tmp_path / "set").take(np.arange(61))) == 61


def test_blocks_without_a_manifest_are_refused(impressions_set: Path, tmp_path: Path) -> None:
    from moon_zoo.data.streaming import StreamedShards

    shutil.copy(impressions_set / "train-000000.tar", tmp_path / "a.tar")
    for read in (lambda: build_index(tmp_path), lambda: list(StreamedShards(str(tmp_path / "a.tar")).samples())):
        with pytest.raises(DataError, match="cannot be read without their manifest"):
            read()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.tar"]


def _replace_member(folder: Path, name: str, data: bytes) -> None:
    """Write a set's only tar anew with another member, and make index and manifest fit it."""
    tar = folder / "set-000000.tar"
    with tarfile.open(tar) as old:
        members = [(one.name, old.extractfile(one).read()) for one in old]  # type: ignore[union-attr]
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as new:
        for member, content in members:
            content = data if member == name else content
            info = tarfile.TarInfo(member)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["shards"][0] |= {"bytes": tar.stat().st_size, "sha256": hashlib.sha256(tar.read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    build_index(folder)
