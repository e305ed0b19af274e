"""fit, validate, test and predict of a tiny model, through the real command line in this process."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from moon_zoo import recipes
from moon_zoo.cli.main import main
from moon_zoo.reports.summary import read_metrics


def fit(recipe: Path, *words: str) -> int:
    return main(["fit", "--config", str(recipe), "--quiet", *words])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_fills_the_run_folder(recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "tiny.yaml"]) == 0
    out, err = capsys.readouterr()
    run = here / "runs" / "tiny" / "1"
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()) == [
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "metrics.json",
        "report/curves.png",
        "report/gallery_val.json",
        "report/gallery_val.png",
    ]
    figures = read_metrics(run / "metrics.json")
    assert figures["step"] == 20
    assert figures["epoch"] == 2
    logged = [float(row["val/loss"]) for row in rows(run / "metrics.csv") if row["val/loss"]]
    assert len(logged) == 2
    assert figures["val/loss"] == pytest.approx(min(logged))
    assert "val/loss\t" in out
    assert "next:    moon-zoo test --run runs/tiny/1" in out
    assert "epoch 2  step 20/20" in err
    assert "Warning" not in err
    assert main(["fit", "--config", "tiny.yaml", "--quiet"]) == 0
    assert (here / "runs" / "tiny" / "2").is_dir()


def test_json_alone_is_on_stdout_and_figures_are_those_of_the_best_checkpoint(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recipe, "--run", "r", "--json", "--model.optimizer.lr", "0.4") == 0  # so high that it gets worse
    printed = json.loads(capsys.readouterr().out)
    assert printed == read_metrics(here / "r" / "metrics.json")
    assert main(["validate", "--run", "r", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["val/loss"] == pytest.approx(printed["val/loss"], rel=1e-5)


def test_config_of_a_run_is_a_recipe_again(recipe: Path, here: Path) -> None:
    assert fit(recipe, "--run", "r", "--trainer.max_epochs", "1", "--model.label", "1e3") == 0
    stored = recipes.load_recipe("r/config.yaml")
    assert stored["trainer"]["max_epochs"] == 1
    assert stored["model"]["init_args"]["label"] == "1e3"
    assert stored["data"]["class_path"] == "moon_zoo.data.datamodule.ShardDataModule"
    assert main(["fit", "--config", "r/config.yaml", "--run", "again", "--quiet"]) == 0
    assert read_metrics(here / "again" / "metrics.json") == read_metrics(here / "r" / "metrics.json")


def test_full_folder_is_refused_and_nothing_in_it_is_touched(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "r").mkdir()
    (here / "r" / "notes.txt").write_text("mine")
    assert fit(recipe, "--run", "r") == 2
    assert "the run folder r is not empty" in capsys.readouterr().err
    assert [path.name for path in (here / "r").iterdir()] == ["notes.txt"]


def test_fit_that_never_began_leaves_its_folder_free(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recipe, "--run", "r", "--data.train", "nowhere") == 2
    err = capsys.readouterr().err
    assert "data.init_args.train = nowhere  (--data.train on the command line)" in err
    assert "Traceback" not in err
    assert fit(recipe, "--run", "r") == 0
    assert main(["test", "--config", str(recipe), "--data.test", "nowhere", "--quiet"]) == 2
    assert not list(here.glob("runs/tiny/*"))


def test_structure_is_checked_before_anything_runs(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recipe, "--model.optimizer.momentun", "0.1") == 2
    err = capsys.readouterr().err
    assert "SGD has no option 'momentun'" in err
    assert "did you mean: momentum" in err
    assert not (here / "runs").exists()


def test_test_and_predict_of_a_run_need_no_recipe(recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(recipe, "--run", "r") == 0
    before = read_metrics(here / "r" / "metrics.json")
    assert main(["test", "--run", "r", "--quiet"]) == 0
    after = read_metrics(here / "r" / "metrics.json")
    assert before.items() <= after.items()
    assert {name for name in after if name not in before} == {
        "test/loss",
        "test/photo_to_product/recall@1",
        "test/photo_to_product/recall@1_chance",
    }
    assert (here / "r" / "report" / "gallery_test.png").is_file()
    capsys.readouterr()
    assert main(["predict", "--run", "r", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": "r/predictions.parquet",
        "rows": 7,
        "columns": ["index", "key", "length", "pair"],
    }
    table = pq.read_table(here / "r" / "predictions.parquet")
    assert table["index"].to_pylist() == list(range(7))  # the padded eighth row is gone
    assert table["pair"].to_pylist()[3][0] == table["length"].to_pylist()[3]
    assert main(["predict", "--run", "r", "--quiet", "--output", "deep/p.parquet", "--data.batch_size", "2"]) == 0
    assert pq.read_table(here / "deep" / "p.parquet")["length"].to_pylist() == pytest.approx(
        table["length"].to_pylist()
    )


def test_recipe_and_command_line_win_over_what_a_checkpoint_stores(recipe: Path, here: Path) -> None:
    """The checkpoint holds rate 0.1 (recipe); Lightning's CLI would bring it back over the recipe and the option."""
    assert fit(recipe, "--run", "r") == 0
    stored = torch.load(here / "r" / "checkpoints" / "best.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["rate"] == 0.1
    best = "r/checkpoints/best.ckpt"
    assert main(["test", "--config", str(recipe), "--ckpt_path", best, "--model.rate", "0.7", "--quiet"]) == 0
    assert recipes.load_recipe("runs/tiny/1/config.yaml")["model"]["init_args"]["rate"] == 0.7
    expected = read_metrics(here / "runs" / "tiny" / "1" / "metrics.json")["test/loss"]
    assert main(["test", "--run", "r", "--quiet"]) == 0
    assert read_metrics(here / "r" / "metrics.json")["test/loss"] == expected


def test_overlay_alone_goes_on_top_of_the_runs_own_recipe(recipe: Path, here: Path) -> None:
    assert fit(recipe, "--run", "r") == 0
    assert main(["test", "--run", "r", "--config", "accelerators/cpu", "--quiet"]) == 0


def test_resume_goes_on_to_a_later_end(recipe: Path, here: Path) -> None:
    assert fit(recipe, "--run", "r") == 0
    assert main(["fit", "--run", "r", "--resume", "--trainer.max_epochs", "3", "--quiet"]) == 0
    made_by = [line for line in (here / "r/config.yaml").read_text().splitlines() if line.startswith("# moon-zoo fit")]
    assert len(made_by) == 2 and "--config" in made_by[0] and "--resume" in made_by[1], "how it began is kept"
    steps = [int(row["step"]) for row in rows(here / "r" / "metrics.csv")]
    assert steps == list(range(30))
    assert recipes.load_recipe("r/config.yaml")["trainer"]["max_epochs"] == 3


def test_steps_that_end_inside_an_epoch_are_validated(recipe: Path, here: Path) -> None:
    assert fit(recipe, "--run", "r", "--trainer.max_steps", "13") == 0
    assert [row["step"] for row in rows(here / "r" / "metrics.csv") if row["val/loss"]] == ["9", "12"]


@pytest.mark.parametrize("limit", [("--trainer.max_epochs", "1"), ("--trainer.max_steps", "3")])
def test_the_end_is_validated_though_only_every_third_epoch_is(
    recipe: Path, here: Path, limit: tuple[str, str]
) -> None:
    assert fit(recipe, "--run", "r", "--trainer.check_val_every_n_epoch", "3", *limit) == 0
    assert "val/loss" in json.loads((here / "r/metrics.json").read_text())
    assert (here / "r/checkpoints/best.ckpt").is_file()


def test_fit_without_validation_keeps_the_latest(recipe: Path, here: Path) -> None:
    assert fit(recipe, "--run", "r", "--data.val", "null") == 0
    assert torch.load(here / "r" / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume"], "--resume needs to know which run"),
        (["--run", "nowhere", "--resume"], "nowhere is no run's folder"),
        (["--ckpt_path", "nowhere.ckpt"], "there is no checkpoint nowhere.ckpt"),
        (["--model.width", "0"], "width must be positive, got 0"),
        (["--model.width", "0"], "model.init_args.width  (--model.width on the command line)"),
        (["--data.batch_size", "0"], "batch_size is 0, but must be at least 1"),
        (["--data.batch_size", "50"], "40 samples do not fill one step of 50"),
        (["--trainer.strategy", "dpp"], "trainer.strategy  (--trainer.strategy on the command line)"),
        (["--trainer.accelerator", "gpo"], "did you mean: gpu"),
    ],
)
def test_mistakes_are_one_message_and_leave_no_folder(
    recipe: Path, here: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recipe, *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not list(here.glob("runs/tiny/*"))


def test_checkpoints_that_cannot_be_used_are_refused(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recipe, "--run", "r") == 0
    best = (here / "r" / "checkpoints" / "best.ckpt").read_bytes()
    (here / "cut.ckpt").write_bytes(best[: len(best) // 2])
    torch.save({"state_dict": {}, "trap": Path("x")}, here / "pickled.ckpt")
    torch.save([1, 2], here / "list.ckpt")
    for name, said in [
        ("cut.ckpt", "cut.ckpt is no readable checkpoint"),
        ("pickled.ckpt", "pickled.ckpt holds pickled objects"),
        ("list.ckpt", "it has no state_dict"),
    ]:
        assert main(["test", "--run", "r", "--ckpt_path", name, "--quiet"]) == 2
        assert said in capsys.readouterr().err
    wide = ["--model.width", "5"]
    assert main(["test", "--run", "r", "--quiet", *wide]) == 2
    assert "does not fit this TinyModel" in capsys.readouterr().err


def test_runs_in_a_thread_too(recipe: Path, here: Path) -> None:
    """Python allows signal handlers in the main thread only."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fit, recipe, "--run", "r").result() == 0


def test_command_of_the_run_is_kept_in_its_config(recipe: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest", "--anything"])
    assert fit(recipe, "--run", "r") == 0
    first = (here / "r" / "config.yaml").read_text().splitlines()[0]
    assert first == f"# moon-zoo fit --config {recipe} --quiet --run r"
