"""How far predicted click probabilities are from what was clicked: a picture for each split, of all, warm and cold items.

Left, the share clicked against the mean prediction of each bin; on the diagonal they agree. Right, their difference with a 95 %
interval, enlarged: a bin whose interval holds 0 is as well predicted as its rows can tell. The bins are those of
`moon_zoo.metrics.calibration`, kept as ``report/calibration_<split>.json``, so that a picture is drawn again without the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from moon_zoo.errors import DataError
from moon_zoo.metrics.calibration import Calibration
from moon_zoo.metrics.catalogue import ITEM_GROUPS
from moon_zoo.reports.style import COLOURS, FAINT, INK, figure, save, tidy
from moon_zoo.reports.summary import short

NAME = "calibration"
GROUPS = ("all", *ITEM_GROUPS)
_Z = 1.96


def save_data(data: Mapping[str, Any], folder: Path) -> None:
    """Keep what a model reports, each under ``<name>.json``."""
    for name, values in data.items():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{name}.json.partial"
        temporary.write_text(json.dumps(values) + "\n", "utf-8")
        temporary.replace(folder / f"{name}.json")


def read_calibration(path: Path) -> dict[str, Calibration]:
    """The bins of each group.

    Raises:
        DataError: The file cannot be read as such.
    """
    try:
        groups = json.loads(path.read_text("utf-8"))
        found = {name: Calibration.from_json(groups[name]) for name in GROUPS if name in groups}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"this is no calibration of a run: {error}",
            where=str(path),
            change="the file: remove it; or make it again with `moon-zoo test --run`",
        ) from None
    return found


def draw_calibrations(folder: Path, names: Iterable[str] | None = None) -> list[Path]:
    """Draw the calibrations that are kept in a report's folder.

    Args:
        folder: The report's folder.
        names: Only those of these names; None for all.

    Returns:
        The pictures, each beside its file.

    Raises:
        DataError: A file is no calibration.
    """
    wanted = None if names is None else set(names)
    paths = [path for path in sorted(folder.glob(f"{NAME}*.json")) if wanted is None or path.stem in wanted]
    drawn = [draw_calibration(read_calibration(path), path.with_suffix(".png")) for path in paths]
    return [picture for picture in drawn if picture is not None]


def draw_calibration(groups: Mapping[str, Calibration], target: Path) -> Path | None:
    """Draw one split's calibration.

    Args:
        groups: ``all``, ``warm`` and ``cold``, those that there are. Where all rows are warm, or all cold, one line says it.
        target: The PNG to write, ``calibration_<split>.png``.

    Returns:
        ``target``, or None where there are no rows.
    """
    shown = {name: groups[name] for name in GROUPS if name in groups}
    if len(shown) == 2:
        shown = {name: bins for name, bins in shown.items() if name != "all"}  # the other group has no rows
    if not shown:
        return None
    picture = figure(9.6, 4.7)
    left, right = picture.add_subplot(1, 2, 1), picture.add_subplot(1, 2, 2)
    for name, bins in shown.items():
        colour, width = _look(name)
        left.plot(
            bins.predicted, bins.clicked, color=colour, linewidth=width, marker="o", markersize=3.5,
            label=_said(name, bins),
        )  # fmt: skip
        gaps = [clicked - predicted for clicked, predicted in zip(bins.clicked, bins.predicted)]
        right.errorbar(
            bins.predicted, gaps, yerr=[_half_interval(*pair) for pair in zip(bins.clicked, bins.rows)], color=colour,
            linewidth=width, elinewidth=0.9, marker="o", markersize=3.5, capsize=0,
        )  # fmt: skip
    highest = max(1e-9, *(max(*bins.predicted, *bins.clicked) for bins in shown.values()))
    _share_panel(left, min(1.0, 1.06 * highest))
    _gap_panel(right)
    picture.text(0.012, 0.975, target.stem.replace("_", ", ", 1), ha="left", va="top", fontsize=12, color=INK)
    picture.legend(
        *left.get_legend_handles_labels(),
        loc="upper right",
        fontsize=8,
        edgecolor="none",
        labelcolor=INK,
        handlelength=1.4,
    )
    picture.tight_layout(rect=(0, 0, 1, 0.96 - 0.035 * len(shown)), w_pad=2.5)
    return save(picture, target)


def _look(name: str) -> tuple[str, float]:
    """Colour and line width; what holds for all rows stands back a little."""
    return COLOURS[GROUPS.index(name)], 1.2 if name == "all" else 1.7


def _said(name: str, bins: Calibration) -> str:
    rows = sum(bins.rows)
    clicks = sum(share * count for share, count in zip(bins.clicked, bins.rows))
    predicted = sum(share * count for share, count in zip(bins.predicted, bins.rows))
    ratio = f", predicted / actual {predicted / clicks:.2f}" if clicks else ", no clicks"
    items = "" if name == "all" else " items"
    return f"{name}{items}: ECE {short(bins.error)}{ratio}; {rows:,} rows"


def _half_interval(share: float, rows: int) -> float:
    """Half of a 95 % interval of a share; with two clicks and two non-clicks added, so that shares of 0 have one too."""
    adjusted = (share * rows + 2) / (rows + 4)
    return _Z * math.sqrt(adjusted * (1 - adjusted) / (rows + 4))


def _share_panel(axes: Axes, highest: float) -> None:
    tidy(axes, "clicked")
    axes.plot([0, highest], [0, highest], color=FAINT, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    axes.set_xlim(0, highest)
    axes.set_ylim(0, highest)
    axes.set_aspect("equal", adjustable="box")
    _percent(axes)


def _gap_panel(axes: Axes) -> None:
    tidy(axes, "clicked - predicted, with 95 % intervals")
    axes.axhline(0, color=FAINT, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    _percent(axes)


def _percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_xlabel("predicted (mean of each bin of equally many rows)", fontsize=8, color=FAINT)
