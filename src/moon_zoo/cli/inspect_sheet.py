"""A contact sheet: samples of shards as cards, with their photos, boxes and texts, drawn with Pillow.

Boxes of another set of the same samples may stand beside: detected ones beside the true ones, say. Conversations have more
to read than products: their words stand right of the image, not under it.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from moon_zoo.data.conversations import CATEGORIES, Instruction, Observation, Preference
from moon_zoo.data.follow_ups import FollowUp
from moon_zoo.data.kinds import Box, Product, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import DataError, did_you_mean

PHOTO = 150
"""Side of a photo in pixels."""
GAP = 12
TITLE_LINES = 2
SUBTITLE_LINES = 2
LINE = 15
SHEET_WIDTH = 1344
MOST_PHOTOS = 3
"""Photos of one product on its card."""

INK, GREY, PAPER, BOX, OTHER_BOX = "#1a1a1a", "#707070", "#ffffff", "#e4572e", "#18b4a6"
ANSWER, RISK = "#1f6f43", "#b3401c"
ROLE_COLOURS = {"query": "#2e6fe4", "user": "#2e6fe4", "catalogue": "#9a9a9a"}


@dataclass(frozen=True, slots=True)
class Card:
    """One sample on the sheet.

    Args:
        photos: Role, encoded photo and the product's box of each.
        title: First lines of text.
        subtitle: Last line, in grey.
        other_boxes: The box of each photo in the set beside; empty without one.
        words: Paragraphs that stand right of the photo, each with its colour; empty for cards with their texts below.
    """

    photos: list[tuple[str, bytes, Box | None]]
    title: str = ""
    subtitle: str = ""
    other_boxes: tuple[Box | None, ...] = ()
    words: tuple[tuple[str, str], ...] = ()


def draw_sheet(
    sets: Mapping[str, IndexedShards], count: int, beside: Mapping[str, IndexedShards] | None = None
) -> Image.Image:
    """A picture of samples of each set, spread evenly over it.

    Args:
        sets: Name to shards.
        count: Samples of each set at most.
        beside: Name to shards of the same samples, whose boxes are drawn too, in another colour.

    Raises:
        DataError: A set beside is missing, or holds other samples.
    """
    sections = []
    for name, shards in sets.items():
        other = None if beside is None else _other(name, shards, sets, beside)
        legend = "" if other is None else f"; boxes orange, those of {other.path} green"
        sections.append((f"{name}: {len(shards):,} samples{legend}", _cards(shards, count, other)))
    heights = [_section_height(cards) for _, cards in sections]
    sheet = Image.new("RGB", (SHEET_WIDTH, sum(heights) + GAP), PAPER)
    top = GAP
    for (heading, cards), height in zip(sections, heights):
        _draw_section(sheet, top, heading, cards)
        top += height
    return sheet


def card(sample: Any, other: Any = None) -> Card:
    """What the sheet shows of a sample, with the boxes of its twin in another set."""
    if other is not None:
        return replace(card(sample), other_boxes=tuple(box for _, _, box in card(other).photos))
    if isinstance(sample, (Instruction, Preference)):
        shown: list[tuple[str, bytes, Box | None]] = [] if sample.image is None else [("image", sample.image, None)]
        return Card(shown, words=tuple((colour, text) for colour, text in _said(sample) if text))
    if isinstance(sample, FollowUp):
        return Card([], words=tuple((colour, text) for colour, text in _asked(sample) if text))
    if isinstance(sample, Search):
        query = [("query", sample.query_photo, sample.query_box)] if sample.query_photo is not None else []
        photos = _product_photos(sample.item)[: MOST_PHOTOS - len(query)]
        words = f'"{sample.query_text}" -> ' if sample.query_text else ""
        return Card(query + photos[:1], words + sample.item.title, _subtitle(sample.item, sample.behaviour))
    return Card(_product_photos(sample)[:MOST_PHOTOS], sample.title, _subtitle(sample))


def _said(sample: Instruction | Preference) -> Iterator[tuple[str, str]]:
    """Colour and text of a conversation's paragraphs: what is asked, how it is answered, what is risky, what it is."""
    for turn in sample.turns:
        yield INK, turn.text if turn.role == "user" else f"{turn.role}: {turn.text}"
    if isinstance(sample, Preference):
        yield ANSWER, f"better: {sample.chosen}"
        yield GREY, f"worse: {sample.rejected}"
    else:
        yield ANSWER, sample.answer
    for one in sample.observations or ():
        yield RISK, _risk(one)
    safety = {True: "benign", False: "risky", None: ""}[sample.safe]
    about = (f"round {sample.round}", sample.judge) if isinstance(sample, Preference) else (sample.situation,)
    yield GREY, " | ".join(part for part in (*about, safety) if part)


