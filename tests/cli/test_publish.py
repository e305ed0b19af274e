"""`moon-zoo publish`: a run becomes a checkpoint whose card tells the truth."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from moon_zoo.cli.main import main
from moon_zoo.hub.download import download
from moon_zoo.models import pretrained
from tests.cli.tiny import TinyModel

HEADINGS = ["What it is", "Use it", "Data", "Recipe", "Results", "Environment", "Limits", "Files"]


RECIPE = """\
# Trains the tiny model on data beside it.
seed_everything: 3
model:
  class_path: tests.cli.tiny.TinyModel
  init_args:
    rate: 0.1
    optimizer:
      class_path: torch.optim.SGD
      init_args: {lr: 0.01}
data:
  class_path: shards
  init_args:
    {train: shards/train, val: shards/val, test: shards/test, batch_size: 4, num_workers: 0}
trainer: {max_epochs: 2, accelerator: cpu, log_every_n_steps: 1}
"""


class Touchy(TinyModel):
    """A model whose recall is the last digits of its weights, which rounding takes away."""

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        lost = (self.network.weight - self.network.weight.half().float()).abs().sum() * 100
        self.log(f"{split}/photo_to_product/recall@5", lost, batch_size=1)
        super()._evaluate(batch, split)


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in ``runs/first``, whose data are in ``shards`` below it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "shards").symlink_to(shards)
    (folder / "tiny.yaml").write_text(RECIPE)
    with contextlib.chdir(folder):
        assert main(["fit", "--config", "tiny.yaml", "--run", "runs/first", "--quiet"]) == 0
    return folder


@pytest.fixture
def run(trained: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run, in the working directory."""
    monkeypatch.delenv("MOON_ZOO_HUB", raising=False)
    shutil.copytree(trained, here, symlinks=True, dirs_exist_ok=True)
    return here / "runs" / "first"


