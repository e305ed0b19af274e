"""check: recipe, data, checkpoint, devices and disk, all faults at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from moon_zoo import recipes
from moon_zoo.cli import checks
from moon_zoo.cli.main import main
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.writing import ShardWriter
from moon_zoo.errors import ZooError


def check(recipe: Path, *overrides: tuple[str, str]) -> list[ZooError]:
    loaded = recipes.load(str(recipe))
    for option, text in overrides:
        loaded.tree = recipes.override(loaded.tree, option, text)
    return checks.faults(loaded)


def test_sound_recipe_passes(recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "tiny.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("tiny: no faults found\n")
    assert "all\t5\n" in printed  # parameters
    assert not (here / "runs").exists()


def test_faults_of_every_sort_come_together(recipe: Path, here: Path) -> None:
    found = check(recipe, ("data.train", "nowhere"), ("trainer.accelerator", "gpo"), ("model.width", "0"))
    assert [fault.what for fault in found] == [
        "nowhere does not exist",
        "there is no accelerator 'gpo'",
        "width must be positive, got 0",
    ]
    assert [fault.where for fault in found] == [
        "data.init_args.train = nowhere  (--data.train on the command line)",
        "trainer.accelerator  (--trainer.accelerator on the command line)",
        "model.init_args.width  (--model.width on the command line)",
    ]


def test_printed_faults_are_numbered_and_exit_2(recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "tiny.yaml", "--trainer.max_epoch", "2", "--model.rte", "1"]) == 2
    err = capsys.readouterr().err
    assert "1. TinyModel has no option 'rte'\n  did you mean: rate?" in err
    assert "2. trainer has no option 'max_epoch'" in err
    assert "2 faults found" in err
    assert "usage" not in err


def test_json_lists_the_faults(recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "tiny.yaml", "--model.rte", "1", "--json"]) == 2
    printed = json.loads(capsys.readouterr().out)
    assert printed["estimate"] is None  # what is mistaken is not built
    (fault,) = printed["faults"]
    assert fault["kind"] == "RecipeError"
    assert fault["what"] == "TinyModel has no option 'rte'"
    assert fault["did_you_mean"] == ["rate"]


def test_shards_of_another_kind_are_named_with_the_kind_wanted(recipe: Path, here: Path) -> None:
    with ShardWriter(here / "searches", kind="search", source="a test", licence="CC0") as writer:
        writer.write("a", Search(Product("1", "cup"), query_text="a cup"))
    (fault,) = check(recipe, ("data.val", "searches"))
    assert fault.what == "TinyModel takes samples of kind product, but these shards hold kind search"
    assert fault.where == "data.init_args.val = searches  (--data.val on the command line)"


@pytest.mark.parametrize("kind", ["instruction", "impressions"])
def test_the_shop_in_another_kind_is_found_before_it_is_written(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "dual_flow/quickstart", "--data.kind", kind]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"DualFlow takes samples of kind product or search, but these data are of kind {kind}" in said
    assert "data.init_args.kind, to product or search; or the model" in said


def test_missing_and_short_shards_are_found_at_a_glance(recipe: Path, here: Path, shards: Path) -> None:
    shutil.copytree(shards / "train", here / "train")
    (here / "train" / "train-000000.tar").unlink()
    cut = here / "train" / "train-000001.tar"
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:1000])
    found = check(recipe, ("data.train", "train"))
    assert [fault.what for fault in found] == [
        "the shard file train-000000.tar is missing",
        f"train-000001.tar has 1,000 bytes, its manifest says {size:,}",
    ]


def test_batch_larger_than_the_set(recipe: Path, here: Path) -> None:
    (fault,) = check(recipe, ("data.batch_size", "41"))
    assert fault.what == "a batch of 41 is more than the 40 training samples"
    assert "change: data.init_args.batch_size" in str(fault)


def test_gpu_that_is_not_there(recipe: Path, here: Path) -> None:
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    (fault,) = check(recipe, ("trainer.accelerator", "gpu"))
    assert "this machine has no gpu" in fault.what
    assert "accelerators/cpu" in str(fault.change)


@pytest.mark.parametrize("name", [name for name in recipes.shipped() if name.startswith("accelerators/")])
def test_overlays_have_no_fault_but_hardware_that_is_not_there(recipe: Path, here: Path, name: str) -> None:
    loaded = recipes.load([str(recipe), name])
    assert {str(fault.where).split()[0] for fault in checks.faults(loaded)} <= {
        "trainer.accelerator",
        "trainer.devices",
    }


def testdevice_counts_of_every_spelling() -> None:
    spellings = {2: 2, "2": 2, "0,1": 2, "auto": None, -1: None}
    assert {given: checks.device_count(given) for given in spellings} == spellings
    assert checks.device_count([0, 3]) == 4


def test_missing_checkpoint_and_no_checkpoint(recipe: Path, here: Path) -> None:
    loaded = recipes.load(str(recipe))
    assert [fault.what for fault in checks.faults(loaded, ckpt_path="x.ckpt")] == ["there is no checkpoint x.ckpt"]
    assert "is a checkpoint of a run" in checks.faults(loaded, ckpt_path="best")[0].what
    (here / "x.ckpt").write_text("words")
    assert "x.ckpt is no readable checkpoint (5 bytes)" in checks.faults(loaded, ckpt_path="x.ckpt")[0].what


def test_disk_without_room(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert list(checks.disk_faults(free // 2, tmp_path / "runs")) == []
    (fault,) = checks.disk_faults(free * 2, tmp_path / "runs")
    assert "GB are free" in fault.what
