"""Ctrl-C and SIGTERM: real processes, real signals, and what the resumed run trains on."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from moon_zoo.cli.main import main

START_SECONDS = 120


def wait_for_steps(process: subprocess.Popen[str], log: Path, steps: int) -> None:
    end = time.monotonic() + START_SECONDS
    while not (log.is_file() and len(log.read_text().splitlines()) >= steps):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the fit did not begin"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "steps", "pause"),
    [(signal.SIGINT, 3, 0.0), (signal.SIGTERM, 10, 0.35)],
    ids=["ctrl-c in mid-epoch", "sigterm in a validation"],
)
def test_stopped_fit_resumes_as_if_never_stopped(
    recipe: Path, here: Path, start: Callable[..., subprocess.Popen[str]], number: int, steps: int, pause: float
) -> None:
    delay = ["--model.delay_seconds", "0.3"]
    process = start("fit", "--config", "tiny.yaml", "--run", "r", "--model.log_to", "r.txt", *delay)
    wait_for_steps(process, here / "r.txt", steps)
    time.sleep(pause)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "resume: moon-zoo fit --run r --resume" in err
    assert len((here / "r.txt").read_text().splitlines()) < 20

    assert main(["fit", "--run", "r", "--resume", "--model.delay_seconds", "0", "--quiet"]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--run", "whole", "--model.log_to", "whole.txt", "--quiet"]) == 0
    assert (here / "r.txt").read_text() == (here / "whole.txt").read_text()
    for name in ("metrics.csv", "metrics.json"):
        assert (here / "r" / name).read_text() == (here / "whole" / name).read_text()


def test_killed_fit_resumes_from_its_last_checkpoint(
    recipe: Path, here: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """kill -9 in the second epoch: the rows after the checkpoint are logged again, once."""
    delay = ["--model.delay_seconds", "0.2"]
    process = start("fit", "--config", "tiny.yaml", "--run", "r", "--model.log_to", "r.txt", *delay)
    wait_for_steps(process, here / "r.txt", 14)
    process.kill()
    process.communicate()
    assert main(["fit", "--run", "r", "--resume", "--model.delay_seconds", "0", "--quiet"]) == 0
    lines = (here / "r" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [str(step) for step in range(20)]