def _asked(sample: FollowUp) -> Iterator[tuple[str, str]]:
    """Colour and text of a follow-up's paragraphs: question, answer, what is asked next, and the knowledge behind it."""
    yield INK, sample.question
    yield GREY, sample.answer
    yield ANSWER, f"next: {sample.follow_up}" if sample.follow_up else ""
    known = sample.knowledge
    if known is not None:
        yield RISK, f"{known.source}: {known.text}" if known.text else f"{known.source}: nothing found"
    true = sample.truth.get("concept")
    yield GREY, f"behind it: {true}" if isinstance(true, str) and (known is None or true != known.concept) else ""


def _risk(one: Observation) -> str:
    return f"{one.content} ({one.source.replace('_', ' ')}, {CATEGORIES[one.category]})"


def _product_photos(product: Product) -> list[tuple[str, bytes, Box | None]]:
    return list(zip(product.photo_roles, product.photos, product.core_boxes))


def _subtitle(product: Product, *more: str) -> str:
    attributes = ", ".join(f"{name} {value}" for name, value in product.attributes.items())
    return " | ".join(part for part in (" > ".join(product.category), attributes, *more) if part)


def _cards(shards: IndexedShards, count: int, other: IndexedShards | None = None) -> list[Card]:
    if not len(shards):
        return []
    positions = np.unique(np.linspace(0, len(shards) - 1, min(count, len(shards))).round().astype(int)).tolist()
    return [card(shards[position], None if other is None else _twin(shards, other, position)) for position in positions]


def _other(
    name: str, shards: IndexedShards, sets: Mapping[str, IndexedShards], beside: Mapping[str, IndexedShards]
) -> IndexedShards:
    """The set beside one: of its name, or the only one beside the only one."""
    if issubclass(shards.kind.sample, (Instruction, Preference, FollowUp)):
        raise DataError(
            f"{shards.path} holds conversations, whose images have no boxes to compare", change="leave --beside out"
        )
    other = next(iter(beside.values())) if len(sets) == len(beside) == 1 else beside.get(name)
    if other is None:
        raise DataError(
            f"there is no set {name} beside; there are {', '.join(beside)}",
            suggestions=did_you_mean(name, beside),
            change="--beside",
        )
    if len(other) != len(shards) or other.kind is not shards.kind:
        raise DataError(
            f"{other.path} holds {len(other):,} samples of kind {other.kind.name}, {shards.path} {len(shards):,} of kind "
            f"{shards.kind.name}; boxes are only compared where the samples are the same",
            change="--beside",
        )
    return other


def _twin(shards: IndexedShards, other: IndexedShards, position: int) -> Any:
    """The sample of the other set at the same position.

    Raises:
        DataError: It is another sample.
    """
    key, other_key = shards.locate(position)[1], other.locate(position)[1]
    sample, twin = shards[position], other[position]
    if key != other_key or [photo for _, photo, _ in card(sample).photos] != [
        photo for _, photo, _ in card(twin).photos
    ]:
        raise DataError(
            f"sample {position} is {key} here and {other_key} there, or has other photos; boxes are only compared where "
            "the samples are the same",
            where=other.path,
            change="--beside",
        )
    return twin


