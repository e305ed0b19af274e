"""Steps are done once, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from moon_zoo.errors import DataError, UsageError
from moon_zoo.studies.running import Event, Folder, carry_out, require_same_study, state
from moon_zoo.studies.steps import Step, keys, ordered, overrides, version_of, words


def steps_in(folder: Path) -> list[Step]:
    """Two towers, each embedded, and a measurement of each."""
    found = []
    for name in ("a", "b"):
        fit = Step(f"{name}/fit", ("fit", "--run", str(folder / name)), writes=folder / name)
        found += [fit, Step(f"{name}/test", ("test", "--run", str(folder / name)), needs=(fit.name,))]
    return found


class Worker:
    """Does steps: makes their folders and notes their names."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, step: Step) -> dict[str, Any]:
        self.done.append(step.name)
        if step.writes is not None:
            step.writes.mkdir(parents=True)
            (step.writes / "weights").write_text(step.name)
        return {"figure": len(self.done)}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "study")
    made.begin({"study": "a test"})
    return made


def test_finished_steps_are_not_done_again(folder: Folder) -> None:
    steps, first, second = steps_in(folder.path), Worker(), Worker()
    records = carry_out(steps, folder, first)
    assert first.done == ["a/fit", "a/test", "b/fit", "b/test"]
    assert records["a/test"].result == {"figure": 2}
    assert carry_out(steps, folder, second)["a/test"] == records["a/test"]
    assert second.done == []


def test_a_refused_step_is_named_and_what_came_before_stays(folder: Folder) -> None:
    steps = steps_in(folder.path)

    def refuses(step: Step) -> dict[str, Any]:
        if step.name == "b/fit":
            raise DataError("a shard is missing", where="train-000001.tar", change="the set")
        return Worker()(step)

    with pytest.raises(DataError) as caught:
        carry_out(steps, folder, refuses)
    assert caught.value.what == "a shard is missing"
    assert "train-000001.tar" in str(caught.value)
    assert "the step b/fit of the study: moon-zoo fit --run" in str(caught.value)
    worker = Worker()
    carry_out(steps, folder, worker)
    assert worker.done == ["b/fit", "b/test"]


def test_a_killed_study_goes_on_where_it_was(tmp_path: Path) -> None:
    """A real process, killed in the middle of its third step, after that step wrote half of its folder."""
    script = tmp_path / "study.py"
    script.write_text(
        """
import sys, time
from pathlib import Path
from moon_zoo.studies.running import Folder, carry_out
from tests.studies.test_running import steps_in

root = Path(sys.argv[1])
log = root.with_name("log")

def execute(step):
    with log.open("a") as file:
        print(step.name, file=file)
    if step.writes is not None:
        step.writes.mkdir(parents=True)  # fails where half of it was left
        (step.writes / "weights").write_text("half")
    if step.name == "b/fit" and len(sys.argv) > 2:
        log.with_name("in the middle").touch()
        time.sleep(60)
    return {}

folder = Folder(root)
with folder.alone():
    folder.begin({"study": "a test"})
    carry_out(steps_in(root), folder, execute)
"""
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    root = tmp_path / "study"
    first = subprocess.Popen([sys.executable, str(script), str(root), "slowly"], env=environment)
    while not (tmp_path / "in the middle").exists():
        assert first.poll() is None
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    subprocess.run([sys.executable, str(script), str(root)], env=environment, check=True)
    done = (tmp_path / "log").read_text().split("\n")
    assert done == ["a/fit", "a/test", "b/fit", "b/fit", "b/test", ""]


def test_a_step_that_goes_on_keeps_what_a_killed_one_left_while_it_depends_on_the_same(folder: Folder) -> None:
    def half(step: Step) -> dict[str, Any]:
        assert step.writes is not None
        step.writes.mkdir(parents=True, exist_ok=True)
        left = sorted(file.name for file in step.writes.iterdir())
        (step.writes / f"part-{len(left)}").touch()
        if step.words[-1] == "breaks":
            raise KeyboardInterrupt
        return {"left": left}

    def step(*words: str, goes_on: bool) -> Step:
        return Step("half", ("fit", *words), writes=folder.path / "half", reads=("outside",), goes_on=goes_on)

    for goes_on, last, left in ((True, "breaks", ["part-0"]), (False, "breaks", []), (True, "otherwise", [])):
        with pytest.raises(KeyboardInterrupt):
            carry_out([step("breaks", goes_on=goes_on)], folder, half)
        with contextlib.suppress(KeyboardInterrupt):
            carry_out([step(last, goes_on=goes_on)], folder, half)
        there = sorted(file.name for file in (folder.path / "half").iterdir())
        assert there[:-1] == left, (goes_on, last)
        folder.clear(step(goes_on=goes_on))
        (folder.path / "steps" / "half.begun").unlink(missing_ok=True)


def test_a_folder_that_is_gone_is_made_again_only_where_it_is_needed(folder: Folder) -> None:
    steps = steps_in(folder.path)
    carry_out(steps, folder, Worker())
    shutil.rmtree(folder.path / "a")
    worker = Worker()
    carry_out(steps, folder, worker)
    assert worker.done == []
    (folder.path / "steps" / "a" / "test.json").unlink()
    carry_out(steps, folder, worker)
    assert worker.done == ["a/fit", "a/test"]


def test_a_record_that_is_cut_off_counts_for_nothing(folder: Folder) -> None:
    steps = steps_in(folder.path)
    carry_out(steps, folder, Worker())
    record = folder.path / "steps" / "b" / "test.json"
    record.write_text(record.read_text()[:40])
    worker = Worker()
    carry_out(steps, folder, worker)
    assert worker.done == ["b/test"]


def test_what_a_step_reads_from_outside_counts(folder: Folder, tmp_path: Path) -> None:
    manifest = tmp_path / "shards" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("{}")
    steps = [
        Step("fit", ("fit",), writes=folder.path / "run", reads=(str(manifest.parent),)),
        Step("test", ("test",), needs=("fit",)),
        Step("other", ("other",)),
    ]
    carry_out(steps, folder, Worker())
    manifest.write_text('{"samples": 1}')
    worker = Worker()
    carry_out(steps, folder, worker)
    assert worker.done == ["fit", "test"]


def test_a_study_may_be_moved(folder: Folder, tmp_path: Path) -> None:
    carry_out(steps_in(folder.path), folder, Worker())
    folder.path.rename(tmp_path / "elsewhere")
    moved = Folder(tmp_path / "elsewhere")
    worker = Worker()
    require_same_study(steps_in(moved.path), moved)
    carry_out(steps_in(moved.path), moved, worker)
    assert worker.done == []


def test_work_of_other_settings_is_not_replaced_unasked(folder: Folder) -> None:
    carry_out(steps_in(folder.path), folder, Worker())
    others = [Step("a/fit", ("fit", "--trainer.max_steps", "3"), writes=folder.path / "a")]
    with pytest.raises(UsageError, match="step a/fit was made by another command") as caught:
        require_same_study(others, folder)
    assert "now  moon-zoo fit --trainer.max_steps 3" in str(caught.value)
    require_same_study(steps_in(folder.path), folder)


def test_other_folders_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(UsageError, match="holds other files, but no study"):
        Folder(tmp_path / "photos")
    with pytest.raises(UsageError, match="is a file"):
        Folder(tmp_path / "photos" / "one.jpg")


def test_another_study_s_folder_is_not_taken(folder: Folder) -> None:
    with pytest.raises(UsageError, match="holds the study 'a test', not 'scaling'"):
        Folder(folder.path).begin({"study": "scaling"})


def test_nothing_outside_of_the_study_is_ever_removed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="outside"):
        carry_out([Step("fit", ("fit",), writes=tmp_path / "mine")], folder, Worker())
    assert (tmp_path / "mine").is_dir()


