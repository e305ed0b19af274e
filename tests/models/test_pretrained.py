"""Checkpoint folders: what is written is what is loaded, anywhere; everything else is refused with its reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moon_zoo import CheckpointError, DualFlow, IndexedShards, RecipeError, UsageError, ZooModule, registry
from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.impressions.reading import open_shards
from moon_zoo.data.text import TextTokenizer
from moon_zoo.models import pretrained
from moon_zoo.models.migrations import Migration
from moon_zoo.nn.towers import TextTower
from tests.cli.tiny import OtherModel, TinyInputs, TinyModel
from tests.models.table import MODELS, TINY_TOWERS, Row

REPOSITORY = Path(__file__).parents[2]
DUAL_FLOW = next(row for row in MODELS if row.name == "dual_flow")


def build(row: Row, shards: Path, **init_args: Any) -> ZooModule:
    """The row's model with fitted inputs and weights of its own, as if it had been trained."""
    torch.manual_seed(1)
    module = registry.entry("models", row.name).load()(**(row.init_args | init_args))
    opened = open_shards(shards)
    module.inputs.fit(iter(opened) if isinstance(opened, IndexedShards) else (), opened.manifest)
    module.build()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01 * torch.rand_like(value))
    return module.eval()


def batch_of(module: ZooModule, shards: Path, count: int = 6) -> dict[str, Tensor]:
    data = ShardDataModule(predict=str(shards), eval_batch_size=count, num_workers=0)
    data.inputs = module.inputs
    return next(iter(data.predict_dataloader()))