def test_the_cards_command_gives_the_published_figures(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine", "--licence", "MIT", "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["path"], told["published"]) == ("tiny/mine", "tiny/mine", True)
    folder = download("tiny/mine", hub="hub", progress=False)
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures == told["figures"] and "test/loss" in figures
    card = (folder / "README.md").read_text()
    command = re.search(r"^moon-zoo (test .*)$", card, re.MULTILINE)
    assert command is not None
    assert command[1] == "test --ckpt_path tiny/mine --data.test shards/test"
    monkeypatch.setenv("MOON_ZOO_HUB", "hub")
    assert main([*command[1].split(), "--json", "-q"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {name: again[name] for name in figures} == figures


def test_the_card_says_what_it_learned_from_and_names_no_folder_of_this_machine(
    run: Path, here: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's recipe names its data by absolute paths here."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(": shards/", f": {shards}/"))
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine"]) == 0
    folder = here / "hub" / "tiny" / "mine"
    card = (folder / "README.md").read_text()
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == HEADINGS
    assert f"shards/{shards.name}/test" in card
    assert "| train | 40 | product |" in card
    assert "- source: a test\n- licence: CC0\n" in card
    assert "moon-zoo fit --config tiny.yaml" in card and "`recipe.yaml` beside this card stands for it" in card
    assert "learned from 40 samples of a test" in card
    assert "Python 3." in card  # the run's environment.json
    for file in ("README.md", "recipe.yaml", "config.yaml", "metrics.json"):
        assert str(here) not in (folder / file).read_text() and str(shards) not in (folder / file).read_text()
    assert str(here.parent) not in (here / "hub" / "index.yaml").read_text()
    out, said = capsys.readouterr()
    assert "published\ttiny/mine" not in out and "published: tiny/mine" in out
    assert "measuring the weights as float32: moon-zoo test --ckpt_path tiny/mine" in said


def test_the_recipe_beside_the_card_trains_the_same_again(run: Path, here: Path) -> None:
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine", "-q"]) == 0
    beside = here / "hub" / "tiny" / "mine" / "recipe.yaml"
    assert len(beside.read_text().splitlines()) < 30
    assert main(["fit", "--config", str(beside), "--run", "runs/again", "-q"]) == 0
    one, other = (pretrained.load(run), pretrained.load(here / "runs" / "again"))
    assert one.fingerprint() == other.fingerprint()


def test_an_older_run_without_an_environment_is_said_to_be_one(run: Path, here: Path) -> None:
    (run / "environment.json").unlink()
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine", "-q"]) == 0
    assert "Not recorded: the run has no environment.json" in (here / "hub" / "tiny" / "mine" / "README.md").read_text()


def test_rounded_weights_are_measured_again_and_both_figures_shown(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine", "--dtype", "float16", "-q"]) == 0
    out = capsys.readouterr().out
    assert "figure\tfloat32\tfloat16\tdifference" in out
    assert "test/photo_to_product/recall@1\t0.5000\t0.5000\t0.0000" in out
    folder = here / "hub" / "tiny" / "mine"
    assert pretrained.read_config(folder).dtype == "float16"
    assert "Stored as float16: rounding changed none of 1 recalls and accuracies." in (folder / "README.md").read_text()


def test_figures_that_rounding_changes_too_much_are_refused_unless_accepted(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(recipe.read_text().replace("tests.cli.tiny.TinyModel", "tests.cli.test_publish.Touchy"))
    assert main(["fit", "--config", "tiny.yaml", "--run", "runs/touchy", "-q"]) == 0
    words = ["publish", "runs/touchy", "--to", "hub", "--name", "tiny/touchy", "--dtype", "float16", "-q"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "as float16, test/photo_to_product/recall@5 is 0.0000 and was 0." in said
    assert "more than 0.005" in said and "Nothing was published" in said
    assert not (here / "hub").exists()
    assert main([*words, "--max-difference", "1"]) == 0
    card = (here / "hub" / "tiny" / "touchy" / "README.md").read_text()
    assert "rounding changed `test/photo_to_product/recall@5` most" in card


def test_a_dry_run_shows_the_card_and_writes_nothing(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine", "--dry-run", "-q"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# tiny/mine\n") and "would be published: tiny/mine" in out
    assert not (here / "hub").exists()


def test_recorded_figures_are_taken_only_where_they_are_of_these_weights(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["publish", str(run), "--to", "hub", "--name", "tiny/mine", "--no-measure", "-q"]
    assert main([*words, "--dtype", "float16"]) == 2
    assert "of its best checkpoint in float32, not of what is to be published" in capsys.readouterr().err
    assert main(words) == 0
    card = (here / "hub" / "tiny" / "mine" / "README.md").read_text()
    assert "they were not measured again" in card and "| val/loss |" in card


def test_a_checkpoint_folder_is_published_as_it_is(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(run), "--to", "hub", "--name", "tiny/mine", "-q"]) == 0
    folder = here / "hub" / "tiny" / "mine"
    assert main(["publish", str(folder), "--to", "other", "-q"]) == 0
    assert "published: tiny/mine" in capsys.readouterr().out
    assert (here / "other" / "tiny" / "mine" / "README.md").read_text() == (folder / "README.md").read_text()
    assert main(["publish", str(folder), "--to", "other", "--dtype", "float16"]) == 2
    assert "is a checkpoint folder, which is published as it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--to", "hub"], "nowhere is no run's folder"),
        (["runs", "--to", "https://example.invalid/hub"], "can be read, not written to"),
        (["runs", "--to", "hub", "--max-difference", "2"], "'2' is no number from 0 to 1"),
        (["runs", "--to", "hub", "--dtpe", "float16"], "did you mean: --dtype"),
        (["runs"], "the following arguments are required: --to"),
    ],
)
def test_mistakes_are_one_message(words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", *words]) == 2
    text = capsys.readouterr().err
    assert said in text and "Traceback" not in text


def test_a_bad_name_is_refused_before_anything_is_measured(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(run), "--to", "hub", "--name", "Mine"]) == 2
    said = capsys.readouterr().err
    assert "cannot be a checkpoint's name" in said and "measuring" not in said
    assert torch.is_grad_enabled()
