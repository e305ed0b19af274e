"""What this machine lets this process use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores this process may use; macOS and Windows only tell how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