def outputs(module: ZooModule, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return module.predict_step(batch, 0)


@pytest.fixture(scope="module")
def flow(search_set: Path) -> DualFlow:
    module = build(DUAL_FLOW, search_set)
    assert isinstance(module, DualFlow)
    return module


@pytest.fixture(scope="module")
def flow_folder(flow: DualFlow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder. Read only."""
    return flow.save_pretrained(tmp_path_factory.mktemp("saved") / "flow", metrics={"val/loss": 1.5}, card="# A card\n")


@pytest.fixture
def copied(flow_folder: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(flow_folder, tmp_path / "copied"))


def edit(folder: Path, **changes: Any) -> Path:
    """Change keys of a checkpoint's configuration; those of init_args too."""
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    for name, value in changes.items():
        (config["init_args"] if name in config["init_args"] else config)[name] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return folder


# Round trips -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_every_model_comes_back_with_the_same_outputs(row: Row, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    shards = request.getfixturevalue(f"{row.kind}_set")
    row = row.filled(request)
    module = build(row, shards)
    folder = module.save_pretrained(tmp_path / "saved")
    again = ZooModule.from_pretrained(folder)
    assert type(again) is type(module)
    assert not again.training
    assert again.fingerprint() == module.fingerprint()
    moved = dict.fromkeys(row.files)  # files that the folder carries from now on
    assert again.init_args() | moved == module.init_args() | moved
    expected = outputs(module, batch_of(module, shards))
    for name, value in outputs(again, batch_of(again, shards)).items():
        same = torch.equal(value, expected[name]) if isinstance(value, Tensor) else value == expected[name]
        assert same, name
    again.save_pretrained(tmp_path / "twin")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert (tmp_path / "twin" / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name


def test_folder_holds_plain_files_alone(flow: DualFlow, flow_folder: Path) -> None:
    assert sorted(path.name for path in flow_folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "inputs.json",
        "metrics.json",
        "model.safetensors",
    ]
    assert json.loads((flow_folder / "metrics.json").read_text("utf-8")) == {"val/loss": 1.5}
    assert (flow_folder / "README.md").read_text("utf-8") == "# A card\n"
    assert json.loads((flow_folder / "inputs.json").read_text("utf-8")) == flow.inputs.state_dict()
    config = pretrained.read_config(flow_folder)
    assert (config.format, config.class_version, config.dtype) == (1, 1, "float32")
    assert config.class_path == "moon_zoo.models.dual_flow.module.DualFlow"
    assert config.init_args["image_size"] == 32 and config.init_args["crop_scale"] == [0.5, 1.0]
    assert (flow_folder / "model.safetensors").stat().st_mode & 0o044  # not for its owner alone


def test_settings_get_the_types_of_the_signature_and_can_be_changed(flow_folder: Path) -> None:
    module = DualFlow.from_pretrained(flow_folder, horizontal_flip=False, optimizer=torch.optim.SGD)
    assert module.inputs.photo.crop_scale == (0.5, 1.0)
    assert not module.inputs.photo.horizontal_flip
    assert isinstance(module._optimizer([torch.nn.Parameter(torch.ones(1))], lr=0.1), torch.optim.SGD)


def test_half_precision_halves_the_file_and_loads_as_float32(flow: DualFlow, tmp_path: Path) -> None:
    whole = flow.save_pretrained(tmp_path / "whole") / "model.safetensors"
    half = flow.save_pretrained(tmp_path / "half", dtype="float16") / "model.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    again = ZooModule.from_pretrained(tmp_path / "half").state_dict()
    for name, value in flow.state_dict().items():
        rounded = value.half().float() if value.is_floating_point() else value
        assert again[name].dtype == value.dtype and torch.equal(again[name], rounded), name
    assert ZooModule.from_pretrained(tmp_path / "half").fingerprint() != flow.fingerprint()


def test_weight_too_large_for_half_precision_is_named(tmp_path: Path) -> None:
    module = TinyModel()
    module.network.bias.data.fill_(1e5)
    with pytest.raises(CheckpointError, match=r"network\.bias holds 1e\+05, more than float16 can hold \(6\.55e\+04\)"):
        module.save_pretrained(tmp_path / "half", dtype="float16")
    assert not list(tmp_path.iterdir())
    module.save_pretrained(tmp_path / "half", dtype="bfloat16")


def test_fingerprint_tells_weights_and_inputs_apart() -> None:
    torch.manual_seed(0)
    module = TinyModel()
    first = module.fingerprint()
    assert len(first) == 64 and module.fingerprint() == first
    module.inputs.seen = 5
    second = module.fingerprint()
    module.network.bias.data += 1
    assert len({first, second, module.fingerprint()}) == 3


def test_queue_of_negatives_is_not_part_of_the_model(search_set: Path, tmp_path: Path) -> None:
    module = build(DUAL_FLOW, search_set, queue_size=6)
    folder = module.save_pretrained(tmp_path / "saved")
    assert not [name for name in load_file(folder / "model.safetensors") if "queue" in name]
    assert ZooModule.from_pretrained(folder, queue_size=8).fingerprint() == module.fingerprint()


# Towers from elsewhere ---------------------------------------------------------------------------------------------------

ALONE = """
import socket, sys

def refuse(*_, **__):
    raise OSError("no network")

socket.socket.connect = socket.getaddrinfo = refuse
import torch
from moon_zoo import ZooModule

module = ZooModule.from_pretrained(sys.argv[1])
batch, expected = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    found = module.predict_step(batch, 0)
assert all(torch.equal(found[name], expected[name]) for name in expected)
print(module.fingerprint())
"""


def write_towers(folder: Path) -> dict[str, Any]:
    """An image and a text tower in the formats of timm and transformers, with a tokenizer and a normalisation of their own."""
    import timm
    from transformers import BertConfig, BertModel

    image = timm.create_model("test_vit", img_size=32, depth=1, num_classes=0)
    (folder / "image").mkdir()
    save_file(image.state_dict(), folder / "image" / "model.safetensors")
    config = {
        "architecture": "test_vit",
        "num_classes": 0,
        "model_args": {"img_size": 32, "depth": 1},
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 32, 32]},
    }
    (folder / "image" / "config.json").write_text(json.dumps(config), "utf-8")
    numbers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=60, **numbers)).save_pretrained(folder / "text")
    TextTokenizer.train(["red mug number", "blue lamp number"], 60)._tokenizer.save(
        str(folder / "text" / "tokenizer.json")
    )
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (folder / "text" / "tokenizer_config.json").write_text(json.dumps(kind), "utf-8")
    return {"image_tower": f"local-dir:{folder / 'image'}", "text_tower": str(folder / "text"), "image_size": 32}


def test_checkpoint_of_loaded_towers_needs_neither_their_files_nor_a_network(search_set: Path, tmp_path: Path) -> None:
    towers = tmp_path / "towers"
    towers.mkdir()
    module = DualFlow(**write_towers(towers), embedding_dim=8, max_tokens=8).eval()
    assert module.pretrained_names() == (f"local-dir:{towers / 'image'}", str(towers / "text"))
    folder = module.save_pretrained(tmp_path / "saved")
    shutil.rmtree(towers)
    for path in folder.rglob("*.[jy]*"):
        assert str(tmp_path) not in path.read_text("utf-8"), path
    batch = batch_of(module, search_set)
    torch.save((batch, outputs(module, batch)), tmp_path / "expected.pt")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), str(tmp_path / "expected.pt")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == module.fingerprint()
    again = DualFlow.from_pretrained(folder)
    assert torch.equal(again.network.image_tower.mean.flatten(), 255 * torch.tensor([0.1, 0.2, 0.3]))
    again.save_pretrained(tmp_path / "again")  # written by a model that was itself loaded
    assert (tmp_path / "again" / "config.yaml").read_text() == (folder / "config.yaml").read_text()


