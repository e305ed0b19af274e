"""What ``--ckpt_path`` may be, and the recipe inside a checkpoint.

``best`` or ``last`` of a run, a Lightning ``.ckpt``, a run's folder, a checkpoint folder, a name on a hub, or a URL. A
``.ckpt`` is a training stopped somewhere: optimiser, data position and all. A checkpoint folder is a model for use: weights
and inputs, and the settings it was built with, which stand in for a recipe's model where none is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo import recipes
from moon_zoo.cli.run_folder import RunFolder
from moon_zoo.errors import UsageError
from moon_zoo.recipe_yaml import Node, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moon_zoo.errors import ZooError
    from moon_zoo.models.base import ZooModule

SHARDED_MARKS = (".metadata", "meta.pt")
"""One of these is in the folder of a sharded checkpoint, which only the strategy that wrote it reads."""


def locate(word: str, run: str | None = None, *, progress: bool = True) -> Path:
    """The file or folder that ``--ckpt_path`` means, fetched first where it is on a hub.

    Args:
        word: What was typed.
        run: The run's folder, for ``best`` and ``last``.
        progress: Whether to show how a download goes.

    Returns:
        A ``.ckpt`` file, a checkpoint folder, or the folder of a sharded checkpoint.

    Raises:
        CheckpointError: There is no such checkpoint.
        UsageError: ``best`` or ``last`` without a run.
    """
    if word in ("best", "last") and run is None:
        raise UsageError(f"--ckpt_path {word} is a checkpoint of a run", change="--run to that run's folder")
    path = Path(word)
    if word in ("best", "last") or (path.suffix == ".ckpt" and "://" not in word):
        return RunFolder(Path(run or ".")).checkpoint(word)
    if path.is_dir() and any((path / mark).exists() for mark in SHARDED_MARKS):
        return path
    from moon_zoo.hub.resolve import resolve

    return resolve(word, progress=progress)


def is_model(path: Path) -> bool:
    """Whether it is a checkpoint folder: weights and settings, but no state of a training."""
    from moon_zoo.models.pretrained import is_checkpoint

    return is_checkpoint(path)


def recipe(path: Path, word: str) -> recipes.Recipe:
    """The recipe that a checkpoint makes by itself: its model, and data of the user's own shards.

    Args:
        path: What `locate` gave.
        word: What was typed, for the recipe's name.

    Raises:
        CheckpointError: The checkpoint is broken, or of a class that is not known here.
    """
    from moon_zoo.hub.names import is_name
    from moon_zoo.models import pretrained

    target, settings = pretrained.recipe_of(pretrained.read(path))
    model = {"class_path": pretrained.class_path(target), "init_args": settings}
    node = Node(
        {
            "model": _node(model, Origin(f"the settings in {path}")),
            "data": _node({"class_path": "shards"}, Origin("without --data or --config, your own shards are expected")),
        },
        Origin(str(path)),
    )
    recipes.expand_names(node)
    return recipes.Recipe(word if is_name(word) else Path(word.rstrip("/")).stem, node)


def _node(value: Any, origin: Origin) -> Node:
    if isinstance(value, dict):
        return Node({key: _node(child, origin) for key, child in value.items()}, origin)
    if isinstance(value, list):
        return Node([_node(child, origin) for child in value], origin)
    return Node(value, origin)


def faults(path: Path, model: ZooModule | None, *, allow_missing: bool = False) -> Iterator[ZooError]:
    """What is wrong with a checkpoint: unreadable, of another class or version, or with weights that are not the model's.

    Args:
        path: What `locate` gave.
        model: The recipe's model; None where it cannot be built, and only the checkpoint itself is looked at.
        allow_missing: Whether weights may be missing.
    """
    from moon_zoo.errors import CheckpointError
    from moon_zoo.models import pretrained

    if path.is_dir() and not is_model(path):
        return  # sharded
    try:
        stored = pretrained.read(path)
        if model is not None:
            pretrained.require(model, stored, allow_missing=allow_missing)
    except CheckpointError as error:
        yield error
