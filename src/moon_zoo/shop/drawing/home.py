"""Things for the home: one function per leaf category."""

from __future__ import annotations

from moon_zoo.shop.drawing.geometry import Point, arc, box, ellipse, flip, lerp, mirror, smooth, turn
from moon_zoo.shop.drawing.pen import Pen

Shape = dict[str, float]


def mug(pen: Pen, style: str, s: Shape) -> None:
    """An open cup with one handle."""
    half, top, base = lerp(0.21, 0.26, s["width"]), lerp(0.28, 0.18, s["height"]), 0.86
    x = 0.42
    right = {
        "straight": [(x + half, top), (x + half, base - 0.05), (x + half * 0.9, base)],
        "rounded": [
            (x + half * 0.92, top),
            (x + half * 1.06, 0.55),
            (x + half * 0.8, base - 0.05),
            (x + half * 0.55, base),
        ],
        "flared": [(x + half * 1.08, top), (x + half * 0.86, 0.6), (x + half * 0.72, base)],
    }[style]
    handle = lerp(0.13, 0.19, s["handle"])
    edge = x + half * (0.95 if style != "flared" else 0.85)
    pen.stroke(
        smooth(
            [(edge, top + 0.14), (edge + handle, top + 0.13), (edge + handle * 1.1, 0.58), (edge, base - 0.18)], False
        ),
        0.055,
        "plain",
    )
    outline = mirror(right if style == "straight" else smooth(right, False), x)
    pen.fill(outline, shape="round")
    rim = 0.055
    pen.fill(ellipse(x, top, right[0][0] - x, rim), "accent" if s["rim"] > 0.5 else "plain", level=1.05)
    pen.fill(ellipse(x, top + 0.008, right[0][0] - x - 0.022, rim - 0.016), "inside", level=0.85, edge=0.8)
    pen.brand(x + 0.02, 0.57, 0.09)


def bottle(pen: Pen, style: str, s: Shape) -> None:
    """A body, a shoulder, a neck and a cap."""
    half, top = lerp(0.12, 0.16, s["width"]), lerp(0.2, 0.14, s["height"])
    neck = {"wide-necked": 0.8, "slim-necked": 0.38, "looped": 0.55}[style] * half
    shoulder = lerp(0.3, 0.38, s["shoulder"]) + (0.04 if style == "slim-necked" else 0.0)
    body = [
        (0.5 + neck, top),
        (0.5 + neck, shoulder - 0.1),
        (0.5 + half * 0.92, shoulder),
        (0.5 + half, shoulder + 0.08),
    ]
    pen.fill(mirror([*smooth(body, False), (0.5 + half, 0.9), (0.5 + half * 0.9, 0.94)]), shape="round")
    cap = lerp(0.07, 0.11, s["cap"])
    pen.fill(box(0.5 - neck * 1.12, top - cap, 0.5 + neck * 1.12, top + 0.015, 0.02), "accent", "round")
    if style == "looped":
        pen.stroke(arc(0.5, top - cap, neck * 0.9, 0.065, 180, 360), 0.026, "accent")
    pen.seam([(0.5 - half, shoulder + 0.07), (0.5 + half, shoulder + 0.07)], 0.75, 0.01)
    pen.fill(box(0.5 - half, 0.85, 0.5 + half, 0.9), "accent", "round")
    pen.brand(0.5, 0.62, 0.075)


