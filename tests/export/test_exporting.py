"""Exported folders: what is in them, and that they give the model's own embeddings without the zoo."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product
from moon_zoo.data.manifest import read_manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.export import graphs, parity
from moon_zoo.export.example import program
from moon_zoo.export.folder import ExportOptions, export
from moon_zoo.export.parity import Parity
from moon_zoo.models.base import ExportPart
from moon_zoo.models.dual_flow.module import DualFlow
from tests.models.table import TINY_TOWERS


def make_model(product_set: Path, **settings: object) -> DualFlow:
    """A tiny model whose inputs know the products' words."""
    torch.manual_seed(0)
    model = DualFlow(**{**TINY_TOWERS, **settings})  # type: ignore[arg-type]
    model.inputs.fit(IndexedShards(product_set), read_manifest(product_set))
    return model.eval()


@pytest.fixture(scope="module")
def model(product_set: Path) -> DualFlow:
    return make_model(product_set)


@pytest.fixture(scope="module")
def exported(model: DualFlow, product_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both formats, compared on the products too."""
    folder = tmp_path_factory.mktemp("export") / "tiny"
    rows = [model.inputs.sample(IndexedShards(product_set)[number], Draw()) for number in range(5)]
    export(model, folder, source="a/tiny", real=[model.inputs.batch(rows)])
    return folder


def test_the_folder_holds_the_networks_the_tokenizer_and_what_goes_in(exported: Path, model: DualFlow) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md", "contract.json", "photo.onnx", "photo.pt2", "text.onnx", "text.pt2", "tokenizer.json",
    ]  # fmt: skip
    contract = json.loads((exported / "contract.json").read_text())
    assert contract["model"]["source"] == "a/tiny"
    assert contract["model"]["fingerprint"] == model.fingerprint()
    photo, text = contract["parts"]["photo"], contract["parts"]["text"]
    assert photo["inputs"][0]["shape"] == ["batch", 3, 32, 32]
    assert photo["inputs"][0]["dtype"] == "uint8"
    assert photo["inputs"][0]["resize"] == "squash"
    assert [item["name"] for item in text["inputs"]] == ["token_ids", "token_mask"]
    assert text["inputs"][0]["max_tokens"] == 12
    assert text["output"] == {"name": "embedding", "dtype": "float32", "shape": ["batch", 16]}
    measured = photo["files"]["onnx"]["parity"]
    assert measured["batch_sizes"] == [1, 2, 5, 7]
    assert measured["real_rows"] == 5
    assert measured["max_abs_difference"] < 1e-5


def test_a_part_holds_only_its_own_tower(exported: Path) -> None:
    names = {item.name for item in onnx.load(exported / "photo.onnx").graph.initializer}
    assert any("backbone" in name for name in names)
    assert not any("encoder" in name for name in names)


def test_batch_is_a_free_axis_of_that_name_and_no_path_of_this_machine_is_written(exported: Path) -> None:
    graph = onnx.load(exported / "text.onnx").graph
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    here = str(Path(__file__).parents[2]).encode()
    packages = str(Path(torch.__file__).parents[1]).encode()
    for path in exported.iterdir():
        contents = [path.read_bytes()]
        if path.suffix == ".pt2":
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        assert not any(here in content or packages in content for content in contents), path.name


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
def test_the_readmes_program_gives_the_models_embeddings_without_the_zoo(
    resize: str, exported: Path, model: DualFlow, product_set: Path, tmp_path: Path
) -> None:
    """Run in a process where neither torch nor the zoo can be imported; PNG, as JPEG decoders differ in a last bit.

    How a photo becomes square is not part of the network, so one exported folder serves all three.
    """
    text = (exported / "README.md").read_text().split("```python\n")[1].split("```")[0]
    if resize != "squash":
        model = make_model(product_set, resize=resize)  # with the same weights
        contract = json.loads((exported / "contract.json").read_text())
        contract["parts"]["photo"]["inputs"][0]["resize"] = resize
        text = str(program(contract))
    noise = np.random.default_rng(3).integers(0, 256, (90, 61, 4), dtype=np.uint8)
    Image.fromarray(noise[..., :3]).save(tmp_path / "plain.png")
    Image.fromarray(noise).save(tmp_path / "transparent.png")
    Image.fromarray(noise[:20, :, 0]).save(tmp_path / "grey.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise[..., :3]).save(tmp_path / "turned.png", exif=exif)
    files = [str(tmp_path / f"{name}.png") for name in ("plain", "transparent", "grey", "turned")]
    texts = ["red mug number 4", "", "blue lamp " * 20, "Ünknown, words!"]
    (tmp_path / "program.py").write_text(
        "import sys\nfor name in ('torch', 'moon_zoo', 'transformers'):\n    sys.modules[name] = None\n"
        + text.partition("\n\nif __name__")[0]
        + f"\nnp.savez({str(tmp_path / 'out.npz')!r}, photo=embed_photos({files!r}), text=embed_texts({texts!r}))\n"
    )
    subprocess.run([sys.executable, tmp_path / "program.py"], cwd=exported, check=True, env=_environment())
    out = np.load(tmp_path / "out.npz")
    products = [
        Product(f"p{number}", text, photos=[Path(file).read_bytes()])
        for number, (file, text) in enumerate(zip(files, texts))
    ]
    batch = model.inputs.batch([model.inputs.sample(product, Draw()) for product in products])
    with torch.inference_mode():
        ours = model.embed(batch, ("photo", "text"))
    assert np.abs(out["text"] - ours["text"][0].numpy()).max() < 1e-5
    assert (out["text"][1] == 0).all()
    # Pillow rounds a resized pixel where torch's kernel rounds twice: off by at most one of 255.
    cosines = (out["photo"] * ours["photo"][0].numpy()).sum(1)
    assert cosines.min() > 0.9999


def export_to(model: DualFlow, folder: Path, **options: object) -> Path:
    export(model, folder, ExportOptions(**options))  # type: ignore[arg-type]
    return folder


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_fixed_batch_and_opset_are_kept(model: DualFlow, tmp_path: Path) -> None:
    folder = export_to(model, tmp_path / "fixed", formats=("onnx",), parts=("text",), batch_size=3, opset=18)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "contract.json", "text.onnx", "tokenizer.json",
    ]  # fmt: skip
    written = onnx.load(folder / "text.onnx")
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in written.graph.input] == [3, 3]
    assert [item.version for item in written.opset_import if not item.domain] == [18]
    assert "exactly 3 rows" in (folder / "README.md").read_text()


def test_a_file_that_differs_is_refused_and_leaves_nothing(
    model: DualFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program traced from other weights stands for an exporter's bug."""
    other = DualFlow(**TINY_TOWERS)
    trace = graphs.trace

    def wrong(name: str, part: ExportPart, batch_size: int | None) -> torch.export.ExportedProgram:
        other.inputs = model.inputs
        return trace(name, other.export_parts()[name], batch_size)

    monkeypatch.setattr(graphs, "trace", wrong)
    with pytest.raises(
        CheckpointError, match=r"photo.pt2 gives other outputs than the model: the largest difference is"
    ):
        export_to(model, tmp_path / "out", formats=("torch",))
    assert list(tmp_path.iterdir()) == []


class Head(nn.Module):
    """A second output of a downstream model, with a branch that depends on the data."""

    def __init__(self, branches: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.branches = branches

    def forward(self, features: Tensor) -> Tensor:
        if self.branches and features.sum() > 0:
            return self.linear(-features)
        return self.linear(features)


class Attributes(DualFlow):
    """A model with a part of its own, of a kind that no program is written for."""

    branches = False

    def export_parts(self) -> dict[str, ExportPart]:
        part = ExportPart(Head(self.branches), {"features": torch.randn(5, 4)}, "logits", {"features": {"unit": "cm"}})
        return {"attributes": part}


def test_a_part_of_ones_own_is_exported_with_its_contract(product_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    contract = export(Attributes(**TINY_TOWERS), folder, ExportOptions(formats=("onnx",)))
    assert contract["parts"]["attributes"]["inputs"] == [
        {"name": "features", "dtype": "float32", "shape": ["batch", 4], "unit": "cm"}
    ]
    assert "```python" not in (folder / "README.md").read_text()


def test_a_network_that_cannot_be_traced_is_refused_by_name(tmp_path: Path) -> None:
    model = Attributes(**TINY_TOWERS)
    model.branches = True
    with pytest.raises(CheckpointError, match=r"torch\.export cannot follow the network of part attributes"):
        export(model, tmp_path / "own", ExportOptions(formats=("torch",)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"formats": ("onx",)}, "did you mean: onnx"),
        ({"parts": ("foto",)}, "did you mean: photo"),
        ({"tolerance": 0.0}, "the tolerance must be above 0, got 0"),
        ({"tolerance": float("nan")}, "the tolerance must be above 0, got nan"),
        ({"batch_size": 0}, "the batch size must be 1 to"),
        ({"opset": 9}, "torch's exporter writes opsets 18 to"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], said: str, model: DualFlow, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        export_to(model, tmp_path / "out", **options)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs.util, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(UsageError, match="needs onnxruntime, which is not installed") as refused:
        graphs.require_packages(("onnx", "torch"))
    assert 'pip install "moon-zoo[export]"' in str(refused.value)
    graphs.require_packages(("torch",))


def test_parity_counts_nan_and_other_shapes_as_infinitely_far() -> None:
    """(1, 0) against (0.8, 0.6): the largest difference is 0.6, the cosine 0.8; a row of zeros has no cosine."""
    found = Parity()
    found.add(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.8, 0.6], [0.0, 0.0]]), real=False)
    assert found.max_abs_difference == pytest.approx(0.6)
    assert found.min_cosine == pytest.approx(0.8)
    with pytest.raises(CheckpointError, match=r"largest difference is 0\.6"):
        parity.require_close(found, 0.5, "x.onnx")
    found.add(torch.ones(1, 2), torch.tensor([[1.0, float("nan")]]), real=True)
    assert found.max_abs_difference == float("inf")
    other = Parity()
    other.add(torch.ones(2, 2), torch.ones(2, 3), real=False)
    assert other.max_abs_difference == float("inf")
    assert (found.rows, found.real_rows) == (3, 1)


def test_exporting_leaves_the_model_as_it_was(model: DualFlow, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_to(model, tmp_path / "out", formats=("torch",), parts=("text",))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    buffer = io.BytesIO((tmp_path / "out" / "text.pt2").read_bytes())
    assert not any(parameter.requires_grad for parameter in torch.export.load(buffer).module().parameters())


def test_an_empty_text_is_tried_only_where_it_means_something(product_set: Path) -> None:
    """Attention over padding alone is undefined; the mean over no tokens hides it, the first token does not."""
    for pooling, lengths in (("mean", {0, 12}), ("first", {1, 12})):
        part = make_model(product_set, text_pooling=pooling).export_parts()["text"]
        counted = part.inputs["token_mask"].sum(1)
        assert {int(counted.min()), int(counted.max())} == lengths
        assert ("must not be given" in part.contract["token_ids"]["empty_text"]) == (pooling == "first")
    mask = torch.tensor([[True, False], [False, False]])
    kept = parity._with_content([torch.tensor([[5, 0], [0, 0]]), mask])
    assert [row.tolist() for row in kept] == [[[5, 0]], [[True, False]]]