def test_timm_model_with_a_tag_keeps_the_tags_normalisation(tmp_path: Path) -> None:
    """The weights of a tag cannot be fetched here; but its normalisation is known to timm without them."""
    module = DualFlow(**TINY_TOWERS | {"image_tower": "test_vit.r160_in1k", "image_tower_options": {"img_size": 32}})
    module.network.image_tower._pretrained = True
    name, options = module.network.image_tower.rebuilt_by()
    assert name == "test_vit.r160_in1k"
    overlay = options["pretrained_cfg_overlay"]
    assert torch.allclose(torch.tensor(overlay["mean"]) * 255, module.network.image_tower.mean.flatten())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_tower": "hf-hub:someone/model"}, "weights of the image tower hf-hub:someone/model"),
        ({"image_pretrained": True}, "weights of the image tower resnet10t"),
        ({"image_tower_options": {"checkpoint_path": "/x.pt"}}, "image_tower_options.checkpoint_path"),
        ({"tokenizer": "someone/model"}, "the tokenizer someone/model"),
        ({"text_tower": "someone/model"}, "the text tower someone/model"),
        ({"text_tower": "/etc", "text_pretrained": False}, "the text tower /etc"),
        (
            {
                "text_tower": "{checkpoint}/t",
                "text_pretrained": False,
                "text_tower_options": {"trust_remote_code": True},
            },
            "the text tower {checkpoint}/t",
        ),
        (
            {
                "text_tower": "{checkpoint}/t",
                "text_pretrained": False,
                "text_tower_options": {"attn_implementation": "a/b"},
            },
            "the attention a/b",
        ),
        ({"text_tower": "{checkpoint}/../t"}, "leads out of the checkpoint"),
        ({"category_prompt": "{checkpoint}x"}, "leads out of the checkpoint"),
        ({"objectives": {"class_path": "os.system"}}, "checkpoints hold plain values"),
    ],
)
def test_checkpoint_that_would_read_from_elsewhere_is_refused(copied: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ZooModule.from_pretrained(edit(copied, **changes))
    assert said in str(caught.value)


def test_code_that_comes_with_a_text_tower_is_never_run() -> None:
    with pytest.raises(RecipeError, match="code that comes with a text tower is never run"):
        TextTower("someone/model", options={"trust_remote_code": True})


# Classes -----------------------------------------------------------------------------------------------------------------


class WiderFlow(DualFlow):
    """A subclass with a head of its own, which passes on what it does not know."""

    def __init__(self, *, num_colours: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.colours = nn.Linear(self.embedding_dim, num_colours)


def test_subclass_starts_from_its_base_where_missing_weights_are_allowed(flow: DualFlow, flow_folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"lacks 2 weights of the model: colours\.bias, colours\.weight"
    ) as caught:
        WiderFlow.from_pretrained(flow_folder)
    assert "allow_missing=True" in str(caught.value)
    module = WiderFlow.from_pretrained(flow_folder, allow_missing=True, num_colours=5)
    assert module.colours.out_features == 5
    assert module.embedding_dim == 16
    for name, value in flow.network.state_dict().items():
        assert torch.equal(module.network.state_dict()[name], value)


def test_subclass_keeps_all_its_settings_without_save_hyperparameters(tmp_path: Path) -> None:
    module = WiderFlow(num_colours=4, **TINY_TOWERS)
    assert module.init_args()["num_colours"] == 4
    assert module.init_args()["temperature"] == 0.07  # a default of the base
    folder = module.save_pretrained(tmp_path / "saved")
    # imported, though not registered; and what is asked for may be a base of it
    assert type(DualFlow.from_pretrained(folder)) is WiderFlow
    assert ZooModule.from_pretrained(folder).fingerprint() == module.fingerprint()


def test_other_class_is_refused_with_both_names(flow_folder: Path, tmp_path: Path) -> None:
    other = OtherModel().save_pretrained(tmp_path / "other")
    for folder, cls in ((flow_folder, TinyModel), (other, DualFlow)):
        with pytest.raises(CheckpointError) as caught:
            cls.from_pretrained(folder)
        stored = pretrained.read_config(folder).class_path
        assert f"this checkpoint is of {stored}, not of {pretrained.class_path(cls)}" in str(caught.value)
    with pytest.raises(CheckpointError, match="OtherModel, not of moon_zoo"):
        pretrained.load_into(DualFlow(**TINY_TOWERS), other)


def test_class_that_is_not_registered_is_not_imported(copied: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap_module.py"
    trap.write_text("raise SystemExit('imported')\n", "utf-8")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(CheckpointError) as caught:
            ZooModule.from_pretrained(edit(copied, class_path="trap_module.Model"))
    finally:
        sys.path.remove(str(tmp_path))
    assert "trap_module.Model, which is neither registered nor imported" in str(caught.value)
    assert "trap_module" not in sys.modules


class Holder(ZooModule):
    """Takes an object, which no checkpoint can hold."""

    def __init__(self, *, act: Any, size: int = 1) -> None:
        super().__init__(TinyInputs())
        self.network = nn.Linear(size, 1)


def test_setting_that_is_no_plain_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the argument act of Holder is a ReLU, which a checkpoint cannot hold"):
        Holder(act=nn.ReLU()).save_pretrained(tmp_path / "saved")
    assert "act" not in pretrained.notes(Holder(act=nn.ReLU())).get("init_args", {})


# Versions ----------------------------------------------------------------------------------------------------------------


class Second(TinyModel):
    """Version 3 of a model, whose first version called its layer ``linear``, its rate ``speed``, and kept a ``mood``."""

    checkpoint_version: ClassVar[int] = 3
    migrations: ClassVar[tuple[Migration, ...]] = (
        Migration(1, keys={"linear": "layer", "scale": None}, init_args={"speed": "rate", "mood": None}),
        Migration(2, keys={"layer": "network"}, inputs=lambda state: {"seen": state["count"] * 10}),
    )


def first_version() -> dict[str, Any]:
    return {
        "class_path": pretrained.class_path(Second),
        "class_version": 1,
        "init_args": {"width": 2, "speed": 0.7, "mood": "good"},
    }


def write_first(folder: Path) -> Path:
    folder.mkdir()
    config = first_version() | {"format": 1, "moon_zoo": "0.0.1", "dtype": "float32"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    (folder / "inputs.json").write_text('{"count": 4}', "utf-8")
    save_file(first_weights(), folder / "model.safetensors")
    return folder


def first_weights() -> dict[str, Tensor]:
    return {"linear.weight": torch.tensor([[1.0, 2.0]]), "linear.bias": torch.ones(1), "scale": torch.ones(1)}


def write_first_ckpt(path: Path) -> Path:
    noted = first_version() | {"version": "0.0.1"}
    torch.save({"state_dict": first_weights(), "inputs": {"count": 4}, "moon_zoo": noted}, path)
    return path


@pytest.mark.parametrize("write", [lambda at: write_first(at / "f"), lambda at: write_first_ckpt(at / "f.ckpt")])
def test_old_checkpoint_goes_through_every_migration(write: Callable[[Path], Path], tmp_path: Path) -> None:
    module = ZooModule.from_pretrained(write(tmp_path))
    assert isinstance(module, Second)
    assert module.network.weight.tolist() == [[1.0, 2.0]]
    assert module.inputs.seen == 40
    assert module.init_args()["rate"] == 0.7 and module.init_args()["width"] == 2
    beside = Second(width=2)
    pretrained.load_into(beside, write_first(tmp_path / "g"))
    assert beside.fingerprint() == module.fingerprint()


def test_lightning_gets_its_checkpoint_migrated() -> None:
    content: dict[str, Any] = {
        "state_dict": first_weights(),
        "current_model_state": first_weights(),
        "inputs": {"count": 4},
        "moon_zoo": first_version(),
    }
    module = Second(width=2)
    module.on_load_checkpoint(content)
    assert sorted(content["state_dict"]) == sorted(content["current_model_state"]) == ["network.bias", "network.weight"]
    assert module.inputs.seen == 40


def test_subclass_inherits_the_migrations_of_the_class_that_wrote(tmp_path: Path) -> None:
    class Third(Second):
        checkpoint_version: ClassVar[int] = 7  # counts changes of its own
        migrations: ClassVar[tuple[Migration, ...]] = ()

    assert Third.from_pretrained(write_first(tmp_path / "f")).inputs.seen == 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_version": 9}, "is of version 9 of Second, this installation knows versions up to 3"),
        ({"class_version": 0}, "nothing says how version 0 becomes version 1"),
        ({"format": 2}, "has format 2, this installation reads formats up to 1"),
        ({"moon_zoo": "9.9", "class_version": 4}, "was written with moon-zoo 9.9"),
    ],
)
def test_versions_that_do_not_fit_are_named(tmp_path: Path, changes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ZooModule.from_pretrained(edit(write_first(tmp_path / "f"), **changes))
    assert said in str(caught.value)


# Broken checkpoints ------------------------------------------------------------------------------------------------------


def damage_weights(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return damage


BIAS = "network.text_head.project.bias"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.yaml").unlink(), "no config.yaml"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda folder: (folder / "inputs.json").unlink(), "inputs.json of this checkpoint cannot be used"),
        (lambda folder: (folder / "inputs.json").write_text("[1"), "inputs.json of this checkpoint cannot be used"),
        (lambda folder: (folder / "inputs.json").write_text("[]"), "it holds a list, not an object"),
        (lambda folder: (folder / "inputs.json").write_text("{}"), "the inputs of this checkpoint cannot be restored"),
        (lambda folder: (folder / "config.yaml").write_text("a: [1"), "this is no YAML"),
        (lambda folder: (folder / "config.yaml").write_text("- 1"), "it holds a list, not keys"),
        (lambda folder: (folder / "config.yaml").write_text("format: 1"), "it has no moon_zoo"),
        (lambda folder: (folder / "config.yaml").write_text("a: !!python/object:os.system {}"), "is not allowed"),
        (lambda folder: edit(folder, dtype="int4"), "dtype is 'int4', not one of float32, float16, bfloat16"),
        (lambda folder: edit(folder, init_args=[1]), "init_args is [1]"),
        (lambda folder: edit(folder, init_args={"image_sise": 3}), "was built with 'image_sise'"),
        (lambda folder: edit(folder, image_size="large"), "DualFlow cannot be built from the checkpoint's settings"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99),
            "is no readable safetensors file (99 by",
        ),
        (damage_weights(lambda weights: weights.pop(next(iter(weights)))), "it lacks 1 weight of the model: "),
        (
            damage_weights(lambda weights: weights.update(x=torch.ones(1))),
            "it holds 1 weight that the model has not: x",
        ),
        (lambda folder: edit(folder, embedding_dim=5), "is (16, 16) and the model's (5, 16)"),
    ],
)
def test_broken_checkpoint_is_refused_with_its_fault(copied: Path, damage: Callable[[Path], Any], said: str) -> None:
    damage(copied)
    with pytest.raises(CheckpointError) as caught:
        ZooModule.from_pretrained(copied)
    assert said in str(caught.value)
    assert str(copied) in str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl"])
def test_pickles_are_refused_with_the_reason(copied: Path, name: str) -> None:
    (copied / "model.safetensors").rename(copied / name)
    with pytest.raises(CheckpointError, match="pickle"):
        ZooModule.from_pretrained(copied)


def test_unknown_argument_is_suggested(flow_folder: Path) -> None:
    with pytest.raises(UsageError, match="DualFlow has no argument 'temperatur'") as caught:
        DualFlow.from_pretrained(flow_folder, temperatur=0.1)
    assert "temperature" in caught.value.suggestions


def test_ckpt_without_a_class_is_loaded_by_its_class(tmp_path: Path) -> None:
    module = TinyModel()
    torch.save({"state_dict": module.state_dict()}, tmp_path / "bare.ckpt")
    with pytest.raises(CheckpointError, match="does not say which class it is of"):
        ZooModule.from_pretrained(tmp_path / "bare.ckpt")
    assert TinyModel.from_pretrained(tmp_path / "bare.ckpt").fingerprint() == module.fingerprint()


# Writing -----------------------------------------------------------------------------------------------------------------


class Breaks(TinyModel):
    def write_parts(self, folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("x")
        raise OSError("the disk is full")


def test_save_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is full"):
        Breaks().save_pretrained(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_only_a_checkpoint_is_replaced_and_only_on_request(tmp_path: Path) -> None:
    module = TinyModel()
    folder = module.save_pretrained(tmp_path / "saved")
    module.network.bias.data += 1
    with pytest.raises(CheckpointError, match="exists already; nothing was written"):
        module.save_pretrained(folder)
    assert TinyModel.from_pretrained(folder).fingerprint() != module.fingerprint()
    module.save_pretrained(folder, overwrite=True)
    assert TinyModel.from_pretrained(folder).fingerprint() == module.fingerprint()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="holds no checkpoint of ours, so it is not replaced"):
        module.save_pretrained(tmp_path / "notes", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "saved"]


def test_reading_a_configuration_needs_no_torch(flow_folder: Path) -> None:
    code = (
        "import sys; from moon_zoo.models.pretrained import read_config; config = read_config(sys.argv[1]);"
        "assert 'torch' not in sys.modules; print(config.class_path)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(flow_folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("DualFlow")
