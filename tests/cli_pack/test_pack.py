"""`moon-zoo pack` through the real command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from tests.sources.making import MUGS, catalogue, grocery, noisy, photo, write, write_csv


def pack(*words: object) -> int:
    return main(["pack", *map(str, words)])


def mugs(folder: Path, *words: object) -> int:
    table = folder / "products.csv"
    return pack("table", table, "--columns", MUGS, "--photo-root", folder / "photos", *words)


def test_a_packed_table_can_be_read_back(tmp_path, capsys):
    catalogue(tmp_path, 40)
    assert mugs(tmp_path, "--to", tmp_path / "out", "--max-samples-per-shard", 10, "--licence", "CC0-1.0") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split("\t") == ["split", "kind", "samples", "photos", "shards", "size"]
    assert printed.out.splitlines()[1].startswith("train\tproduct\t32\t32\t4\t")
    assert f"moon-zoo inspect {tmp_path / 'out'}" in printed.err
    assert f"--data.train {tmp_path / 'out' / 'train'}" in printed.err
    samples = [sample for split in ("train", "val", "test") for sample in IndexedShards(tmp_path / "out" / split)]
    assert sorted(sample.item_id for sample in samples) == [f"{number:03d}" for number in range(40)]
    assert {tuple(sample.photos) for sample in samples} == {(photo("red"),), (photo("blue"),)}
    manifest = read_manifest(tmp_path / "out" / "val")
    assert (manifest.licence, manifest.source) == ("CC0-1.0", "the table products.csv")
    assert manifest.command.startswith("moon-zoo pack table ")
    assert [len(IndexedShards(tmp_path / "out" / split)) for split in ("train", "val", "test")] == [32, 4, 4]


def test_splits_may_hold_different_kinds(tmp_path):
    grocery(tmp_path / "in")
    assert pack("grocery_store", tmp_path / "in", "--to", tmp_path / "out") == 0
    assert {split.name for split in (tmp_path / "out").iterdir()} == {"items", "train", "val"}
    assert isinstance(IndexedShards(tmp_path / "out" / "items")[0], Product)
    assert isinstance(IndexedShards(tmp_path / "out" / "val")[0], Search)
    assert read_manifest(tmp_path / "out" / "val").licence == "MIT"


def test_the_same_command_writes_the_same_bytes_whatever_the_number_of_threads(tmp_path):
    catalogue(tmp_path, 30)
    for name, workers in (("one", 0), ("two", 4)):
        assert mugs(tmp_path, "--to", tmp_path / name, "--workers", workers, "--max_side", 8) == 0
    for split in ("train", "val", "test"):
        hashes = [[shard.sha256 for shard in read_manifest(tmp_path / name / split).shards] for name in ("one", "two")]
        assert hashes[0] == hashes[1]


def test_json_says_what_was_written_and_left_out(tmp_path, capsys):
    catalogue(tmp_path, 40)
    (tmp_path / "photos" / "007.jpg").unlink()
    assert mugs(tmp_path, "--to", tmp_path / "out", "--on-error", "skip", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert sum(split["samples"] for split in document["splits"].values()) == 39
    assert document["skipped"] == {"missing photo": 1, "product without a photo": 1}
    assert document["photos_per_second"] > 0


def test_a_taken_folder_is_kept_unless_it_is_to_be_replaced(tmp_path, capsys):
    catalogue(tmp_path, 10)
    assert mugs(tmp_path, "--to", tmp_path / "out", "--fractions", "train=1") == 0
    before = read_manifest(tmp_path / "out" / "train").fingerprint
    capsys.readouterr()
    assert mugs(tmp_path, "--to", tmp_path / "out", "--fractions", "train=1", "--seed", 5) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert read_manifest(tmp_path / "out" / "train").fingerprint == before
    assert mugs(tmp_path, "--to", tmp_path / "out", "--fractions", "train=1", "--seed", 5, "--overwrite") == 0
    assert read_manifest(tmp_path / "out" / "train").fingerprint != before


def test_a_folder_of_something_else_is_never_replaced(tmp_path, capsys):
    catalogue(tmp_path, 10)
    write(tmp_path / "out" / "thesis.txt", "years of work")
    assert mugs(tmp_path, "--to", tmp_path / "out", "--overwrite") == 2
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_nothing_is_left_after_a_fault_in_the_middle(tmp_path, capsys):
    catalogue(tmp_path, 40)
    write(tmp_path / "photos" / "031.jpg", "no photo")
    before = sorted(tmp_path.iterdir())
    assert mugs(tmp_path, "--to", tmp_path / "out", "--max-samples-per-shard", 3) == 2
    assert "cannot use the photo 031.jpg" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_set_whose_samples_are_all_left_out_is_not_written(tmp_path, capsys):
    for number in range(5):
        write(tmp_path / "in" / "cup" / f"{number}.jpg", "no photo")
    assert pack("class_folders", tmp_path / "in", "--to", tmp_path / "out", "--on-error", "skip") == 2
    assert "there is no sample to write (left out: 5 unusable photo)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no source is named"),
        (["--to", "x"], "no source is named"),
        (["tabel", "--to", "x"], "did you mean: table?"),
        (["things.csv", "--to", "x"], "moon-zoo pack table things.csv --to x"),
        (["table", "{csv}"], "add --to OUT"),
        (["table", "--to", "x"], "the following arguments are required: path"),
        (["table", "{csv}", "--to", "x", "--photo-rot", "y"], "did you mean: --photo-root"),
        (["table", "{csv}", "--to", "x", "--seed", "many"], "--seed takes int, not 'many'"),
        (["table", "{csv}", "--to", "x", "--workers", "many"], "--workers takes int, not 'many'"),
        (["table", "{csv}", "--to", "x", "--max-samples-per-shard", "0"], "--max-samples-per-shard"),
        (["table", "{csv}", "--to", "x", "--fractions", "train=.5"], "add up to 0.5, not 1"),
        (["table", "{csv}", "y.csv", "--to", "x"], "unrecognized arguments: y.csv"),
        (
            ["table", "{csv}", "--to", "x", "--split-column", "a", "--fractions", "a=1"],
            "from a column or from fractions",
        ),
        (["table", "nowhere.csv", "--to", "x"], "there is no table nowhere.csv"),
        (["class_folders", "nowhere", "--to", "x"], "nowhere does not exist"),
        (["table", "{csv}", "--to", "{csv}"], "is there already"),
    ],
)
def test_mistakes_cost_one_message_and_exit_code_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    table = catalogue(tmp_path)
    assert pack(*(word.format(csv=table) for word in words)) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not (tmp_path / "x").exists()


def test_help_lists_sources_and_their_options(capsys):
    assert pack("--help") == 0
    overview = capsys.readouterr().out
    assert all(name in overview for name in ("table", "class_folders", "grocery_store", "shop"))
    for source in ("table", "class_folders", "grocery_store", "shop"):
        assert pack(source, "--help") == 0
        text = capsys.readouterr().out
        assert "--to OUT" in text and "example:" in text and "moon-zoo pack " + source in text
        assert "<class" not in text and "default: null" not in text
    assert pack("table", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--photo-root" in text and "--photo_root" not in text
    assert "Folder or tar that photo paths are relative to; the table's folder by default." in text


def test_packing_and_its_help_import_no_torch(tmp_path):
    catalogue(tmp_path, 10)
    words = ["pack", "table", str(tmp_path / "products.csv"), "--columns", "item_id=sku,title=name", "--to", "out"]
    code = "import sys; from moon_zoo.cli.main import main; assert main({!r}) == 0; assert 'torch' not in sys.modules"
    for arguments in (words, ["pack", "table", "--help"], ["pack", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code.format(arguments)], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr


def _many_photos(folder: Path, count: int) -> list[str]:
    write(folder / "one.jpg", noisy(300))
    table = write_csv(folder / "a.csv", [{"item_id": str(number), "photo": "one.jpg"} for number in range(count)])
    words = [sys.executable, "-m", "moon_zoo.cli.main", "pack", "table", str(table), "--max-samples-per-shard", "50"]
    return [*words, "--to", str(folder / "out" / "set"), "--workers", "1"]


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_leaves_nothing_readable_and_the_next_run_succeeds(tmp_path, stop):
    """The process is stopped once two whole shards lie in its work folder, of about fifty to come."""
    words = _many_photos(tmp_path, 2500)
    # A shell's background jobs inherit a SIGINT that is ignored: the process gets the usual one.
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").rglob("*.index.npz"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    os.kill(process.pid, stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if stop == signal.SIGKILL else 130)
    assert not (tmp_path / "out" / "set").exists()
    assert not list((tmp_path / "out").rglob("manifest.json"))
    if stop == signal.SIGINT:
        assert b"Traceback" not in errors
        assert not list((tmp_path / "out").iterdir())

    rows = (tmp_path / "a.csv").read_text().splitlines()[:101]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [child.name for child in (tmp_path / "out").iterdir()] == ["set"]  # the dead run's work folder is gone too
    assert len(IndexedShards(tmp_path / "out" / "set" / "train")) == 80


def test_a_full_disk_costs_one_message_and_nothing_is_kept(tmp_path):
    """A limit on file size stands in for a full disk: both fail in write()."""
    words = _many_photos(tmp_path, 200)
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
    limited += f"from moon_zoo.cli.main import main; sys.exit(main({words[3:]!r}))"
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").iterdir())
