"""What `moon-zoo check` looks at, as functions that yield faults: structure first, then data, checkpoint, devices, disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli import checkpoints, dry_run, structure
from moon_zoo.cli.run_folder import RUNS, existing
from moon_zoo.errors import DataError, Faults, RecipeError, UsageError, ZooError
from moon_zoo.recipe_yaml import Key
from moon_zoo.recipes import CLASS_KEYS, Recipe

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule

COPIES_ON_DISK = 6
"""Bytes of checkpoints per byte of parameters: weights and two moments of Adam, as best and as last."""

SPARE_BYTES = 256 << 20
"""Room for logs and pictures beside the checkpoints."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Args:
        faults: In the order they should be mended.
        estimate: Size of the model and memory of a step; None where it could not be taken.
        not_measured: Why not, where that is no fault of the recipe.
    """

    faults: list[ZooError]
    estimate: dry_run.Estimate | None = None
    not_measured: str | None = None


def check(
    recipe: Recipe,
    *,
    run: str | None = None,
    ckpt_path: str | None = None,
    allow_missing: bool = False,
    device_bytes: int | None = None,
    compare: bool = False,
    has_data: bool = True,
) -> Checked:
    """Every fault found, and what a training takes.

    Args:
        recipe: The merged recipe.
        run: A run's folder, for ``best`` and ``last``.
        ckpt_path: The checkpoint to be used.
        allow_missing: Whether it may lack weights of the model.
        device_bytes: Memory of a device; None for that of this machine's.
        compare: Whether settings that save memory are looked at as well.
        has_data: Whether its data are there already; those of a later stage are yet to be made.
    """
    found = list(structure.faults(recipe))
    # What follows builds classes from the recipe, which has no meaning while its structure is wrong.
    sound = not any((fault.where or "").startswith(("data", "model")) for fault in found)
    checkpoint = None
    try:
        checkpoint = _checkpoint(run, ckpt_path)
    except ZooError as error:
        found.append(error)
    if not sound:
        found += device_faults(recipe)
        found += checkpoints.faults(checkpoint, None) if checkpoint is not None else ()
        return Checked([annotated(fault, recipe) for fault in found])
    found += [*(data_faults(recipe) if has_data else ()), *device_faults(recipe)]
    model, estimate, why = None, None, None
    try:
        model = dry_run.build(recipe)
    except dry_run.NotMeasured as error:
        why = str(error)
    except ZooError as error:
        found.append(error)
    found += model_faults(model, checkpoint, allow_missing)
    if model is not None:
        try:
            estimate = dry_run.estimate(model, recipe, device_bytes=device_bytes, compare=compare)
            too_large = dry_run.memory_fault(estimate)
            found += [too_large] if too_large is not None else []
        except dry_run.NotMeasured as error:
            why = str(error)
        except ZooError as error:
            found.append(error)
    return Checked([annotated(fault, recipe) for fault in found], estimate, why)


def faults(
    recipe: Recipe, *, run: str | None = None, ckpt_path: str | None = None, allow_missing: bool = False
) -> list[ZooError]:
    """The faults of `check` alone."""
    return check(recipe, run=run, ckpt_path=ckpt_path, allow_missing=allow_missing).faults


def annotated(error: ZooError, recipe: Recipe) -> ZooError:
    """The same error with the key, file and line of the recipe, where it names a key or a value of it without them."""
    if isinstance(error, Faults) or "  (" in (error.where or ""):
        return error
    path = _named_key(error) or _holding_value(error, recipe)
    origin = recipe.origin(*path) if path else None
    if path is None or origin is None:
        return error
    named = structure.dotted(path)
    where = error.where or named
    where = where if where.startswith(named) else f"{named} = {where}"
    return type(error)(error.what, where=f"{where}  ({origin})", change=error.change, suggestions=error.suggestions)


def _named_key(error: ZooError) -> tuple[Key, ...] | None:
    for word in f"{error.where or ''} {error.change or ''}".split():
        if word.startswith(("data.", "model.", "trainer.")):
            return tuple(int(key) if key.isdigit() else key for key in word.strip(",:;").split("."))
    return None


def _holding_value(error: ZooError, recipe: Recipe) -> tuple[Key, ...] | None:
    """The key whose value is the very path or name that the error says it was found at."""
    if not error.where:
        return None
    return next((path for path, node in recipe.tree.walk() if path and node.value == error.where), None)


def refused(error: BaseException, recipe: Recipe) -> ZooError:
    """A constructor's refusal as our own error, out of jsonargparse's account of everything it tried around it."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    for one in chain:
        if isinstance(one, ZooError):
            return annotated(one, recipe)
    said = str(next((one for one in reversed(chain) if isinstance(one, (ValueError, TypeError))), error))
    said = " ".join(said.split("Errors:")[-1].split("- Expected a")[0].split())
    return RecipeError(said, where=place(recipe, said), change="the value there")