def test_two_processes_do_not_work_in_one_folder(folder: Folder) -> None:
    with folder.alone(), pytest.raises(UsageError, match="another process"), Folder(folder.path).alone():
        pass


def test_who_watches_hears_how_much_is_left(folder: Folder) -> None:
    steps = [Step(str(number), ("fit",), seconds=10.0) for number in range(3)]
    heard: list[Event] = []
    carry_out(steps, folder, Worker(), told=heard.append)
    assert [(event.what, event.number) for event in heard] == [
        (what, number) for number in (1, 2, 3) for what in ("begins", "ends")
    ]
    assert heard[0].left == 30.0
    assert heard[1].left < 1.0  # steps go faster than was thought, so the rest will
    assert heard[-1].left == 0.0


def test_state_tells_what_is_left(folder: Folder) -> None:
    steps = steps_in(folder.path)
    carry_out(steps[:2], folder, Worker())
    assert [name for name, record in state(steps, folder).items() if record is None] == ["b/fit", "b/test"]


def test_order_and_names_are_checked() -> None:
    with pytest.raises(ValueError, match="does not come before"):
        ordered([Step("test", ("test",), needs=("fit",)), Step("fit", ("fit",))])
    with pytest.raises(ValueError, match="two steps are called fit"):
        ordered([Step("fit", ("fit",)), Step("fit", ("fit",))])


def test_a_version_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"1")
    before = version_of(str(tmp_path / "model"))
    os.utime(tmp_path / "model" / "weights", (1, 1))
    assert version_of(str(tmp_path / "model")) == before
    (tmp_path / "model" / "weights").write_bytes(b"2")
    assert version_of(str(tmp_path / "model")) != before
    assert version_of("https://example.org/a") != version_of("https://example.org/b")


def test_keys_change_with_commands_and_with_those_of_what_is_needed(tmp_path: Path) -> None:
    def found(rate: str) -> dict[str, str]:
        return keys(
            [Step("fit", ("fit", "--rate", rate)), Step("test", ("test",), needs=("fit",)), Step("x", ("x",))], tmp_path
        )

    assert found("1")["x"] == found("2")["x"]
    assert found("1")["test"] != found("2")["test"]


def test_options_become_words() -> None:
    assert words("fit", "a", data__train="x y", none=None) == ("fit", "a", "--data.train", "x y")
    assert overrides(["trainer.max_steps=3"], "--tower") == ("--trainer.max_steps", "3")
    for wrong in ("trainer.max_steps", "optimizer.lr=1"):
        with pytest.raises(UsageError, match=wrong):
            overrides([wrong], "--tower")


def test_records_are_plain_json(folder: Folder) -> None:
    carry_out(steps_in(folder.path), folder, Worker())
    record = json.loads((folder.path / "steps" / "a" / "fit.json").read_text())
    assert set(record) == {"name", "command", "words", "key", "seconds", "result"}
