"""A run's folder: where it is, what lies in it, and which of it may be written.

``runs/<recipe name>/<number>`` unless ``--run`` says where; see `docs/architecture.md` for its contents.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path

from moon_zoo.errors import CheckpointError, UsageError

RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside one run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The recipe as it was run, every default written out."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions and hardware of the fit."""
        return self.path / "environment.json"

    @property
    def metrics_csv(self) -> Path:
        """Figures over time."""
        return self.path / "metrics.csv"

    @property
    def metrics_json(self) -> Path:
        """Final figures, flat."""
        return self.path / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        """Holds ``best.ckpt`` and ``last.ckpt``."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.checkpoints / "last.ckpt"

    @property
    def report(self) -> Path:
        """Pictures."""
        return self.path / "report"

    def commands(self) -> list[str]:
        """The commands that made this run and went on with it, from the comment on top of its ``config.yaml``."""
        lines = self.config.read_text("utf-8").splitlines() if self.config.is_file() else []
        return [line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# moon-zoo "), lines)]

    def given(self, *options: str) -> list[str]:
        """What those commands gave for any of some options, such as ``--config``."""
        words = [word for command in self.commands() for word in shlex.split(command)]
        parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
        return [word for option, word in pairwise(parts) if option in options]

    def checkpoint(self, name: str) -> Path:
        """``best``, ``last`` or a path, as a file that exists.

        Raises:
            CheckpointError: There is no such checkpoint.
        """
        path = self.checkpoints / f"{name}.ckpt" if name in ("best", "last") else Path(name)
        if path.exists():
            return path
        there = sorted(found.stem for found in self.checkpoints.glob("*.ckpt"))
        raise CheckpointError(
            f"there is no checkpoint {path}",
            change=f"--ckpt_path; this run has {', '.join(there)}"
            if there
            else "--run to the folder of a finished fit",
        )


def is_main_process() -> bool:
    """False in the further processes that Lightning or torchrun start for other devices."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) or 0) == 0


def for_fit(recipe: str, run: str | None, resume: bool) -> RunFolder:
    """The folder a fit writes to, made.

    Args:
        recipe: The recipe's name.
        run: ``--run``.
        resume: ``--resume``.

    Raises:
        UsageError: The folder is taken, or nothing is there to resume.
    """
    if resume:
        return _resumed(run)
    if run is None:
        return new(recipe)
    folder = RunFolder(Path(run))
    if folder.path.is_file():
        raise UsageError(f"{run} is a file", where="--run", change="--run to a folder")
    if is_main_process() and folder.path.is_dir() and any(folder.path.iterdir()):
        raise UsageError(
            f"the run folder {run} is not empty",
            change=f"--run to another folder; or `moon-zoo fit --run {run} --resume` to go on with that run",
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def _resumed(run: str | None) -> RunFolder:
    if run is None:
        raise UsageError("--resume needs to know which run to go on with", change="--run to its folder")
    folder = existing(run)
    if not folder.last.exists():
        raise CheckpointError(
            f"nothing to resume: {folder.last} is not there", change="--resume: leave it out and fit into a new folder"
        )
    return folder


def existing(run: str) -> RunFolder:
    """The folder of an earlier fit.

    Raises:
        UsageError: It is not one.
    """
    folder = RunFolder(Path(run))
    if folder.config.is_file():
        return folder
    parent = folder.path if folder.path.is_dir() else folder.path.parent
    near = sorted(str(found.parent) for found in parent.glob("*/config.yaml"))[:3]
    raise UsageError(
        f"{run} is no run's folder: it has no config.yaml",
        suggestions=near,
        change="--run to a folder that `moon-zoo fit` wrote",
    )


def new(recipe: str) -> RunFolder:
    """A fresh ``runs/<recipe>/<number>``, one above the highest there.

    Raises:
        UsageError: Several processes were started from outside, which could not agree on a number.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MOON_ZOO_RUN" not in os.environ:
        raise UsageError("several processes need to agree on the run's folder", change="--run to a folder")
    if not is_main_process() and "MOON_ZOO_RUN" in os.environ:
        return RunFolder(Path(os.environ["MOON_ZOO_RUN"]))
    base = RUNS / recipe
    base.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(found.name) for found in base.iterdir() if found.name.isdigit()), default=0)
    while True:
        try:
            (base / str(number)).mkdir()
        except FileExistsError:  # another fit took it meanwhile
            number += 1
        else:
            # Processes that Lightning starts for other devices repeat the command; they inherit this.
            os.environ["MOON_ZOO_RUN"] = str(base / str(number))
            return RunFolder(base / str(number))
