"""Every model of the table through every verb of the command line: one tiny run per model, reused by all tests."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from moon_zoo import ZooModule, registry
from moon_zoo.cli.main import main
from tests.models.table import MODELS, Row


@dataclass(frozen=True)
class Run:
    row: Row
    recipe: Path
    folder: Path


def write_recipe(row: Row, path: Path, shards: Path, **trainer: Any) -> Path:
    recipe = {
        "seed_everything": 3,
        "model": {"class_path": row.name, "init_args": dict(row.init_args)},
        "data": {
            "class_path": "shards",
            "init_args": {split: str(shards) for split in ("train", "val", "test", "predict")}
            | {"batch_size": 8, "num_workers": 0},
        },
        "trainer": {"accelerator": "cpu", "max_steps": 4, "log_every_n_steps": 1, **trainer},
    }
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    return path


@pytest.fixture(scope="module", params=MODELS, ids=lambda row: row.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    row: Row = request.param.filled(request)
    folder = tmp_path_factory.mktemp(row.name)
    shards = request.getfixturevalue(f"{row.kind}_set")
    recipe = write_recipe(row, folder / "tiny.yaml", shards)
    assert main(["check", "--config", str(recipe)]) == 0
    assert main(["fit", "--config", str(recipe), "--run", str(folder / "run"), "--quiet"]) == 0
    return Run(row, recipe, folder / "run")


def test_every_registered_model_has_a_row() -> None:
    own = {name for name, entry in registry.entries("models").items() if entry.origin == "moon-zoo"}
    assert own == {row.name for row in MODELS}


def test_fit_leaves_config_figures_checkpoints_and_pictures(run: Run) -> None:
    figures = json.loads((run.folder / "metrics.json").read_text("utf-8"))
    assert run.row.metric in figures
    assert (run.folder / "config.yaml").is_file() and (run.folder / "metrics.csv").is_file()
    assert (run.folder / "checkpoints" / "last.ckpt").is_file()
    pictures = {path.name for path in (run.folder / "report").glob("*.png")}
    assert pictures, "no learning curves"


def test_checkpoint_loads_without_pickle_and_with_plain_values_alone(run: Run) -> None:
    stored = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert "inputs" in stored and "state_dict" in stored


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_evaluation_of_the_run_prints_its_figures_as_json(
    run: Run, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--run", str(run.folder), "--json", "--quiet"]) == 0
    figures = json.loads(capsys.readouterr().out)
    split = "val" if verb == "validate" else "test"
    assert f"{split}/{run.row.metric.partition('/')[2]}" in figures


def test_validate_of_the_same_checkpoint_repeats_the_figures_of_fit(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "--run", str(run.folder), "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out)
    first = json.loads((run.folder / "metrics.json").read_text("utf-8"))
    assert again[run.row.metric] == pytest.approx(first[run.row.metric], abs=1e-6)


def test_predict_writes_one_row_per_sample(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    assert main(["predict", "--run", str(run.folder), "--output", str(output), "--quiet"]) == 0
    table = pq.read_table(output)
    manifest = json.loads((Path(_data(run)["predict"]) / "manifest.json").read_text("utf-8"))
    assert table.num_rows == manifest["samples"]
    assert set(run.row.columns) <= set(table.column_names)


def test_checkpoint_folder_of_the_run_predicts_bit_for_bit_in_a_process_of_its_own(run: Run, tmp_path: Path) -> None:
    module = ZooModule.from_pretrained(run.folder)
    saved = module.save_pretrained(tmp_path / "saved")
    assert ZooModule.from_pretrained(saved).fingerprint() == module.fingerprint()
    assert main(["predict", "--run", str(run.folder), "--output", str(tmp_path / "run.parquet"), "--quiet"]) == 0
    words = ["--ckpt_path", str(saved), "--data.predict", _data(run)["predict"], "--trainer.accelerator", "cpu"]
    sizes = ["--data.batch_size", "8", "--data.num_workers", "0"]
    command = [sys.executable, "-m", "moon_zoo", "predict", *words, *sizes, "--output", "folder.parquet", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "folder.parquet").equals(pq.read_table(tmp_path / "run.parquet"))


def test_embed_and_search_use_every_modality_of_the_model(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modalities = ZooModule.from_pretrained(run.folder).modalities
    if not modalities:
        pytest.skip("this model embeds nothing")
    folder = tmp_path / "embeddings"
    assert main(["embed", str(run.folder), _data(run)["predict"], "--to", str(folder), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"].keys() == set(modalities)
    assert main(["search", str(folder), "--text", "a red mug", "--k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["queries"][0]["results"]) == 3


def test_exported_networks_agree_with_the_model(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not ZooModule.from_pretrained(run.folder).export_parts():
        pytest.skip("this model has no network to export")
    words = ["--data", _data(run)["predict"], "--tolerance", "1e-4", "--json"]
    assert main(["export", str(run.folder), "--to", str(tmp_path / "exported"), *words]) == 0
    assert json.loads(capsys.readouterr().out)


def test_plot_draws_the_run_again(run: Run) -> None:
    assert main(["plot", str(run.folder)]) == 0


def test_list_and_show_know_the_model(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models"]) == 0
    assert run.row.name in capsys.readouterr().out
    assert main(["show", run.row.name]) == 0
    card = capsys.readouterr().out
    for heading in ("What it is", "Data flow", "Use it", "Settings that matter", "Results", "Limits", "Source"):
        assert heading in card, f"the card of {run.row.name} lacks {heading}"


def test_copied_recipe_of_the_model_still_passes_the_check(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    assert main(["copy", f"{run.row.name}/quickstart", str(target)]) == 0
    assert main(["check", "--config", str(target)]) == 0


def test_what_from_pretrained_gave_for_use_is_trained_in_training_mode(run: Run) -> None:
    module = ZooModule.from_pretrained(run.folder)
    assert not module.training
    module.on_fit_start()
    assert all(part.training for part in module.modules())
    part = next(module.children()).eval()
    module.on_fit_start()
    assert not part.training, "what was frozen on purpose stays so"


def test_resumed_run_ends_with_the_weights_of_an_unbroken_one(run: Run, tmp_path: Path) -> None:
    """Three steps, then resumed to four, against four at once: data order, optimiser, queue, dropout and augmentation.

    Epochs have two steps.
    """
    shards = Path(_data(run)["train"])
    row = run.row
    settings = row.init_args | row.exact_init_args | row.random_init_args | {"lr_schedule": "constant"}
    tested = Row(row.name, row.kind, settings, row.metric)
    short = write_recipe(tested, tmp_path / "short.yaml", shards, max_steps=3)
    whole = write_recipe(tested, tmp_path / "whole.yaml", shards, max_steps=4)
    assert main(["fit", "--config", str(whole), "--run", str(tmp_path / "whole"), "--quiet"]) == 0
    assert main(["fit", "--config", str(short), "--run", str(tmp_path / "broken"), "--quiet"]) == 0
    resume = ["--run", str(tmp_path / "broken"), "--resume", "--trainer.max_steps", "4", "--quiet"]
    assert main(["fit", *resume]) == 0
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "broken")
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_help_of_the_verbs_imports_no_torch() -> None:
    code = (
        "import sys; from moon_zoo.cli.main import main;"
        "codes = [main([verb, '--help']) for verb in ('fit', 'check', 'list', 'show', 'copy', 'pack', 'inspect', 'plot')];"
        "assert not any(codes), codes; assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _data(run: Run) -> dict[str, str]:
    return yaml.safe_load(run.recipe.read_text("utf-8"))["data"]["init_args"]
