"""What is wrong with shards is found, named and never opened further."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import pytest

from moon_zoo.data.kinds import Product
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import build_index, verify
from moon_zoo.data.writing import ShardWriter
from moon_zoo.errors import DataError, Faults
from tests.conftest import draw_photo, make_product


@pytest.fixture
def shards(product_set: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(product_set, tmp_path / "set"))


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def product_json(**changes: object) -> bytes:
    record = {"item_id": "a", "title": "t", "photo_roles": [], "core_boxes": [], **changes}
    return json.dumps(record).encode()


def only(faults: list) -> str:
    assert len(faults) == 1, faults
    return str(faults[0])


def test_sound_set_has_no_faults(product_set: Path, search_set: Path) -> None:
    assert verify(product_set, deep=True) == [] and verify(search_set, deep=True) == []


def test_progress_counts_every_sample(product_set: Path) -> None:
    done: list[int] = []
    verify(product_set, progress=done.append)
    assert sum(done) == 37


def test_missing_shard_is_named(shards: Path) -> None:
    (shards / "products-000003.tar").unlink()
    assert "the shard products-000003.tar is missing" in only(verify(shards))
    reader = IndexedShards(shards)
    assert reader[0].item_id == "item-000"  # the others are still readable
    with pytest.raises(DataError, match=r"products-000003.tar is missing") as caught:
        reader[17]
    assert str(shards / "products-000003.tar") in str(caught.value)


def test_truncated_tar_is_named_with_both_sizes(shards: Path) -> None:
    tar = shards / "products-000001.tar"
    size = tar.stat().st_size
    tar.write_bytes(tar.read_bytes()[:-700])
    message = only(verify(shards))
    assert f"products-000001.tar has {size - 700:,} bytes, its manifest says {size:,}: it was cut" in message
    with pytest.raises(DataError, match="it was cut"):
        IndexedShards(shards)[5]


def test_changed_byte_is_found_by_the_hash(shards: Path) -> None:
    tar = shards / "products-000001.tar"
    data = bytearray(tar.read_bytes())
    data[1000] ^= 1
    tar.write_bytes(bytes(data))
    assert "products-000001.tar was changed after it was written: its sha256" in only(verify(shards))


def test_index_of_another_shard_is_refused(shards: Path) -> None:
    shutil.copy(shards / "products-000001.index.npz", shards / "products-000002.index.npz")
    assert "the index of products-000002.tar is not the one the manifest names" in only(verify(shards))


def test_missing_index_is_named_and_made_again(shards: Path, product_set: Path) -> None:
    (shards / "products-000002.index.npz").unlink()
    assert "run moon-zoo inspect --index" in only(verify(shards))
    manifest = build_index(shards)
    assert manifest == read_manifest(product_set) and verify(shards) == []


def test_index_is_not_made_again_over_changed_shards(shards: Path) -> None:
    tar_of(shards / "products-000002.tar", {"x.product.json": product_json()})
    with pytest.raises(DataError, match=r"products-000002.tar is not the shard that manifest.json names"):
        build_index(shards)


def test_index_pointing_elsewhere_is_found(shards: Path) -> None:
    """Both index and manifest are consistent with one another, but not with the tar."""
    import hashlib

    other = (shards / "products-000001.index.npz").read_bytes()
    (shards / "products-000002.index.npz").write_bytes(other)
    text = json.loads((shards / "manifest.json").read_text())
    text["shards"][2]["index_sha256"] = hashlib.sha256(other).hexdigest()
    (shards / "manifest.json").write_text(json.dumps(text))
    assert "the index of products-000002.tar does not say where its members are" in only(verify(shards))


def test_tar_that_is_not_in_the_manifest_is_mentioned(shards: Path) -> None:
    shutil.copy(shards / "products-000000.tar", shards / "extra.tar")
    assert "extra.tar lies beside the manifest but is not in it" in only(verify(shards))


@pytest.mark.parametrize(
    "name", ["../products-000000.tar", "/etc/passwd.tar", "a/b.tar", "products-000000.zip", ".tar"]
)
def test_shard_names_cannot_point_outside(name: str, shards: Path) -> None:
    text = json.loads((shards / "manifest.json").read_text())
    text["shards"][0]["name"] = name
    (shards / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(DataError, match=r"no plain file name ending in .tar"):
        read_manifest(shards)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no manifest of shards"),
        ("[]", "is no manifest of shards"),
        ('{"format": 2}', "it has format 2, this version of moon-zoo reads format 1"),
        ('{"format": 1, "kind": "product", "shards": [{}]}', "is no manifest of shards"),
        ('{"format": 1, "kind": 3, "shards": []}', "kind must be a name"),
    ],
)
def test_broken_manifest_is_said_to_be_one(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_folder_of_tars_without_manifest_says_how_to_index(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", {"k.product.json": product_json()})
    with pytest.raises(DataError, match=r"holds tars but no manifest.json") as caught:
        IndexedShards(tmp_path)
    assert f"moon-zoo inspect --index {tmp_path}" in str(caught.value)


def test_unknown_kind_is_refused_with_a_suggestion(shards: Path) -> None:
    text = json.loads((shards / "manifest.json").read_text())
    (shards / "manifest.json").write_text(json.dumps({**text, "kind": "products"}))
    with pytest.raises(DataError, match="did you mean: product"):
        IndexedShards(shards)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_pickled_member_is_refused_and_never_opened(tmp_path: Path) -> None:
    """As indexed shards, as a plain tar, and as a stream: the file that unpickling would create is not there."""
    from moon_zoo.data.streaming import StreamedShards

    trace = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(trace))
    pickle.loads(bomb)
    assert trace.exists()  # the bomb works
    trace.unlink()
    folder = tmp_path / "set"
    folder.mkdir()
    tar_of(folder / "a.tar", {"k.product.json": product_json(), "k.user.pkl": bomb})
    for suffix in ("pyd", "pth", "pt", "pickle", "dill", "joblib"):
        tar_of(tmp_path / f"{suffix}.tar", {"k.product.json": product_json(), f"k.user.{suffix}": bomb})
        with pytest.raises(DataError, match="pickled data"):
            list(StreamedShards(str(tmp_path / f"{suffix}.tar")).samples())
    with pytest.raises(Faults) as caught:
        build_index(folder)
    assert "user.pkl is pickled data" in str(caught.value) and "k.user.pkl in" in str(caught.value)
    with pytest.raises(DataError, match=r"user.pkl is pickled data") as refused:
        list(StreamedShards(str(folder / "a.tar")).samples())
    assert "sample k in" in str(refused.value)
    assert not (folder / "manifest.json").exists() and not trace.exists()


def test_pickle_smuggled_past_the_writer_is_refused_when_read(tmp_path: Path) -> None:
    """A set whose index names a .pkl member, hashes and all: only reading could open it, and does not."""
    import numpy as np

    from moon_zoo.data.ids import file_sha256
    from moon_zoo.data.index import ShardIndex
    from moon_zoo.data.manifest import Manifest, ShardEntry
    from moon_zoo.data.scanning import scan_tar

    trace = tmp_path / "exploded"
    tar = tar_of(tmp_path / "a.tar", {"k.product.json": product_json(), "k.x.json": pickle.dumps(Bomb(trace))})
    index, faults = scan_tar(tar)
    assert faults == []
    renamed = ShardIndex(
        index.keys, index.starts, np.array([b"product.json", b"x.pkl"]), index.name, index.offset, index.size
    )
    import hashlib

    data = renamed.to_bytes()
    (tmp_path / "a.index.npz").write_bytes(data)
    entry = ShardEntry("a.tar", 1, tar.stat().st_size, file_sha256(tar), hashlib.sha256(data).hexdigest())
    (tmp_path / "manifest.json").write_text(Manifest(kind="product", shards=[entry]).to_json())
    with pytest.raises(DataError, match=r"x.pkl is pickled data") as caught:
        IndexedShards(tmp_path)[0]
    assert "x.pkl of sample k in a.tar" in str(caught.value) and not trace.exists()


def test_links_and_devices_in_tars_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("k.photo_0.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(Faults, match="1 fault") as caught:
        build_index(tmp_path)
    assert "k.photo_0.jpg is no plain file" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"k.notes.txt": b"hello"}, "are of no known kind of sample"),
        ({"k.product.json": b"{"}, "product.json cannot be read as json"),
        ({"k.product.json": b"[1]"}, "holds no JSON object"),
        ({"k.product.json": b'{"title": "no id"}'}, "product.json is incomplete"),
        ({"k.product.json": product_json(price=3)}, "unknown fields: price"),
        (
            {"k.product.json": product_json(photo_roles=["catalogue"], core_boxes=[None])},
            "the photo photo_0 is missing",
        ),
        ({"k.product.json": product_json(title=5)}, "title"),
        ({"k.product.json": product_json(category="home")}, "category"),
        ({"k.product.json": product_json(attributes={"colour": 3})}, "attributes"),
        ({"k.product.json": product_json(photo_roles=7)}, "no sample of kind product"),
        ({"k.query.json": b'{"text": "x"}'}, "item_product.json is missing"),
        ({"k.a.json": b"1", "l.product.json": product_json(), "k.b.json": b"1"}, "the key k comes twice"),
        ({"k.weights.bin7": b"1"}, "unknown extension 'bin7'"),
        ({"README": b"hello"}, "has no key and field"),
    ],
)
def test_plain_tar_of_bad_samples_is_refused_whole(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", members)
    with pytest.raises(Faults) as caught:
        build_index(tmp_path)
    assert message in str(caught.value) and "a.tar" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("keep", [600, 1024, 2048])
def test_cut_plain_tar_is_refused(keep: int, tmp_path: Path) -> None:
    """Cut inside a member, and exactly between two, where only the missing end mark tells."""
    tar = tar_of(tmp_path / "a.tar", {"k.product.json": product_json(), "l.product.json": product_json()})
    tar.write_bytes(tar.read_bytes()[:keep])
    with pytest.raises(Faults, match="1 fault") as caught:
        build_index(tmp_path)
    assert "a.tar cannot be read to its end" in str(caught.value)


def test_sample_without_its_photo_is_named(tmp_path: Path) -> None:
    """The photo's member is renamed inside the tar, as a careless repacking would."""
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        for number in range(3):
            writer.write(f"k{number}", make_product(number, photos=1))
    tar = tmp_path / "set" / "set-000000.tar"
    with tarfile.open(tar) as old:
        members = {item.name: old.extractfile(item).read() for item in old}  # type: ignore[union-attr]
    members = {name.replace("k1.photo_0", "k1.picture"): data for name, data in members.items()}
    tar_of(tar, members)
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(Faults) as caught:
        build_index(tmp_path / "set")
    assert "the photo photo_0 is missing" in str(caught.value) and f"sample k1 in {tar}" in str(caught.value)


def test_undecodable_photo_is_found_when_asked(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        writer.write("good", make_product(0))
        writer.write("bad", Product(item_id="b", photos=[draw_photo(1), draw_photo(2)[:700]]))
    assert verify(tmp_path / "set") == []
    message = only(verify(tmp_path / "set", deep=True))
    assert "the photo cannot be decoded (700 bytes): " in message
    assert "photo_1.jpg of sample bad in" in message


def test_compressed_tars_cannot_be_indexed(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="only compressed ones"):
        build_index(tmp_path)
