"""Weights of a module and of a file: read without pickle, written without it, compared name by name, hashed.

Buffers that only training needs (`ZooModule.training_state`, such as a queue of negatives) are neither written into
checkpoint folders nor asked for when loading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from moon_zoo.errors import CheckpointError, ZooError

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule

Dtype = Literal["float32", "float16", "bfloat16"]

SHOWN_NAMES = 4
"""So many names of missing or unexpected weights are given in a message; a hundred would hide what matters."""


def kept_weights(module: ZooModule) -> dict[str, Tensor]:
    """The module's weights and persistent buffers without what only training needs."""
    return {name: value for name, value in module.state_dict().items() if not _is_training_state(name, module)}


def _is_training_state(name: str, module: ZooModule) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in module.training_state)


# Files -------------------------------------------------------------------------------------------------------------------


def write(module: ZooModule, path: Path, dtype: Dtype) -> None:
    """Write a module's weights as safetensors, floating ones as ``dtype``.

    Raises:
        CheckpointError: A value is too large for ``dtype``, or no number.
    """
    wanted = getattr(torch, dtype)
    tensors = {}
    for name, value in sorted(kept_weights(module).items()):
        # a copy of its own in plain order: safetensors knows neither shared memory nor channels-last
        tensor = value.detach().to("cpu", copy=True).contiguous()
        if tensor.is_floating_point():
            tensor = _converted(tensor, name, wanted)
        tensors[name] = tensor
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(mode)  # safetensors makes a file that only its owner can read, of no use on a hub


def _converted(tensor: Tensor, name: str, dtype: torch.dtype) -> Tensor:
    converted = tensor.to(dtype)
    if torch.isfinite(tensor).all() and not torch.isfinite(converted).all():
        raise CheckpointError(
            f"{name} holds {float(tensor.abs().max()):.4g}, more than {str(dtype).removeprefix('torch.')} can hold "
            f"({torch.finfo(dtype).max:.4g})",
            change="dtype, to bfloat16 or float32",
        )
    return converted


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as they are stored.

    Raises:
        CheckpointError: It is damaged or no such file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        size = f"{path.stat().st_size:,} bytes" if path.is_file() else "not there"
        raise CheckpointError(
            f"{path.name} is no readable safetensors file ({size}): {error}",
            where=str(path),
            change="the file: copy or download it again",
        ) from error


def read_ckpt(path: Path, change: str = "the checkpoint") -> dict[str, Any]:
    """The content of a Lightning checkpoint, as tensors that stay on disk until they are used, and plain values.

    Args:
        path: A ``.ckpt`` file.
        change: What names it, for messages.

    Raises:
        CheckpointError: It is damaged, holds pickled objects, or is something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises half a dozen kinds for what is no checkpoint
        if not path.is_file():
            raise CheckpointError(f"there is no checkpoint {path}", change=change) from error
        unsafe = "weights_only" in str(error).lower() and "Unsupported" in str(error)
        raise CheckpointError(
            f"{path} holds pickled objects, which could run code; only tensors and plain values are loaded"
            if unsafe
            else f"{path} is no readable checkpoint ({path.stat().st_size:,} bytes)",
            change=f"{change}; or the file: copy it again",
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} is no Lightning checkpoint: it has no state_dict", change=change)
    return content


# Comparing and loading -----------------------------------------------------------------------------------------------------


def load(module: ZooModule, weights: Mapping[str, Tensor], where: str, *, allow_missing: bool = False) -> None:
    """Copy ``weights`` into ``module``, in the module's own types and memory order.

    Raises:
        CheckpointError: They are not what the module has; all differences in one message.
    """
    require(module, weights, where, allow_missing=allow_missing)
    wanted = {name: value for name, value in weights.items() if not _is_training_state(name, module)}
    module.load_state_dict(wanted, strict=False)


def require(module: ZooModule, weights: Mapping[str, Tensor], where: str, *, allow_missing: bool = False) -> None:
    """Raise what `faults` finds."""
    for fault in faults(module, weights, where, allow_missing=allow_missing):
        raise fault


def faults(
    module: ZooModule, weights: Mapping[str, Tensor], where: str, *, allow_missing: bool = False
) -> Iterable[ZooError]:
    """Whether ``weights`` are those of ``module``: at most one error, which names missing, unexpected and other-shaped ones."""
    own = kept_weights(module)
    given = {name: value for name, value in weights.items() if not _is_training_state(name, module)}
    missing = [] if allow_missing else sorted(own.keys() - given.keys())
    unexpected = sorted(given.keys() - own.keys())
    shapes = [name for name in own if name in given and own[name].shape != given[name].shape]
    lines = []
    if missing:
        lines.append(f"it lacks {_count(missing)} of the model: {_some(missing)}")
    if unexpected:
        lines.append(f"it holds {_count(unexpected)} that the model has not: {_some(unexpected)}")
    if shapes:
        shown = [f"{name} is {_size(given[name])} and the model's {_size(own[name])}" for name in shapes[:SHOWN_NAMES]]
        lines.append(f"{_count(shapes)} of another shape: {', '.join(shown)}{_more(shapes)}")
    if lines:
        name = type(module).__name__
        new = "; or allow missing weights (allow_missing=True, --allow_missing), which then keep their initial values"
        yield CheckpointError(
            f"the checkpoint does not fit this {name}: {'; '.join(lines)}",
            where=where,
            change="the checkpoint, or the model's settings, to those it was trained with"
            + (new if missing and not unexpected and not shapes else ""),
        )


def _count(names: list[str]) -> str:
    return f"{len(names)} weight{'s' if len(names) != 1 else ''}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + _more(names)


def _more(names: list[str]) -> str:
    return f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""


def _size(tensor: Tensor) -> str:
    return "(" + ", ".join(map(str, tensor.shape)) + ")"


# Identity ------------------------------------------------------------------------------------------------------------------


def fingerprint(module: ZooModule) -> str:
    """sha256 of the module's weights (as float32) and of its inputs' state: what decides its outputs, besides its settings.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(kept_weights(module).items()):
        tensor = value.detach().cpu()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    state = json.dumps(module.inputs.state_dict(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    digest.update(state.encode())
    return digest.hexdigest()
