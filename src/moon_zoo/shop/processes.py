"""Work spread over processes, its results in order and never far ahead of whoever takes them.

`ProcessPoolExecutor` with three things mended that a user would notice: a script needs no main guard, Ctrl-C prints no
traceback per worker, and workers end when their parent is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from moon_zoo.errors import UsageError

Result = TypeVar("Result")


def in_processes(function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Result]:
    """``function(*task)`` for every task, in the tasks' order.

    Processes are spawned, not forked: the parent may hold threads and locks (torch, a progress bar).

    Args:
        function: Importable from a module other than the main one.
        tasks: Arguments per call.
        workers: Processes at most.

    Raises:
        UsageError: A process was ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context, initializer=_start_worker)
    ahead: deque[Future[Result]] = deque()
    waiting = iter(tasks)
    try:
        with _without_main():
            for task in (next(waiting, None) for _ in range(3 * workers)):
                if task is not None:
                    ahead.append(pool.submit(function, *task))
        while ahead:
            yield ahead.popleft().result()
            task = next(waiting, None)
            if task is not None:
                ahead.append(pool.submit(function, *task))
    except BrokenProcessPool as error:
        raise UsageError(
            "a process that draws the shop was ended from outside, most likely for lack of memory; nothing was written",
            change="workers, to a smaller number",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent (or every worker prints a traceback), and do not outlive it.

    A worker holds both ends of the pool's queue, so it never learns from the queue that the parent was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the user's script again.

    A spawned process imports the parent's main module, and a script without ``if __name__ == "__main__"`` would start the
    shop in each of them. Workers need nothing of it, so they are not told where it is.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)
