"""The wheel, built and installed into an empty folder, and used from there: nothing of the checkout is needed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import write_products
from tests.examples.sessions import ROOT, Ran, environment, install, session

TINY = shlex.split(
    "--model.image_size 32 --data.num_products 40 --data.photo_px 48 --data.batch_size 8 --data.num_workers 0 "
    "--trainer.max_epochs 1 --trainer.check_val_every_n_epoch 1 --trainer.limit_train_batches 3 --quiet "
    "--model.image_tower_options '{channels: [8, 8, 8, 8], stem_width: 8}'"
)

WHERE = """
import moon_zoo, moon_zoo.recipes
print(moon_zoo.__file__)
print(moon_zoo.recipes.own_root())
print(moon_zoo.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's file, built in a temporary folder."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("environment") / "site")


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with a set of shards in it, where the session stands."""
    folder = tmp_path_factory.mktemp("stood")
    write_products(folder / "shards/mine", 12)
    return folder


@pytest.fixture(scope="module")
def ran(site: Path, stood: Path) -> dict[str, Ran]:
    """What each verb did, run from the installed copy."""
    steps: dict[str, list[str] | str] = {
        "where": WHERE,
        "show": ["show", "dual_flow"],
        "check": ["check", "--config", "dual_flow/quickstart"],
        "fit": ["fit", "--config", "dual_flow/quickstart", "--run", "run", *TINY],
        "embed": ["embed", "run", "shards/mine", "--to", "embeddings", "--num-workers", "0", "--quiet"],
        "search": ["search", "embeddings", "--text", "red mug", "--k", "3", "--html", "found.html", "--json"],
        "publish": ["publish", "run", "--to", "hub", "--name", "dual_flow/tiny", "--no-measure", "--quiet"],
        "download": ["download", "dual_flow/tiny", "--hub", "hub", "--to", "fetched", "--quiet"],
        "list": ["list", "checkpoints", "--json"],
        "cache": ["cache", "list", "--json"],
        "export": ["export", "fetched", "--to", "exported", "--format", "onnx", "--parts", "text", "--quiet"],
    }
    return dict(zip(steps, session(list(steps.values()), stood, site)))


def test_the_wheel_holds_the_package_its_recipes_and_checkpoints_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].removesuffix(".dist-info").partition("-")[0] for name in names} == {"moon_zoo"}
    tracked = subprocess.run(
        ["git", "ls-files", "recipes", "checkpoints", "src/moon_zoo"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    for path in tracked:
        inside = path.removeprefix("src/") if path.startswith("src/") else f"moon_zoo/_shipped/{path}"
        assert inside in names or not (ROOT / path).exists(), path
    assert not [name for name in names if name.endswith((".ckpt", ".pyc", ".pt", ".bin"))]


def test_help_and_list_answer_from_the_installed_copy(site: Path, tmp_path: Path) -> None:
    words = [str(site / "bin" / "moon-zoo")]
    asked = {"cwd": tmp_path, "env": environment(site), "capture_output": True, "text": True, "check": True}
    assert "usage: moon-zoo" in subprocess.run([*words, "--help"], **asked).stdout
    found = json.loads(subprocess.run([*words, "list", "--json"], **asked).stdout)
    listed = {row["name"]: row["path"] for row in found["recipes"]}
    shipped = {path.relative_to(ROOT / "recipes").with_suffix("").as_posix() for path in ROOT.glob("recipes/**/*.yaml")}
    assert set(listed) == shipped
    assert all(path.startswith(str(site)) for path in listed.values())
    index = ROOT / "checkpoints" / "index.yaml"
    if index.is_file():
        from moon_zoo.hub.index import parse_index

        shipped = parse_index(index.read_text("utf-8"), str(index))
        assert set(shipped.entries) <= {row["name"] for row in found["checkpoints"]}


def test_it_is_the_installed_copy_that_runs(ran: dict[str, Ran], site: Path) -> None:
    module, root, version = ran["where"].out.splitlines()
    assert Path(module).parent == site / "moon_zoo"
    assert Path(root) == site / "moon_zoo/_shipped/recipes"
    assert version.count(".") >= 2


def test_every_verb_works_from_it(ran: dict[str, Ran]) -> None:
    for name, step in ran.items():
        assert step.code == 0, f"{name}\n{step.err}"
    assert ran["show"].out.startswith("# ")
    assert "no faults found" in ran["check"].out


def test_what_the_verbs_make_is_there(ran: dict[str, Ran], stood: Path) -> None:
    assert (stood / "run/checkpoints/last.ckpt").is_file()
    assert (stood / "fetched/model.safetensors").is_file()
    assert (stood / "exported/contract.json").is_file()
    assert "data:image/" in (stood / "found.html").read_text("utf-8")
    assert "item-0" in ran["search"].out