def data_faults(recipe: Recipe) -> Iterator[ZooError]:
    """Shards that are missing, damaged at a glance, of the wrong kind, or fewer than a batch."""
    from moon_zoo.cli.data import data_module
    from moon_zoo.data.streaming import is_streamed

    try:
        data = data_module(recipe)
    except ZooError as error:
        yield error
        return
    model = structure.import_class(recipe.values["model"]["class_path"])
    if data.written_kind is not None and data.written_kind not in model.sample_kinds:
        kinds = " or ".join(model.sample_kinds)
        yield DataError(
            f"{model.__name__} takes samples of kind {kinds}, but these data are of kind {data.written_kind}",
            where=f"data.init_args.kind = {data.written_kind}",
            change=f"data.init_args.kind, to {kinds}; or the model",
        )
        return
    for split, path in data.paths.items():
        if path is None or is_streamed(path):
            continue
        where = f"data.init_args.{split}"
        try:
            yield from _split_faults(path, where, tuple(model.sample_kinds), model.__name__, data, split)
        except ZooError as error:
            missing = "does not exist" in error.what
            if missing and data.writes_its_shards:
                continue
            change = f"{where}; `moon-zoo pack --help` shows how shards are made" if missing else error.change or where
            yield type(error)(error.what, where=f"{where} = {path}", change=change, suggestions=error.suggestions)


def _split_faults(
    path: str, where: str, kinds: tuple[str, ...], model: str, data: Any, split: str
) -> Iterator[ZooError]:
    from moon_zoo.data.impressions.reading import is_table, needs_packing
    from moon_zoo.data.manifest import manifest_location, read_manifest
    from moon_zoo.data.remote import is_url

    if is_table(path) and "impressions" in kinds:
        if split in ("train", "val"):
            yield needs_packing(path, where)
        elif not Path(path).is_file():
            yield DataError(f"there is no table {path}", where=f"{where} = {path}", change=where)
        return
    manifest = read_manifest(path)
    if manifest.kind not in kinds:
        yield DataError(
            f"{model} takes samples of kind {' or '.join(kinds)}, but these shards hold kind {manifest.kind}",
            where=f"{where} = {path}",
            change=f"{where}, to shards of kind {' or '.join(kinds)}; or the model",
        )
    if not is_url(path):
        folder = Path(manifest_location(path)).parent
        for shard in manifest.shards:
            for name, size in ((shard.name, shard.bytes), (shard.index_name, None)):
                file = folder / name
                if not file.is_file():
                    yield DataError(
                        f"the shard file {name} is missing", where=f"{where} = {path}", change="the set: write it again"
                    )
                elif size is not None and file.stat().st_size != size:
                    yield DataError(
                        f"{name} has {file.stat().st_size:,} bytes, its manifest says {size:,}",
                        where=f"{where} = {path}",
                        change="the set: write it again, or copy it again from its source",
                    )
    if split == "train" and manifest.samples < data.batch_size:
        yield DataError(
            f"a batch of {data.batch_size} is more than the {manifest.samples} training samples",
            where=f"{where} = {path}",
            change="data.init_args.batch_size",
        )
    if manifest.samples == 0 and split != "train":
        yield DataError("these shards hold no samples", where=f"{where} = {path}", change=where)


def _checkpoint(run: str | None, ckpt_path: str | None) -> Path | None:
    """The checkpoint to look at: that of ``--ckpt_path``, or the run's last.

    Raises:
        ZooError: There is none.
    """
    if run is not None:
        existing(run)
    elif ckpt_path is None:
        return None
    return checkpoints.locate(ckpt_path or "last", run)


