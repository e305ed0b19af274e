"""Things that stand about in customers' photos and are not for sale: fruit, books, pencils, leaves."""

from __future__ import annotations

import random
from functools import lru_cache

from PIL import Image

from moon_zoo.shop.drawing.geometry import arc, box, ellipse, mirror, smooth, turn
from moon_zoo.shop.drawing.pen import Pen
from moon_zoo.shop.drawing.surfaces import Surface
from moon_zoo.shop.vocabulary import Rgb

_COLOURS: tuple[Rgb, ...] = (
    (196, 62, 54), (232, 178, 62), (84, 132, 86), (70, 112, 168), (132, 92, 142), (94, 92, 96), (214, 204, 188),
)  # fmt: skip


def _ball(pen: Pen) -> None:
    pen.fill(ellipse(0.5, 0.5, 0.42, 0.42), shape="ball")
    pen.stroke(arc(0.5, 0.5, 0.42, 0.14, 0, 180), 0.04, "accent")


def _book(pen: Pen) -> None:
    pen.fill(box(0.2, 0.1, 0.84, 0.92, 0.02), "white")
    pen.fill(box(0.16, 0.08, 0.8, 0.9, 0.02))
    pen.fill(box(0.16, 0.08, 0.24, 0.9, 0.02), "trim")
    pen.fill(box(0.34, 0.2, 0.7, 0.32, 0.01), "accent")


def _pencil(pen: Pen) -> None:
    pen.stroke([(0.5, 0.06), (0.5, 0.76)], 0.13, "main", "round")
    pen.fill([(0.435, 0.76), (0.565, 0.76), (0.5, 0.95)], "wood")
    pen.stroke([(0.5, 0.06), (0.5, 0.1)], 0.13, "accent", "round")


def _leaf(pen: Pen) -> None:
    pen.fill(smooth(mirror([(0.5, 0.06), (0.7, 0.3), (0.72, 0.55), (0.5, 0.86)])))
    pen.seam([(0.5, 0.1), (0.5, 0.94)], 0.7, 0.02)
    for y in (0.3, 0.45, 0.6):
        pen.seam([(0.34, y), (0.5, y + 0.1), (0.66, y)], 0.8, 0.014)


def _apple(pen: Pen) -> None:
    pen.fill(
        smooth(mirror([(0.5, 0.28), (0.68, 0.2), (0.86, 0.4), (0.78, 0.76), (0.6, 0.9), (0.5, 0.87)])), shape="ball"
    )
    pen.stroke([(0.5, 0.28), (0.55, 0.12)], 0.035, "wood")


def _blocks(pen: Pen) -> None:
    pen.fill(box(0.12, 0.5, 0.5, 0.88, 0.03))
    pen.fill(box(0.52, 0.5, 0.9, 0.88, 0.03), "accent")
    pen.fill(box(0.31, 0.1, 0.69, 0.48, 0.03), "trim")


def _phone(pen: Pen) -> None:
    pen.fill(box(0.28, 0.06, 0.72, 0.94, 0.06), "dark")
    pen.fill(box(0.31, 0.13, 0.69, 0.86, 0.02), "glass")
    pen.fill(box(0.35, 0.2, 0.65, 0.4, 0.02))


def _key(pen: Pen) -> None:
    pen.stroke(ellipse(0.5, 0.26, 0.15, 0.15), 0.07, "brass")
    pen.stroke([(0.5, 0.42), (0.5, 0.92)], 0.07, "brass")
    pen.stroke([(0.5, 0.9), (0.64, 0.9)], 0.06, "brass")
    pen.stroke([(0.5, 0.76), (0.6, 0.76)], 0.06, "brass")


def _envelope(pen: Pen) -> None:
    pen.fill(box(0.08, 0.24, 0.92, 0.78, 0.01), "white")
    pen.seam([(0.08, 0.24), (0.5, 0.56), (0.92, 0.24)], 0.7, 0.014)
    pen.fill(box(0.76, 0.62, 0.88, 0.74), "main")


def _spoon(pen: Pen) -> None:
    pen.stroke([(0.5, 0.36), (0.5, 0.94)], 0.05, "metal", "round")
    pen.fill(ellipse(0.5, 0.22, 0.12, 0.17), "metal", "ball")


def _parcel(pen: Pen) -> None:
    pen.fill(box(0.1, 0.2, 0.9, 0.84, 0.01), "wood")
    pen.fill(box(0.44, 0.2, 0.56, 0.84), "accent")


def _plant(pen: Pen) -> None:
    for angle in (-60, -30, 0, 30, 60):
        pen.fill(turn(smooth([(0.5, 0.1), (0.57, 0.3), (0.5, 0.66), (0.43, 0.3)]), angle, 0.5, 0.66), "leafy")
    pen.fill(mirror([(0.72, 0.62), (0.66, 0.94)]), shape="round")


_THINGS = (_ball, _book, _pencil, _leaf, _apple, _blocks, _phone, _key, _envelope, _spoon, _parcel, _plant)


@lru_cache(maxsize=256)
def _drawn(thing: int, colour: int, px: int) -> Image.Image:
    accent = _COLOURS[(colour + 2) % len(_COLOURS)]
    pen = Pen(Surface(px, _COLOURS[colour], accent, "plain", 0.1, 0, "plastic"))
    _THINGS[thing](pen)
    picture = pen.picture()
    return picture.crop(picture.getbbox())


def distractor(px: int, rng: random.Random) -> Image.Image:
    """A thing about ``px`` long, RGBA, turned by any angle."""
    picture = _drawn(rng.randrange(len(_THINGS)), rng.randrange(len(_COLOURS)), 96)
    scale = px / max(picture.size)
    size = (max(2, round(picture.width * scale)), max(2, round(picture.height * scale)))
    turned = picture.resize(size, Image.Resampling.BILINEAR)
    return turned.rotate(rng.randrange(360), Image.Resampling.BILINEAR, expand=True)
