"""A recipe's model taken through one training step on the meta device: without weights, data, network or accelerator.

What the step needs of data are shapes, so it gets those of one made-up sample (or, of impressions, of the set's own rows)
in batches of the recipe's size. What the step gives are faults that would else show after an hour of loading, and how much
memory the training takes on each device.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from moon_zoo.cli import memory
from moon_zoo.data.conversations import Instruction, Observation, Preference, user
from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product, Search
from moon_zoo.errors import CheckpointError, RecipeError, UsageError, ZooError, gist

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule
    from moon_zoo.recipes import Recipe

MICRO_BATCHES = 2
"""A cached gradient's memory is that of one micro-batch, however many there are: so many are looked at."""

PRECISIONS = {"16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Variant:
    """The step under some settings.

    Args:
        settings: What differs from the recipe; empty for the recipe itself.
        kept_bytes: After the forward pass, for the backward pass.
        peak_bytes: The most there is at a time on a device: weights, gradients, optimiser, batch and everything between.
    """

    settings: dict[str, Any]
    kept_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a training takes.

    Args:
        model: The class.
        parameters: Numbers in all weights.
        trained: Numbers in those that are trained.
        parts: Parts of the model to their parameters; they may overlap.
        batch_size: Samples per step on each device.
        devices: How many work together.
        sharded: Whether they share weights, gradients and optimiser (FSDP) instead of each having all of them.
        precision: As the trainer names it.
        weights_bytes: On each device.
        gradients_bytes: On each device; with several devices and DDP, their buckets included.
        optimizer_bytes: On each device.
        batch_bytes: The batch on the device.
        variants: The recipe first, then other settings that matter for memory.
        device_bytes: Memory of the device; None where it is not known.
        notes: What was left out.
    """

    model: str
    parameters: int
    trained: int
    parts: dict[str, int]
    batch_size: int
    devices: int
    sharded: bool
    precision: str
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    batch_bytes: int
    variants: list[Variant]
    device_bytes: int | None
    notes: list[str]

    @property
    def peak_bytes(self) -> int:
        """Of the recipe as it is."""
        return self.variants[0].peak_bytes

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def estimate(module: ZooModule, recipe: Recipe, *, device_bytes: int | None = None, compare: bool = False) -> Estimate:
    """Take a recipe's model through a step.

    Args:
        module: As `build` gives it; of no use afterwards.
        recipe: The recipe.
        device_bytes: Memory of a device; None for that of this machine's accelerator, if it has one.
        compare: Whether gradient checkpointing and micro-batches are turned as well.

    Raises:
        ZooError: The step fails, which is a mistake in the settings, or ours.
        NotMeasured: The step cannot be taken here; why.
    """
    setup = _setup(recipe, module.sample_kinds)
    first, parts = _measured(module, recipe, setup, {})
    found = [first]
    if compare:
        others = _other_settings(recipe, module)
        found += [_measured(build(recipe, settings), recipe, setup, settings)[0] for settings in others]
    known = device_bytes if device_bytes is not None else _device_bytes(recipe)
    return replace(parts, variants=found, device_bytes=known)


class NotMeasured(Exception):
    """The step cannot be taken without what is not there; no fault of the recipe."""


@dataclass(frozen=True)
class _Setup:
    """What the trainer and the data say."""

    batch_size: int
    devices: int
    sharded: bool
    precision: str
    example: Any

    @property
    def autocast(self) -> torch.dtype | None:
        name, _, how = self.precision.partition("-")
        return PRECISIONS.get(name) if how == "mixed" else None

    @property
    def stored(self) -> torch.dtype | None:
        """What weights are stored in, where not as the model makes them."""
        name, _, how = self.precision.partition("-")
        return {**PRECISIONS, "64": torch.float64}.get(name) if how == "true" else None


# The model -------------------------------------------------------------------------------------------------------------


def build(recipe: Recipe, settings: Mapping[str, Any] | None = None) -> ZooModule:
    """The recipe's model on the meta device, without any weights being read.

    Args:
        recipe: The recipe.
        settings: Constructor arguments that are other than the recipe's.

    Raises:
        ZooError: What the constructor refuses.
        NotMeasured: It needs what is neither in the recipe nor on this machine.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from moon_zoo.cli.checks import refused
    from moon_zoo.models.base import ZooModule

    values = dict(recipe.values["model"])
    values["init_args"] = {**(values.get("init_args") or {}), **(settings or {})}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ZooModule, "model", fail_untyped=False)
    try:
        parsed = parser.parse_object({"model": values})
        with torch.device("meta"), _offline():
            return parser.instantiate_classes(parsed).model
    except CheckpointError as error:
        if _is_unreachable(error):
            raise NotMeasured(f"{gist(error)}; nothing is fetched for a check") from error
        raise
    except (ArgumentError, ValueError, TypeError, KeyError) as error:
        found = refused(error, recipe)
        if _is_unreachable(error):
            raise NotMeasured(f"{gist(found)}; nothing is fetched for a check") from error
        raise found from error


