"""Carries a study's steps out, once each: a study that was killed anywhere goes on where it was.

Every finished step leaves ``steps/<name>.json``, written in one rename: its command, its key (`moon_zoo.studies.steps`), how
long it took and what it measured. A step whose record has its key, and whose folder is still there, is not done again. What a
killed step left behind is removed before it is tried again, but for commands that go on with it (`Step.goes_on`), whose
``steps/<name>.begun`` says that it was of the same key; nothing outside of the study's folder is ever removed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from moon_zoo.errors import Faults, UsageError, ZooError
from moon_zoo.studies.steps import Step, keys, ordered, relative

STUDY = "study.json"
RECORDS = "steps"

Execute = Callable[[Step], Mapping[str, Any]]
"""Carries a command out and returns what it measured, as plain values; raises `ZooError` for what it refuses."""

Told = Callable[["Event"], None]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell whoever watches.

    Args:
        what: ``begins``, ``ends`` or ``kept``: it was finished before.
        step: Which step.
        number: Of the step, from 1.
        total: Of all steps.
        seconds: How long it took; 0 where it begins.
        left: Roughly how long the remaining steps will take.
    """

    what: str
    step: Step
    number: int
    total: int
    seconds: float
    left: float


@dataclass(frozen=True, slots=True)
class Record:
    """A finished step.

    Args:
        name: The step's.
        command: As typed.
        words: The command's, with the study's folder replaced by a mark.
        key: What it depended on.
        seconds: How long it took.
        result: What it measured.
    """

    name: str
    command: str
    words: list[str]
    key: str
    seconds: float
    result: dict[str, Any]