def _columns(cards: list[Card]) -> tuple[int, int]:
    """Width of a card in pixels, and how many stand side by side."""
    if any(card.words for card in cards):
        return (SHEET_WIDTH - GAP) // 2, 2
    photos = max((len(card.photos) for card in cards), default=1) or 1
    width = photos * (PHOTO + 4) + GAP
    return width, max((SHEET_WIDTH - GAP) // width, 1)


def _card_height(cards: list[Card]) -> int:
    if any(card.words for card in cards):
        return PHOTO + GAP
    return PHOTO + (TITLE_LINES + SUBTITLE_LINES) * LINE + GAP


def _section_height(cards: list[Card]) -> int:
    _, columns = _columns(cards)
    return 2 * LINE + GAP + -(-len(cards) // columns) * _card_height(cards)


def _draw_section(sheet: Image.Image, top: int, heading: str, cards: list[Card]) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, top), heading, fill=INK, font=_font(18))
    top += 2 * LINE + GAP // 2
    width, columns = _columns(cards)
    for number, one in enumerate(cards):
        row, column = divmod(number, columns)
        _draw_card(sheet, GAP + column * width, top + row * _card_height(cards), width - GAP, one)


def _draw_card(sheet: Image.Image, left: int, top: int, width: int, one: Card) -> None:
    pen = ImageDraw.Draw(sheet)
    others = one.other_boxes or (None,) * len(one.photos)
    for number, ((role, photo, box), other) in enumerate(zip(one.photos, others, strict=True)):
        _draw_photo(sheet, left + number * (PHOTO + 4), top, role, photo, {OTHER_BOX: other, BOX: box})
    if one.words:
        beside = PHOTO + GAP if one.photos else 0
        _draw_words(pen, left + beside, top, (width - beside) // 7, one.words)
        return
    characters = max(width // 7, 12)
    lines = [(line, INK, 12) for line in _lines(one.title, characters, TITLE_LINES)]
    lines += [(line, GREY, 11) for line in _lines(one.subtitle, characters, SUBTITLE_LINES)]
    for number, (line, colour, points) in enumerate(lines):
        pen.text((left, top + PHOTO + 4 + number * LINE), line, fill=colour, font=_font(points))


def _draw_words(
    pen: ImageDraw.ImageDraw, left: int, top: int, characters: int, words: tuple[tuple[str, str], ...]
) -> None:
    """Paragraphs under one another, as many lines of each as leave room for one of every paragraph that follows."""
    room = PHOTO // LINE
    for number, (colour, text) in enumerate(words):
        lines = _lines(text, characters, max(room - (len(words) - number - 1), 1)) if room > 0 else []
        for line in lines:
            pen.text((left, top), line, fill=colour, font=_font(12))
            top += LINE
        room -= len(lines)


def _lines(text: str, characters: int, limit: int) -> list[str]:
    return textwrap.wrap(text, characters, max_lines=limit, placeholder=" ...")


def _draw_photo(
    sheet: Image.Image, left: int, top: int, role: str, photo: bytes, boxes: Mapping[str, Box | None]
) -> None:
    try:
        with Image.open(io.BytesIO(photo)) as encoded:
            image = ImageOps.exif_transpose(encoded).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        ImageDraw.Draw(sheet).text((left, top), f"undecodable: {error}"[:24], fill=BOX, font=_font(11))
        return
    scale = PHOTO / max(image.size)
    width, height = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for colour, box in boxes.items():
        if box is not None:
            corners = (box[0] * width, box[1] * height, box[2] * width - 1, box[3] * height - 1)
            pen.rectangle(corners, outline=colour, width=2)
    pen.line((0, height - 2, width, height - 2), fill=ROLE_COLOURS.get(role, INK), width=4)
    sheet.paste(image, (left, top + PHOTO - height))


@cache
def _font(points: int) -> Any:
    """DejaVu Sans, which matplotlib ships: it has far more letters than Pillow's own font."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), points) if path.is_file() else ImageFont.load_default(points)