def lamp(pen: Pen, style: str, s: Shape) -> None:
    """A table lamp: shade, stem and foot."""
    reach, top = lerp(0.24, 0.32, s["shade"]), lerp(0.14, 0.07, s["height"])
    low = 0.5
    pen.stroke([(0.5, low - 0.02), (0.5, 0.88)], lerp(0.026, 0.06, s["stem"]), "brass", "round")
    foot = lerp(0.13, 0.2, s["base"])
    pen.fill([*arc(0.5, 0.92, foot, 0.075, 180, 360), (0.5 + foot, 0.94), (0.5 - foot, 0.94)], "accent", "ball")
    if s["stem"] > 0.6:
        pen.fill(ellipse(0.5, 0.74, 0.085, 0.1), "accent", "ball")
    pen.fill(ellipse(0.5, low + 0.005, reach * 0.5, 0.035), "glow", level=1.1)
    if style == "cone-shade":
        pen.fill(mirror([(0.5 + reach * 0.42, top), (0.5 + reach, low)]), shape="round")
    elif style == "drum-shade":
        pen.fill(mirror([(0.5 + reach * 0.86, top + 0.04), (0.5 + reach * 0.92, low)]), shape="round")
    else:
        pen.fill(arc(0.5, low, reach, low - top, 180, 360), shape="ball")
    edge = reach if style != "drum-shade" else reach * 0.92
    pen.stroke([(0.5 - edge, low - 0.01), (0.5 + edge, low - 0.01)], 0.03, "accent")
    pen.brand(0.5, 0.36, 0.07)


def chair(pen: Pen, style: str, s: Shape) -> None:
    """A back, a seat and four legs, seen a little from above."""
    half, top = lerp(0.19, 0.25, s["width"]), lerp(0.14, 0.06, s["back"])
    seat, splay = 0.56, lerp(0.0, 0.06, s["legs"])
    leg = "plain" if pen.surface.material == "wood" else ("metal" if s["legs"] > 0.5 else "wood")
    for side in (-1, 1):
        pen.stroke(
            [(0.5 + side * half * 0.72, seat), (0.5 + side * (half * 0.74 + splay * 0.5), 0.85)],
            0.034,
            leg,
            "round",
            0.72,
        )
        pen.stroke([(0.5 + side * half, seat + 0.05), (0.5 + side * (half + splay), 0.94)], 0.044, leg, "round")
    if style == "slatted":
        for x in (-1.0, 1.0):
            pen.stroke([(0.5 + x * half * 0.86, top + 0.02), (0.5 + x * half * 0.9, seat)], 0.044, "plain", "round")
        for row in range(3):
            y = lerp(top + 0.04, seat - 0.14, row / 2)
            pen.fill(box(0.5 - half * 0.9, y, 0.5 + half * 0.9, y + 0.08, 0.02), shape="tube")
        mark = (0.5, top + 0.08, 0.048)
    elif style == "upholstered":
        pen.fill(box(0.5 - half * 0.92, top, 0.5 + half * 0.92, seat + 0.02, 0.08), shape="round")
        for x, y in ((-0.4, 0.3), (0.4, 0.3), (0.0, 0.62)):
            pen.dot(0.5 + x * half, lerp(top, seat, y), 0.015, "accent", 0.8)
        mark = (0.5, lerp(top, seat, 0.3), 0.068)
    else:
        pen.stroke([(0.5 - half * 0.5, seat), (0.5 - half * 0.5, 0.36)], 0.036, "plain", "round")
        pen.stroke([(0.5 + half * 0.5, seat), (0.5 + half * 0.5, 0.36)], 0.036, "plain", "round")
        pen.fill(ellipse(0.5, top + 0.17, half * 0.95, 0.17), shape="ball")
        mark = (0.5, top + 0.17, 0.075)
    depth = lerp(0.09, 0.13, s["seat"])
    pen.fill(
        smooth(
            mirror(
                [
                    (0.5, seat - 0.02),
                    (0.5 + half * 0.85, seat - 0.015),
                    (0.5 + half * 1.12, seat + depth * 0.7),
                    (0.5, seat + depth),
                ]
            )
        ),
        "accent" if style == "upholstered" else "main",
        "tube",
    )
    pen.brand(*mark)


