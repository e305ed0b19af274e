"""Progress of long work on stderr: a bar in a terminal, a line every few seconds in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from moon_zoo.cli.output import say

SECONDS_BETWEEN_LINES = 5.0
"""In a pipe: a log stays short, and a person who follows it still sees that something happens."""


class Progress:
    """Counts things that get done.

    Args:
        what: The work, such as ``packing``.
        unit: What is counted, in the plural.
    """

    def __init__(self, what: str, unit: str = "samples") -> None:
        self.what = what
        self.unit = unit
        self.done = 0
        self._began = time.monotonic()
        self._shown = self._began
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn(self.what), BarColumn(), MofNCompleteColumn(), TextColumn(self.unit))
            console = Console(stderr=True)
            self._bar = Bar(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Time since the work began."""
        return time.monotonic() - self._began

    def advance(self, total: int | None = None, count: int = 1) -> None:
        """``count`` more are done, of ``total`` where that is known."""
        self.done += count
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=total)
        elif now - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = now
            of = "" if total is None else f" of {total:,}"
            say(f"{self.what}: {self.done:,}{of} {self.unit}, {self.done / self.seconds:,.0f} per second")
