"""``--ckpt_path`` of fit, validate, test, predict and check: files, folders and names, with and without a recipe."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from moon_zoo import ZooModule, recipe_yaml, recipes
from moon_zoo.cli.main import main
from moon_zoo.hub.publish import publish_folder
from moon_zoo.reports.summary import read_metrics
from tests.cli.conftest import SIZES
from tests.cli.test_train import fit
from tests.cli.tiny import TinyModel

NAME = "tiny/lengths"


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run ``r``, the same model as the checkpoint folder ``saved``, and a hub that offers it. Read only."""
    root = tmp_path_factory.mktemp("trained")
    data = {"train": f"{shards}/train", "val": f"{shards}/val", "test": f"{shards}/test", "predict": f"{shards}/test"}
    recipe = {
        "model": {"class_path": "tests.cli.tiny.TinyModel", "init_args": {"rate": 0.3, "label": "1e3"}},
        "data": {"class_path": "shards", "init_args": data | {"batch_size": 4, "num_workers": 0}},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    (root / "tiny.yaml").write_text(recipe_yaml.dump(recipe), "utf-8")
    assert fit(root / "tiny.yaml", "--run", str(root / "r")) == 0
    ZooModule.from_pretrained(root / "r").save_pretrained(root / "saved")
    publish_folder(root / "saved", NAME, str(root / "hub"), summary="tiny", licence="CC0-1.0")
    return root


@pytest.fixture(autouse=True)
def _hub(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", str(trained / "hub"))


WAYS = ["r", "r/checkpoints/best.ckpt", "saved", NAME, f"hub#{NAME}"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_name_a_checkpoint_gives_the_same_outputs_without_a_recipe(
    way: str, trained: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    output = str(tmp_path / "p.parquet")
    words = ["--ckpt_path", way, "--data.predict", f"{shards}/test", "--data.num_workers", "0"]
    assert main(["predict", *words, "--run", "r", "--output", output, "--quiet"]) == 0
    with_recipe = pq.read_table(output)
    monkeypatch.chdir(tmp_path)
    words[1] = way if way == NAME else str(trained / way)
    assert main(["predict", *words, "--output", output, "--quiet"]) == 0
    table = pq.read_table(output)
    assert table.num_rows == SIZES["test"]
    assert table.equals(with_recipe)


def test_model_of_the_checkpoint_lies_under_recipes_and_options(
    trained: Path, shards: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.test", f"{shards}/test", "--model.rate", "0.9", "--config", "accelerators/cpu"]
    assert main(["test", "--ckpt_path", NAME, *words]) == 0
    out, err = capsys.readouterr()
    assert "test/loss" in out
    assert "run: runs/tiny/lengths/1   checkpoint: " in err
    stored = recipes.load_recipe("runs/tiny/lengths/1/config.yaml")
    assert stored["model"]["init_args"]["rate"] == 0.9
    assert stored["model"]["init_args"]["label"] == "1e3"
    assert stored["trainer"]["accelerator"] == "cpu"
    assert main(["test", "--run", "runs/tiny/lengths/1", "--ckpt_path", NAME, "--quiet"]) == 0


def test_recipe_wins_over_the_settings_in_a_checkpoint(recipe: Path, here: Path) -> None:
    assert main(["test", "--config", "tiny.yaml", "--ckpt_path", NAME, "--quiet"]) == 0
    assert recipes.load_recipe("runs/tiny/1/config.yaml")["model"]["init_args"]["rate"] == 0.1


def test_fit_starts_from_weights_and_inputs_of_a_folder(
    recipe: Path, trained: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a rate of 0 nothing is learned, so what the fit leaves is what it began with."""
    still = ["--model.optimizer.lr", "0", "--trainer.max_steps", "1"]
    assert main(["fit", "--config", "tiny.yaml", "--ckpt_path", str(trained / "saved"), "--run", "new", *still]) == 0
    assert "starts with that checkpoint's weights and tokenizer, and with a new optimiser" in capsys.readouterr().err
    saved = TinyModel.from_pretrained(trained / "saved")
    assert TinyModel.from_pretrained(here / "new").fingerprint() == saved.fingerprint()
    assert torch.load(here / "new" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 1


def test_fit_from_a_checkpoint_needs_no_recipe(trained: Path, shards: Path, here: Path) -> None:
    words = ["--data.train", f"{shards}/train", "--data.num_workers", "0", "--trainer.max_steps", "2"]
    assert main(["fit", "--ckpt_path", NAME, *words, "--data.batch_size", "4", "--run", "new", "--quiet"]) == 0
    assert read_metrics(here / "new" / "metrics.json")["step"] == 2


@pytest.mark.parametrize("source", ["saved", "r/checkpoints/best.ckpt"])
def test_new_head_is_allowed_where_one_says_so(
    source: str, recipe: Path, trained: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headed = ["--config", "tiny.yaml", "--model", "tests.cli.tiny.HeadedModel", "--ckpt_path", str(trained / source)]
    assert main(["check", *headed]) == 2
    assert main(["fit", *headed, "--run", "new", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert err.count("it lacks 2 weights of the model: head.bias, head.weight") == 2
    assert err.count(str(trained / source)) >= 2
    assert not (here / "new").exists()
    assert main(["check", *headed, "--allow_missing"]) == 0
    assert main(["fit", *headed, "--run", "new", "--quiet", "--allow_missing"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ckpt_path", "tiny/length"], "did you mean: tiny/lengths"),
        (["--ckpt_path", "nowhere"], "there is no checkpoint 'nowhere'"),
        (["--ckpt_path", "best"], "--ckpt_path best is a checkpoint of a run"),
        (["--ckpt_path", "wide"], "the checkpoint does not fit this TinyModel"),
        (["--ckpt_path", "other"], "this checkpoint is of tests.cli.tiny.OtherModel, not of tests.cli.tiny.TinyModel"),
        (["--ckpt_path", "newer"], "is of version 9 of TinyModel"),
        (["--ckpt_path", "pickled"], "pickle"),
    ],
)
def test_checkpoints_that_cannot_be_used_are_told_by_check_and_by_every_verb(
    words: list[str], said: str, recipe: Path, trained: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.cli.tiny import OtherModel

    TinyModel(width=7).save_pretrained(here / "wide")
    OtherModel().save_pretrained(here / "other")
    shutil.copytree(trained / "saved", here / "newer")
    config = here / "newer" / "config.yaml"
    config.write_text(config.read_text().replace("class_version: 1", "class_version: 9"))
    (here / "pickled").mkdir()
    (here / "pickled" / "model.bin").write_bytes(b"x")
    for verb in ("check", "test", "fit"):
        assert main([verb, "--config", "tiny.yaml", *words, *(["--quiet"] if verb != "check" else [])]) == 2
        err = capsys.readouterr().err
        assert said in err, (verb, err)
        assert "Traceback" not in err
    assert not list(here.glob("runs/tiny/*"))


def test_checkpoint_alone_says_which_data_it_wants(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--ckpt_path", NAME, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "no shards are given for test" in err
    assert "change: data.init_args.test, to a folder of shards" in err


def test_fit_notes_its_environment_without_names_of_host_or_folders(trained: Path) -> None:
    text = (trained / "r" / "environment.json").read_text("utf-8")
    noted = json.loads(text)
    assert noted["python"] == platform.python_version()
    assert noted["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert noted["cores"] >= 1 and noted["cpu"]
    assert platform.node() not in text
    assert os.sep + "tmp" not in text and str(Path.home()) not in text
