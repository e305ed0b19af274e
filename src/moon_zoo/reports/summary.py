"""Final figures: the flat ``metrics.json`` and the tables people read.

Beside a figure stands what chance would give, or what is the best possible, where that is known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moon_zoo.errors import DataError
from moon_zoo.metrics.catalogue import CLICK_FIGURES, ITEM_GROUPS, describe

COUNTERS = ("epoch", "step")
CHANCE = "_chance"
BAYES = "_bayes"
BESIDE = {CHANCE: "what chance would give", BAYES: "the best possible, of the true probabilities"}
"""Endings of figures that stand in brackets beside another, and what they are."""
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


ROW_COLUMNS = ("figure", "value", "chance", "better", "unit", "best possible")
"""Headings of `metric_rows`."""


def metric_rows(figures: Mapping[str, float]) -> list[list[str]]:
    """A row per figure, cells as in `ROW_COLUMNS`; figures of training are left out.

    What is the best possible is a last cell that all rows have or none.
    """
    rows = []
    bounded = any(name.endswith(BAYES) for name in figures)
    for name in sorted(figures):
        if name in COUNTERS or name.endswith(tuple(BESIDE)) or name.startswith("train/"):
            continue
        direction, unit = _meaning(name)
        row = [name, number(figures[name]), _beside(figures, name, CHANCE), direction, unit]
        rows.append([*row, _beside(figures, name, BAYES)] if bounded else row)
    return rows


@dataclass(frozen=True, slots=True)
class Grid:
    """Figures that several tasks share, a row per task; or those of clicks, a row per figure and a column per group of items.

    Args:
        split: Whose figures these are, such as ``val``.
        columns: Headings; the first is that of the rows' names.
        rows: Cells; a figure has in brackets what stands beside it.
        beside: Which of `BESIDE` the brackets hold; empty where there are none.
    """

    split: str
    columns: list[str]
    rows: list[list[str]]
    beside: str = ""


def grids(figures: Mapping[str, float]) -> tuple[list[Grid], dict[str, float]]:
    """Figures arranged for people: grids of tasks and measures, and what fits in none.

    Figures named ``split/task/measure`` whose measure several tasks have, and which are better one way or the other, make a
    grid per split. Those that only count something (``num_queries``) are left to metrics.json. Figures of clicks make another.
    """
    found, used = click_grids(figures)
    for split, measures_of in _by_task(figures).items():
        used |= {name for names in measures_of.values() for name in names.values()}
        named = {measure: name for names in measures_of.values() for measure, name in names.items()}
        judged = [measure for measure in sorted(named, key=_measure_order) if better(named[measure])]
        rows = [
            [task.replace("_to_", " → ").replace("_", " "), *(_cell(figures, names.get(measure)) for measure in judged)]
            for task, names in sorted(measures_of.items())
        ]
        columns = [split, *(f"{measure} {_arrow(named[measure])}".replace("_", "\n") for measure in judged)]
        found.append(Grid(split, columns, rows, CHANCE if any("(" in cell for row in rows for cell in row) else ""))
    left = {name: value for name, value in figures.items() if _plain(name) not in used}
    return found, left


def legend(grids: Sequence[Grid]) -> str:
    """What brackets and arrows in some grids mean, in one line."""
    brackets = [
        f"in brackets {meaning}" for ending, meaning in BESIDE.items() if any(g.beside == ending for g in grids)
    ]
    return "; ".join([*brackets, "↑ higher is better", "↓ lower is better"]).replace("better; ↓", "better, ↓")


def click_grids(figures: Mapping[str, float]) -> tuple[list[Grid], set[str]]:
    """Figures of clicks: a row each, all rows and those of warm and of cold items as columns; and the names they have.

    Without cold items the warm ones are all, and one column says it.
    """
    found, used = [], set()
    for split in dict.fromkeys(name.partition("/")[0] for name in figures):
        names = {measure: f"{split}/{measure}" for measure in CLICK_FIGURES}
        if split == "train" or not {names["auc"], names["click_rate"]} & figures.keys():
            continue
        groups = {group: f"{split}/{group}/" if group else f"{split}/" for group in ("", *ITEM_GROUPS)}
        used |= {prefix + measure for prefix in groups.values() for measure in CLICK_FIGURES}
        if f"{split}/cold/num_rows" not in figures:
            groups.pop("warm")
        shown = {
            group: prefix for group, prefix in groups.items() if any(prefix + one in figures for one in CLICK_FIGURES)
        }
        rows = [
            [
                f"{measure.replace('_', ' ')} {_arrow(name)}".strip(),
                *(_exact_cell(figures, prefix + measure) for prefix in shown.values()),
            ]
            for measure, name in names.items()
            if name in figures
        ]
        columns = [split, *(f"{group} items" if group else "all" for group in shown)]
        bounded = any(f"{name}{BAYES}" in figures for name in names.values())
        found.append(Grid(split, columns, rows, BAYES if bounded else ""))
    return found, used


def _by_task(figures: Mapping[str, float]) -> dict[str, dict[str, dict[str, str]]]:
    """Split to task to measure to the figure's full name."""
    tasks: dict[str, dict[str, dict[str, str]]] = {}
    for name in figures:
        split, _, rest = name.partition("/")
        task, slash, measure = rest.partition("/")
        in_grid = slash and "/" not in measure and split != "train" and task not in (*LISTED, *ITEM_GROUPS)
        if in_grid and not name.endswith(tuple(BESIDE)):
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


def _exact_cell(figures: Mapping[str, float], name: str) -> str:
    """With four digits: click models differ in the third and fourth."""
    if name not in figures:
        return ""
    best = _beside(figures, name, BAYES)
    return number(figures[name]) + (f" ({best})" if best else "")


def _beside(figures: Mapping[str, float], name: str, ending: str) -> str:
    value = figures.get(f"{name}{ending}")
    return "" if value is None else number(value)


def _plain(name: str) -> str:
    """The name of the figure that one stands beside, or its own."""
    return name.removesuffix(CHANCE).removesuffix(BAYES)


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
    described = describe(name)
    return described.direction, described.unit
