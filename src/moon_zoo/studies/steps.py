"""A study's steps: ordinary commands, each with what it needs, and the key that says when a finished one still counts.

The key of a step is a hash of its command, of the keys of the steps it needs, of what it reads from outside the study
(recipes as they are merged, checkpoints, manifests) and of the package's version. Paths inside of the study's folder count
relative to it, so that a study may be moved, or be named by another path.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import moon_zoo
from moon_zoo.errors import UsageError

FORMAT = 1
"""Of what a step leaves behind; other formats are not taken for finished."""

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Args:
        name: Unique in its study, with slashes, such as ``ctr/steps-100/seed-0/test``; of what its record is called.
        words: The command without ``moon-zoo``.
        writes: The folder it makes; removed before the command is tried again. None where it only measures.
        needs: Names of the steps that must be finished before.
        reads: Files, folders and contents from outside of the study that the command depends on; see `version_of`.
        seconds: How long it takes on two cores, roughly.
        goes_on: Whether the command goes on with what a killed one left in ``writes``, which is otherwise removed.
    """

    name: str
    words: tuple[str, ...]
    writes: Path | None = None
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    seconds: float = 1.0
    goes_on: bool = False

    @property
    def verb(self) -> str:
        """``fit``, ``embed`` and so on."""
        return self.words[0]

    @property
    def command(self) -> str:
        """What one would type."""
        return shlex.join(["moon-zoo", *self.words])


def ordered(steps: Iterable[Step]) -> list[Step]:
    """The steps, each after those it needs, otherwise as given.

    Raises:
        ValueError: A name is there twice, or a step needs one that is not there or comes later: a fault of ours.
    """
    seen: set[str] = set()
    found = []
    for step in steps:
        if step.name in seen:
            raise ValueError(f"two steps are called {step.name}")
        missing = [name for name in step.needs if name not in seen]
        if missing:
            raise ValueError(f"{step.name} needs {missing[0]}, which does not come before it")
        seen.add(step.name)
        found.append(step)
    return found


def keys(steps: Sequence[Step], folder: Path) -> dict[str, str]:
    """Every step's key, by name.

    Args:
        steps: In order, as `ordered` gives them.
        folder: The study's.
    """
    found: dict[str, str] = {}
    versions: dict[str, str] = {}
    for step in steps:
        for path in step.reads:
            if path not in versions:
                versions[path] = version_of(path)
        parts = {
            "format": FORMAT,
            "moon_zoo": moon_zoo.__version__,
            "words": relative(step, folder),
            "needs": [found[name] for name in step.needs],
            "reads": [versions[path] for path in step.reads],
        }
        found[step.name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return found


def relative(step: Step, folder: Path) -> list[str]:
    """A step's words with the study's folder replaced by a mark, where a path begins with it."""
    prefix = re.compile(rf"^{re.escape(str(folder))}(?=/|$)")
    return [prefix.sub("{study}", word) for word in step.words]


def version_of(path: str) -> str:
    """What tells one content from another: a set by its manifest, other folders and files by their bytes.

    Args:
        path: A file or folder; what is neither (a URL, the text of a recipe) counts as its own text.
    """
    place = Path(path) if len(path) < 1000 and "\n" not in path else None
    if place is None or not place.exists():
        return _hash(path.encode())
    if (place / MANIFEST).is_file():
        return _hash((place / MANIFEST).read_bytes())
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(place)).encode() + b"\0")
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def words(verb: str, *positional: str | Path, **options: object) -> tuple[str, ...]:
    """A command from a verb and options: ``data__train="x"`` becomes ``--data.train x``; what is None is left out."""
    found = [verb, *map(str, positional)]
    for name, value in options.items():
        if value is not None:
            found += ["--" + name.replace("__", "."), *([] if value is True else [str(value)])]
    return tuple(found)


def overrides(pairs: Sequence[str], option: str) -> tuple[str, ...]:
    """``KEY=VALUE`` settings of a recipe, as words of a command.

    Args:
        pairs: Such as ``model.image_size=64``.
        option: Where they were given, for messages.

    Raises:
        UsageError: One has no value or is no key of a recipe.
    """
    found: list[str] = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key.split(".")[0] not in ("model", "data", "trainer", "seed_everything"):
            raise UsageError(
                f"{pair!r} is no setting of a recipe",
                where=option,
                change=f"{option} KEY=VALUE, such as {option} trainer.max_steps=200",
            )
        found += [f"--{key}", value]
    return tuple(found)


def seconds_of(steps: Iterable[Step]) -> float:
    """Roughly how long they take together, on two cores."""
    return sum(step.seconds for step in steps)


def counts(steps: Iterable[Step]) -> Mapping[str, int]:
    """How many there are of each verb."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.verb] = found.get(step.verb, 0) + 1
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