@contextmanager
def _offline() -> Iterator[None]:
    """Nothing is asked of the Hugging Face hub; what this machine has of it in its cache is read."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_unreachable(error: BaseException) -> bool:
    """Whether something of a hub was wanted that this machine does not have."""
    while error is not None:
        if type(error).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled"):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def _other_settings(recipe: Recipe, module: ZooModule) -> Iterator[dict[str, Any]]:
    """Settings that trade time for memory, each turned from what the recipe says."""
    given = module.init_args()
    if isinstance(given.get("gradient_checkpointing"), bool):
        yield {"gradient_checkpointing": not given["gradient_checkpointing"]}
    batch = _batch_size(recipe)
    if "micro_batch_size" in given:
        if given["micro_batch_size"] is None and batch >= 4:
            yield {"micro_batch_size": max(1, batch // 4)}
        elif given["micro_batch_size"] is not None:
            yield {"micro_batch_size": None}


def _parts(module: ZooModule) -> dict[str, int]:
    """Numbers in the parts worth naming: children of the network, experts, low-rank updates."""
    from moon_zoo.nn.moe.install import moe_modules

    network: Any = getattr(module, "network", module)
    found = {name: _count(child) for name, child in network.named_children()}
    backbone = getattr(network, "backbone", None)
    if backbone is not None:
        found.pop("backbone", None)
        found |= {"photos": _count(backbone.visual), "language": _count(backbone) - _count(backbone.visual)}
    experts = {id(weight): weight for one in moe_modules(module) for weight in one.parameters()}
    if experts:
        found["in layers' experts"] = sum(weight.numel() for weight in experts.values())
    lora = sum(weight.numel() for name, weight in module.named_parameters() if "lora_" in name)
    if lora:
        found["LoRA"] = lora
    return {name: count for name, count in found.items() if count}


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# The step --------------------------------------------------------------------------------------------------------------


def _measured(
    module: ZooModule, recipe: Recipe, setup: _Setup, settings: Mapping[str, Any]
) -> tuple[Variant, Estimate]:
    sample = _sample(module, setup, recipe)
    module.to("meta")  # tables that were read, and what a constructor computed
    if setup.stored is not None:
        module.to(setup.stored)
    module.train()
    attach(module)
    micro = getattr(module, "micro_batch_size", None)
    rows = setup.batch_size if micro is None else min(setup.batch_size, MICRO_BATCHES * micro)
    batch = _batch(sample, rows)
    weights = [*module.parameters(), *module.buffers()]
    kept, peak = _step(module, batch, weights, setup, recipe)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    share = setup.devices if setup.sharded else 1
    sizes = {
        "weights": math.ceil(memory.size_of(weights) / share),
        "gradients": math.ceil(memory.size_of(trained) / share),
        "optimizer": math.ceil(_optimizer(module) / share),
        "batch": _bytes(sample) * setup.batch_size,
    }
    whole_gradients = memory.size_of(trained)
    buckets = sizes["gradients"] if setup.devices > 1 and not setup.sharded else 0
    # of the measured peak gradients are a part, as far as there were any at that moment
    dynamic = max(peak - (whole_gradients - sizes["gradients"]), 0)
    total = sizes["weights"] + sizes["optimizer"] + sizes["batch"] + dynamic + buckets
    variant = Variant(dict(settings), kept, total)
    notes = []
    if micro is not None and rows < setup.batch_size:
        notes.append(
            f"a step was taken with {rows} of {setup.batch_size} samples: micro-batches of {micro} take no more"
        )
    found = Estimate(
        model=type(module).__name__,
        parameters=_count(module),
        trained=sum(parameter.numel() for parameter in trained),
        parts=_parts(module),
        batch_size=setup.batch_size,
        devices=setup.devices,
        sharded=setup.sharded,
        precision=setup.precision,
        weights_bytes=sizes["weights"],
        gradients_bytes=sizes["gradients"] + buckets,
        optimizer_bytes=sizes["optimizer"],
        batch_bytes=sizes["batch"],
        variants=[],
        device_bytes=None,
        notes=notes,
    )
    return variant, found


def _step(
    module: ZooModule, batch: dict[str, Any], weights: list[Tensor], setup: _Setup, recipe: Recipe
) -> tuple[int, int]:
    before = [*weights, *(value for value in batch.values() if isinstance(value, Tensor))]
    try:
        return memory.measure_step(before, lambda: _loss(module, batch), autocast=setup.autocast)
    except ZooError as error:
        if _vocabularies(recipe) is None and "impressions" not in module.sample_kinds:
            # a made-up sample lacks what a model may look for by name
            raise NotMeasured(f"the training set is not there yet, and without it: {error.what}") from error
        raise
    except NotImplementedError as error:
        raise NotMeasured(f"{type(module).__name__} does what the meta device cannot: {gist(error)}") from error
    except (RuntimeError, ValueError, IndexError, KeyError) as error:
        raise RecipeError(
            f"a training step of {type(module).__name__} fails: {gist(error)}",
            where=recipe.name,
            change="the model's settings; if they are as they should be, this is a bug of ours",
        ) from error


def _loss(module: ZooModule, batch: dict[str, Any]) -> Tensor:
    found: Any = module.training_step(batch, 0)
    loss: Tensor = found["loss"] if isinstance(found, Mapping) else found
    return loss


def attach(module: ZooModule) -> None:
    """What a step asks of a trainer: which step it is; and what it logs goes nowhere."""
    object.__setattr__(module, "log", _nothing)
    object.__setattr__(module, "log_dict", _nothing)
    object.__setattr__(
        module,
        "_trainer",
        SimpleNamespace(
            global_step=0, current_epoch=0, datamodule=None, max_steps=1, world_size=1, global_rank=0, barebones=True
        ),
    )


def _nothing(*args: Any, **options: Any) -> None:
    return None


def _optimizer(module: ZooModule) -> int:
    from moon_zoo.cli.memory import optimizer_bytes

    with torch.device("meta"):
        configured = module.configure_optimizers()
        found = configured["optimizer"] if isinstance(configured, Mapping) else configured
        return optimizer_bytes(found)


# The batch -------------------------------------------------------------------------------------------------------------


def _batch(sample: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """A batch of ``rows`` samples of these shapes, on the meta device."""
    found = {
        name: torch.empty((rows, *value.shape[1:]), dtype=value.dtype, device="meta")
        for name, value in sample.items()
        if isinstance(value, Tensor)
    }
    return found | {
        "valid": torch.empty(rows, dtype=torch.bool, device="meta"),
        "index": torch.empty(rows, dtype=torch.int64, device="meta"),
    }


def _bytes(sample: Mapping[str, Any]) -> int:
    """Of one sample."""
    return sum(value[:1].nbytes for value in sample.values() if isinstance(value, Tensor))


def _sample(module: ZooModule, setup: _Setup, recipe: Recipe) -> dict[str, Any]:
    """A batch of one sample, as the model's inputs make it; they learn from made-up samples what they learn from data."""
    if "impressions" in module.sample_kinds:
        return _rows(module, recipe)
    inputs: Any = module.inputs
    if getattr(inputs, "tokenizer_name", None) is not None:
        inputs.tokenizer_name = None  # of a hub; a tokenizer of these words has the same shapes
    with torch.device("cpu"):
        inputs.fit(
            iter([setup.example] * 2),
            SimpleNamespace(vocabularies=_vocabularies(recipe) or {}, extra={}, kind="product"),
        )
        module.build()
        return inputs.batch([inputs.sample(setup.example, Draw(generator=torch.Generator(), training=True))])


