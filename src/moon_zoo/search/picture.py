"""Results as one PNG: each query at the left, its results beside it, best first, drawn as the galleries of runs are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from moon_zoo.data.images import decode_photo
from moon_zoo.errors import DataError
from moon_zoo.reports.gallery import CAPTION_INCHES, CELL_INCHES, Look, draw_cell
from moon_zoo.reports.style import FAINT, INK, QUERY, figure
from moon_zoo.search.page import PhotoOf
from moon_zoo.search.results import Answer, whole_file

MAX_QUERIES = 12
MAX_RESULTS = 30
PER_LINE = 10
HEADING_INCHES = 0.5
MARGIN_INCHES = 0.15
LINE_INCHES = CELL_INCHES + CAPTION_INCHES


def draw_picture(
    answers: Sequence[Answer], path: Path, *, photo_of: PhotoOf, heading: str = "Search"
) -> tuple[Path, list[str]]:
    """Draw the first `MAX_QUERIES` queries with their first `MAX_RESULTS` results each.

    Args:
        answers: Queries and their results.
        path: The PNG.
        photo_of: Where photos come from.
        heading: Above it all.

    Returns:
        ``path``, and notes on what the picture could not show.

    Raises:
        DataError: The file cannot be written.
    """
    shown = answers[:MAX_QUERIES]
    notes = (
        [f"the picture shows the first {MAX_QUERIES} of {len(answers)} queries"] if len(answers) > len(shown) else []
    )
    if any(len(answer.results) > MAX_RESULTS for answer in shown):
        notes.append(f"the picture shows the first {MAX_RESULTS} results of each query")
    lines = [-(-min(len(answer.results), MAX_RESULTS) // PER_LINE) or 1 for answer in shown]
    across = max(1, *(min(len(answer.results), PER_LINE) for answer in shown)) if shown else 1
    width = (across + 1) * CELL_INCHES + 0.2 + 2 * MARGIN_INCHES
    made = figure(width, HEADING_INCHES + sum(lines) * LINE_INCHES + MARGIN_INCHES)
    height = made.get_figheight()
    made.text(MARGIN_INCHES / width, (height - 0.14) / height, _plain(heading), fontsize=11, color=INK, va="top")
    top = height - HEADING_INCHES
    for answer, count in zip(shown, lines):
        _answer(made, answer, top, photo_of)
        top -= count * LINE_INCHES
    return _saved(made, path, notes), notes


def _answer(made: Any, answer: Answer, top: float, photo_of: PhotoOf) -> None:
    query = Look(_decodable(answer.query.photo_bytes()), answer.query.text or "")
    draw_cell(_axes(made, 0, top), query, QUERY, "query")
    if not answer.results:
        axes = _axes(made, 1, top)
        axes.set_axis_off()
        axes.text(0, 0.5, "nothing was found", fontsize=8, color=FAINT, va="center")
    for number, result in enumerate(answer.results[:MAX_RESULTS]):
        line, column = divmod(number, PER_LINE)
        look = Look(_decodable(photo_of(result)), result.title or result.item_id)
        draw_cell(_axes(made, column + 1, top - line * LINE_INCHES), look, FAINT, f"{result.score:.2f}")


def _axes(made: Any, column: int, top: float) -> Axes:
    width, height, inner = made.get_figwidth(), made.get_figheight(), CELL_INCHES - 0.12
    left = MARGIN_INCHES + column * CELL_INCHES + (0.2 if column else 0)
    return made.add_axes((left / width, (top - inner) / height, inner / width, inner / height))


def _decodable(photo: bytes | None) -> bytes | None:
    """The photo, None where it would stop the drawing."""
    if photo is None:
        return None
    try:
        decode_photo(photo, 16)
    except DataError:
        return None
    return photo


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would set it as mathematics


def _saved(made: Any, path: Path, notes: list[str]) -> Path:
    with warnings.catch_warnings(record=True) as caught, whole_file(path, "--png") as temporary:
        warnings.simplefilter("always")
        made.savefig(temporary, format="png")
    if any("Glyph" in str(warning.message) for warning in caught):
        notes.append("the picture's font lacks some letters of the titles; --html shows them")
    return path
