"""One file from elsewhere: whatever the source does, the file is right or there is none."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_zoo.data.fetch import Patience, WrongContent, fetch, part_of, read_small
from moon_zoo.data.streams import Interrupted, RangeIgnored

DATA = random.Random(0).randbytes(50_000)
SHA = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(attempts=4, backoff_seconds=0.0)

Step = tuple[str, int, int]
"""What a source does once: its fault, after how many bytes, in chunks of which size."""


class Source:
    """Reads `DATA`, with one fault after another; then it behaves."""

    def __init__(self, *steps: Step, data: bytes = DATA) -> None:
        self.steps = list(steps)
        self.data = data
        self.offsets: list[int] = []

    def __call__(self, offset: int) -> Generator[bytes, None, None]:
        self.offsets.append(offset)
        fault, after, size = self.steps.pop(0) if self.steps else ("none", 0, 8192)
        if fault == "no range" and offset:
            raise RangeIgnored("whole files only")
        rest = self.data[offset:]
        sent = rest if fault in ("none", "no range") else rest[:after]
        for start in range(0, len(sent), size):
            yield sent[start : start + size]
        if fault == "breaks":
            raise Interrupted("broke off")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["breaks", "ends", "no range"]), st.integers(0, 50_000), st.integers(1000, 30_000)),
        max_size=6,
    ),
    st.integers(0, 50_000),
    st.booleans(),
)
def test_whatever_a_source_does_the_file_is_right_or_there_is_none(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], left: int, damaged: bool
) -> None:
    path = tmp_path_factory.mktemp("fetch") / "file"
    part_of(path, SHA).write_bytes(bytes(left) if damaged else DATA[:left])
    try:
        fetch(Source(*steps), path, sha256=SHA, size=len(DATA), patience=QUICK)
    except (Interrupted, WrongContent):
        assert not path.exists()
    else:
        assert path.read_bytes() == DATA
        assert list(path.parent.iterdir()) == [path]


def test_break_goes_on_where_it_ended_and_reports_what_is_here(tmp_path: Path) -> None:
    source = Source(("breaks", 10_000, 4000), ("breaks", 5000, 5000))
    seen: list[int] = []
    fetch(source, tmp_path / "file", sha256=SHA, size=len(DATA), progress=seen.append, patience=QUICK)
    assert source.offsets == [0, 10_000, 15_000]
    assert seen[:6] == [0, 4000, 8000, 10_000, 15_000, 23_192] and seen[-1] == len(DATA)


def test_start_over_leaves_nothing_of_the_first_try_in_the_file(tmp_path: Path) -> None:
    # 3000 bytes are less than a writer's buffer: they must not land in front of the new start.
    fetch(
        Source(("breaks", 3000, 3000), ("no range", 0, 7000)),
        tmp_path / "a",
        sha256=SHA,
        size=len(DATA),
        patience=QUICK,
    )
    assert (tmp_path / "a").read_bytes() == DATA


def test_attempts_count_from_the_last_new_byte(tmp_path: Path) -> None:
    steps: list[Step] = [("breaks", 1000, 1000)] * 20
    fetch(Source(*steps), tmp_path / "file", sha256=SHA, size=len(DATA), patience=QUICK)
    stuck: list[Step] = [("breaks", 1000, 1000), *[("breaks", 0, 1)] * 20]
    source = Source(*stuck)
    with pytest.raises(Interrupted, match="tried 4 times"):
        fetch(source, tmp_path / "other", sha256=SHA, size=len(DATA), patience=QUICK)
    assert source.offsets == [0, 1000, 1000, 1000]


def test_size_may_be_unknown_and_files_may_be_empty(tmp_path: Path) -> None:
    assert fetch(Source(), tmp_path / "a", sha256=SHA).read_bytes() == DATA
    nothing = hashlib.sha256(b"").hexdigest()
    assert fetch(Source(data=b""), tmp_path / "b", sha256=nothing, size=0).read_bytes() == b""
    assert fetch(Source(data=b""), tmp_path / "c", sha256=nothing).read_bytes() == b""


def test_error_of_this_disk_is_not_tried_again(tmp_path: Path) -> None:
    source = Source()
    with pytest.raises(FileNotFoundError) as caught:
        fetch(source, tmp_path / "nowhere" / "file", sha256=SHA, size=len(DATA), patience=QUICK)
    assert caught.value.errno is not None and source.offsets == []


def test_waits_grow_and_respect_the_server() -> None:
    patience = Patience(backoff_seconds=1.0)
    waits = [patience.wait(failures) for failures in range(1, 9)]
    assert all(0.75 * bare <= wait <= 1.25 * bare for wait, bare in zip(waits, [1, 2, 4, 8, 10, 10, 10, 10]))
    assert patience.wait(1, 30.0) == 30.0 and patience.wait(1, 4000.0) == 60.0


def test_small_files_are_read_again_after_a_break_and_never_beyond_their_limit() -> None:
    assert read_small(Source(("breaks", 3000, 500)), 60_000, QUICK) == DATA
    with pytest.raises(WrongContent, match="larger than 49,999 bytes"):
        read_small(Source(), 49_999, QUICK)
