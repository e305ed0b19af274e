"""`moon-zoo export` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from moon_zoo.cli.main import main
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.models.dual_flow.module import DualFlow
from tests.cli.tiny import TinyModel
from tests.models.table import TINY_TOWERS


@pytest.fixture(scope="module")
def checkpoint(product_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = DualFlow(**TINY_TOWERS)
    model.inputs.fit(IndexedShards(product_set), read_manifest(product_set))
    return model.save_pretrained(tmp_path_factory.mktemp("saved") / "tiny")


def test_a_checkpoint_is_exported_and_its_parity_printed(
    checkpoint: Path, product_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(checkpoint), "--to", str(tmp_path / "out"), "--format", "torch", "--parts", "text"]
    assert main([*words, "--data", str(product_set), "--samples", "9"]) == 0
    out, said = capsys.readouterr()
    header, row, tolerance, *_ = out.splitlines()
    assert header.split("\t")[4:] == ["largest difference", "smallest cosine", "rows", "real rows"]
    assert row.split("\t")[0] == "text.pt2" and row.split("\t")[-1] == "9"
    assert tolerance == "tolerance: 0.0001"
    assert "exporting" in said
    contract = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert contract["model"]["source"] == "tiny"  # not where it lies on this machine
    assert list(contract["parts"]) == ["text"]


def test_json_holds_the_contract_and_nothing_else_is_on_stdout(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(checkpoint), "--to", str(tmp_path / "out"), "--format", "torch", "--parts", "text", "--json"]
    assert main([*words, "--batch-size", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parts"]["text"]["batch"] == 2
    assert told["parts"]["text"]["files"]["torch"]["parity"]["batch_sizes"] == [2]


def test_a_model_without_parts_and_a_taken_folder_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyModel().save_pretrained(tmp_path / "tiny")
    assert main(["export", str(tmp_path / "tiny"), "--to", str(tmp_path / "out")]) == 2
    assert "TinyModel has no networks to export" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["export", str(checkpoint), "--to", str(tmp_path / "tiny")]) == 2
    assert "exists already; nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "onxx"], "did you mean: onnx"),
        (["--format", ","], "--format names nothing"),
        (["--parts", "foto"], "did you mean: photo"),
        (["--tolerance", "small"], "'small' is no number"),
        (["--batch-size", "2", "--dynamic"], "not allowed with argument"),
        (["--opset", "3"], "writes opsets 18 to"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--samples", "0", "--data", "nowhere"], "--samples must be at least 1, got 0"),
        (["--formats", "onnx"], "did you mean: --format"),
    ],
)
def test_mistakes_are_one_message(
    words: list[str], said: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(checkpoint), "--to", str(tmp_path / "out"), *words]) == 2
    text = capsys.readouterr().err
    assert said in text and "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_samples_of_another_kind_are_refused(
    search_set: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DualFlow, "sample_kinds", ("product",))
    words = ["export", str(checkpoint), "--to", str(tmp_path / "out"), "--data", str(search_set)]
    assert main(words) == 2
    assert "holds samples of kind search, DualFlow takes product" in capsys.readouterr().err