def require_readable(path: Path) -> None:
    """Refuse what is no Lightning checkpoint of plain tensors and values.

    Raises:
        CheckpointError: It is damaged, holds pickled objects, or is something else.
    """
    if path.is_dir():
        return  # a checkpoint folder, read with more care when it is used; or a sharded one, which the strategy reads
    from moon_zoo.models import weights

    weights.read_ckpt(path, "--ckpt_path")


def device_faults(recipe: Recipe) -> Iterator[ZooError]:
    """An accelerator that this machine lacks, or more devices than it has."""
    from lightning.pytorch.accelerators import AcceleratorRegistry

    trainer = recipe.values.get("trainer") or {}
    named = trainer.get("accelerator", "auto")
    if not isinstance(named, str) or named == "auto":
        return
    name = "cuda" if named == "gpu" and not _mps_only() else "mps" if named == "gpu" else named
    known = {*AcceleratorRegistry.available_accelerators(), "gpu"}
    if named not in known:
        yield RecipeError(
            f"there is no accelerator {named!r}",
            where="trainer.accelerator",
            change="trainer.accelerator",
            suggestions=structure.did_you_mean(named, sorted(known)),
        )
        return
    try:
        accelerator = AcceleratorRegistry.get(name)
    except ModuleNotFoundError as error:
        yield RecipeError(
            f"{named} cannot be used here: {error}", where="trainer.accelerator", change="that package; install it"
        )
        return
    if not accelerator.is_available():
        yield RecipeError(
            f"this machine has no {named} that torch can use",
            where="trainer.accelerator",
            change="trainer.accelerator, to cpu; or `--config accelerators/cpu` after the other recipes",
        )
        return
    devices = trainer.get("devices", "auto")
    wanted = device_count(devices)
    if wanted is not None and name != "cpu" and wanted > accelerator.autodevice_count():
        yield RecipeError(
            f"{wanted} devices are asked for, this machine has {accelerator.autodevice_count()}",
            where="trainer.devices",
            change="trainer.devices",
        )


def _mps_only() -> bool:
    import torch

    return torch.backends.mps.is_available() and not torch.cuda.is_available()


def require_devices(recipe: Recipe) -> None:
    """Raise the first of `device_faults`."""
    for fault in device_faults(recipe):
        raise fault


def device_count(devices: Any) -> int | None:
    """How many devices are asked for; for numbered ones, how many there must be."""
    if isinstance(devices, str):
        if "," in devices:
            devices = [part for part in devices.split(",") if part.strip()]
        elif devices.strip().isdigit():
            devices = int(devices)
        else:
            return None
    if isinstance(devices, (list, tuple)):
        return max((int(one) for one in devices), default=-1) + 1
    return devices if isinstance(devices, int) and devices > 0 else None


def model_faults(model: ZooModule | None, checkpoint: Path | None, allow_missing: bool) -> Iterator[ZooError]:
    """A checkpoint that is not this model's; checkpoints too large for the disk."""
    if checkpoint is not None:
        yield from checkpoints.faults(checkpoint, model, allow_missing=allow_missing)
    if model is not None:
        size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        yield from disk_faults(COPIES_ON_DISK * size + SPARE_BYTES)


def place(recipe: Recipe, message: str) -> str:
    """The key that a message names, with its file and line; the recipe's name when it names none."""
    words = set(re.findall(r"\w+", message))
    for path, node in recipe.tree.walk():
        if len(path) > 1 and path[-1] in words and path[-1] not in CLASS_KEYS:
            return f"{structure.dotted(path)}  ({node.origin})"
    return recipe.name


def disk_faults(wanted: int, folder: Path = RUNS) -> Iterator[ZooError]:
    """Too little room for a run's checkpoints where runs are written."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < wanted:
        yield UsageError(
            f"a run needs about {wanted / 1e9:.1f} GB for its checkpoints, {free / 1e9:.1f} GB are free",
            where=str(place),
            change="--run to a disk with more room",
        )
    if not os.access(place, os.W_OK):
        yield UsageError("this folder cannot be written to", where=str(place), change="--run to another one")
