"""Tools, toys and small things of the household: what cuts, burns, can be swallowed, carries a name, or is played with.

One function per thing, ``s`` in ``[0, 1]`` as in `bottles`.
"""

from __future__ import annotations

from collections.abc import Callable

from moon_zoo.shop.drawing.geometry import arc, box, ellipse, lerp, mirror, smooth, turn
from moon_zoo.shop.drawing.marks import MARKS
from moon_zoo.shop.drawing.pen import Pen


def kitchen_knife(pen: Pen, s: float) -> None:
    """A broad blade that comes to a point, and a riveted handle, lying across."""
    low = lerp(0.6, 0.66, s)
    pen.fill(
        [*smooth([(0.03, 0.5), (0.3, 0.4), (0.6, 0.4)], False), (0.6, low), (0.34, low - 0.01), (0.12, 0.58)], "metal"
    )
    pen.fill(box(0.58, 0.38, 0.97, 0.52, 0.04), "plain", "tube")
    for x in (0.66, 0.77, 0.88):
        pen.dot(x, 0.45, 0.018, "white")


def craft_knife(pen: Pen, s: float) -> None:
    """A thick flat holder with a slider, out of which comes a slanted segmented blade, lying across."""
    high = lerp(0.1, 0.13, s)
    pen.fill(
        [(0.04, 0.5 + high * 0.8), (0.12, 0.5 - high * 0.6), (0.42, 0.5 - high * 0.6), (0.42, 0.5 + high * 0.8)],
        "metal",
    )
    for x in (0.2, 0.28, 0.36):
        pen.seam([(x, 0.5 - high * 0.6), (x - 0.05, 0.5 + high * 0.8)], 0.55, 0.012)
    pen.fill(box(0.38, 0.5 - high * 1.3, 0.97, 0.5 + high * 1.3, 0.07), "plain", "tube")
    pen.fill(box(0.5, 0.47, 0.84, 0.53, 0.02), "dark")
    pen.fill(box(0.56, 0.43, 0.68, 0.57, 0.02), "dark")


def scissors(pen: Pen, s: float) -> None:
    """Two crossing blades and two rings."""
    spread = lerp(9, 15, s)
    for side in (-1, 1):
        blade = [(0.46, 0.6), (0.5, 0.06), (0.55, 0.58)]
        pen.fill(turn(blade, side * spread, 0.5, 0.56), "metal")
    for side in (-1, 1):
        ring = ellipse(0.5 + side * 0.16, 0.8, 0.115, 0.135)
        pen.stroke([(0.5, 0.54), (0.5 + side * 0.1, 0.68)], 0.06, "plain")
        pen.stroke([*ring, ring[0]], 0.06, "plain")
    pen.dot(0.5, 0.55, 0.025, "dark")


def saw(pen: Pen, s: float) -> None:
    """A long toothed blade and a closed grip."""
    teeth = [(0.05 + 0.05 * step, 0.64 if step % 2 else 0.58) for step in range(13)]
    pen.fill([(0.04, 0.44), (0.66, lerp(0.3, 0.34, s)), (0.66, 0.6), *reversed(teeth)], "metal")
    pen.fill(box(0.62, 0.26, 0.96, 0.72, 0.12), "plain")
    pen.cut(box(0.72, 0.38, 0.86, 0.6, 0.06))


def lighter(pen: Pen, s: float) -> None:
    """A small case with a metal head and a flame."""
    half = lerp(0.13, 0.17, s)
    pen.fill(box(0.5 - half, 0.46, 0.5 + half, 0.96, 0.04), "plain", "round")
    pen.fill(box(0.5 - half, 0.34, 0.5 + half, 0.48, 0.01), "metal", "round")
    pen.dot(0.5 + half * 0.5, 0.34, 0.05, "dark")
    _flame(pen, 0.5 - half * 0.4, 0.33, 0.3)


