"""Which class a checkpoint may have built: one that is registered, already imported, or asked for by the caller.

The class path in a checkpoint is somebody else's word, and importing a module runs it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from moon_zoo import registry
from moon_zoo.errors import CheckpointError

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule


def class_path(cls: type) -> str:
    """The dotted path of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def find_class(path: str, cls: type[ZooModule], where: str) -> type[ZooModule]:
    """The class to build for a checkpoint of the class at ``path``.

    Args:
        path: The dotted path that the checkpoint names.
        cls: What the caller asked for: `ZooModule` for whatever it is, or a class that must suit.
        where: The checkpoint, for messages.

    Returns:
        ``cls`` where it is the stored class or a subclass of it; else the stored class, if it is a subclass of ``cls``.

    Raises:
        CheckpointError: It is another class, or one that would have to be imported on the checkpoint's word.
    """
    if path in map(class_path, cls.__mro__):
        return cls
    found = _known_class(path)
    if found is None:
        raise CheckpointError(
            f"this checkpoint is of {path}, which is neither registered nor imported"
            + ("" if cls is base_class() else f", and {cls.__name__} is no subclass of it"),
            where=where,
            change=f"the program: import {path.rpartition('.')[0]} first; or install the package that registers it "
            "(entry points moon_zoo.models). It is not imported on a checkpoint's word, since importing runs code",
        )
    if not issubclass(found, cls):
        raise CheckpointError(
            f"this checkpoint is of {path}, not of {class_path(cls)}",
            where=where,
            change=f"the checkpoint; or load it with {found.__name__}.from_pretrained",
        )
    return found


def _known_class(path: str) -> type[ZooModule] | None:
    """A registered or imported model class at ``path``; None where there is none yet."""
    package = path.partition(".")[0]
    entries = registry.entries("models").values()
    # A package may register a class under a shorter path than that of the module which defines it.
    for entry in sorted(entries, key=lambda entry: entry.class_path != path):
        if entry.class_path.partition(".")[0] == package and (entry.class_path == path or package != "moon_zoo"):
            loaded = entry.load()
            if path in (entry.class_path, class_path(loaded)):
                return cast("type[ZooModule]", loaded)
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) and issubclass(found, base_class()) else None


def writer_class(path: str | None, cls: type[ZooModule]) -> type[ZooModule]:
    """The class among the bases of ``cls`` that wrote a checkpoint: its versions are the ones that count."""
    bases = [base for base in cls.__mro__ if issubclass(base, base_class())]
    return next((base for base in bases if class_path(base) == path), cls)


def base_class() -> type[ZooModule]:
    """`ZooModule`, which imports torch, only once it is needed."""
    from moon_zoo.models.base import ZooModule

    return ZooModule
