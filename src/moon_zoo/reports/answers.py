"""What an assistant answers in conversations, beside what was right: a picture for each split.

What the user asks is blue, the answer black and what was right grey. The answers are those of
`moon_zoo.models.dream.evaluation`, kept as ``report/answers_<split>.json``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moon_zoo.data.conversations import Instruction
from moon_zoo.data.images import decode_photo, photo_size
from moon_zoo.reports.examples import read_examples
from moon_zoo.reports.style import FAINT, INK, QUERY, figure, save

NAME = "answers"
MAX_SHOWN = 12
COLUMNS = 3
PHOTO_PIXELS = 200
CELL_INCHES = (4.6, 2.0)
LINE_CHARACTERS = 48
LINE_INCHES = 0.15
LINES = {"asked": 3, "answer": 4, "right": 4}
"""Most lines of each part."""


def read_answers(path: Path) -> list[dict[str, Any]]:
    """The answers that a run kept; see `read_examples`."""
    return read_examples(path, {"index": int, "answer": str, "right": str})


def draw_conversations(folder: Path, shards: Callable[[str], Any], names: Iterable[str]) -> list[Path]:
    """Draw the answers that are kept in a report's folder.

    Args:
        folder: The report's folder.
        shards: Name of a split to its shards.
        names: Of the kept data, such as ``answers_val``; what is none is passed over.

    Returns:
        The pictures written.
    """
    pictures = []
    for name in names:
        if name.startswith(f"{NAME}_"):
            examples = [one for one in read_answers(folder / f"{name}.json") if one["index"] >= 0]
            if examples:  # streamed samples are not found again
                samples = shards(name.removeprefix(f"{NAME}_"))
                pictures.append(_draw(examples[:MAX_SHOWN], samples, folder / f"{name}.png"))
    return pictures


def _draw(examples: Sequence[Mapping[str, Any]], samples: Any, target: Path) -> Path:
    rows = -(-len(examples) // COLUMNS)
    width, height = COLUMNS * CELL_INCHES[0], rows * CELL_INCHES[1] + 0.4
    picture = figure(width, height)
    heading = "what is asked is blue, the answer black, in grey what was right"
    picture.text(0.12 / width, 1 - 0.16 / height, heading, fontsize=8, color=FAINT, va="top")
    for number, example in enumerate(examples):
        left = number % COLUMNS * CELL_INCHES[0] + 0.12
        top = height - 0.4 - number // COLUMNS * CELL_INCHES[1]
        side = CELL_INCHES[1] - 0.4
        sample = samples[example["index"]]
        axes = picture.add_axes((left / width, (top - side) / height, side / width, side / height))
        axes.set_axis_off()
        if sample.image is None:
            axes.text(0.5, 0.5, "(no image)", ha="center", va="center", fontsize=8, color=FAINT)
        else:
            tall, wide = photo_size(sample.image)
            scale = PHOTO_PIXELS / max(tall, wide)
            shown = max(1, round(tall * scale)), max(1, round(wide * scale))
            axes.imshow(decode_photo(sample.image, shown, mode="squash").permute(1, 2, 0).numpy())
        if isinstance(sample, Instruction) and sample.situation:
            situation = _plain(sample.situation.replace("_", " "))
            picture.text(left / width, (top - side - 0.04) / height, situation, fontsize=7, color=FAINT, va="top")
        parts = (
            ("asked", sample.prompt.text, QUERY),
            ("answer", example["answer"], INK),
            ("right", example["right"], FAINT),
        )
        place = top
        for name, text, colour in parts:
            for line in textwrap.wrap(
                _plain(text or "(nothing)"), LINE_CHARACTERS, max_lines=LINES[name], placeholder=" …"
            ):
                picture.text((left + side + 0.1) / width, place / height, line, fontsize=7.2, color=colour, va="top")
                place -= LINE_INCHES
            place -= LINE_INCHES / 3
    return save(picture, target)


def _plain(text: str) -> str:
    """Untrained models write anything; matplotlib takes dollars for formulas."""
    return "".join(letter if letter.isprintable() else "·" for letter in text).replace("$", r"\$")
