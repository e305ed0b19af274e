"""The example project, installed into a folder of its own and used by the commands of its README."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.sessions import ROOT, Ran, environment, install, session

PROJECT = ROOT / "examples" / "downstream_project"

TINY_SHOP = (
    "--data.num_products 60 --data.photo_px 48 --data.batch_size 8 --data.num_workers 0 --model.image_size 32 "
    "--trainer.max_epochs 1 --trainer.check_val_every_n_epoch 1 --trainer.limit_train_batches 4 --quiet"
)
SMALL_FEED = (
    "--data.num_workers 0 --model.image_size 32 --trainer.max_epochs 12 --trainer.check_val_every_n_epoch 12 --quiet"
)

LIKE_THE_CHECKPOINT = (
    "--model.image_tower_options '{channels: [8, 8, 8, 8], stem_width: 8}' --model.image_size 32 --model.embedding_dim 16 "
    "--model.text_tower_options '{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}' "
    "--model.vocab_size 512 --data.num_workers 0 --trainer.max_epochs 1 --trainer.limit_train_batches 1 --run from_shop"
)

FROM_THE_ZOO = """
import torch
from moon_zoo import DualFlow
from acme_products.model import AcmeDualFlow
tiny = dict(image_tower_options={"channels": [8, 8, 8, 8], "stem_width": 8}, image_size=32, embedding_dim=16)
tiny |= dict(vocab_size=512, max_tokens=24)
texts = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
base = DualFlow(text_tower_options=texts, **tiny)
base.save_pretrained("zoo_checkpoint")
try:
    AcmeDualFlow.from_pretrained("zoo_checkpoint")
except Exception as error:
    print(type(error).__name__, error)
grown = AcmeDualFlow.from_pretrained("zoo_checkpoint", allow_missing=True, attribute_values=["red", "green", "blue"])
stored = base.network.state_dict()
print(all(torch.equal(value, stored[name]) for name, value in grown.network.state_dict().items()))
print(tuple(grown.attribute_head.weight.shape))
"""

SAVED_AND_LOADED = """
import torch
from moon_zoo import IndexedShards, ZooModule
from moon_zoo.data.inputs import Draw
from acme_products.model import AcmeDualFlow
trained = ZooModule.from_pretrained("runs/acme/feed/1")
trained.save_pretrained("saved")
again = AcmeDualFlow.from_pretrained("saved")
shards = IndexedShards("shards/acme/test")
batch = again.inputs.batch([again.inputs.sample(shards[place], Draw()) for place in range(len(shards))])
with torch.inference_mode():
    columns, before = again.predict_step(batch, 0), trained.predict_step(batch, 0)
print(type(trained).__name__, again.attribute_values, again.hardness)
print(all(torch.equal(columns[name], before[name]) for name in columns))
print(trained.fingerprint() == again.fingerprint())
"""

OWN_TESTS = f"""
import pytest
raise_on = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", {str(PROJECT)!r}, {str(PROJECT / "tests")!r}])
assert raise_on == 0, raise_on
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, installed into an empty folder as its README says."""
    assert "pip install --no-deps .\n" in readme_block()
    copy = tmp_path_factory.mktemp("source") / "downstream_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return install(copy, tmp_path_factory.mktemp("environment") / "site")


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session stands."""
    return tmp_path_factory.mktemp("acme")


@pytest.fixture(scope="module")
def ran(site: Path, stood: Path) -> dict[str, Ran]:
    """Every command of the README, and what programs do; by command."""
    steps: dict[str, list[str] | str] = {"from the zoo": FROM_THE_ZOO}
    for command in readme_commands():
        words = shlex.split(command)
        if words[:2] == ["python", "-m"]:
            steps[command] = (
                f"import runpy, sys; sys.argv = {words[2:]}; runpy.run_module({words[2]!r}, run_name='__main__')"
            )
        else:
            tiny = {"acme/quickstart": TINY_SHOP, "acme/feed": SMALL_FEED, "acme/from_shop": LIKE_THE_CHECKPOINT}
            words = [word.replace("dual_flow/shop", "zoo_checkpoint") for word in words[1:]]
            steps[command] = [*words, *(shlex.split(tiny[words[2]]) if words[0] == "fit" else [])]
    steps |= {
        "embed": ["embed", "runs/acme/feed/1", "shards/acme", "--to", "embeddings", "--num-workers", "0", "--quiet"],
        "saved": SAVED_AND_LOADED,
        "own tests": OWN_TESTS,
        "wrong value": ["check", "--config", "acme/quickstart", "--model.hardnes", "1"],
        "wrong feed": ["pack", "acme_feed", "feed/nothing.txt", "--to", "shards/none"],
    }
    return dict(zip(steps, session(list(steps.values()), stood, site)))


