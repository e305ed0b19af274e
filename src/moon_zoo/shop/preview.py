"""Contact sheets: many of the shop's photos side by side, for people to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from moon_zoo.errors import UsageError, did_you_mean
from moon_zoo.shop.catalogue import dice, spu
from moon_zoo.shop.conversations.things import PLACES, THINGS
from moon_zoo.shop.drawing.photos import photo
from moon_zoo.shop.drawing.scenes import SHAPES, Drawn, scene
from moon_zoo.shop.vocabulary import LEAVES

_GAP, _LABEL = 2, 14


def things_sheet(
    path: str | os.PathLike[str] | None = None, *, seed: int = 0, photo_px: int = 64, columns: int = 8
) -> Image.Image:
    """Draw every household thing of the shop's conversations once, its name above, then each place with a thing on it.

    Args:
        path: Where to save it; the extension decides the format. None saves nothing.
        seed: Decides colours and scenes.
        photo_px: Side of a photo.
        columns: Photos side by side.

    Returns:
        The sheet.
    """
    shown: list[tuple[str, str | None]] = [(name, None) for name in THINGS]
    shown += [(name, place) for place in PLACES for name in ("kitchen knife", "tablets")]
    width, height = max(photo_px, 84) + _GAP, photo_px + _GAP + _LABEL
    sheet = Image.new("RGB", (columns * width, -(-len(shown) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(10)
    for number, (name, place) in enumerate(shown):
        rng = dice(seed, "things", number)
        one, on = (
            None if each is None else Drawn(each, rng.choice(THINGS[each].colours), "white", rng.randrange(SHAPES))
            for each in (name, place)
        )
        assert one is not None
        below, above = (one, None) if on is None else (on, one)
        taken = scene(below, above, PLACES.get(place or "", (0.5, 0.5)), photo_px, rng)
        x, y = number % columns * width, number // columns * height
        draw.text((x + 1, y), name if place is None else f"on {place}", fill=(60, 60, 60), font=font)
        sheet.paste(Image.open(BytesIO(taken)), (x, y + _LABEL))
    if path is not None:
        sheet.save(Path(path), optimize=True)
    return sheet


def contact_sheet(
    path: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    categories: Sequence[str] | None = None,
    products_per_category: int = 2,
    photos_per_product: int = 3,
    photo_px: int = 128,
    columns: int = 2,
    boxes: bool = False,
    colours: int | None = None,
) -> Image.Image:
    """Draw a sheet: a label and a row of photos per leaf category.

    Args:
        path: Where to save it; the extension decides the format. None saves nothing.
        seed: The shop's seed.
        categories: Leaf categories; all when None.
        products_per_category: SPUs per category.
        photos_per_product: Photos of each: the catalogue's first, then customers'.
        photo_px: Side of a photo.
        columns: Categories side by side.
        boxes: Whether to frame the product by its true box.
        colours: Store with a palette of this many colours, for small files; None keeps all.

    Returns:
        The sheet.

    Raises:
        UsageError: A category is unknown.
    """
    names = [leaf.name for leaf in LEAVES]
    chosen = names if categories is None else list(categories)
    for name in chosen:
        if name not in names:
            raise UsageError(
                f"the shop has no category {name!r}", suggestions=did_you_mean(name, names), change="categories"
            )
    per_row = products_per_category * photos_per_product
    width, height = per_row * (photo_px + _GAP) + 4 * _GAP, photo_px + _GAP + _LABEL
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * width - 4 * _GAP, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for place, name in enumerate(chosen):
        left, top = place // rows * width, place % rows * height
        draw.text((left + 1, top), name, fill=(60, 60, 60), font=font)
        for column in range(per_row):
            turn, number = divmod(column, photos_per_product)
            product = spu(seed, names.index(name) + turn * len(LEAVES))
            taken = photo(product, product.items[0], number, photo_px)
            x, y = left + column * (photo_px + _GAP), top + _LABEL
            sheet.paste(taken.image, (x, y))
            if boxes:
                corners = [side * photo_px for side in taken.box]
                draw.rectangle(
                    (x + corners[0], y + corners[1], x + corners[2] - 1, y + corners[3] - 1), outline=(0, 220, 90)
                )
    if path is not None:
        stored = (
            sheet
            if colours is None
            else sheet.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        )
        stored.save(Path(path), optimize=True)
    return sheet
