"""Shoes, seen from the side, toes to the right: one function per leaf category."""

from __future__ import annotations

from moon_zoo.shop.drawing.geometry import box, ellipse, lerp, smooth
from moon_zoo.shop.drawing.pen import Pen

Shape = dict[str, float]


def sneaker(pen: Pen, style: str, s: Shape) -> None:
    """A thick rubber sole, laces, low or high."""
    sole, collar = lerp(0.07, 0.11, s["sole"]), 0.42 if style == "low-top" else 0.2
    base, toe = 0.76, lerp(0.52, 0.58, s["toe"])
    tongue, heel = lerp(0.02, 0.05, s["tongue"]), lerp(0.16, 0.25, s["heel"])
    pen.fill(
        smooth([(0.33, collar + 0.04), (0.4, collar - tongue - 0.03), (0.48, collar - tongue), (0.5, collar + 0.12)]),
        "accent",
    )
    upper = [
        (0.1, base),
        (0.09, 0.6),
        (0.13, collar),
        (0.27, collar + (0.03 if style == "low-top" else 0.0)),
        (0.42, collar + 0.02),
    ]
    upper += [(0.53, 0.5 if style == "low-top" else 0.46), (0.72, toe), (0.9, 0.64), (0.93, base)]
    pen.fill([*smooth(upper, False), (0.93, base + 0.02), (0.1, base + 0.02)], shape="tube")
    pen.fill(smooth([(0.77, base), (0.76, 0.62), (0.84, 0.6), (0.93, 0.67), (0.94, base)], False), "trim")
    pen.fill(
        smooth([(0.09, base), (0.085, 0.62), (0.12, collar + 0.06), (heel - 0.01, 0.6), (heel, base)], False), "accent"
    )
    pen.fill(
        [
            *smooth(
                [(0.06, base), (0.06, base + sole), (0.3, base + sole), (0.93, base + sole), (0.97, base - 0.02)], False
            ),
            (0.93, base - 0.01),
        ],
        "sole",
        "tube",
    )
    pen.seam([(0.07, base + sole * 0.55), (0.95, base + sole * 0.5)], 0.8)
    for row in range(4 if style == "low-top" else 6):
        y = lerp(0.52, collar + 0.06, row / (3 if style == "low-top" else 5))
        pen.stroke([(lerp(0.6, 0.44, row / 4), y), (lerp(0.68, 0.5, row / 4), y - 0.045)], 0.02, "white")
    pen.brand(0.4, 0.65, 0.072)


def boot(pen: Pen, style: str, s: Shape) -> None:
    """A shaft, a heel and a sole."""
    top = lerp(0.3, 0.24, s["shaft"]) if style == "ankle" else lerp(0.1, 0.05, s["shaft"])
    base, heel, toe = 0.83, lerp(0.05, 0.1, s["heel"]), lerp(0.84, 0.9, s["toe"])
    shaft = [(0.22, top), (0.21, 0.5), (0.17, 0.66), (0.18, base), (toe - 0.06, base), (toe + 0.02, base - 0.07)]
    outline = [*shaft, (toe - 0.08, base - 0.17), (0.6, 0.6), (0.51, 0.5), (0.52, top)]
    pen.fill([(0.22, top), *smooth(outline, False)], shape="round")
    pen.fill(
        smooth(
            [
                (toe - 0.12, base),
                (toe - 0.13, base - 0.15),
                (toe - 0.02, base - 0.13),
                (toe + 0.02, base - 0.05),
                (toe, base),
            ],
            False,
        ),
        "trim",
    )
    sole = lerp(0.035, 0.06, s["sole"])
    pen.fill(box(0.36, base, toe + 0.02, base + sole, 0.02), "dark", "tube")
    pen.fill([(0.15, base), (0.4, base), (0.37, base + sole + heel), (0.16, base + sole + heel)], "dark", "tube")
    pen.fill(box(0.21, top - 0.015, 0.53, top + 0.07, 0.02), "accent", "round")
    for row in range(4):
        y = lerp(top + 0.14, 0.6, row / 3)
        pen.stroke([(0.47 + row * 0.02, y + 0.02), (0.54 + row * 0.022, y - 0.01)], 0.018, "accent")
    pen.brand(0.33, 0.57, 0.068)


