"""Final figures: the flat ``metrics.json`` and the table people read, chance beside each figure that has one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from moon_zoo.errors import DataError

COUNTERS = ("epoch", "step")
CHANCE = "_chance"


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
    """Cells of the table: figure, value, chance, better, unit; counters last, train's figures left out."""
    rows = []
    for name, value in sorted(figures.items()):
        if name in COUNTERS or name.endswith(CHANCE) or name.startswith("train/"):
            continue
        chance = figures.get(f"{name}{CHANCE}")
        direction, unit = _meaning(name)
        rows.append([name, number(value), "" if chance is None else number(chance), direction, unit])
    return rows


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
    try:
        from moon_zoo.metrics.catalogue import describe
    except ImportError:
        return ("lower" if name.endswith(("loss", "rank")) else "higher"), ""
    described = describe(name)
    return described.direction, described.unit