def readme_block() -> str:
    return "".join(re.findall(r"```bash\n(.*?)```", (PROJECT / "README.md").read_text("utf-8"), re.DOTALL))


def readme_commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for line in readme_block().splitlines()]
    return [line for line in lines if line and not line.startswith("pip ")]


def test_list_shows_the_project_without_importing_it(site: Path, tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "moon_zoo", "list", "--json"],
        env=environment(site),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(shown.stdout)
    model = next(row for row in found["models"] if row["name"] == "acme_dual_flow")
    assert model["origin"] == "acme-products"
    assert model["summary"].startswith("Two towers trained on hard negatives")
    assert {"acme/quickstart", "acme/feed", "acme/from_shop"} == {
        row["name"] for row in found["recipes"] if row["name"].startswith("acme/")
    }
    assert "acme_feed" in {row["name"] for row in found["sources"]}
    assert "acme_products" not in shown.stderr
    assert "torch" not in shown.stderr


def test_every_command_of_its_readme_works(ran: dict[str, Ran]) -> None:
    assert len(readme_commands()) >= 8
    for command in readme_commands():
        assert ran[command].code == 0, f"{command}\n{ran[command].err}"
    assert ran["moon-zoo show acme_dual_flow"].out.startswith("# acme_dual_flow")
    assert "no faults found" in ran["moon-zoo check --config acme/quickstart"].out


def test_its_head_learns_the_colours_and_its_figure_is_in_the_tables(ran: dict[str, Ran], stood: Path) -> None:
    figures = json.loads((stood / "runs/acme/feed/1/metrics.json").read_text())
    assert figures["val/attribute_head/colour_chance"] == pytest.approx(0.2)
    assert figures["val/attribute_head/colour"] > 0.5
    table = [line.split("\t") for line in ran["moon-zoo test --run runs/acme/quickstart/1"].out.splitlines()]
    assert ["higher", "fraction"] in [row[3:] for row in table if row[0] == "test/attribute_head/colour"]


def test_its_predictions_have_columns_of_their_own(ran: dict[str, Ran], stood: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(next((stood / "runs/acme/feed/1").rglob("*.parquet")))
    assert {"query", "item", "score", "colour_place", "colour_probability"} <= set(table.column_names)
    assert all(0 <= place < 5 for place in table["colour_place"].to_pylist())


def test_what_it_saved_loads_with_its_own_arguments_and_gives_the_same(ran: dict[str, Ran]) -> None:
    lines = ran["saved"].out.splitlines()
    assert lines == ["AcmeDualFlow ('red', 'green', 'blue', 'black', 'white') 0.5", "True", "True"]


def test_it_starts_from_a_checkpoint_of_the_zoo_once_missing_weights_are_allowed(ran: dict[str, Ran]) -> None:
    said = ran["from the zoo"].out
    assert said.startswith("CheckpointError")
    assert "attribute_head.weight" in said and "allow_missing" in said
    assert said.splitlines()[-2:] == ["True", "(3, 16)"]


def test_the_zoo_embeds_with_it(ran: dict[str, Ran], stood: Path) -> None:
    assert ran["embed"].code == 0, ran["embed"].err
    described = json.loads((stood / "embeddings/embeddings.json").read_text())
    assert described["model"]["class_path"] == "acme_products.model.AcmeDualFlow"


def test_mistakes_in_its_arguments_get_the_zoos_messages(ran: dict[str, Ran]) -> None:
    assert ran["wrong value"].code == 2 and "hardness" in ran["wrong value"].err
    assert ran["wrong feed"].code == 2 and "the feed cannot be read" in ran["wrong feed"].err


def test_its_own_tests_pass(ran: dict[str, Ran]) -> None:
    assert ran["own tests"].code == 0
