"""Two gloo processes of a test module's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_two(module: str, folder: Path) -> None:
    """Run ``python -m module RANK 2 STORE FOLDER`` as rank 0 and rank 1 until both have ended well.

    Args:
        module: A module that joins a gloo group over the file STORE and writes what it finds into FOLDER.
        folder: An empty folder.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(rank), "2", str(folder / "store"), str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs):
        assert process.returncode == 0, output
