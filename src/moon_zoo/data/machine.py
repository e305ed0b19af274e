"""What this machine lets this process use."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST = 2**31 - 1


def usable_cores() -> int:
    """Cores this process may use; macOS and Windows only tell how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors instead of handing it back to the system each time.

    glibc returns every large piece at once, so a training on a CPU has the system clear new pages for each tensor of each step:
    a quarter of the time of small steps. The process then stays as large as it once was.

    Returns:
        Whether this system's allocator can be told so.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    return mallopt is not None and all(mallopt(name, _LARGEST) for name in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))