def pump(pen: Pen, style: str, s: Shape) -> None:
    """A pointed shoe on a high heel."""
    rise = lerp(0.3, 0.4, s["heel"])
    floor, back = 0.82, 0.82 - rise
    toe = lerp(0.9, 0.95, s["toe"])
    if style == "stiletto":
        pen.fill([(0.1, back + 0.06), (0.23, back + 0.12), (0.165, floor), (0.125, floor)], "accent", "round")
    else:
        pen.fill([(0.1, back + 0.06), (0.3, back + 0.13), (0.27, floor), (0.11, floor)], "accent", "round")
    cut = lerp(0.0, 0.05, s["cut"])
    top = [
        (0.09, back - 0.13),
        (0.2, back - 0.02 + cut),
        (0.38, floor - 0.33 + cut),
        (0.55, floor - 0.2),
        (0.66, floor - 0.25),
    ]
    bottom = [
        (0.82, floor - 0.15),
        (toe, floor - 0.03),
        (0.8, floor),
        (0.6, floor - 0.01),
        (0.42, floor - 0.1),
        (0.28, back + 0.14),
    ]
    pen.fill(smooth([*top, *bottom, (0.1, back + 0.1), (0.07, back)]), shape="tube")
    pen.fill(
        smooth([(0.2, back - 0.02 + cut), (0.38, floor - 0.33 + cut), (0.55, floor - 0.2), (0.4, floor - 0.25 + cut)]),
        "inside",
        level=0.9,
    )
    width = lerp(0.014, 0.03, s["sole"])
    pen.stroke(
        smooth(
            [(0.3, back + 0.15), (0.45, floor - 0.09), (0.6, floor), (0.8, floor + 0.01), (toe - 0.02, floor - 0.005)],
            False,
        ),
        width,
        "dark",
    )
    pen.brand(0.72, floor - 0.11, 0.066)


def sandal(pen: Pen, style: str, s: Shape) -> None:
    """A pair from above: soles with a broad band (slide) or with a forked strap (flip-flop)."""
    for side in (-1, 1):
        _sandal(pen, style, s, side)


def _sandal(pen: Pen, style: str, s: Shape, side: int) -> None:
    x, top = 0.5 + side * 0.225, lerp(0.1, 0.05, s["sole"])
    ball, heel = lerp(0.155, 0.185, s["sole"]), lerp(0.105, 0.135, s["arch"])
    right = [(0.03, top), (ball * 0.85, top + 0.08), (ball, 0.3), (heel * 0.92, 0.6), (heel, 0.8), (0.0, 0.95)]
    left = [(-heel, 0.8), (-heel * 0.8, 0.6), (-ball * 0.9, 0.34), (-ball * 0.8, top + 0.12)]
    sole = smooth([(x + side * dx * -1, y) for dx, y in (*right, *left)])
    pen.fill([(px + 0.012, py + 0.018) for px, py in sole], "dark", edge=1.0)
    pen.fill(sole, "accent", edge=0.6)
    pen.seam([(x + (px - x) * 0.85, 0.5 + (py - 0.5) * 0.9) for px, py in [*sole, sole[0]]], 0.82, 0.008)
    width = lerp(0.13, 0.19, s["strap"])
    if style == "slide":
        band = [
            (-ball - 0.02, 0.28),
            (0.0, 0.22),
            (ball + 0.02, 0.28),
            (ball + 0.015, 0.3 + width),
            (0.0, 0.26 + width),
        ]
        pen.fill(
            smooth([(x + dx, y) for dx, y in (*band, (-ball - 0.015, 0.3 + width))], steps=4), shape="round", edge=0.55
        )
        pen.brand(x, 0.26 + width / 2, 0.07)
        return
    toe = (x - side * 0.03, top + 0.15)
    for dx in (-1, 1):
        arm = [toe, (x + dx * ball * 0.7, 0.33), (x + dx * ball * 0.95, 0.52)]
        pen.stroke(smooth(arm, False), 0.3 * width + 0.02, "main", "round")
    pen.dot(*toe, lerp(0.02, 0.032, s["buckle"]), "brass")
    pen.brand(x, 0.76, 0.075)


def headphones(pen: Pen, style: str, s: Shape) -> None:
    """A bow and two cups, seen from the front. Not footwear, but it shares nothing with the other files either."""
    reach, rise = lerp(0.26, 0.31, s["width"]), lerp(0.12, 0.08, s["band"])
    bow = smooth(
        [
            (0.5 - reach, 0.6),
            (0.5 - reach, 0.36),
            (0.5 - reach * 0.62, rise + 0.07),
            (0.5, rise),
            (0.5 + reach * 0.62, rise + 0.07),
            (0.5 + reach, 0.36),
            (0.5 + reach, 0.6),
        ],
        False,
    )
    pen.stroke(bow, lerp(0.06, 0.085, s["band"]), "main", "round")
    pen.stroke(
        smooth([(0.5 - reach * 0.55, rise + 0.1), (0.5, rise + 0.035), (0.5 + reach * 0.55, rise + 0.1)], False),
        0.04,
        "accent",
    )
    high = lerp(0.19, 0.23, s["cups"]) if style == "over-ear" else lerp(0.12, 0.14, s["cups"])
    wide = high * 0.62
    pad = lerp(0.05, 0.075, s["pads"])
    for side in (-1, 1):
        x = 0.5 + side * reach
        pen.fill(ellipse(x - side * pad, 0.66, wide * 0.6, high * 0.95), "dark", "round")
        pen.fill(ellipse(x + side * 0.02, 0.66, wide, high), "main", "ball")
        pen.fill(ellipse(x + side * 0.03, 0.66, wide * 0.68, high * 0.68), "accent", "ball")
        pen.brand(x + side * 0.03, 0.66, high * 0.36)


SILHOUETTES = {"sneaker": sneaker, "boot": boot, "pump": pump, "sandal": sandal, "headphones": headphones}
