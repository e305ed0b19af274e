"""What a process asks of its machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moon_zoo.data.machine import usable_cores

FAULTS = """
import resource, sys
import torch
from moon_zoo.data.machine import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.set_num_threads(1)
def work():
    for _ in range(10):
        torch.ones(16_000_000) * 2  # 64 MB twice, freed at once
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_memory_that_is_kept_needs_no_new_pages() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert faults("keep") < faults("leave") / 10