def matches(pen: Pen, s: float) -> None:
    """An open box with heads of matches looking out."""
    top = lerp(0.44, 0.48, s)
    for step in range(6):
        x = 0.2 + 0.115 * step
        pen.stroke([(x, top + 0.1), (x, 0.22)], 0.045, "wood")
        pen.fill(ellipse(x, 0.2, 0.045, 0.06, 16), "dark", "ball")
    pen.fill(box(0.1, top, 0.9, 0.9, 0.01), "plain")
    pen.fill(box(0.1, 0.78, 0.9, 0.9), "dark")
    pen.fill(box(0.32, top + 0.08, 0.68, 0.72), "white")


def candle(pen: Pen, s: float) -> None:
    """A thick candle on a saucer, burning."""
    half = lerp(0.15, 0.2, s)
    pen.fill(ellipse(0.5, 0.9, 0.36, 0.075), "metal")
    pen.fill(box(0.5 - half, 0.42, 0.5 + half, 0.9, 0.02), "plain", "round")
    pen.fill(ellipse(0.5, 0.42, half, 0.045), "plain", level=1.15)
    pen.stroke([(0.5, 0.42), (0.5, 0.34)], 0.02, "dark")
    _flame(pen, 0.5, 0.36, 0.28)


def _flame(pen: Pen, x: float, base: float, high: float) -> None:
    outer = [(x, base - high), (x + 0.075, base - high * 0.4), (x + 0.045, base), (x, base + 0.01)]
    pen.fill(smooth(mirror(outer, x)), "brass", "ball", 1.25, edge=0.9)
    inner = [(x, base - high * 0.6), (x + 0.036, base - high * 0.25), (x, base)]
    pen.fill(smooth(mirror(inner, x)), "glow", level=1.3, edge=1)


def button_batteries(pen: Pen, s: float) -> None:
    """Three flat shiny discs with a plus on them."""
    radius = lerp(0.19, 0.22, s)
    for x, y in ((0.3, 0.36), (0.7, 0.4), (0.48, 0.72)):
        pen.fill(ellipse(x, y + 0.03, radius, radius), "dark")
        pen.fill(ellipse(x, y, radius, radius), "metal", "flat")
        pen.fill(box(x - 0.09, y - 0.018, x + 0.09, y + 0.018), "dark", edge=1)
        pen.fill(box(x - 0.018, y - 0.09, x + 0.018, y + 0.09), "dark", edge=1)


def marbles(pen: Pen, s: float) -> None:
    """Six glass balls of two colours with a swirl in them."""
    radius = lerp(0.13, 0.155, s)
    places = ((0.25, 0.3), (0.58, 0.22), (0.8, 0.48), (0.45, 0.52), (0.2, 0.68), (0.62, 0.78))
    for number, (x, y) in enumerate(places):
        pen.fill(ellipse(x, y, radius, radius, 30), "plain" if number % 2 else "accent", "ball")
        pen.stroke(arc(x, y, radius * 0.6, radius * 0.35, 200, 340), 0.022, "white")


def magnets(pen: Pen, s: float) -> None:
    """Two horseshoes with bright ends."""
    radius = lerp(0.14, 0.17, s)
    for x, y, angle in ((0.3, 0.38, -25), (0.68, 0.6, 20)):
        bow = [(x - radius, y + 0.2), *arc(x, y, radius, radius, 180, 360), (x + radius, y + 0.2)]
        pen.stroke(turn(bow, angle, x, y), 0.1, "plain")
        for side in (-1, 1):
            end = [(x + side * radius, y + 0.17), (x + side * radius, y + 0.23)]
            pen.stroke(turn(end, angle, x, y), 0.1, "metal")


def brand_labels(pen: Pen, s: float) -> None:
    """Dark woven labels with a bright crown, four on a sheet."""
    _labels(pen, s, "dark", "crown")


def brand_stickers(pen: Pen, s: float) -> None:
    """Round dark stickers with a bright star, four on a sheet."""
    pen.fill(box(0.1, 0.1, 0.9, 0.9, 0.02), "white")
    for x in (0.31, 0.69):
        for y in (0.31, 0.69):
            radius = lerp(0.15, 0.17, s)
            pen.fill(ellipse(x, y, radius, radius), "plain")
            for polygon in MARKS["star"]:
                pen.fill([(x + radius * 0.75 * dx, y + radius * 0.75 * dy) for dx, dy in polygon], "glow", edge=1)


