"""How our pictures look: colours, sizes, one way to save. Matplotlib's figures alone, without pyplot's global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1f2430"
FAINT = "#8a90a0"
GRID = "#e6e8ee"
RIGHT = "#2e9e5b"
WRONG = "#d64545"
QUERY = "#3b6fd4"
COLOURS = ("#3b6fd4", "#e07b39", "#2e9e5b", "#a05fc4", "#c9a227", "#3aa6b9", "#d64545", "#6b7280")
"""Told apart by people with the common colour deficiencies too, in this order."""

DPI = 110


def figure(width: float, height: float) -> Figure:
    """A white figure of ``width`` x ``height`` inches."""
    made = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(made)
    return made


def tidy(axes: Axes, title: str) -> None:
    """Title at the left, two spines, light grid."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8, length=3)


def save(made: Figure, path: Path, **options: Any) -> Path:
    """Write the picture in one rename, so that an interrupted run leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.partial{path.suffix}")
    made.savefig(temporary, **options)
    return temporary.replace(path)
