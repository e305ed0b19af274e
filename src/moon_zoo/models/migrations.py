"""Checkpoints written by an earlier version of a class, brought to what the class is now.

A class whose weight names, arguments or inputs change raises its ``checkpoint_version`` by one and says in ``migrations``
what became of them. Folders and Lightning's ``.ckpt`` files go through the same table, and a version is never skipped: a
change that needs nothing done has an empty `Migration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.errors import CheckpointError

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule


@dataclass(frozen=True)
class Migration:
    """What changed between one version of a class and the next.

    Args:
        from_version: The version it starts from; the result is of the next.
        keys: Old name of a weight or of a module to its new name (``network.tower`` to ``network.image_tower``); None
            for what the class no longer has.
        init_args: The same for arguments of the constructor.
        inputs: Turns the old state of the inputs into the new one.

    Example:
        >>> Migration(1, keys={"encoder": "network.encoder"}).rename({"encoder.weight": 1, "encoders.bias": 2})
        {'network.encoder.weight': 1, 'encoders.bias': 2}
    """

    from_version: int
    keys: Mapping[str, str | None] = field(default_factory=dict)
    init_args: Mapping[str, str | None] = field(default_factory=dict)
    inputs: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    def rename(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """Weights under their new names; whole dotted parts are compared."""
        named = ((_renamed(name, self.keys), value) for name, value in weights.items())
        return {name: value for name, value in named if name is not None}

    def rename_arguments(self, init_args: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments under their new names."""
        named = ((self.init_args.get(name, name), value) for name, value in init_args.items())
        return {name: value for name, value in named if name is not None}


def _renamed(name: str, table: Mapping[str, str | None]) -> str | None:
    # the longest prefix says it best: a module may move while one of its weights goes elsewhere
    for old in sorted(table, key=len, reverse=True):
        if name == old or name.startswith(f"{old}."):
            new = table[old]
            return None if new is None else new + name[len(old) :]
    return name


@dataclass(frozen=True)
class Stored:
    """What a checkpoint holds, whichever file it came from.

    Args:
        class_path: The class that wrote it, None where that was not noted.
        class_version: That class's ``checkpoint_version``.
        moon_zoo: The version of the package that wrote it.
        weights: Name to tensor.
        inputs: State of the inputs.
        init_args: Arguments of the constructor; None where they were not noted.
        where: The file or folder, for messages.
        folder: The checkpoint folder, which paths in ``init_args`` may begin with; None for a ``.ckpt`` file.
    """

    class_path: str | None
    class_version: int
    moon_zoo: str
    weights: dict[str, Any]
    inputs: dict[str, Any] | None
    init_args: dict[str, Any] | None
    where: str
    folder: Path | None = None


def migrate(stored: Stored, cls: type[ZooModule]) -> Stored:
    """``stored`` as ``cls`` of today would have written it.

    Raises:
        CheckpointError: It was written by a newer version of the class, or a version in between has no migration.
    """
    for migration in steps(stored.class_version, stored.moon_zoo, stored.where, cls):
        inputs = stored.inputs
        if inputs is not None and migration.inputs is not None:
            inputs = migration.inputs(dict(inputs))
        stored = replace(
            stored,
            class_version=migration.from_version + 1,
            weights=migration.rename(stored.weights),
            init_args=None if stored.init_args is None else migration.rename_arguments(stored.init_args),
            inputs=inputs,
        )
    return stored


def steps(version: int, moon_zoo: str, where: str, cls: type[ZooModule]) -> list[Migration]:
    """The migrations from ``version`` to that of ``cls``, in order.

    Raises:
        CheckpointError: ``version`` is newer, or one in between has no migration.
    """
    from moon_zoo import __version__

    if version > cls.checkpoint_version:
        raise CheckpointError(
            f"this checkpoint is of version {version} of {cls.__name__}, this installation knows versions up to "
            f"{cls.checkpoint_version}",
            where=where,
            change=f"the installed package, to a newer one: the checkpoint was written with moon-zoo {moon_zoo}, "
            f"this is {__version__}",
        )
    table = {migration.from_version: migration for migration in cls.migrations}
    for missing in (number for number in range(version, cls.checkpoint_version) if number not in table):
        raise CheckpointError(
            f"this checkpoint is of version {version} of {cls.__name__}, and nothing says how version {missing} "
            f"becomes version {missing + 1}",
            where=where,
            change=f"{cls.__name__}.migrations, by one from version {missing}; or the installed version",
        )
    return [table[number] for number in range(version, cls.checkpoint_version)]
