"""``config.yaml`` of a checkpoint folder: which class, built with which plain values. Somebody else's word, so checked here.

Paths in it that lead into the folder begin with ``{checkpoint}/``. Needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_zoo import recipe_yaml
from moon_zoo.errors import CheckpointError, RecipeError
from moon_zoo.hub.names import CONFIG

FORMAT = 1
"""Version of the folder's layout; a class's own changes are counted by its ``checkpoint_version``."""

DTYPES = ("float32", "float16", "bfloat16")

HERE = "{checkpoint}"
"""Stands for the folder itself at the start of a path in ``init_args``."""


@dataclass(frozen=True)
class CheckpointConfig:
    """What ``config.yaml`` of a checkpoint folder says.

    Args:
        class_path: Dotted path of the model's class.
        class_version: The class's ``checkpoint_version`` when it was written.
        init_args: Arguments of the constructor, plain values; paths into the folder begin with ``{checkpoint}/``.
        dtype: Type the floating weights are stored as.
        moon_zoo: Version of the package that wrote it.
        format: Version of the folder's layout.
    """

    class_path: str
    class_version: int
    init_args: dict[str, Any]
    dtype: str
    moon_zoo: str
    format: int = FORMAT


def read_config(folder: str | os.PathLike[str]) -> CheckpointConfig:
    """What a checkpoint folder says about itself; needs no torch.

    Raises:
        CheckpointError: It is no checkpoint folder, is broken, or of a newer format.
    """
    path = Path(folder) / CONFIG
    try:
        values = recipe_yaml.parse(path.read_text("utf-8"), str(path)).plain()
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is no checkpoint folder: it has no {CONFIG}", where=str(folder), change="the path"
        ) from None
    except RecipeError as error:
        raise broken(path, error.what) from error
    except (OSError, UnicodeDecodeError) as error:
        raise broken(path, str(error)) from error
    problem = _config_problem(values)
    if problem is not None:
        raise broken(path, problem)
    if values["format"] > FORMAT:
        raise CheckpointError(
            f"this checkpoint has format {values['format']}, this installation reads formats up to {FORMAT}",
            where=str(path),
            change=f"the installed package, to a newer one: the checkpoint was written with moon-zoo {values['moon_zoo']}",
        )
    return CheckpointConfig(**{name: values[name] for name in CheckpointConfig.__dataclass_fields__})


def broken(path: Path, problem: str) -> CheckpointError:
    """The error of a file that cannot be used."""
    return CheckpointError(
        f"{path.name} of this checkpoint cannot be used: {problem}",
        where=str(path),
        change="the checkpoint: download or save it again",
    )


def _config_problem(values: Any) -> str | None:
    wanted = {"format": int, "moon_zoo": str, "class_path": str, "class_version": int, "dtype": str, "init_args": dict}
    if not isinstance(values, dict):
        return f"it holds a {type(values).__name__}, not keys"
    for name, kind in wanted.items():
        if name not in values:
            return f"it has no {name}"
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            return f"{name} is {values[name]!r}"
    if values["dtype"] not in DTYPES:
        return f"dtype is {values['dtype']!r}, not one of {', '.join(DTYPES)}"
    for place, value in walk(values["init_args"]):
        if "class_path" in place:
            # jsonargparse would import what it names
            return f"init_args.{place} names a class; checkpoints hold plain values"
        if isinstance(value, str) and HERE in value and (not value.startswith(f"{HERE}/") or ".." in Path(value).parts):
            return f"init_args.{place} is {value!r}, which leads out of the checkpoint"
    return None


def walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested plain values, with its dotted place."""
    yield place, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from walk(child, f"{place}.{key}" if place else str(key))


def replaced(value: Any, old: str, new: str) -> Any:
    """Plain values whose texts that begin with ``old`` begin with ``new`` instead."""
    if isinstance(value, dict):
        return {key: replaced(child, old, new) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [replaced(child, old, new) for child in value]
    return value.replace(old, new, 1) if isinstance(value, str) and value.startswith(old) else value
