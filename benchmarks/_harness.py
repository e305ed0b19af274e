"""What all benchmarks share: alternating runs, peak memory in processes of their own, the machine, the CSV.

A benchmark measures ours and its peers side by side in one run. Contenders take turns (A B A B ...), so that whatever
else the machine does falls on all of them alike; figures are medians, and a ratio is a ratio of medians. Peak memory
is taken in a fresh process per contender, since a process keeps what it once had.
"""

from __future__ import annotations

import csv
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
OURS = "moon-zoo"


@dataclass(frozen=True)
class Row:
    """One line of a result: a case and who ran it.

    Args:
        case: What was measured, with its sizes.
        peer: Who ran it; ours is ``moon-zoo``.
        median: Median over rounds.
        unit: Of the median.
        ratio: On a peer's line, ours beside this peer in the sense of ``ratio_of``; empty on our own.
        ratio_of: ``ours / peer`` or ``peer / ours``.
        target: What the ratio has to be, such as ``<= 0.8``; empty if nothing is asked.
        floor: What no program can do better than on this machine, and what it is.
        rounds: Number of measurements behind the median.
        spread: Least and greatest of them.
        versions: Of the contenders and what they stand on.
        machine: What it ran on.
    """

    case: str
    peer: str
    median: float
    unit: str
    ratio: float | str = ""
    ratio_of: str = ""
    target: str = ""
    floor: str = ""
    rounds: int = 1
    spread: str = ""
    versions: str = ""
    machine: str = ""


def alternate(
    contenders: Mapping[str, Callable[[], Any]], *, rounds: int = 5, warmups: int = 1
) -> dict[str, list[float]]:
    """Seconds per call of each contender, in turns, after each has run ``warmups`` times."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        for _ in range(warmups):
            run()
    for number in range(rounds):
        names = list(contenders)
        # Whoever runs after another finds its leavings in the caches: every round begins with another contender.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            start = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(
    case: str,
    measured: Mapping[str, Sequence[float]],
    *,
    unit: str = "s",
    ratio_of: str = "ours / peer",
    targets: Mapping[str, str] | None = None,
    floor: str = "",
    packages: Sequence[str] = (),
) -> list[Row]:
    """Rows of one case: ours first, then each peer with its ratio.

    Args:
        case: See `Row`.
        measured: Contender to figures; `OURS` must be among them.
        unit: See `Row`.
        ratio_of: See `Row`.
        targets: Peer to what the ratio has to be.
        floor: See `Row`.
        packages: Distributions whose versions belong to the result, beside ours, torch and Python.
    """
    ours = statistics.median(measured[OURS])
    about, versions = machine(), versions_of((OURS, "torch", *packages))
    rows = []
    for name in [OURS, *(name for name in measured if name != OURS)]:
        values = measured[name]
        median = statistics.median(values)
        ratio: float | str = ""
        if name != OURS:
            ratio = float(f"{(ours / median if ratio_of == 'ours / peer' else median / ours):.4g}")
        rows.append(
            Row(
                case=case,
                peer=name,
                median=float(f"{median:.5g}"),
                unit=unit,
                ratio=ratio,
                ratio_of=ratio_of if name != OURS else "",
                target=(targets or {}).get(name, ""),
                floor=floor if name == OURS else "",
                rounds=len(values),
                spread=f"{min(values):.4g} to {max(values):.4g}",
                versions=versions,
                machine=about,
            )
        )
    return rows


def write_rows(name: str, rows: Sequence[Row]) -> Path:
    """Write ``results/<name>.csv`` anew and show it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    for row in rows:
        beside = f"  {row.ratio_of} {row.ratio} {verdict(row.ratio, row.target)}" if row.ratio != "" else ""
        print(f"{row.case}: {row.peer} {row.median} {row.unit}{beside}", flush=True)
    return path


def verdict(ratio: float | str, target: str) -> str:
    """``met`` or ``missed``; empty without a target."""
    if not target or ratio == "":
        return ""
    sign, bound = target.split()
    reached = float(ratio) <= float(bound) if sign == "<=" else float(ratio) >= float(bound)
    return f"(target {target}: {'met' if reached else 'missed'})"


def peak_extra_bytes(run: Callable[[], Any]) -> int:
    """How far this process's resident memory rises above what it holds now while ``run`` runs; Linux.

    Called in a process of its own, see `in_own_process`: freed memory that the allocator keeps would hide a second
    peak.
    """
    gc.collect()
    # Sets the high-water mark back to what is resident now (proc_pid_clear_refs(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def in_own_process(script: str, *arguments: str) -> str:
    """Run a benchmark's file again with arguments, and return the last line that it printed."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def machine() -> str:
    """Processor, cores that this process may use, memory, system."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()}"


def versions_of(packages: Sequence[str]) -> str:
    """``name version`` of each distribution, and Python's."""
    found = []
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return ", ".join([*dict.fromkeys(found), f"Python {platform.python_version()}"])


def warn_if_busy() -> None:
    """Say so when the machine has other work: its figures are not worth keeping."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > 0.5 * cores:
        print(f"the load is {load:.1f} on {cores} cores: wait for an idle machine before keeping these figures")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")
