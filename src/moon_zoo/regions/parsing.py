"""A multimodal model's answer to a box: forgiving about the form, strict about the meaning.

Models answer as they were taught, not as they were asked: JSON with or without a code fence (Qwen2.5-VL's ``bbox_2d``),
named corners, ``<box>`` or ``<|box_start|>`` tags, bare numbers, sentences around them. Numbers are pixels of the picture
shown (Qwen2.5-VL), thousandths of its sides (Qwen2-VL, Qwen3-VL, our own `main_subject`) or fractions. The answer is read
by patterns and not by a JSON parser, so that one cut off after its box still gives it; one cut off within does not, since
its last number may be half a number.

Nothing here raises: what cannot be read is a box of None with the reason.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from moon_zoo.data.kinds import Box
from moon_zoo.regions.region import inside_photo

Scale = Literal["auto", "thousandths", "pixels", "fractions"]

LONGEST_ANSWER = 4000
"""Characters of an answer that are read: a model that goes on babbling costs nothing."""

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w%])"
_FREE = r"(?<![\w.])"  # digits inside a word (bbox_2d, x1) are no numbers
_BETWEEN = r"[,;\s()\[\]]+"
_FOUR = re.compile(rf"{_FREE}({_NUMBER})" + rf"{_BETWEEN}({_NUMBER})" * 3)
_TAG = re.compile(r"<\|?box(?:_start)?\|?>(.*?)(?:<\|?/?box(?:_end)?\|?>|$)", re.IGNORECASE | re.DOTALL)
_BRACKET = re.compile(r"\[([^\[\]{}]*)\]")
_NAMES: dict[str, tuple[str, ...]] = {
    "left": ("x1", "left", "xmin", "x_min", "x"),
    "top": ("y1", "top", "ymin", "y_min", "y"),
    "right": ("x2", "right", "xmax", "x_max"),
    "bottom": ("y2", "bottom", "ymax", "y_max"),
    "width": ("width", "w"),
    "height": ("height", "h"),
}
_NAMED = re.compile(
    rf"(?<![A-Za-z0-9_])(?P<name>{'|'.join(sorted((one for names in _NAMES.values() for one in names), key=len)[::-1])})"
    rf"[\"']?\s*[:=]\s*[\"']?(?P<number>{_NUMBER})",
    re.IGNORECASE,
)
_ROLE = {name: role for role, names in _NAMES.items() for name in names}


@dataclass(frozen=True, slots=True)
class ParsedBox:
    """What an answer says.

    Args:
        box: Fractions of the photo, or None.
        reason: Why it is None; empty otherwise.
    """

    box: Box | None
    reason: str = ""


def parse_box(text: str, *, scale: Scale = "auto", shown_size: tuple[int, int] | None = None) -> ParsedBox:
    """The box that an answer names; the first, where it names several.

    Args:
        text: The answer.
        scale: What its numbers count: ``thousandths`` of the sides, ``pixels`` of the picture as the model was shown it,
            ``fractions``, or ``auto``: fractions where none is above 1; thousandths inside ``<|box_start|>`` tags, without
            a size, or where a number is larger than the picture; else pixels.
        shown_size: Height and width in pixels of the picture as the model was shown it.

    Returns:
        The box, its corners put in order and cut to the photo; or why there is none. Never raises.
    """
    text = text[:LONGEST_ANSWER]
    numbers, tagged = _numbers(text)
    if numbers is None:
        return ParsedBox(None, "the answer is empty" if not text.strip() else "the answer names no four corners")
    if not all(math.isfinite(number) for number in numbers):
        return ParsedBox(None, "a corner is no finite number")
    sides = _sides(numbers, scale, shown_size, tagged)
    if sides is None:
        return ParsedBox(None, "the answer counts pixels, but the size of the picture shown is not known")
    height, width = sides
    left, top, right, bottom = numbers
    if left == right or top == bottom:
        return ParsedBox(None, "the box has no area")
    box = inside_photo(left / width, top / height, right / width, bottom / height)
    return ParsedBox(box) if box is not None else ParsedBox(None, "the box lies outside of the photo")


def _numbers(text: str) -> tuple[tuple[float, float, float, float] | None, bool]:
    """Left, top, right, bottom as the answer counts them, and whether a tag held them."""
    for tag in _TAG.finditer(text):
        found = _first_four(tag[1], whole=tag.end() > tag.end(1))
        if found is not None:
            return found, "box_start" in tag[0]
    for bracket in _BRACKET.finditer(text):
        found = _first_four(bracket[1])
        if found is not None:
            return found, False
    return _named(text) or _first_four(text, whole=not set("[({<") & set(text)), False


def _first_four(text: str, whole: bool = True) -> tuple[float, float, float, float] | None:
    """The first four numbers in a row; where the text may be cut off, none that its end touches."""
    found = _FOUR.search(text)
    if found is None or (not whole and found.end() == len(text)):
        return None
    left, top, right, bottom = (float(number) for number in found.groups())
    return left, top, right, bottom


def _named(text: str) -> tuple[float, float, float, float] | None:
    values: dict[str, float] = {}
    for found in _NAMED.finditer(text):
        if found.end() == len(text) and "{" in text:
            break  # cut off: perhaps half a number
        values.setdefault(_ROLE[found["name"].lower()], float(found["number"]))
    if "left" not in values or "top" not in values:
        return None
    left, top = values["left"], values["top"]
    right = values.get("right", left + values["width"] if "width" in values else None)
    bottom = values.get("bottom", top + values["height"] if "height" in values else None)
    return None if right is None or bottom is None else (left, top, right, bottom)


def _sides(
    numbers: tuple[float, ...], scale: Scale, shown_size: tuple[int, int] | None, tagged: bool
) -> tuple[float, float] | None:
    """Height and width of the photo in the unit of the numbers; None where that unit is unknown."""
    if scale == "auto":
        scale = _guess(numbers, shown_size, tagged)
    if scale == "fractions":
        return 1.0, 1.0
    if scale == "thousandths":
        return 1000.0, 1000.0
    return None if shown_size is None or min(shown_size) < 1 else (float(shown_size[0]), float(shown_size[1]))


def _guess(numbers: tuple[float, ...], shown_size: tuple[int, int] | None, tagged: bool) -> Scale:
    if max(numbers) <= 1:
        return "fractions"
    if tagged or shown_size is None:
        return "thousandths"
    height, width = shown_size
    fits = max(numbers[0], numbers[2]) <= width and max(numbers[1], numbers[3]) <= height
    return "pixels" if fits or max(numbers) > 1000 else "thousandths"