def vase(pen: Pen, style: str, s: Shape) -> None:
    """A turned body with a lip; an amphora has two handles."""
    belly, top = lerp(0.24, 0.31, s["belly"]), lerp(0.16, 0.08, s["height"])
    neck, lip = lerp(0.06, 0.1, s["neck"]), lerp(0.02, 0.06, s["lip"])
    if style == "slender":
        belly *= 0.62
    right: list[Point] = {
        "bulbous": [
            (neck + lip, top),
            (neck, top + 0.1),
            (neck + 0.02, 0.32),
            (belly, 0.56),
            (belly * 0.85, 0.78),
            (belly * 0.5, 0.93),
        ],
        "slender": [
            (neck + lip, top),
            (neck, top + 0.14),
            (belly * 0.8, 0.42),
            (belly, 0.62),
            (belly * 0.75, 0.85),
            (belly * 0.7, 0.94),
        ],
        "amphora": [
            (neck + lip, top),
            (neck, top + 0.08),
            (neck, 0.27),
            (belly, 0.42),
            (belly * 0.8, 0.64),
            (belly * 0.34, 0.88),
            (belly * 0.42, 0.94),
        ],
    }[style]
    if style == "amphora":
        ear = smooth([(0.5 + neck, top + 0.06), (0.5 + belly * 0.95, top + 0.08), (0.5 + belly * 0.85, 0.41)], False)
        for points in (ear, flip(ear)):
            pen.stroke(points, 0.04, "accent")
    pen.fill(mirror(smooth([(0.5 + x, y) for x, y in right], False)), shape="round")
    pen.fill(ellipse(0.5, top, neck + lip, 0.03), "accent", level=1.05)
    pen.fill(ellipse(0.5, top + 0.004, neck + lip - 0.018, 0.018), "inside", level=0.6)
    pen.seam([(0.5 - belly * 0.8, 0.79), (0.5 + belly * 0.8, 0.79)], 0.78, 0.01) if style == "bulbous" else None
    pen.brand(0.5, 0.58 if style != "amphora" else 0.5, 0.078)


def cushion(pen: Pen, style: str, s: Shape) -> None:
    """A soft square, disc or bolster with piping."""
    puff = lerp(0.02, 0.06, s["puff"])
    if style == "round":
        radius = lerp(0.36, 0.42, s["ratio"])
        outline = ellipse(0.5, 0.5, radius, radius * 0.96)
    else:
        half = lerp(0.34, 0.4, s["ratio"])
        high = half if style == "square" else half * lerp(0.52, 0.66, s["ratio"])
        corner = [
            (half, -high),
            (half - puff, 0),
            (half, high),
            (0, high - puff),
            (-half, high),
            (-half + puff, 0),
            (-half, -high),
            (0, -high + puff),
        ]
        outline = smooth([(0.5 + x, 0.5 + y) for x, y in corner])
    if s["tassels"] > 0.6 and style != "round":
        for x in (0.5 - half, 0.5 + half):
            for y in (0.5 - high, 0.5 + high):
                pen.fill(ellipse(x, y, 0.045, 0.045, 16), "accent", "ball")
    pen.fill(outline, shape="ball")
    pen.stroke([*outline, outline[0]], lerp(0.014, 0.03, s["piping"]), "accent")
    if style == "round":
        for angle in range(0, 360, 45):
            pen.seam(turn([(0.56, 0.5), (0.5 + radius * 0.8, 0.5)], angle), 0.84, 0.011)
        pen.dot(0.5, 0.5, 0.035, "accent")
        pen.brand(0.5 + radius * 0.48, 0.5 + radius * 0.4, 0.07)
        return
    for dx, dy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        pen.seam(
            [(0.5 + dx * half * 0.92, 0.5 + dy * high * 0.9), (0.5 + dx * half * 0.66, 0.5 + dy * high * 0.6)],
            0.8,
            0.012,
        )
    pen.brand(0.5 + half * 0.55, 0.5 + high * 0.5, 0.075)