def name_tags(pen: Pen, s: float) -> None:
    """Plain coloured ribbons with a written line, four under one another."""
    for row in range(4):
        y = 0.16 + 0.19 * row
        pen.fill(box(0.1, y, lerp(0.84, 0.92, s), y + 0.13), "plain")
        pen.stroke(
            smooth([(0.2, y + 0.08), (0.3, y + 0.04), (0.42, y + 0.09), (0.55, y + 0.05), (0.68, y + 0.08)], False),
            0.026,
            "white",
        )


def _labels(pen: Pen, s: float, paint: str, mark: str) -> None:
    for x in (0.28, 0.72):
        for y in (0.3, 0.72):
            half = lerp(0.17, 0.19, s)
            pen.fill(box(x - half, y - 0.16, x + half, y + 0.16, 0.01), "plain")
            pen.fill(box(x - half + 0.025, y - 0.135, x + half - 0.025, y + 0.135), paint, edge=1)
            for polygon in MARKS[mark]:
                pen.fill([(x + 0.1 * dx, y + 0.1 * dy) for dx, dy in polygon], "glow", edge=1)


def bank_card(pen: Pen, s: float) -> None:
    """A card with a dark stripe, a chip and a row of numbers."""
    top = lerp(0.22, 0.26, s)
    pen.fill(box(0.05, top, 0.95, 1 - top, 0.06), "plain")
    pen.fill(box(0.05, top + 0.06, 0.95, top + 0.16), "dark", edge=1)
    pen.fill(box(0.14, 0.46, 0.28, 0.56, 0.02), "brass")
    for column in range(4):
        pen.fill(box(0.14 + 0.19 * column, 0.63, 0.28 + 0.19 * column, 0.68), "white", edge=1)


def identity_card(pen: Pen, s: float) -> None:
    """A card with a head on it and lines of text."""
    top = lerp(0.2, 0.24, s)
    pen.fill(box(0.05, top, 0.95, 1 - top, 0.05), "white")
    pen.fill(box(0.05, top, 0.95, top + 0.12, 0.03), "plain")
    pen.fill(box(0.12, 0.4, 0.4, 0.72), "plain", level=0.8)
    pen.fill(ellipse(0.26, 0.5, 0.07, 0.08, 24), "wood", "ball")
    pen.fill([*arc(0.26, 0.72, 0.12, 0.12, 180, 360)], "wood")
    for row in range(4):
        pen.fill(box(0.48, 0.42 + 0.08 * row, 0.86 - 0.06 * (row % 2), 0.46 + 0.08 * row), "dark", edge=1)


def house_key(pen: Pen, s: float) -> None:
    """A big key with a ring of colour."""
    width = lerp(0.07, 0.09, s)
    ring = ellipse(0.28, 0.5, 0.17, 0.17)
    pen.stroke([*ring, ring[0]], width, "plain")
    pen.stroke([(0.45, 0.5), (0.94, 0.5)], width, "metal")
    for x in (0.74, 0.84, 0.93):
        pen.stroke([(x, 0.52), (x, 0.64)], 0.05, "metal")


def toy_blocks(pen: Pen, s: float) -> None:
    """Three blocks with a mark on each, piled up."""
    side = lerp(0.37, 0.41, s)
    for x, y, paint, mark in (
        (0.28, 0.73, "plain", "heart"),
        (0.72, 0.73, "accent", "square"),
        (0.5, 0.3, "plain", "disc"),
    ):
        half = side / 2
        pen.fill(box(x - half, y - half, x + half, y + half, 0.03), paint)
        for polygon in MARKS[mark]:
            pen.fill([(x + half * 0.5 * dx, y + half * 0.5 * dy) for dx, dy in polygon], "white", edge=1)


def ball(pen: Pen, s: float) -> None:
    """A ball with a band."""
    radius = lerp(0.38, 0.43, s)
    pen.fill(ellipse(0.5, 0.5, radius, radius), shape="ball")
    pen.stroke(arc(0.5, 0.44, radius * 0.95, 0.2, 15, 165), 0.09, "white")


