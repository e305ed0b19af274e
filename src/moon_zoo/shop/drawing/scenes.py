"""Photos of household things, alone or one on another, such as a knife on a toddler's chair.

Calmer than customers' photos of products: nothing else stands about, since the things that would (apples, keys, blocks) are
what conversations are about.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from PIL import Image

from moon_zoo.shop.drawing import bottles, home, tools_and_toys
from moon_zoo.shop.drawing.backgrounds import background
from moon_zoo.shop.drawing.pen import Pen
from moon_zoo.shop.drawing.photos import developed, shade
from moon_zoo.shop.drawing.surfaces import Surface
from moon_zoo.shop.vocabulary import COLOURS

SILHOUETTES = {**bottles.SILHOUETTES, **tools_and_toys.SILHOUETTES}
SHAPES = 3
"""Slimmer, middling and fuller: how many shapes of a thing there are."""

_HOME = {
    "mug": ("rounded", ("width", "height", "handle", "rim")),
    "teapot": ("round", ("belly", "spout", "handle", "lid")),
    "clock": ("round", ("width", "rim", "ticks", "hands")),
    "cushion": ("square", ("puff", "ratio", "tassels", "piping")),
}
"""Things that the shop draws as products already, with a style and the names of their shape parameters."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A thing as it is drawn.

    Args:
        name: A key of `SILHOUETTES`, or mug, teapot, clock, cushion.
        colour: Main colour.
        accent: Second colour.
        shape: 0 to ``SHAPES - 1``.
    """

    name: str
    colour: str
    accent: str
    shape: int


def scene(below: Drawn, above: Drawn | None, spot: tuple[float, float], px: int, rng: random.Random) -> bytes:
    """A photo of a thing, or of a thing on another, as JPEG.

    Args:
        below: The thing, or what it lies on.
        above: What lies on it, None for nothing.
        spot: Where, as fractions of the width and height of what is below.
        px: Side of the photo in pixels.
        rng: Decides all the rest.
    """
    canvas = background(px, rng) if rng.random() < 0.7 else _paper(px, rng)
    extent = rng.uniform(0.66, 0.86) if above is None else rng.uniform(0.78, 0.9)
    x, y = 0.5 + rng.uniform(-0.07, 0.07), 0.5 + rng.uniform(-0.06, 0.06)
    frame = _lay(canvas, below, extent, x, y, rng.randint(-14, 14) if above is None else rng.randint(-4, 4))
    if above is not None:
        left, top, width, height = frame
        _lay(
            canvas,
            above,
            rng.uniform(0.46, 0.54),
            (left + spot[0] * width) / px,
            (top + spot[1] * height) / px,
            rng.randint(-12, 12),
        )
    buffer = BytesIO()
    developed(canvas, px, rng).save(buffer, "JPEG", quality=rng.randint(80, 92))
    return buffer.getvalue()


def _paper(px: int, rng: random.Random) -> Image.Image:
    white = rng.randint(228, 252)
    return Image.new("RGB", (px, px), (white, white, white - rng.randint(0, 8)))


def _lay(
    canvas: Image.Image, thing: Drawn, extent: float, x: float, y: float, degrees: int
) -> tuple[int, int, int, int]:
    """Paste a thing around fractions ``(x, y)``; left, top, width and height of where it came to lie, in pixels."""
    px = canvas.width
    picture = picture_of(thing, 3 * px // 2)
    scale = px * extent / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    turned = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2).rotate(
        degrees, Image.Resampling.BILINEAR, expand=True
    )
    left, top = round(x * px - turned.width / 2), round(y * px - turned.height / 2)
    placed = Image.new("RGBA", (px, px))
    placed.paste(turned, (left, top))
    mask = placed.getchannel("A")
    shade(canvas, mask, px, px // 40, px // 30, 90)
    canvas.paste(placed, mask=mask)
    return left, top, turned.width, turned.height


def picture_of(thing: Drawn, px: int) -> Image.Image:
    """A thing on nothing, RGBA, cropped to what is there. Photos share it: do not draw on the result."""
    return _small(thing, px) if px <= _SMALL_PX else _large(thing, px)


def _draw(thing: Drawn, px: int) -> Image.Image:
    pen = Pen(Surface(px, COLOURS[thing.colour], COLOURS[thing.accent], "plain", 0.1, 0, "plastic"))
    s = (thing.shape + 0.5) / SHAPES
    if thing.name in SILHOUETTES:
        SILHOUETTES[thing.name](pen, s)
    else:
        style, parameters = _HOME[thing.name]
        home.SILHOUETTES[thing.name](pen, style, dict.fromkeys(parameters, s))
    picture = pen.picture()
    return picture.crop(picture.getbbox())


_SMALL_PX = 192
# All things in all colours and shapes are some 600 pictures: 80 MB at 192 pixels, too much for larger ones.
_small, _large = lru_cache(maxsize=1024)(_draw), lru_cache(maxsize=64)(_draw)
