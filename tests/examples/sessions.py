"""Commands run one after another in one fresh process, against packages installed into a folder.

A process per command would import torch each time, five seconds of nothing; one process per session still is a process that
knows nothing of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_RUNNER = """
import contextlib, io, json, sys
steps, path = json.load(open(sys.argv[1])), sys.argv[2]
results = []
for step in steps:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if isinstance(step, str):
            code = 0
            exec(compile(step, "session", "exec"), {"__name__": "__main__"})
        else:
            from moon_zoo.cli.main import main
            code = main(step)
    results.append([code, out.getvalue(), err.getvalue()])
    json.dump(results, open(path, "w"))
"""


@dataclass(frozen=True)
class Ran:
    """What a step did.

    Args:
        code: Exit code; 0 for Python code that raised nothing.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str


def install(project: Path, site: Path) -> Path:
    """Build ``project``'s wheel from a copy of nothing but what is there, and unpack it into ``site``, without dependencies."""
    site.mkdir(parents=True, exist_ok=True)
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--target", str(site), str(project)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return site


def environment(*sites: Path) -> dict[str, str]:
    """This process's environment, with packages found in ``sites`` first."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, sites)),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "HF_HUB_OFFLINE": "1",
    }


def session(steps: Sequence[Sequence[str] | str], folder: Path, *sites: Path) -> list[Ran]:
    """Run ``steps`` in ``folder`` by one fresh interpreter.

    Args:
        steps: Words after ``moon-zoo``, or a text of Python code.
        folder: Where to stand.
        sites: Folders with installed packages.

    Returns:
        One result per step. A step that raises ends the test with its traceback.
    """
    asked, told = folder / ".steps.json", folder / ".results.json"
    asked.write_text(json.dumps([step if isinstance(step, str) else list(step) for step in steps]))
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, str(asked), str(told)],
        cwd=folder,
        env=environment(*sites),
        capture_output=True,
        text=True,
        timeout=600,
    )
    ran = [Ran(*result) for result in json.loads(told.read_text())] if told.is_file() else []
    failed = steps[len(ran)] if len(ran) < len(steps) else None
    assert done.returncode == 0, f"{failed}\n{done.stderr}"
    return ran