def teddy_bear(pen: Pen, s: float) -> None:
    """A bear that sits."""
    for side in (-1, 1):
        pen.fill(ellipse(0.5 + side * 0.17, 0.14, 0.09, 0.09, 24), "plain", "ball")
        pen.fill(ellipse(0.5 + side * 0.25, 0.84, 0.13, 0.1, 24), "plain", "ball")
        pen.fill(ellipse(0.5 + side * 0.27, 0.56, 0.08, 0.14, 24), "plain", "ball")
    pen.fill(ellipse(0.5, 0.68, lerp(0.23, 0.27, s), 0.25), "plain", "ball")
    pen.fill(ellipse(0.5, 0.7, 0.14, 0.15), "white")
    pen.fill(ellipse(0.5, 0.29, 0.22, 0.2), "plain", "ball")
    pen.fill(ellipse(0.5, 0.36, 0.09, 0.07), "white")
    for x in (0.42, 0.58):
        pen.dot(x, 0.26, 0.025, "dark")
    pen.dot(0.5, 0.34, 0.03, "dark")


def book(pen: Pen, s: float) -> None:
    """A closed book."""
    right = lerp(0.8, 0.86, s)
    pen.fill(box(0.2, 0.08, right + 0.04, 0.94, 0.01), "white")
    pen.fill(box(0.16, 0.06, right, 0.92, 0.02), "plain")
    pen.fill(box(0.16, 0.06, 0.25, 0.92, 0.02), "trim")
    pen.fill(box(0.35, 0.2, right - 0.1, 0.34, 0.01), "white")


def sweets(pen: Pen, s: float) -> None:
    """Four wrapped sweets with twisted ends."""
    size = lerp(0.11, 0.13, s)
    for number, (x, y) in enumerate(((0.3, 0.28), (0.7, 0.32), (0.28, 0.7), (0.7, 0.74))):
        paint = "plain" if number in (0, 3) else "accent"
        for side in (-1, 1):
            tip = [(x, y), (x + side * size * 1.75, y - size * 0.8), (x + side * size * 1.75, y + size * 0.8)]
            pen.fill(turn(tip, 20 * (number - 1.5), x, y), "white")
        pen.fill(ellipse(x, y, size, size, 30), paint, "ball")


def toddler_chair(pen: Pen, s: float) -> None:
    """A high chair: a back, a tray in front and long legs."""
    spread = lerp(0.3, 0.36, s)
    for side in (-1, 1):
        pen.stroke([(0.5 + side * 0.2, 0.5), (0.5 + side * spread, 0.96)], 0.055, "wood", "round")
    pen.stroke([(0.26, 0.76), (0.74, 0.76)], 0.045, "wood")
    pen.fill(box(0.3, 0.04, 0.7, 0.5, 0.1), "plain", "round")
    pen.fill(box(0.12, 0.38, 0.88, 0.52, 0.06), "plain", "tube", 1.1)


def apple(pen: Pen, s: float) -> None:
    """An apple with a leaf."""
    wide = lerp(0.82, 0.88, s)
    pen.fill(
        smooth(mirror([(0.5, 0.28), (0.68, 0.2), (wide, 0.42), (0.78, 0.78), (0.6, 0.92), (0.5, 0.88)])), shape="ball"
    )
    pen.stroke([(0.5, 0.28), (0.54, 0.12)], 0.04, "wood")
    pen.fill(smooth([(0.54, 0.16), (0.68, 0.04), (0.78, 0.1), (0.66, 0.2)]), "leafy")


SILHOUETTES: dict[str, Callable[[Pen, float], None]] = {
    "kitchen knife": kitchen_knife,
    "craft knife": craft_knife,
    "scissors": scissors,
    "saw": saw,
    "lighter": lighter,
    "matches": matches,
    "candle": candle,
    "button batteries": button_batteries,
    "marbles": marbles,
    "magnets": magnets,
    "brand labels": brand_labels,
    "brand stickers": brand_stickers,
    "name tags": name_tags,
    "bank card": bank_card,
    "identity card": identity_card,
    "house key": house_key,
    "toy blocks": toy_blocks,
    "ball": ball,
    "teddy bear": teddy_bear,
    "book": book,
    "sweets": sweets,
    "toddler chair": toddler_chair,
    "apple": apple,
}
"""Thing to its drawing function ``(pen, s)``."""
