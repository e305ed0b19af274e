"""Learning curves from ``metrics.csv``: losses, and each validated figure with its line of chance, or of the best possible.

One run: figures of a kind share a panel (all tasks' recall@10, say). Several runs: a panel per figure, a colour per run.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moon_zoo.errors import DataError
from moon_zoo.metrics.catalogue import CLICK_FIGURES, ITEM_GROUPS
from moon_zoo.reports.style import COLOURS, FAINT, INK, figure, save, tidy
from moon_zoo.reports.summary import BAYES, BESIDE, CHANCE, better

COLUMNS = 3
MAX_PANELS = 12
MAX_RUNS = len(COLOURS)
SMOOTHING_POINTS = 200
"""Training losses with more points than this are drawn faint under a running mean."""

FROM_0_TO_1 = ("recall", "accuracy", "mrr")
"""Figures whose panels show the whole range; others, an AUC say, would be flat lines in it."""

BESIDE_STYLES = {CHANCE: (0, (2, 3)), BAYES: (0, (6, 3))}
BESIDE_LABELS = {CHANCE: "chance", BAYES: "best possible"}


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over steps.

    Args:
        steps: Optimiser steps, rising.
        values: The figure there.
    """

    steps: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in a panel, with what it is called there and the curves that stand beside it, by ending of their names."""

    label: str
    curve: Curve
    beside: Mapping[str, Curve] = field(default_factory=dict)


def read_curves(path: Path) -> dict[str, Curve]:
    """Every figure of a metrics.csv.

    Raises:
        DataError: The file is missing or no table with a ``step`` column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "step" not in (reader.fieldnames or ()):
                raise DataError("there is no column 'step' in this log", where=str(path))
            rows = list(reader)
    except OSError as error:
        raise DataError(f"no log can be read: {error.strerror}", where=str(path), change="the run's folder") from None
    curves: dict[str, Curve] = {}
    for row in rows:
        for name, text in row.items():
            if name in ("step", "epoch", None) or not text:
                continue
            value = float(text)
            if math.isfinite(value):
                curve = curves.setdefault(name, Curve([], []))
                curve.steps.append(int(row["step"]))
                curve.values.append(value)
    return curves


def draw_curves(runs: Mapping[str, Path], target: Path) -> Path | None:
    """Draw the learning curves of one or several runs.

    Args:
        runs: Name of a run to its metrics.csv.
        target: The PNG to write.

    Returns:
        ``target``, or None when nothing was logged yet.

    Raises:
        DataError: A log cannot be read, or there are more runs than colours.
    """
    if len(runs) > MAX_RUNS:
        raise DataError(f"{len(runs)} runs are too many for one picture", change=f"the runs, to {MAX_RUNS} at most")
    read = {name: read_curves(path) for name, path in runs.items()}
    found = panels_of_one(next(iter(read.values()))) if len(read) == 1 else panels_of_several(read)
    found = dict(list(found.items())[:MAX_PANELS])
    if not found:
        return None
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    picture = figure(4.6 * columns, 3.1 * rows + 0.5)
    explained: set[tuple[str, ...]] = set()
    for number, (title, lines) in enumerate(found.items(), 1):
        axes = picture.add_subplot(rows, columns, number)
        _panel(axes, title, lines)
        labels = (*(line.label for line in lines), *sorted({ending for line in lines for ending in line.beside}))
        if labels not in explained and (len(lines) > 1 or lines[0].beside):
            axes.legend(
                fontsize=7.5, framealpha=0.85, edgecolor="none", borderpad=0.2, labelcolor=INK, handlelength=1.4
            )
            explained.add(labels)  # further panels of the same lines keep their space for the lines
    height = picture.get_figheight()
    title = next(iter(runs)) if len(runs) == 1 else f"{len(runs)} runs"
    picture.text(0.012, 1 - 0.12 / height, title, ha="left", va="top", fontsize=12, color=INK)
    picture.tight_layout(rect=(0, 0, 1, 1 - 0.4 / height), h_pad=2.0, w_pad=2.0)
    return save(picture, target)


