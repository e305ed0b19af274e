"""A retrieval gallery: each row a query and its best results, right ones framed green, wrong ones red."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from moon_zoo.data.images import decode_photo
from moon_zoo.data.kinds import Search
from moon_zoo.errors import DataError
from moon_zoo.models.base import GalleryRow, Shown
from moon_zoo.reports.style import FAINT, INK, QUERY, RIGHT, WRONG, figure, save

MAX_ROWS = 12
MAX_RESULTS = 8
PHOTO_PIXELS = 160
CELL_INCHES = 1.35
CAPTION_INCHES = 0.42
HEADING_INCHES = 0.42
LEGEND_INCHES = 6.0
"""Narrower pictures have no room for the legend beside the heading."""

Shards = Callable[[str], Any]
"""Name of a split to its `IndexedShards`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What is drawn of a sample.

    Args:
        photo: Encoded photo, None where words are all there is.
        text: The query's words, or the item's title.
    """

    photo: bytes | None
    text: str


def look_at(shown: Shown, shards: Shards) -> Look:
    """The photo and the words of one side of a sample."""
    sample = shards(shown.split)[shown.index]
    if isinstance(sample, Search) and shown.part.startswith("query"):
        return Look(sample.query_photo, sample.query_text or "")
    item = sample.item if isinstance(sample, Search) else sample
    if shown.part.startswith("query") and item.photos:
        return Look(item.customer_photos[0], item.title)
    return Look(item.photos[0] if item.photos else None, item.title)


def chosen(rows: Iterable[GalleryRow], limit: int = MAX_ROWS) -> list[GalleryRow]:
    """At most ``limit`` rows, as many of each task, tasks in their order."""
    tasks: dict[str, list[GalleryRow]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    each = max(1, limit // max(len(tasks), 1))
    return [row for rows_of_task in tasks.values() for row in rows_of_task[:each]][:limit]


def draw_gallery(rows: Sequence[GalleryRow], shards: Shards, target: Path) -> Path | None:
    """Draw rows of queries and results.

    Args:
        rows: What to show, grouped by task.
        shards: Where the samples are.
        target: The PNG to write.

    Returns:
        ``target``, or None when there are no rows.
    """
    rows = chosen(rows)
    if not rows:
        return None
    results = min(MAX_RESULTS, max(len(row.results) for row in rows))
    headings = [row.task != (rows[number - 1].task if number else None) for number, row in enumerate(rows)]
    heights = [CELL_INCHES + CAPTION_INCHES + (HEADING_INCHES if heading else 0) for heading in headings]
    width = (results + 1) * CELL_INCHES + 0.5
    picture = figure(width, sum(heights) + 0.25)
    top = sum(heights) + 0.12
    for row, heading, height in zip(rows, headings, heights, strict=True):
        if heading:
            _heading(picture, row.task, top, first=row is rows[0])
        bottom = top - height + CAPTION_INCHES
        _row(picture, row, shards, bottom, results)
        top -= height
    return save(picture, target)


def _heading(picture: Any, task: str, top: float, *, first: bool) -> None:
    width, height = picture.get_figwidth(), picture.get_figheight()
    name = task.replace("_", " ")
    picture.text(0.12 / width, (top - 0.14) / height, name, fontsize=11, color=INK, va="top", fontweight="bold")
    if first and width > LEGEND_INCHES:
        legend = "the query, then its results, best first; green is right"
        picture.text(1 - 0.2 / width, (top - 0.16) / height, legend, fontsize=8, color=FAINT, va="top", ha="right")


def _row(picture: Any, row: GalleryRow, shards: Shards, bottom: float, results: int) -> None:
    total_width, total_height = picture.get_figwidth(), picture.get_figheight()

    def cell(number: int) -> Axes:
        left = 0.12 + number * CELL_INCHES + (0.2 if number else 0)
        inner = CELL_INCHES - 0.12
        return picture.add_axes((left / total_width, bottom / total_height, inner / total_width, inner / total_height))

    query = look_at(row.query, shards)
    if row.task.startswith("photo"):
        query = dataclasses.replace(query, text="")  # the model saw the photo alone
    draw_cell(cell(0), query, QUERY, "query", words=row.task.startswith("text"))
    words = row.task.endswith("to_text")
    for number, shown in enumerate(row.results[:results], 1):
        look = look_at(shown, shards)
        score = "" if shown.score is None else f"{shown.score:.2f}"
        draw_cell(cell(number), look, RIGHT if shown.relevant else WRONG, score, words=words)


def draw_cell(axes: Axes, look: Look, colour: str, note: str, *, words: bool = False) -> None:
    """A framed photo with its text below, or framed words.

    Args:
        axes: Where; nearly square, with `CAPTION_INCHES` free below.
        look: What is shown.
        colour: Of frame and note.
        note: Below the frame at the left: a score, or ``query``.
        words: Whether the text is shown in place of the photo.
    """
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    axes.set_axis_off()
    if look.photo is not None and not words:
        axes.imshow(_pixels(look.photo), extent=(0.03, 0.97, 0.97, 0.03), interpolation="bilinear", aspect="auto")
        caption = _wrapped(look.text, 18 if note == "query" else 20, 2)
    else:
        axes.text(
            0.5,
            0.5,
            _wrapped(look.text or "(no words)", 15, 6),
            ha="center",
            va="center",
            fontsize=8,
            color=INK,
            linespacing=1.25,
        )
        caption = ""
    frame = FancyBboxPatch(
        (0.02, 0.02), 0.96, 0.96, boxstyle="round,pad=0,rounding_size=0.05", fill=False, edgecolor=colour, linewidth=2.4
    )
    frame.set_clip_on(False)
    axes.add_patch(frame)
    axes.text(0.03, 1.04, note, ha="left", va="top", fontsize=7.5, color=colour, fontweight="bold")
    if caption:
        axes.text(
            0.4 if note == "query" else 0.26,
            1.04,
            caption,
            ha="left",
            va="top",
            fontsize=6.2,
            color=FAINT,
            linespacing=1.15,
        )


def _pixels(photo: bytes) -> Any:
    return decode_photo(photo, PHOTO_PIXELS, mode="letterbox").permute(1, 2, 0).numpy()


def _wrapped(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …")).replace("$", r"\$")


def save_rows(rows: Sequence[GalleryRow], path: Path) -> None:
    """Keep rows as JSON, so that the gallery can be drawn again without the model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n", "utf-8")


def load_rows(path: Path) -> list[GalleryRow]:
    """The inverse of `save_rows`.

    Raises:
        DataError: The file is no list of rows.
    """
    try:
        return [
            GalleryRow(row["task"], Shown(**row["query"]), tuple(Shown(**shown) for shown in row["results"]))
            for row in json.loads(path.read_text("utf-8"))
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"no gallery can be read: {error}", where=str(path)) from None
