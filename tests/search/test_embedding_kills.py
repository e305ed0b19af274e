"""An embedding run that is killed, anywhere: running it again gives the same files, and nothing half made is read between."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.embeddings import Embeddings
from moon_zoo.errors import DataError
from moon_zoo.models import pretrained
from moon_zoo.models.base import ZooModule
from moon_zoo.search.embedding import Settings, embed
from tests.conftest import write_products


@pytest.fixture(scope="module")
def module(tiny_checkpoint: Path) -> ZooModule:
    return pretrained.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_products(tmp_path_factory.mktemp("kills") / "set", 10, max_samples=4, photos=1)


def run(module: ZooModule, shards: Path, to: Path, dtype: str = "float32", num_workers: int = 0) -> None:
    settings = Settings(batch_size=2, num_workers=num_workers, device="cpu", dtype=dtype)  # type: ignore[arg-type]
    embed(module, [str(shards)], to, source="tiny", settings=settings)


def in_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Run in a forked process, killed after so many seconds; its exit code."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(kill_after)
    if child.is_alive():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def die_at(step: int, work: Callable[[], None], folder: Path) -> Callable[[], None]:
    """The work, in a process that kills itself before its ``step``-th touch of a file in the folder."""

    def doomed() -> None:
        touches = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal touches
            if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(folder) in str(arguments[0]):
                touches += 1
                if touches == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work()

    return doomed


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".embed.lock"}


def readable(folder: Path) -> dict[str, bytes] | None:
    """The files, where the folder can be read; None where it says that it is not complete."""
    try:
        Embeddings(folder, verify=True).vectors("product")
    except DataError:
        return None
    return files(folder)


@pytest.mark.parametrize("before", [None, "float16"], ids=["new", "over others"])
def test_killed_at_every_touch_of_a_file(module: ZooModule, shards: Path, tmp_path: Path, before: str | None) -> None:
    run(module, shards, tmp_path / "whole")
    whole = files(tmp_path / "whole")
    old = None
    deaths = 0
    while True:
        folder = tmp_path / f"killed-{deaths}"
        if before is not None:
            run(module, shards, folder, before)
            old = files(folder)
        code = in_child(die_at(deaths + 1, lambda to=folder: run(module, shards, to), folder))  # type: ignore[misc]
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
        # What can be read in between is all old or all new, never some of each.
        assert readable(folder) in (None, old, whole)
        run(module, shards, folder)
        assert files(folder) == whole
    # Each of the 3 parts is synchronised, hashed and renamed, and the index written and renamed: there was something to kill.
    assert deaths >= 3 * 3 + 2


def test_killed_at_any_time_again_and_again(module: ZooModule, shards: Path, tmp_path: Path) -> None:
    run(module, shards, tmp_path / "whole")
    random.seed(3)
    codes = []
    for _ in range(12):
        codes.append(
            in_child(lambda: run(module, shards, tmp_path / "killed", num_workers=1), random.uniform(0.01, 0.25))
        )
        if codes[-1] == 0:
            break
    run(module, shards, tmp_path / "killed")
    assert -signal.SIGKILL in codes
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_the_command_goes_on_after_a_kill(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = write_products(tmp_path / "set", 60, max_samples=2, photos=1)
    words = [sys.executable, "-m", "moon_zoo.cli.main", "embed", str(tiny_checkpoint), str(shards)]
    words += ["--num-workers", "0", "--batch-size", "1", "--device", "cpu", "--to"]
    with subprocess.Popen([*words, str(tmp_path / "killed")], stderr=subprocess.PIPE, text=True) as process:
        for _ in range(3000):
            if (tmp_path / "killed" / "part-00003.parquet").exists() or process.poll() is not None:
                break
            time.sleep(0.01)
        process.kill()
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == -signal.SIGKILL, told
    made = list((tmp_path / "killed").glob("part-*.parquet"))
    assert 4 <= len(made) < 30
    with pytest.raises(DataError, match="not complete"):
        Embeddings(tmp_path / "killed")
    assert main([*words[3:], str(tmp_path / "killed")]) == 0
    assert f"; {len(made)} were there already" in capsys.readouterr().err
    assert main([*words[3:], str(tmp_path / "whole")]) == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