def teapot(pen: Pen, style: str, s: Shape) -> None:
    """A belly with a spout, a handle and a lid."""
    belly = lerp(0.22, 0.25, s["belly"])
    high = {"round": 0.23, "tall": 0.3, "flat": 0.17}[style]
    y = 0.9 - high
    spout = lerp(0.1, 0.2, s["spout"])
    handle = lerp(0.15, 0.19, s["handle"])
    pen.stroke(arc(0.48 - belly * 0.86, y - high * 0.05, handle, high * 0.62, 80, 290), 0.048, "accent")
    tip = y - high * 0.62 - spout * 0.3
    root = 0.48 + belly
    low = [(root - 0.05, y + high * 0.5), (root + 0.08, y + high * 0.1), (root + 0.13, tip + 0.1), (root + 0.2, tip)]
    pen.fill(
        [
            *smooth(low, False),
            *smooth([(root + 0.13, tip - 0.02), (root + 0.06, tip + 0.1), (root - 0.04, y - high * 0.2)], False),
        ],
        "plain",
        "tube",
    )
    pen.fill(ellipse(0.48, y, belly, high), shape="ball")
    lid = lerp(0.05, 0.08, s["lid"])
    pen.fill(arc(0.48, y - high * 0.78, belly * 0.62, lid + 0.03, 180, 360), "accent", "ball")
    pen.fill(ellipse(0.48, y - high * 0.78 - lid - 0.045, 0.035, 0.035, 16), "accent", "ball")
    pen.fill(box(0.48 - belly * 0.55, 0.89, 0.48 + belly * 0.55, 0.925, 0.01), "trim", "round")
    pen.brand(0.48, y + 0.03, 0.078)


def clock(pen: Pen, style: str, s: Shape) -> None:
    """A dial with twelve marks and two hands; the alarm clock has bells and feet."""
    radius, rim = lerp(0.35, 0.4, s["width"]), lerp(0.055, 0.1, s["rim"])
    y = 0.5
    if style == "alarm":
        radius, y = radius * 0.82, 0.57
        for side in (-1, 1):
            pen.stroke(
                [(0.5 + side * radius * 0.5, y + radius * 0.8), (0.5 + side * radius * 0.75, 0.95)], 0.045, "accent"
            )
            pen.fill(
                turn(
                    arc(0.5 + side * radius * 0.6, y - radius * 0.95, 0.13, 0.12, 180, 360),
                    32 * side,
                    0.5 + side * radius * 0.6,
                    y - radius * 0.95,
                ),
                "accent",
                "ball",
            )
        pen.stroke([(0.5, y - radius), (0.5, y - radius - 0.12)], 0.03, "metal")
    if style == "square":
        pen.fill(box(0.5 - radius, y - radius, 0.5 + radius, y + radius, 0.05), shape="ball")
        pen.fill(box(0.5 - radius + rim, y - radius + rim, 0.5 + radius - rim, y + radius - rim, 0.03), "white")
    else:
        pen.fill(ellipse(0.5, y, radius, radius, 60), shape="ball")
        pen.fill(ellipse(0.5, y, radius - rim, radius - rim, 60), "white")
    inner = radius - rim
    step = 30 if s["ticks"] > 0.4 else 90
    for angle in range(0, 360, step):
        pen.stroke(turn([(0.5 + inner * 0.8, y), (0.5 + inner * 0.92, y)], angle, 0.5, y), 0.022, "dark")
    hour = -150 + 30 * int(s["hands"] * 11)
    pen.stroke([(0.5, y), turn([(0.5 + inner * 0.5, y)], hour, 0.5, y)[0]], 0.034, "dark")
    pen.stroke([(0.5, y), turn([(0.5 + inner * 0.74, y)], -60, 0.5, y)[0]], 0.024, "dark")
    pen.dot(0.5, y, 0.028, "accent")
    pen.brand(0.5, y + inner * 0.5, 0.07, on="white")


SILHOUETTES = {
    "mug": mug,
    "bottle": bottle,
    "lamp": lamp,
    "chair": chair,
    "vase": vase,
    "cushion": cushion,
    "teapot": teapot,
    "clock": clock,
}