def _rows(module: ZooModule, recipe: Recipe) -> dict[str, Any]:
    """Rows of the training set itself: its columns and vocabularies size the model."""
    from moon_zoo.cli.data import data_module

    data = data_module(recipe)
    data.num_workers = 0
    data.inputs = module.inputs
    try:
        with torch.device("cpu"):
            shards = data.shards("train")
            module.inputs.fit(iter(()), shards.manifest)
            with torch.device("meta"):
                module.build()
            return dict(next(iter(data.train_dataloader())))
    except ZooError as error:
        raise NotMeasured(f"the model's size depends on its data, which cannot be read: {error.what}") from error


def _vocabularies(recipe: Recipe) -> dict[str, Any] | None:
    """Those of the training set, as they are columns of the batch; None where it is not there (yet)."""
    from moon_zoo.cli.data import data_module
    from moon_zoo.data.manifest import read_manifest

    try:
        path = data_module(recipe).paths.get("train")
        return None if path is None else dict(read_manifest(path).vocabularies)
    except ZooError:
        return None


def example(kind: str) -> Product | Search | Instruction | Preference | FollowUp:
    """A sample with everything a sample may have; what is more than the settings read is cut by the inputs."""
    if kind in ("instruction", "preference"):
        return _conversation(kind)
    if kind == "follow_up":
        long = "a shirt for every day, which is made of cotton. " * 400
        return FollowUp("example-1", "what is it made of?", long, long, Knowledge(long, "cotton", "example"))
    photos = [_photo() for _ in range(4)]
    box = (0.2, 0.2, 0.8, 0.8)
    product = Product(
        item_id="example-1",
        title="a plain red cotton shirt with long sleeves " * 8,
        photos=photos,
        category=("clothing", "shirts", "shirt"),
        attributes={"colour": "red", "material": "cotton", "size": "medium"},
        spu_id="example",
        description="A shirt. " * 40,
    )
    if kind != "search":
        return product
    others = [replace(product, item_id=f"example-{number}") for number in range(2, 10)]
    return Search(
        item=product,
        query_text="red shirt",
        query_photo=photos[0],
        query_box=box,
        hard_negatives=others,
        behaviour="purchase",
    )


