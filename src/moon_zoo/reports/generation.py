"""What a model wrote about products, beside what was right: a picture for each split.

Attributes are green where they are right and red where not, with the right value behind; boxes are blue as answered and green
as they are. The answers are those of `moon_zoo.models.moon.generation_evaluation`, kept as ``report/generation_<split>.json``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from moon_zoo.data.images import decode_photo, photo_size
from moon_zoo.data.kinds import Box, Search
from moon_zoo.models.moon.tasks import read_attributes, read_box, read_category
from moon_zoo.reports.examples import read_examples
from moon_zoo.reports.style import FAINT, INK, QUERY, RIGHT, WRONG, figure, save

NAME = "generation"
MAX_SHOWN = 12
COLUMNS = 3
PHOTO_PIXELS = 200
CELL_INCHES = (4.1, 1.75)
LINE_CHARACTERS = 40
LINES = 8

Line = tuple[str, str]
"""Text and colour."""


def read_written(path: Path) -> list[dict[str, Any]]:
    """What a run kept of what its model wrote; see `read_examples`."""
    return read_examples(path, {"index": int, "photo": int, "task": str, "answer": str, "right": str})


def draw_generations(folder: Path, shards: Callable[[str], Any], names: Iterable[str]) -> list[Path]:
    """Draw the answers that are kept in a report's folder.

    Args:
        folder: The report's folder.
        shards: Name of a split to its shards.
        names: Of the kept data, such as ``generation_val``; what is no generation is passed over.

    Returns:
        The pictures written.
    """
    pictures = []
    for name in names:
        if name.startswith(f"{NAME}_"):
            examples = read_written(folder / f"{name}.json")
            drawn = draw_answers(examples, shards(name.removeprefix(f"{NAME}_")), folder / f"{name}.png")
            pictures += [drawn] if drawn is not None else []
    return pictures


def draw_answers(examples: Sequence[Mapping[str, Any]], shards: Any, target: Path) -> Path | None:
    """Draw some answers with the photos they are about.

    Args:
        examples: What the model wrote, as the evaluation keeps it.
        shards: Where the samples are.
        target: The PNG to write.

    Returns:
        ``target``, or None where there is nothing to show.
    """
    examples = _mixed(
        [example for example in examples if example["index"] >= 0]
    )  # streamed samples are not found again
    if not examples:
        return None
    rows = -(-len(examples) // COLUMNS)
    width, height = COLUMNS * CELL_INCHES[0], rows * CELL_INCHES[1] + 0.4
    picture = figure(width, height)
    heading = "asked about a product; in grey what was right, boxes blue as answered and green as they are"
    picture.text(0.12 / width, 1 - 0.16 / height, heading, fontsize=8, color=FAINT, va="top")
    for number, example in enumerate(examples):
        left = number % COLUMNS * CELL_INCHES[0] + 0.12
        bottom = height - 0.4 - (number // COLUMNS + 1) * CELL_INCHES[1] + 0.12
        side = CELL_INCHES[1] - 0.2
        axes = picture.add_axes((left / width, bottom / height, side / width, side / height))
        _draw_photo(axes, example, shards[example["index"]])
        _write(picture, _lines(example), (left + side + 0.1) / width, (bottom + side) / height, height)
    return save(picture, target)


def _mixed(examples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most `MAX_SHOWN`, tasks in turn."""
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for example in examples:
        tasks.setdefault(example["task"], []).append(example)
    turns = max(map(len, tasks.values()), default=0)
    return [group[turn] for turn in range(turns) for group in tasks.values() if turn < len(group)][:MAX_SHOWN]


def _draw_photo(axes: Axes, example: Mapping[str, Any], sample: Any) -> None:
    axes.set_axis_off()
    product = sample.item if isinstance(sample, Search) else sample
    if not 0 <= example["photo"] < len(product.photos):
        axes.text(0.5, 0.5, "(no photo)", ha="center", va="center", fontsize=8, color=FAINT)
        return
    photo = product.photos[example["photo"]]
    height, width = photo_size(photo)
    scale = PHOTO_PIXELS / max(height, width)
    shown = max(1, round(height * scale)), max(1, round(width * scale))
    axes.imshow(decode_photo(photo, shown, mode="squash").permute(1, 2, 0).numpy(), extent=(0, shown[1], shown[0], 0))
    if example["task"] == "main_subject":
        for box, colour in ((read_box(example["right"]), RIGHT), (read_box(example["answer"]), QUERY)):
            if box is not None:
                axes.add_patch(_rectangle(box, shown, colour))


def _rectangle(box: Box, shown: tuple[int, int], colour: str) -> Rectangle:
    left, top, right, bottom = box[0] * shown[1], box[1] * shown[0], box[2] * shown[1], box[3] * shown[0]
    return Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=2)


def _lines(example: Mapping[str, Any]) -> list[Line]:
    said, right, task = example["answer"], example["right"], example["task"]
    seen = "" if task in ("title", "main_subject") else ", photo and title" if example.get("shows_words") else ", photo"
    lines: list[Line] = [(task.replace("_", " ") + seen, INK)]
    if task == "attributes":
        return lines + _attribute_lines(read_attributes(said), read_attributes(right))
    if task == "main_subject" and read_category(right):
        found, category = read_category(said) or "(nothing)", read_category(right)
        return [*lines, (_short(found), RIGHT if found == category else WRONG), (_short(category), FAINT)]
    return [*lines, *_wrapped(said or "(nothing)", INK, 4), *_wrapped(right, FAINT, 4)]


def _attribute_lines(said: Mapping[str, str], right: Mapping[str, str]) -> list[Line]:
    lines = []
    for name, value in right.items():
        found = said.get(name, "(nothing)")
        hit = found == value
        lines.append((f"{name}: {_short(found)}" + ("" if hit else f"   ({value})"), RIGHT if hit else WRONG))
    return lines + [
        (_short(f"{name}: {value}") + "   (nothing)", WRONG) for name, value in said.items() if name not in right
    ]


def _short(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS // 2 else text[: LINE_CHARACTERS // 2 - 2] + " …"


def _wrapped(text: str, colour: str, lines: int) -> list[Line]:
    shown = "".join(letter if letter.isprintable() else "·" for letter in text)  # untrained models write anything
    return [(line, colour) for line in textwrap.wrap(shown, LINE_CHARACTERS, max_lines=lines, placeholder=" …")]


def _write(picture: Any, lines: Sequence[Line], left: float, top: float, height: float) -> None:
    for number, (text, colour) in enumerate(lines[: LINES + 1]):
        weight = "bold" if number == 0 else "normal"
        place = top - number * 0.165 / height
        picture.text(left, place, text.replace("$", r"\$"), fontsize=7.2, color=colour, va="top", fontweight=weight)