def panels_of_one(curves: Mapping[str, Curve]) -> dict[str, list[Line]]:
    """One run's panels: losses first, then each figure with a line per task, then what is left."""
    panels: dict[str, list[Line]] = {}
    losses = [name for name in ("train/loss", "val/loss") if name in curves]
    if losses:
        panels["loss"] = [Line(name.partition("/")[0], curves[name]) for name in losses]
    for name in sorted(curves, key=_group_order):
        split, _, rest = name.partition("/")
        if split != "val" or name in losses or name.endswith(tuple(BESIDE)) or not better(name):
            continue
        task, _, measure = rest.rpartition("/")
        if task == "warm" and f"val/cold/{measure}" not in curves:
            continue  # without cold items the warm ones are all
        title, label = (measure, task) if task else (rest, rest if rest not in CLICK_FIGURES else "all")
        if task.startswith("zero_shot"):
            title, label = "zero-shot accuracy", rest.removeprefix("zero_shot/").replace("_accuracy", "")
        panels.setdefault(title, []).append(Line(_words(label), curves[name], _beside(curves, name)))
    panels = {_words(title): lines for title, lines in sorted(panels.items(), key=lambda item: _rank(item[0]))}
    for name in sorted(curves):
        split, _, rest = name.partition("/")
        if split == "train" and name not in losses and rest.count("/") == 0:
            panels.setdefault(f"train: {_words(rest)}", []).append(Line(_words(rest), curves[name]))
    return panels


def panels_of_several(runs: Mapping[str, Mapping[str, Curve]]) -> dict[str, list[Line]]:
    """A panel per figure that any run has, the losses and the tasks' main figures first."""
    names = sorted({name for curves in runs.values() for name in curves if not name.endswith(tuple(BESIDE))})
    kept = [name for name in names if name in ("train/loss", "val/loss")]
    judged = [name for name in names if name.startswith("val/") and name not in kept and better(name)]
    kept += sorted(judged, key=lambda name: (_rank(name)[0], _group_order(name)))
    return {
        name: [
            Line(run, curves[name], _beside(curves, name) if number == 0 else {})
            for number, (run, curves) in enumerate(runs.items())
            if name in curves
        ]
        for name in kept
    }


def _group_order(name: str) -> tuple[int, str]:
    """All rows first, then warm items, then cold ones, so that each has its colour in every panel."""
    group = name.split("/")[1] if name.count("/") == 2 else ""
    return (ITEM_GROUPS.index(group) + 1 if group in ITEM_GROUPS else 0), name


def _beside(curves: Mapping[str, Curve], name: str) -> dict[str, Curve]:
    return {ending: curves[f"{name}{ending}"] for ending in BESIDE if f"{name}{ending}" in curves}


def _rank(title: str) -> tuple[int, str]:
    """Panels in reading order: loss, recalls, the rest; a median rank says least."""
    order = ("loss", "recall@1", "recall@10", "zero-shot accuracy", "mrr", "recall@5", *CLICK_FIGURES, "median_rank")
    for number, start in enumerate(order):
        if title == start or title.endswith(f"/{start}"):
            return number, title
    return len(order), title


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", " ")


def _panel(axes: Axes, title: str, lines: Sequence[Line]) -> None:
    tidy(axes, title)
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        _draw(axes, line, colour)
        for ending, curve in line.beside.items():
            style = BESIDE_STYLES[ending]
            marker = "_" if len(curve.steps) == 1 else None
            axes.plot(curve.steps, curve.values, color=colour, linewidth=1, linestyle=style, alpha=0.8, marker=marker)
    for ending, style in BESIDE_STYLES.items():
        if any(ending in line.beside for line in lines):
            axes.plot([], [], color=FAINT, linewidth=1, linestyle=style, label=BESIDE_LABELS[ending])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if any(name in title for name in FROM_0_TO_1) and not title.startswith("train"):
        axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("step", fontsize=8, color=FAINT)


def _draw(axes: Axes, line: Line, colour: str) -> None:
    steps, values = line.curve.steps, line.curve.values
    if len(values) > SMOOTHING_POINTS:
        axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.25)
        values = _running_mean(values, len(values) // 50)
    marker = "o" if len(values) <= 12 else None
    axes.plot(steps, values, color=colour, linewidth=1.7, marker=marker, markersize=3.5, label=line.label)


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    means, total = [], 0.0
    for number, value in enumerate(values):
        total += value
        if number >= window:
            total -= values[number - window]
        means.append(total / min(number + 1, window))
    return means