def _conversation(kind: str) -> Instruction | Preference:
    said: dict[str, Any] = {
        "conversation_id": "example-1",
        "turns": user("what is it made for?"),
        "image": _photo(),
        "observations": (Observation("a shirt", "image_content", "professional_advice"),),
        "safe": False,
    }
    if kind == "instruction":
        long = "a shirt for every day. " * 8
        return Instruction(**said, answer=long, truth={"plain_answer": long})
    return Preference(**said, chosen="a shirt for every day. " * 8, rejected="no answer. " * 8)


def _photo() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 40, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


# The trainer -----------------------------------------------------------------------------------------------------------


def _setup(recipe: Recipe, kinds: tuple[str, ...]) -> _Setup:
    trainer = recipe.values.get("trainer") or {}
    strategy = trainer.get("strategy", "auto")
    name = str(strategy.get("class_path", "") if isinstance(strategy, dict) else strategy)
    kind = _kind(recipe)
    sharded = "fsdp" in name.lower() or "ModelParallel" in name or "deepspeed" in name.lower()
    return _Setup(
        batch_size=_batch_size(recipe),
        devices=_devices(trainer),
        sharded=sharded,
        precision=str(trainer.get("precision") or "32-true"),
        example=example(kind if kind in kinds else kinds[0]),  # data of other kinds are a fault that is told by itself
    )


def _batch_size(recipe: Recipe) -> int:
    """The recipe's, or the data module's own."""
    from moon_zoo.cli.data import data_module

    return int(data_module(recipe).batch_size)


def _devices(trainer: Mapping[str, Any]) -> int:
    from moon_zoo.cli.checks import device_count

    devices = trainer.get("devices", "auto")
    wanted = device_count(devices)
    if isinstance(devices, (list, tuple)):
        wanted = len(devices)
    return max(wanted or 1, 1) * int(trainer.get("num_nodes") or 1)


def _kind(recipe: Recipe) -> str:
    """Of the samples that the recipe trains on."""
    from moon_zoo.data.manifest import read_manifest

    given = (recipe.values.get("data") or {}).get("init_args") or {}
    try:
        if given.get("train"):
            return str(read_manifest(given["train"]).kind)
    except ZooError:
        pass
    return str(given.get("kind") or "product")


def _device_bytes(recipe: Recipe) -> int | None:
    accelerator = (recipe.values.get("trainer") or {}).get("accelerator", "auto")
    if accelerator != "cpu" and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return None


def memory_fault(found: Estimate) -> ZooError | None:
    """What is said where a step takes more than a device has; None where it does not, or where that is not known."""
    if found.device_bytes is None or found.peak_bytes <= found.device_bytes:
        return None
    better = [variant for variant in found.variants[1:] if variant.peak_bytes < found.peak_bytes]
    ways = [
        f"model.init_args.{name} to {plain(value)}" for variant in better for name, value in variant.settings.items()
    ]
    ways = ways or ["--compare, to see what would fit"] * (len(found.variants) == 1)
    return UsageError(
        f"a step takes about {gib(found.peak_bytes)}, the device has {gib(found.device_bytes)}",
        where="data.init_args.batch_size",
        change="; or ".join([*ways, "data.init_args.batch_size to less", "the accelerator"]),
    )


def plain(value: Any) -> str:
    """A setting as recipes write it."""
    return json.dumps(value)


def gib(count: float) -> str:
    """``3.21 GiB``, ``48 MiB``, ``0.2 MiB``."""
    if count >= 2**29:
        return f"{count / 2**30:.2f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 10 * 2**20 else f"{count / 2**20:.1f} MiB"