class Folder:
    """A study's folder.

    Args:
        path: The folder, which need not exist.

    Raises:
        UsageError: Something else is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            raise UsageError(f"{path} is a file", where="--to", change="--to a folder")
        if path.is_dir() and any(path.iterdir()) and not (path / STUDY).is_file():
            raise UsageError(
                f"{path} holds other files, but no study to go on with",
                where="--to",
                change="--to a new folder, or to that of a study",
            )

    @property
    def study(self) -> Path:
        """What the study was asked for, and in the end what it found."""
        return self.path / STUDY

    def begin(self, about: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder and note whose it is, before anything else is written.

        Args:
            about: ``study``: which one; further plain values.
            overwrite: Whether steps made by other commands may be replaced.

        Raises:
            UsageError: Another study is there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        there = self.read()
        if there.get("study", about["study"]) != about["study"] and not overwrite:
            raise UsageError(
                f"{self.path} holds the study {there['study']!r}, not {about['study']!r}",
                where="--to",
                change="--to another folder",
            )
        write_json(self.study, {**there, **about})

    def read(self) -> dict[str, Any]:
        """``study.json``; empty where it is missing or cannot be read, which a half-copied one cannot."""
        return _read(self.study)

    def record(self, step: Step) -> Record | None:
        """What a step left behind; None where there is nothing, or nothing whole."""
        found = _read(self._record_path(step))
        try:
            return Record(**{name: found[name] for name in Record.__dataclass_fields__})
        except KeyError:
            return None

    def finished(self, step: Step, key: str) -> Record | None:
        """The record of a step that need not be done again."""
        record = self.record(step)
        return record if record is not None and record.key == key else None

    def has(self, step: Step) -> bool:
        """Whether what a step made is still there; True for one that makes nothing."""
        return step.writes is None or (step.writes.is_dir() and any(step.writes.iterdir()))

    def clear(self, step: Step) -> None:
        """Remove what a step left behind, whole or not."""
        self._record_path(step).unlink(missing_ok=True)
        if step.writes is not None:
            if self.path.resolve() not in step.writes.resolve().parents:
                raise ValueError(f"{step.name} writes to {step.writes}, outside of {self.path}")
            shutil.rmtree(step.writes, ignore_errors=True)

    def make_room(self, step: Step, key: str) -> None:
        """Remove what a step left behind, unless its command goes on with it and it depended on the same."""
        begun = self._begun_path(step.name)
        if not step.goes_on or _read(begun).get("key") != key:
            self.clear(step)
        if step.goes_on:
            write_json(begun, {"key": key})

    def keep(self, record: Record) -> None:
        """Note a finished step, in one rename."""
        path = self.path / RECORDS / f"{record.name}.json"
        write_json(path, {name: getattr(record, name) for name in Record.__dataclass_fields__})
        self._begun_path(record.name).unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one process works in the folder at a time.

        Raises:
            UsageError: Another one does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"another process is at the study in {self.path}",
                where="--to",
                change="--to another folder, or wait for it",
            ) from None
        try:
            yield
        finally:
            lock.release(force=True)

    def _record_path(self, step: Step) -> Path:
        return self.path / RECORDS / f"{step.name}.json"

    def _begun_path(self, name: str) -> Path:
        return self.path / RECORDS / f"{name}.begun"


def state(steps: Sequence[Step], folder: Folder) -> dict[str, Record | None]:
    """Every step by name, with its record where it need not be done again.

    A folder that is gone is made again only if a step that is to be done needs it: whoever has his figures may delete it.
    """
    known = keys(ordered(steps), folder.path)
    found: dict[str, Record | None] = {}
    wanted: set[str] = set()
    for step in reversed(steps):
        record = folder.finished(step, known[step.name])
        found[step.name] = record if folder.has(step) or step.name not in wanted else None
        if found[step.name] is None:
            wanted |= set(step.needs)
    return {step.name: found[step.name] for step in steps}


def require_same_study(steps: Sequence[Step], folder: Folder) -> None:
    """Refuse to replace finished work of other settings.

    Raises:
        UsageError: A step of that name was finished by another command.
    """
    for step in steps:
        record = folder.record(step)
        if record is not None and record.words != relative(step, folder.path):
            raise UsageError(
                f"{folder.path} holds a study of other settings: the step {step.name} was made by another command",
                where=f"then {record.command}\n          now  {step.command}",
                change="--to another folder, or --overwrite to do such steps again",
            )


def carry_out(
    steps: Sequence[Step], folder: Folder, execute: Execute, *, told: Told | None = None
) -> dict[str, Record]:
    """Do every step that is not finished, in order.

    Args:
        steps: Each after those it needs.
        folder: The study's.
        execute: Carries one command out.
        told: Hears of every step.

    Returns:
        Name to record, of every step.

    Raises:
        ZooError: A command was refused; which one, and what it said. What was finished before stays.
    """
    steps = ordered(steps)
    known = keys(steps, folder.path)
    finished = state(steps, folder)
    found: dict[str, Record] = {}
    pace = _Pace()

    def tell(what: str, place: int, seconds: float) -> None:
        if told is not None:
            rest = [later for later in steps[place + (what != "begins") :] if finished[later.name] is None]
            told(Event(what, steps[place], place + 1, len(steps), seconds, pace.of(rest)))

    for place, step in enumerate(steps):
        record = finished[step.name]
        if record is not None:
            found[step.name] = record
            tell("kept", place, record.seconds)
            continue
        folder.make_room(step, known[step.name])
        tell("begins", place, 0.0)
        began = time.monotonic()
        try:
            result = dict(execute(step))
        except ZooError as error:
            raise _about(step, error) from error
        seconds = round(time.monotonic() - began, 3)
        record = Record(step.name, step.command, relative(step, folder.path), known[step.name], seconds, result)
        folder.keep(record)
        finished[step.name] = found[step.name] = record
        pace.learn(step, record.seconds)
        tell("ends", place, record.seconds)
    return found


class _Pace:
    """How this machine compares with the estimates, by verb; of all verbs for one that has not been seen yet."""

    def __init__(self) -> None:
        self._expected: dict[str, float] = {}
        self._taken: dict[str, float] = {}

    def learn(self, step: Step, seconds: float) -> None:
        self._expected[step.verb] = self._expected.get(step.verb, 0.0) + step.seconds
        self._taken[step.verb] = self._taken.get(step.verb, 0.0) + seconds

    def of(self, steps: Sequence[Step]) -> float:
        whole = sum(self._taken.values()) / sum(self._expected.values()) if self._expected else 1.0
        return sum(
            step.seconds
            * (self._taken[step.verb] / self._expected[step.verb] if step.verb in self._expected else whole)
            for step in steps
        )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one rename, so that a killed study leaves none in part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _about(step: Step, error: ZooError) -> ZooError:
    """The error with the step it came from; several faults of one check keep their list."""
    place = f"the step {step.name} of the study: {step.command}"
    if isinstance(error, Faults):
        return UsageError(f"{error}", where=place, change="what the study was asked for, or the recipe")
    return type(error)(
        error.what,
        where=place if error.where is None else f"{error.where}\n          in {place}",
        change=error.change,
        suggestions=error.suggestions,
    )
