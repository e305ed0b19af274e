"""Remote shards: fetched once, checked, bounded; with real processes against a real server."""

from __future__ import annotations

import http.server
import json
import multiprocessing
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from moon_zoo.data.cache import ShardCache, cache_root
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import verify
from moon_zoo.errors import DataError
from tests.conftest import make_product
from tests.hub.server import serving


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; returns the folder of its shards."""
    monkeypatch.setenv("MOON_ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shards"


@pytest.fixture
def memory(product_set: Path) -> Iterator[str]:
    """The product set at a `memory://` URL."""
    fs = fsspec.filesystem("memory")
    for path in product_set.iterdir():
        fs.pipe_file(f"/tests/products/{path.name}", path.read_bytes())
    yield "memory://tests/products"
    fs.rm("/tests", recursive=True)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Counts what is asked for, and says nothing."""

    asked: ClassVar[Counter] = Counter()

    def do_GET(self) -> None:
        Handler.asked[self.path] += 1
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(product_set: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL and folder of a copy of the product set behind http."""
    folder = Path(shutil.copytree(product_set, tmp_path / "served"))
    Handler.asked.clear()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder
    httpd.shutdown()


def files(cache: Path, suffix: str = ".tar") -> list[Path]:
    return sorted(path for path in cache.iterdir() if not path.name.startswith(".") and path.suffix == suffix)


def test_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_CACHE", "/somewhere")
    assert cache_root() == Path("/somewhere")
    monkeypatch.delenv("MOON_ZOO_CACHE")
    assert cache_root() == Path.home() / ".cache" / "moon_zoo"


def test_remote_set_reads_like_a_local_one(memory: str, cache: Path) -> None:
    shards = IndexedShards(memory)
    assert shards[36] == make_product(36)
    assert len(files(cache)) == 1  # only the shard that was needed
    assert list(shards) == [make_product(number) for number in range(37)]
    assert len(files(cache)) == 8
    assert IndexedShards(memory + "/manifest.json").manifest == shards.manifest
    assert verify(memory, deep=True) == []


def test_cached_shards_survive_without_the_source(memory: str, cache: Path) -> None:
    shards = IndexedShards(memory)
    _ = list(shards)
    fs = fsspec.filesystem("memory")
    for name in fs.ls("/tests/products", detail=False):
        if name.endswith(".tar"):
            fs.rm(name)
    assert IndexedShards(memory)[20].item_id == "item-020"


def test_cache_stays_within_its_bound_and_drops_the_oldest(memory: str, cache: Path) -> None:
    entries = read_manifest(memory).shards
    bound = sum(entry.bytes for entry in entries[:3]) + 20_000
    shards = IndexedShards(memory, cache_bytes=bound)
    for position in range(37):
        assert shards[position] == make_product(position)
        held = sum(path.stat().st_size for path in cache.iterdir() if not path.name.startswith("."))
        assert held <= bound
    kept = {path.stem for path in files(cache)}
    assert entries[7].sha256 in kept and entries[0].sha256 not in kept
    # Dropped shards are fetched again, and open ones were readable all the while.
    shards.close()
    assert shards[0] == make_product(0)


def test_wrong_content_is_refused_and_not_kept(server: tuple[str, Path], cache: Path) -> None:
    url, folder = server
    tar = folder / "products-000002.tar"
    tar.write_bytes(tar.read_bytes()[:-512])
    shards = IndexedShards(url)
    with pytest.raises(DataError, match="is not the file its manifest names: sha256") as caught:
        shards[10]
    assert f"{url}/products-000002.tar" in str(caught.value) and "bytes instead of" in str(caught.value)
    assert files(cache) == [] and list(cache.glob(".*.part")) == []


def test_shard_whose_download_breaks_off_goes_on_where_it_ended(product_set: Path, cache: Path) -> None:
    with serving(product_set) as server:
        server.only, server.drop_after, server.drops = "products-000002.tar", 10_000, 2
        assert IndexedShards(server.url)[10] == make_product(10)
        assert [first for path, first in server.ranges if path.endswith(".tar")] == [0, 10_000, 20_000]


def test_missing_remote_shard_is_named(server: tuple[str, Path], cache: Path) -> None:
    url, folder = server
    (folder / "products-000001.tar").unlink()
    with pytest.raises(DataError, match=f"cannot fetch {url}/products-000001.tar"):
        IndexedShards(url)[5]


def test_missing_remote_manifest_is_named(server: tuple[str, Path]) -> None:
    with pytest.raises(DataError, match=r"there is no http://.*/nowhere/manifest.json"):
        read_manifest(server[0] + "/nowhere")


def read_all(url: str, barrier: object, out: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    shards = IndexedShards(url)
    out.put([shards[position].item_id for position in range(len(shards))])  # type: ignore[attr-defined]


def test_processes_download_every_file_once(server: tuple[str, Path], cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, out = context.Barrier(3), context.Queue()
    readers = [context.Process(target=read_all, args=(server[0], barrier, out)) for _ in range(3)]
    for reader in readers:
        reader.start()
    results = [out.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    assert results == [[f"item-{number:03d}" for number in range(37)]] * 3
    tars = {path: count for path, count in Handler.asked.items() if path.endswith(".tar")}
    assert tars == {f"/products-{number:06d}.tar": 1 for number in range(8)}


def test_leftovers_of_a_dead_download_are_cleared(memory: str, cache: Path) -> None:
    entry = read_manifest(memory).shards[0]
    cache.mkdir(parents=True)
    (cache / f".{entry.sha256[:32]}.deadbeef.part").write_bytes(b"half")
    path = ShardCache(cache).fetch(f"{memory}/{entry.name}", sha256=entry.sha256, size=entry.bytes)
    assert path.stat().st_size == entry.bytes and list(cache.glob(".*.part")) == []


def test_set_that_changed_at_its_url_is_fetched_anew(memory: str, cache: Path, item_set: Path) -> None:
    assert IndexedShards(memory)[0].item_id == "item-000" and len(IndexedShards(memory)) == 37
    fs = fsspec.filesystem("memory")
    for path in item_set.iterdir():
        fs.pipe_file(f"/tests/products/{path.name}", path.read_bytes())
    assert json.loads(fs.cat_file("/tests/products/manifest.json"))["samples"] == 11
    assert len(IndexedShards(memory)) == 11 and len(IndexedShards(memory)[0].photos) == 1
