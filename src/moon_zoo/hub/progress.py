"""How a download goes, on stderr: a bar of bytes in a terminal, a line every few seconds in a pipe.

Beside `moon_zoo.cli.progress` because a model loaded from Python shows its download too, and bytes have a rate.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

SECONDS_BETWEEN_LINES = 5.0


class ByteProgress:
    """Bytes of one checkpoint that are here.

    Args:
        what: What is fetched.
        total: All its bytes.
        shown: False for silence.
    """

    def __init__(self, what: str, total: int, shown: bool) -> None:
        self.what = what
        self.total = total
        self._shown = shown
        self._began = self._told = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Progress(
                TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True
            )
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int) -> None:
        """``done`` bytes of all are here; fewer than before where something had to begin again."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif self._shown and time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            rate = done / (self._told - self._began) / 1e6
            print(
                f"{self.what}: {done / 1e6:,.1f} of {self.total / 1e6:,.1f} MB, {rate:,.1f} MB per second",
                file=sys.stderr,
                flush=True,
            )
