from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from moon_zoo.data.kinds import Product
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import verify
from moon_zoo.data.writing import ShardWriter, write_splits
from moon_zoo.errors import DataError
from tests.conftest import draw_photo, make_product, make_search, write_products


def test_set_is_a_folder_of_tars_indexes_and_a_manifest(product_set: Path) -> None:
    names = sorted(path.name for path in product_set.iterdir())
    shards = [f"products-{number:06d}" for number in range(8)]
    assert names == ["manifest.json", *(shard + end for shard in shards for end in (".index.npz", ".tar"))]
    with tarfile.open(product_set / "products-000000.tar") as tar:
        assert tar.getnames()[:3] == ["p000.photo_0.jpg", "p000.photo_1.jpg", "p000.product.json"]
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}


def test_manifest_tells_what_is_in_the_set(product_set: Path) -> None:
    manifest = read_manifest(product_set)
    assert (manifest.kind, manifest.samples, manifest.source, manifest.licence) == ("product", 37, "drawn", "CC0-1.0")
    assert manifest.fields == {"photo_*.jpg": "image", "product.json": "json"}
    assert manifest.vocabularies == {
        "category": ["lamp", "mug", "shirt"],
        "attributes": {"colour": ["blue", "green", "red"], "size": ["large", "small"]},
    }
    assert [shard.samples for shard in manifest.shards] == [5, 5, 5, 5, 5, 5, 5, 2]
    assert manifest.shards[3].bytes == (product_set / "products-000003.tar").stat().st_size


def test_samples_come_back_as_they_were_written(product_set: Path, search_set: Path) -> None:
    products, searches = IndexedShards(product_set), IndexedShards(search_set)
    assert [products[number] for number in range(37)] == [make_product(number) for number in range(37)]
    assert list(searches) == [make_search(number) for number in range(23)]
    assert products.locate(36) == ("products-000007.tar", "p036")


def test_same_samples_give_the_same_bytes(product_set: Path, tmp_path: Path) -> None:
    again = write_products(tmp_path / "products")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in product_set.iterdir()
    }
    assert read_manifest(again).fingerprint == read_manifest(product_set).fingerprint


def test_shards_are_closed_by_size_as_well(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "set", kind="product", max_bytes=4000) as writer:
        for number in range(6):
            writer.write(f"k{number}", make_product(number))
    assert len(read_manifest(tmp_path / "set").shards) > 1


def test_attribute_of_many_values_is_no_vocabulary(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        for number in range(1001):
            item = Product(item_id=str(number), attributes={"serial": str(number), "even": str(number % 2)})
            writer.write(f"k{number}", item)
    assert read_manifest(tmp_path / "set").vocabularies["attributes"] == {"even": ["0", "1"]}


def test_splits_appear_together(tmp_path: Path) -> None:
    rows = [(("train", "val")[number % 2], f"k{number}", make_product(number)) for number in range(7)]
    manifests = write_splits(tmp_path / "out", rows, kind="product", source="drawn")
    assert {split: manifest.samples for split, manifest in manifests.items()} == {"train": 4, "val": 3}
    assert IndexedShards(tmp_path / "out" / "val")[2].item_id == "item-005"
    assert (tmp_path / "out" / "train" / "train-000000.tar").is_file()
    with pytest.raises(DataError, match="holds several sets, not one: train, val"):
        read_manifest(tmp_path / "out")


def test_splits_that_fail_leave_nothing(tmp_path: Path) -> None:
    def rows() -> object:
        yield "train", "a", make_product(0)
        yield "val", "b", make_product(1)
        raise DataError("the third row is bad")

    with pytest.raises(DataError, match="third row"):
        write_splits(tmp_path / "out", rows(), kind="product")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "sample", "message"),
    [
        ("../up", make_product(0), "must be 1 to 80 letters"),
        ("a.b", make_product(0), "must be 1 to 80 letters"),
        ("", make_product(0), "must be 1 to 80 letters"),
        ("taken", make_product(0), "the key taken comes twice"),
        ("k", make_search(0), "sample k is a Search, but the set is of kind product"),
        ("k", Product(item_id="x", photos=[b"GIF89a"]), "no JPEG, PNG or WebP"),
    ],
)
def test_bad_sample_is_refused_and_nothing_appears(key: str, sample: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message), ShardWriter(tmp_path / "set", kind="product") as writer:
        writer.write("taken", make_product(1))
        writer.write(key, sample)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples were written"), ShardWriter(tmp_path / "set", kind="product"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_existing_set_is_kept_unless_overwritten(tmp_path: Path) -> None:
    target = write_products(tmp_path / "set", 3)
    with pytest.raises(DataError, match="exists already; nothing was written"):
        write_products(target, 4)
    assert read_manifest(target).samples == 3
    with ShardWriter(target, kind="product", overwrite=True) as writer:
        writer.write("one", make_product(9))
        assert read_manifest(target).samples == 3  # the old one is there until the new one is complete
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert IndexedShards(target)[0].item_id == "item-009"


