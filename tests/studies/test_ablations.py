"""Ablations: paired differences by hand, stages that are shared, mistakes, and a small study for real."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moon_zoo.cli import studying, studying_ablations
from moon_zoo.cli.main import main
from moon_zoo.cli.study import PARSERS
from moon_zoo.data.kinds import Product
from moon_zoo.data.writing import ShardWriter
from moon_zoo.errors import DataError
from moon_zoo.studies.ablation_tables import draw, markdown
from moon_zoo.studies.ablations import BASE, Variant, collect, plan, verdict
from moon_zoo.studies.running import Record
from moon_zoo.studies.statistics import Interval
from moon_zoo.studies.steps import Step

FIGURE = "photo_to_product/recall@1"


def variant(name: str, *values: str) -> Variant:
    return Variant(name, tuple((f"{name}.yaml",) for _ in values), tuple({"model": {"value": one}} for one in values))


def record(name: str, **figures: float) -> Record:
    named = {f"test/{key.replace('__', '/')}": value for key, value in figures.items()}
    return Record(name, "moon-zoo test", [], "", 1.0, {**named, "val/loss": 1.0, "remarks": ["one"]})


def found_of(base: list[float], other: list[float]) -> tuple[Interval, Interval]:
    """The other's mean, and its difference to the base."""
    variants = [variant(BASE, "a"), variant("other", "b")]
    _, tests = plan(variants, Path("study"), seeds=len(base), verb="test")
    records = {
        tests[name, seed]: record(tests[name, seed], **{"photo_to_product__recall@1": value, "loss": 1 - value})
        for name, values in ((BASE, base), ("other", other))
        for seed, value in enumerate(values)
    }
    found = collect(variants, tests, records, seeds=len(base), split="test", wanted=[])
    assert found.shown == [FIGURE]
    return found.rows[1].means[FIGURE], found.rows[1].differences[FIGURE]


def test_differences_are_paired_by_seed() -> None:
    """Differences .1, .2, .3: mean .2, deviation .1, so .2 +- 4.303 * .1 / sqrt(3); the seeds' own spread does not matter."""
    mean, difference = found_of([0.1, 0.5, 0.3], [0.2, 0.7, 0.6])
    assert mean.value == pytest.approx(0.5)
    assert difference.value == pytest.approx(0.2)
    assert difference.high - difference.value == pytest.approx(4.303 * 0.1 / np.sqrt(3), rel=1e-3)
    assert verdict(FIGURE, difference) == ""


def test_verdicts_follow_the_direction_of_the_figure() -> None:
    above, below = Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1)
    assert [verdict(FIGURE, one) for one in (above, below)] == ["better", "worse"]
    assert [verdict("loss", one) for one in (above, below)] == ["worse", "better"]
    assert verdict(FIGURE, Interval(0.2, 0.2, 0.2)) == ""  # coarse figures, alike for both seeds: luck is not known
    assert verdict(FIGURE, Interval(0.2, float("nan"), float("nan"))) == ""  # one seed


def test_stages_that_a_variant_shares_with_the_base_are_trained_once() -> None:
    variants = [variant(BASE, "a", "b", "c"), variant("late", "a", "b", "C"), variant("early", "A", "b", "c")]
    steps, tests = plan(variants, Path("study"), seeds=2, verb="test")
    fits = [step.name for step in steps if step.verb == "fit" and "seed-0" in step.name]
    assert fits == [
        "base/seed-0/stage-1",
        "base/seed-0/stage-2",
        "base/seed-0/stage-3",
        "late/seed-0/stage-3",
        "early/seed-0/stage-1",
        "early/seed-0/stage-2",
        "early/seed-0/stage-3",
    ]
    late = next(step for step in steps if step.name == "late/seed-0/stage-3")
    assert late.needs == ("base/seed-0/stage-2",)
    assert "--ckpt_path study/runs/base/seed-0/stage-2 --allow_missing" in " ".join(late.words)
    assert len(tests) == 6
    assert [step.name.split("/")[1] for step in steps] == ["seed-0"] * 10 + ["seed-1"] * 10  # whole comparisons first


def test_a_figure_that_a_variant_lacks_is_refused() -> None:
    variants = [variant(BASE, "a"), variant("other", "b")]
    _, tests = plan(variants, Path("study"), seeds=1, verb="test")
    records = {
        name: record(name, **({"auc": 0.5} if "base" in name else {"auc": 0.5, "gauc": 0.4})) for name in tests.values()
    }
    with pytest.raises(DataError, match="not every variant's test gave gauc"):
        collect(variants, tests, records, seeds=1, split="test", wanted=["gauc"])


# From the command line ---------------------------------------------------------------------------------------------------

