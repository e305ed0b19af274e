"""The shop as shards: same bytes for any number of processes, disjoint splits, truth in the manifest."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.manifest import Manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import DataError, UsageError
from moon_zoo.shop import write_shop

SMALL = {"num_products": 40, "photo_px": 48, "progress": False}


def hashes(manifests: dict[str, Manifest]) -> dict[str, list[str]]:
    return {split: [shard.sha256 for shard in manifest.shards] for split, manifest in manifests.items()}


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Manifest]]:
    folder = tmp_path_factory.mktemp("shop") / "products"
    return folder, write_shop(folder, seed=9, workers=1, **SMALL)


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Manifest]]:
    folder = tmp_path_factory.mktemp("shop") / "searches"
    return folder, write_shop(folder, kind="search", seed=9, workers=1, **SMALL)


def test_two_processes_write_the_bytes_of_one(products, tmp_path: Path):
    _, alone = products
    assert hashes(write_shop(tmp_path / "two", seed=9, workers=2, **SMALL)) == hashes(alone)


def test_another_seed_gives_another_shop(products, tmp_path: Path):
    _, manifests = products
    other = write_shop(tmp_path / "other", seed=10, workers=1, num_products=10, photo_px=48)
    assert not {sha for shas in hashes(other).values() for sha in shas} & {
        sha for shas in hashes(manifests).values() for sha in shas
    }


def test_a_script_without_a_main_guard_may_write_a_shop_with_several_processes(products, tmp_path: Path):
    """Such a script would start itself again in every spawned process. Also: another hash seed changes nothing."""
    _, alone = products
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "from moon_zoo.shop import write_shop\n"
        f"found = write_shop({str(tmp_path / 'out')!r}, seed=9, workers=2, **{SMALL!r})\n"
        "print(*(shard.sha256 for manifest in found.values() for shard in manifest.shards))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "5"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started", *(sha for shas in hashes(alone).values() for sha in shas)]
    assert done.stderr == ""  # no bar in a pipe


def test_no_product_stands_in_two_splits(products, searches):
    for folder, manifests in (products, searches):
        spus = []
        for split in manifests:
            shards = IndexedShards(folder / split)
            samples = [shards[position] for position in range(len(shards))]
            mine = {s.spu_id for s in samples} if isinstance(samples[0], Product) else {s.item.spu_id for s in samples}
            if isinstance(samples[0], Search):
                mine |= {negative.spu_id for s in samples for negative in s.hard_negatives}
            spus.append(mine)
        for place, mine in enumerate(spus):
            assert all(not mine & other for other in spus[:place])


def test_products_come_back_complete_from_shards(products):
    folder, manifests = products
    shards = IndexedShards(folder / "train")
    assert len(shards) == manifests["train"].samples
    seen: dict[bytes, str] = {}
    for position in range(len(shards)):
        product = shards[position]
        assert isinstance(product, Product)
        assert product.item_id.startswith(product.spu_id)
        assert product.photo_roles == ["catalogue", "user", "user"]
        assert all(box is not None for box in product.core_boxes)
        assert set(product.attributes) == {"brand", "colour", "material", "pattern", "size", "style"}
        assert len(product.category) == 2
        assert product.title
        for photo in product.photos:
            image = Image.open(BytesIO(photo))
            image.load()
            assert image.size == (48, 48)
            assert seen.setdefault(hashlib.sha256(photo).digest(), product.item_id) == product.item_id


def test_searches_come_back_complete_from_shards(searches):
    folder, manifests = searches
    shards = IndexedShards(folder / "train")
    forms = set()
    for position in range(len(shards)):
        search = shards[position]
        assert isinstance(search, Search)
        forms.add((search.query_text is not None, search.query_photo is not None))
        assert (search.query_photo is None) == (search.query_box is None)
        assert search.query_photo not in search.item.photos
        for negative in search.hard_negatives:
            assert negative.category == search.item.category
            assert negative.spu_id != search.item.spu_id
    assert forms == {(True, False), (False, True), (True, True)}
    counts = manifests["val"].extra["shop"]["splits"]["train"]
    assert sum(counts["queries"].values()) == counts["samples"] == len(shards)


def test_the_manifest_records_the_truth_of_all_splits(products):
    _, manifests = products
    truth = manifests["train"].extra["shop"]
    assert truth == manifests["test"].extra["shop"]
    assert truth["arguments"]["num_products"] == 40
    assert sum(split["spus"] for split in truth["splits"].values()) == 40
    for split, manifest in manifests.items():
        assert truth["splits"][split]["items"] == manifest.samples
        assert truth["splits"][split]["photos"] == 3 * manifest.samples
    assert 0.4 < truth["titles_that_say"]["colour"] < 0.85
    assert manifests["train"].licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kind": "products"}, "product"),
        ({"num_products": 0}, "num_products"),
        ({"photos_per_product": 0}, "photos_per_product"),
        ({"photo_px": 4}, "photo_px"),
        ({"photo_px": 64.5}, "64.5"),
        ({"seed": -1}, "-1"),
        ({"splits": {"train": 0.0}}, "splits"),
        ({"num_products": 3}, "'test'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(arguments: dict, named: str, tmp_path: Path):
    with pytest.raises(UsageError) as refused:
        write_shop(tmp_path / "shop", **arguments)
    assert named in str(refused.value)
    assert not (tmp_path / "shop").exists()


def test_two_processes_that_need_the_same_shop_leave_one_whole_shop(tmp_path: Path):
    folder = tmp_path / "cache" / "shop"
    code = (
        "import sys\n"
        "from moon_zoo.shop.writing import DEFAULT_SPLITS, Plan, write_once\n"
        "sys.stdin.readline()\n"  # both begin at a word
        f"write_once({str(folder)!r}, Plan('product', 30, 2, 48, 0, tuple(DEFAULT_SPLITS.items())))\n"
    )
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(2)
    ]
    outcomes = [process.communicate("go\n", timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outcomes
    assert sorted(path.name for path in folder.iterdir()) == ["test", "train", "val"]
    shards = IndexedShards(folder / "train")
    assert len([shards[position] for position in range(len(shards))]) == shards.manifest.samples


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_killed_run_leaves_no_worker_behind_and_the_next_run_succeeds(tmp_path: Path):
    """The run reports its workers, is killed as `kill -9` does, and its workers must end by themselves."""
    folder = tmp_path / "shop"
    code = (
        "import multiprocessing, os, signal\n"
        "from moon_zoo.shop import writing\n"
        f"plan = writing.Plan('product', 200, 2, 48, 0, (('train', 1.0),))\n"
        "def stream():\n"
        "    for place, packed in enumerate(writing.samples(plan, 2)):\n"
        "        yield packed\n"
        "        if place == 20:\n"
        "            print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        f"writing.write_splits({str(folder)!r}, stream(), kind='product')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -9
    workers = [int(pid) for pid in killed.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "workers outlive a killed run"
        time.sleep(0.05)
    assert not folder.exists()
    write_shop(folder, num_products=10, photo_px=32)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]  # what the killed run left is swept


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not collected by its parent does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_folder_that_is_taken_is_left_alone(products):
    folder, manifests = products
    with pytest.raises(DataError, match="exists already"):
        write_shop(folder, seed=1, **SMALL)
    assert IndexedShards(folder / "train").manifest.fingerprint == manifests["train"].fingerprint


def test_writing_imports_no_torch():
    code = "import sys, moon_zoo.shop.writing, moon_zoo.shop.preview; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