def test_overwrite_never_removes_what_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds no shards of ours"):
        ShardWriter(tmp_path / "home", kind="product", overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_empty_folder_may_be_the_target(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert verify(write_products(tmp_path / "set", 2)) == []


WRITE_FOR_EVER = """
import sys
from tests.conftest import make_product
from moon_zoo.data.writing import ShardWriter
with ShardWriter(sys.argv[1], kind="product", max_samples=3) as writer:
    for number in range(10**9):
        writer.write(f"k{number}", make_product(number % 50))
        if number == 20:
            print("running", flush=True)
"""


def start_writing(target: Path, **more: object) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(target)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,  # type: ignore[call-overload]
    )


def test_killed_writer_leaves_no_set_and_a_rerun_succeeds(tmp_path: Path) -> None:
    process = start_writing(tmp_path / "set")
    assert process.stdout is not None and process.stdout.readline() == "running\n"
    # Another writer beside it must not sweep away what this one is still writing.
    write_products(tmp_path / "other", 2)
    with pytest.raises(DataError, match="no samples"), ShardWriter(tmp_path / "set", kind="product"):
        pass
    with pytest.raises(DataError, match="does not exist"):
        read_manifest(tmp_path / "set")
    assert len(list(tmp_path.glob(".set.partial-*"))) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list(tmp_path.glob(".set.partial-*"))
    assert len(left) == 1 and not (left[0] / "manifest.json").exists() and not (tmp_path / "set").exists()
    write_products(tmp_path / "set", 4)
    assert verify(tmp_path / "set") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set"]


def test_work_folder_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "set", kind="product") as first:
        first.write("a", make_product(0))
        second = ShardWriter(tmp_path / "set", kind="product")
        second.write("b", make_product(1))
        second.write("c", make_product(1))
        second.close()
        with pytest.raises(DataError, match="exists already"):
            first.close()
    assert read_manifest(tmp_path / "set").samples == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files is the one full disk that needs no privileges; the writer treats both alike."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    process = start_writing(tmp_path / "set", preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert "the disk is full after" in errors and "nothing was kept" in errors
    assert list(tmp_path.iterdir()) == []


def test_interrupted_replacement_is_put_back(tmp_path: Path) -> None:
    """Killed between the two renames of an overwrite: the old set stands under a hidden name, and nothing at the target."""
    write_products(tmp_path / "set", 3).rename(tmp_path / ".set.replaced-0a0b0c0d")
    with pytest.raises(DataError, match="exists already"):
        ShardWriter(tmp_path / "set", kind="product")
    assert read_manifest(tmp_path / "set").samples == 3


def test_packing_is_fast_enough(tmp_path: Path) -> None:
    """400 photos a second are asked for on two cores; a tenth of what one core does here leaves room for a busy one."""
    photos = [draw_photo(number, 350, 280) for number in range(5)]
    start = time.perf_counter()
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        for number in range(400):
            writer.write(f"k{number}", Product(item_id=str(number), photos=[photos[number % 5]]))
    assert 400 / (time.perf_counter() - start) > 400


def test_written_shards_are_read_by_plain_webdataset(product_set: Path) -> None:
    import webdataset as wds

    pattern = str(product_set / "products-{000000..000007}.tar")
    samples = list(wds.WebDataset(pattern, shardshuffle=False))
    shards = IndexedShards(product_set)
    assert len(samples) == 37
    for number, sample in enumerate(samples):
        assert sample["__key__"] == f"p{number:03d}"
        assert sample["photo_1.jpg"] == shards[number].photos[1]
        assert json.loads(sample["product.json"])["title"] == shards[number].title


def test_shards_written_by_webdataset_are_indexed_and_read(tmp_path: Path) -> None:
    import webdataset as wds

    from moon_zoo.data.verify import build_index

    with wds.ShardWriter(str(tmp_path / "theirs-%03d.tar"), maxcount=4, verbose=0) as writer:
        for number in range(10):
            product = make_product(number)
            writer.write({"__key__": f"shelf/{number:04d}", **product.to_members()})
    manifest = build_index(tmp_path, source="theirs")
    assert (manifest.kind, manifest.samples, len(manifest.shards)) == ("product", 10, 3)
    assert manifest.vocabularies["category"] == ["lamp", "mug", "shirt"]
    shards = IndexedShards(tmp_path)
    assert list(shards) == [make_product(number) for number in range(10)]
    assert shards.locate(9) == ("theirs-002.tar", "shelf/0009")
    assert verify(tmp_path, deep=True) == []


def test_members_of_other_types_survive(tmp_path: Path) -> None:
    import numpy as np

    from moon_zoo.data.decoders import decode_member, encode_member

    values = {
        "a.json": {"x": [1, "ä"]},
        "b.txt": "grün",
        "c.cls": 7,
        "d.bin": b"\0\1",
        "e.npy": np.arange(6.0).reshape(2, 3),
    }
    for field, value in values.items():
        back = decode_member(field, encode_member(field, value), shard="s", key="k")
        assert np.array_equal(back, value) if field == "e.npy" else back == value
    with pytest.raises(DataError, match="cannot be written as"):
        encode_member("e.npy", np.array([object()]))
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as array"):
        decode_member("e.npy", stream.getvalue(), shard="s", key="k")


def test_writer_imports_no_torch() -> None:
    code = (
        "import sys, moon_zoo.data.writing, moon_zoo.data.reading, moon_zoo.data.verify; print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "False"
