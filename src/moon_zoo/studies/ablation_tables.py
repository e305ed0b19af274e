"""What an ablation study leaves to read: its table, its CSV and its picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from moon_zoo.reports.style import COLOURS, FAINT, INK, RIGHT, WRONG, figure, save, tidy
from moon_zoo.studies.ablations import BASE, Ablations, Row, verdict
from moon_zoo.studies.exchange_rate import direction
from moon_zoo.studies.outcome import write_csv
from moon_zoo.studies.statistics import Interval

MARKS = {"better": "+", "worse": "-", "": ""}


def mean_rows(found: Ablations) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the means over seeds, each with half of its interval."""
    rows = [
        [row.name, *(f"{row.means[name].value:.4f} {half(row.means[name])}".rstrip() for name in found.shown)]
        for row in found.rows
    ]
    return ["variant", *found.shown], rows


def difference_rows(found: Ablations) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the paired differences to the base, with their intervals.

    A ``+`` or ``-`` follows where an interval leaves out 0: better or worse.
    """
    changed = [row for row in found.rows if row.differences]
    shown = [name for name in found.shown if changed and name in changed[0].differences]
    rows = [
        [
            row.name,
            *(f"{row.differences[name].value:+.4f} {_ends(name, row.differences[name])}".rstrip() for name in shown),
        ]
        for row in changed
    ]
    return ["variant", *shown], rows


def markdown(found: Ablations) -> str:
    """The same as a Markdown table, for a model card: a row per variant, a column per figure."""
    lines = [
        "| variant | " + " | ".join(found.shown) + " |",
        "|---|" + "---|" * len(found.shown),
    ]
    for row in found.rows:
        cells = [
            f"{row.means[name].value:.4f} {half(row.means[name])}".rstrip() + _against(row, name)
            for name in found.shown
        ]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_table(found: Ablations, path: Path) -> Path:
    """A CSV row per variant and seed, a column per figure."""
    names = list(found.rows[0].means)
    rows: list[list[Any]] = [
        [row.name, seed, *(each[name] for name in names)] for row in found.rows for seed, each in enumerate(row.figures)
    ]
    return write_csv(path, ["variant", "seed", *names], rows)


def half(interval: Interval) -> str:
    """``± .0123``; empty where nothing can be said."""
    width = (interval.high - interval.low) / 2
    return f"± {width:.4f}" if math.isfinite(width) else ""


def _ends(name: str, difference: Interval) -> str:
    if not math.isfinite(difference.low):
        return ""
    return f"[{difference.low:+.4f}, {difference.high:+.4f}] {MARKS[verdict(name, difference)]}".rstrip()


def _against(row: Row, name: str) -> str:
    difference = row.differences.get(name)
    if difference is None:
        return ""
    return f" ({difference.value:+.4f} {_ends(name, difference)}".rstrip() + ")"


def draw(found: Ablations, target: Path) -> Path:
    """Paired differences to the base with their intervals, a panel per figure; better is to the right.

    Args:
        found: What the study found.
        target: The PNG.
    """
    changed = [row for row in found.rows if row.name != BASE]
    shown = [name for name in found.shown if changed and name in changed[0].differences]
    longest = max((len(row.name) for row in changed), default=4)
    picture = figure(2.9 * max(len(shown), 1) + 0.5 + 0.085 * longest, 0.95 + 0.34 * max(len(changed), 2))
    picture.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    for place, name in enumerate(shown):
        axes = picture.add_subplot(1, len(shown), place + 1)
        _panel(axes, name, found, changed, named=place == 0)
    return save(picture, target)


def _panel(axes: Axes, name: str, found: Ablations, changed: list[Row], *, named: bool) -> None:
    base = found.rows[0].means[name].value
    task, _, measure = name.rpartition("/")
    tidy(axes, f"{task.replace('_', ' ')}\n{measure}: base {base:.4f}".lstrip("\n"))
    for place, row in enumerate(reversed(changed)):
        difference = row.differences[name]
        colour = {"better": RIGHT, "worse": WRONG, "": FAINT}[verdict(name, difference)]
        if math.isfinite(difference.low):
            axes.plot((difference.low, difference.high), (place, place), color=colour, linewidth=1.8)
        paired = [each[name] - other[name] for each, other in zip(row.figures, found.rows[0].figures)]
        axes.plot(paired, [place] * len(paired), ".", color=COLOURS[0], markersize=4, alpha=0.6)
        axes.plot([difference.value], [place], "o", color=colour, markersize=5.5)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_ylim(-0.6, len(changed) - 0.4)
    axes.set_yticks(range(len(changed)), [row.name if named else "" for row in reversed(changed)], fontsize=8)
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    if high - low < 1e-6:  # nothing differs: matplotlib would magnify rounding
        axes.set_xlim(-0.01, 0.01)
    axes.set_xlabel("difference to the base", fontsize=8, color=FAINT)
    if direction(name) == "lower":
        axes.invert_xaxis()  # better is to the right