BASE_RECIPE = """\
model:
  class_path: tests.cli.tiny.TinyModel
  init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01}}}
data:
  class_path: shards
  init_args: {train: shards/train, val: shards/val, test: shards/test, batch_size: 4, num_workers: 0}
trainer: {max_epochs: 1, accelerator: cpu}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny shards, a recipe and overlays."""
    monkeypatch.chdir(tmp_path)
    for split, size in {"train": 16, "val": 8, "test": 8}.items():
        with ShardWriter(Path("shards", split), kind="product", source="a test", licence="CC0") as writer:
            for number in range(size):
                writer.write(f"{number:03d}", Product(f"{split}-{number}", "cup " * (1 + number % 4)))
    Path("base.yaml").write_text(BASE_RECIPE)
    Path("faster.yaml").write_text("model: {init_args: {optimizer: {init_args: {lr: 0.1}}}}\n")
    Path("same.yaml").write_text("trainer: {max_epochs: 1}\n")
    Path("wrong.yaml").write_text("model: {init_args: {widht: 3}}\n")
    Path("elsewhere.yaml").write_text("data: {init_args: {test: nowhere}}\n")
    Path("other").mkdir()
    Path("other/faster.yaml").write_text("model: {init_args: {optimizer: {init_args: {lr: 0.2}}}}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlays", "same.yaml"], "same changes nothing of the recipe"),
        (["--overlays", "wrong.yaml"], "TinyModel has no option 'widht'"),
        (["--overlays", "elsewhere.yaml"], "nowhere does not exist"),
        (["--overlays", "fastr.yaml"], "no recipe 'fastr.yaml'"),
        (["--overlays", "faster.yaml", "faster.yaml"], "are the same training"),
        ([], "nothing is compared with the base"),
        (["--overlays", "faster.yaml", "--from-stage", "2"], "--from-stage is 2, and there is one stage"),
        (
            ["--overlays", "faster.yaml", "--measures", "photo_to_product/recal@1"],
            "did you mean: photo_to_product/recall@1",
        ),
        (["--overlays", "faster.yaml", "--set", "lr=3"], "'lr=3' is no setting of a recipe"),
        (["--overlays", "faster.yaml", "--seeds", "0"], "--seeds is 0"),
        (["--overlays", "faster.yaml", "--ckpt_path", "gone.ckpt"], "there is no checkpoint gone.ckpt"),
    ],
)
def test_mistakes_are_said_before_any_training(
    words: list[str], said: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studying, "execute", lambda step: pytest.fail(f"{step.name} was begun"))
    assert main(["study", "ablations", "--to", "study", "--config", "base.yaml", *words]) == 2
    assert said in capsys.readouterr().err
    assert not Path("study").exists()


def test_overlays_of_one_name_are_told_apart_by_their_folders(here: Path) -> None:
    words = [
        "--to",
        "s",
        "--config",
        "base.yaml",
        "--overlays",
        "faster.yaml",
        "other/faster.yaml",
        "--set",
        "trainer.max_epochs=2",
    ]
    steps, _ = studying_ablations.plan(PARSERS["ablations"]().parse_strict(words))
    assert list(dict.fromkeys(step.name.split("/")[0] for step in steps)) == ["base", "faster", "other-faster"]
    assert all("--trainer.max_epochs 2" in " ".join(step.words) for step in steps if step.verb == "fit")


def test_a_study_is_carried_out_gone_on_with_and_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two seeds of a real recipe, an overlay and another recipe; the second call only adds a seed."""
    Path("whole.yaml").write_text(BASE_RECIPE.replace("lr: 0.01", "lr: 0.03"))
    words = [
        "study",
        "ablations",
        "--to",
        "study",
        "--config",
        "base.yaml",
        "--overlays",
        "faster.yaml",
        "--measures",
        "loss",
    ]
    words += ["--beside", "whole.yaml"]
    assert main([*words, "--seeds", "1"]) == 0
    first = capsys.readouterr()
    assert "one seed: a difference may be luck" in first.err
    assert main([*words, "--seeds", "2", "--json"]) == 0
    second = capsys.readouterr()
    assert "12 steps; 6 of them are finished already" in second.err
    found = json.loads(second.out)["found"]
    assert [row["name"] for row in found["rows"]] == ["base", "faster", "whole"]
    base, faster, _ = found["rows"]
    paired = [other["loss"] - one["loss"] for one, other in zip(base["figures"], faster["figures"], strict=True)]
    assert faster["differences"]["loss"]["value"] == pytest.approx(np.mean(paired))
    with Path("study/study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (name, seed) for name in ("base", "faster", "whole") for seed in "01"
    ]
    assert float(rows[3]["loss"]) == faster["figures"][1]["loss"]
    card = Path("study/ablations.md").read_text()
    assert card.startswith("| variant | loss |")
    assert min(Image.open("study/ablations.png").size) > 100


def test_pictures_and_tables_of_figures_that_do_not_differ(tmp_path: Path) -> None:
    variants = [variant(BASE, "a"), variant("other", "b")]
    _, tests = plan(variants, tmp_path, seeds=2, verb="test")
    records = {name: record(name, auc=0.5) for name in tests.values()}
    found = collect(variants, tests, records, seeds=2, split="test", wanted=[])
    assert draw(found, tmp_path / "p.png").is_file()
    assert "| other | 0.5000 ± 0.0000 (+0.0000 [+0.0000, +0.0000]) |" in markdown(found)


def test_steps_name_the_recipes_in_their_order(here: Path) -> None:
    options = PARSERS["ablations"]().parse_strict(["--to", "s", "--config", "base.yaml", "--overlays", "faster.yaml"])
    steps: list[Step]
    steps, _ = studying_ablations.plan(options)
    changed = next(step for step in steps if step.name == "faster/seed-0/fit")
    assert changed.command == (
        "moon-zoo fit --config base.yaml --config faster.yaml --seed_everything 0 --run s/runs/faster/seed-0"
    )
