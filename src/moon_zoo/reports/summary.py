"""Final figures: the flat ``metrics.json`` and the table people read, chance beside each figure that has one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moon_zoo.errors import DataError

COUNTERS = ("epoch", "step")
CHANCE = "_chance"
LISTED = ("zero_shot",)
"""Families of figures that share no measures among tasks: listed one by one."""


def write_metrics(path: Path, figures: Mapping[str, float]) -> None:
    """Add ``figures`` to a metrics.json: those of the same name are replaced, those of other verbs stay."""
    merged = (read_metrics(path) if path.is_file() else {}) | dict(figures)
    clean = {
        name: value if math.isfinite(value) else None for name, value in sorted(merged.items()) if value is not None
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_text(json.dumps(clean, indent=2) + "\n", "utf-8")
    temporary.replace(path)


def read_metrics(path: Path) -> dict[str, float]:
    """A run's final figures.

    Raises:
        DataError: The file is missing or no flat JSON object.
    """
    try:
        figures = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"no figures can be read: {error}", where=str(path)) from None
    if not isinstance(figures, dict):
        raise DataError("this is no table of figures", where=str(path))
    return figures


def metric_rows(figures: Mapping[str, float]) -> list[list[str]]:
    """A row per figure: name, value, chance, which way is better, unit. Figures of training are left out."""
    rows = []
    for name in sorted(figures):
        if name in COUNTERS or name.endswith(CHANCE) or name.startswith("train/"):
            continue
        direction, unit = _meaning(name)
        rows.append([name, number(figures[name]), _chance(figures, name), direction, unit])
    return rows


@dataclass(frozen=True, slots=True)
class Grid:
    """Figures that several tasks share, a row per task.

    Args:
        split: Whose figures these are, such as ``val``.
        columns: Headings; the first is the task's.
        rows: Cells; a figure has its chance in brackets.
    """

    split: str
    columns: list[str]
    rows: list[list[str]]


def grids(figures: Mapping[str, float]) -> tuple[list[Grid], dict[str, float]]:
    """Figures arranged for people: grids of tasks and measures, and what fits in none.

    Figures named ``split/task/measure`` whose measure several tasks have, and which are better one way or the other, make a
    grid per split. Those that only count something (``num_queries``) are left to metrics.json.
    """
    found, used = [], set()
    for split, measures_of in _by_task(figures).items():
        used |= {name for names in measures_of.values() for name in names.values()}
        named = {measure: name for names in measures_of.values() for measure, name in names.items()}
        judged = [measure for measure in sorted(named, key=_measure_order) if better(named[measure])]
        rows = [
            [task.replace("_to_", " → ").replace("_", " "), *(_cell(figures, names.get(measure)) for measure in judged)]
            for task, names in sorted(measures_of.items())
        ]
        columns = [split, *(f"{measure} {_arrow(named[measure])}".replace("_", "\n") for measure in judged)]
        found.append(Grid(split, columns, rows))
    left = {name: value for name, value in figures.items() if name.removesuffix(CHANCE) not in used}
    return found, left


def _by_task(figures: Mapping[str, float]) -> dict[str, dict[str, dict[str, str]]]:
    """Split to task to measure to the figure's full name."""
    tasks: dict[str, dict[str, dict[str, str]]] = {}
    for name in figures:
        split, _, rest = name.partition("/")
        task, slash, measure = rest.partition("/")
        in_grid = slash and "/" not in measure and split != "train" and task not in LISTED
        if in_grid and not name.endswith(CHANCE):
            tasks.setdefault(split, {}).setdefault(task, {})[measure] = name
    return tasks


def _measure_order(measure: str) -> tuple[str, int]:
    name, _, cut = measure.partition("@")
    return ("0" if name == "recall" else name), int(cut) if cut.isdigit() else 0


def _arrow(name: str) -> str:
    return {"higher": "↑", "lower": "↓"}.get(better(name), "")


def _cell(figures: Mapping[str, float], name: str | None) -> str:
    if name is None:
        return ""
    chance = figures.get(f"{name}{CHANCE}")
    return short(figures[name]) + ("" if chance is None else f" ({short(chance)})")


def _chance(figures: Mapping[str, float], name: str) -> str:
    chance = figures.get(f"{name}{CHANCE}")
    return "" if chance is None else number(chance)


def short(value: float | None) -> str:
    """Three digits: ``.114``, ``12``, ``173``; for cells that share a line with many others."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 10 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def number(value: float | None) -> str:
    """Four significant digits, without an exponent where that reads well."""
    if value is None or not math.isfinite(value):
        return "-" if value is None else str(value)
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 10 else f"{value:.4g}"


def better(name: str) -> str:
    """``higher`` or ``lower``: which value of the figure is better, empty where neither is."""
    return _meaning(name)[0]


def _meaning(name: str) -> tuple[str, str]:
    from moon_zoo.metrics.catalogue import describe

    described = describe(name)
    return described.direction, described.unit
