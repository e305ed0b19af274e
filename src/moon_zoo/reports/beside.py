"""Two models' galleries beside one another: the same queries, a line of results by each, right ones framed green.

Both runs kept the results of their last evaluation (`moon_zoo.reports.gallery.save_rows`). Which queries a gallery shows
depends on the set alone, never on what a model found, so two runs tested on one set show the same ones: none is picked for
looking well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from moon_zoo.errors import DataError
from moon_zoo.models.base import GalleryRow
from moon_zoo.reports.gallery import CAPTION_INCHES, CELL_INCHES, Look, Shards, draw_cell, look_at
from moon_zoo.reports.style import FAINT, INK, QUERY, RIGHT, WRONG, figure, save

MAX_PAIRS = 6
"""Queries in one picture; each takes two lines."""

MAX_RESULTS = 6
LABEL_INCHES = 0.95
HEADING_INCHES = 0.42
GAP_INCHES = 0.14
MARGIN_INCHES = 0.12


@dataclass(frozen=True, slots=True)
class Pair:
    """One query with what two models found.

    Args:
        first: By the one model.
        second: By the other.
    """

    first: GalleryRow
    second: GalleryRow


def pairs(first: Sequence[GalleryRow], second: Sequence[GalleryRow], limit: int = MAX_PAIRS) -> list[Pair]:
    """Queries that both galleries show, of every task as many, tasks in their order.

    Args:
        first: Rows of the one model.
        second: Rows of the other, over the same shards.
        limit: Most pairs.

    Raises:
        DataError: They share none.
    """
    others = {(row.task, row.query.split, row.query.index): row for row in second}
    by_task: dict[str, list[Pair]] = {}
    for row in first:
        other = others.get((row.task, row.query.split, row.query.index))
        if other is not None:
            by_task.setdefault(row.task, []).append(Pair(row, other))
    if not by_task:
        raise DataError(
            "the two galleries share no query",
            change="one of the runs; or run `moon-zoo test` for both on the same set first",
        )
    each = max(1, limit // len(by_task))
    return [pair for found in by_task.values() for pair in found[:each]][:limit]


def require_same_samples(rows: Sequence[Pair], shards: Mapping[str, Shards]) -> None:
    """Refuse galleries whose positions speak of other samples.

    Args:
        rows: What is to be drawn.
        shards: The two models' names to where their samples are.

    Raises:
        DataError: A set of the one run is not that of the other.
    """
    splits = {shown.split for pair in rows for row in (pair.first, pair.second) for shown in (row.query, *row.results)}
    for split in sorted(splits):
        found = {name: getattr(of(split), "manifest", None) for name, of in shards.items()}
        if len({manifest.fingerprint for manifest in found.values() if manifest is not None}) > 1:
            raise DataError(
                f"{' and '.join(found)} were tested on different sets: their {split} shards differ",
                change=f"one of the runs; or test it again with --data.{split} as the other",
            )


def draw_beside(rows: Sequence[Pair], shards: Shards, target: Path, names: tuple[str, str]) -> Path:
    """Draw queries, each with a line of results per model.

    Args:
        rows: What to show, grouped by task.
        shards: Where the samples are.
        target: The PNG to write.
        names: What the models are called.
    """
    results = min(MAX_RESULTS, max(len(row.results) for pair in rows for row in (pair.first, pair.second)))
    starts = [number == 0 or pair.first.task != rows[number - 1].first.task for number, pair in enumerate(rows)]
    line = CELL_INCHES + CAPTION_INCHES
    heights = [2 * line + GAP_INCHES + (HEADING_INCHES if starts_task else 0) for starts_task in starts]
    picture = figure(2 * MARGIN_INCHES + LABEL_INCHES + (results + 1) * CELL_INCHES, sum(heights) + 2 * MARGIN_INCHES)
    top = sum(heights) + MARGIN_INCHES
    for pair, starts_task in zip(rows, starts, strict=True):
        if starts_task:
            _write(picture, MARGIN_INCHES, top - 0.14, pair.first.task.replace("_", " "), 11, INK)
            top -= HEADING_INCHES
        query = look_at(pair.first.query, shards)
        if pair.first.task.startswith("photo"):
            query = dataclasses.replace(query, text="")  # the models saw the photo alone
        words = pair.first.task.startswith("text")
        _cell(picture, MARGIN_INCHES, top - CELL_INCHES - line / 2, query, QUERY, "query", words=words)
        for row, name in zip((pair.first, pair.second), names, strict=True):
            bottom = top - CELL_INCHES
            left = MARGIN_INCHES + CELL_INCHES
            first = next((place for place, shown in enumerate(row.results[:results], 1) if shown.relevant), None)
            said = f"first right: {first}" if first is not None else f"none of {min(results, len(row.results))}"
            _write(picture, left + 0.08, bottom + CELL_INCHES / 2, f"{name}\n{said}", 8, FAINT, centred=True)
            _line(picture, row, shards, left + LABEL_INCHES, bottom, results)
            top -= line
        top -= GAP_INCHES
    return save(picture, target)


def _line(picture: Any, row: GalleryRow, shards: Shards, left: float, bottom: float, results: int) -> None:
    words = row.task.endswith("to_text")
    for number, shown in enumerate(row.results[:results]):
        score = "" if shown.score is None else f"{shown.score:.2f}"
        colour = RIGHT if shown.relevant else WRONG
        _cell(picture, left + number * CELL_INCHES, bottom, look_at(shown, shards), colour, score, words=words)


def _cell(picture: Any, left: float, bottom: float, look: Look, colour: str, note: str, *, words: bool) -> None:
    width, height, inner = picture.get_figwidth(), picture.get_figheight(), CELL_INCHES - 0.12
    axes: Axes = picture.add_axes((left / width, bottom / height, inner / width, inner / height))
    draw_cell(axes, look, colour, note, words=words)


def _write(
    picture: Any, left: float, height: float, text: str, size: float, colour: str, centred: bool = False
) -> None:
    picture.text(
        left / picture.get_figwidth(),
        height / picture.get_figheight(),
        text,
        fontsize=size,
        color=colour,
        va="center" if centred else "top",
        fontweight="bold" if not centred else "normal",
        linespacing=1.5,
    )
