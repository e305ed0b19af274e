"""Accessories: one function per leaf category."""

from __future__ import annotations

from moon_zoo.shop.drawing.geometry import Point, arc, box, ellipse, flip, lerp, smooth, turn
from moon_zoo.shop.drawing.pen import Pen

Shape = dict[str, float]


def watch(pen: Pen, style: str, s: Shape) -> None:
    """A case on a strap."""
    radius, half = lerp(0.2, 0.25, s["case"]), lerp(0.1, 0.135, s["strap"])
    lug = lerp(0.02, 0.05, s["lugs"])
    upper: list[Point] = [(0.5 - half * 0.8, 0.04), (0.5 + half * 0.8, 0.04), (0.5 + half, 0.5), (0.5 - half, 0.5)]
    lower: list[Point] = [(0.5 - half, 0.5), (0.5 + half, 0.5), (0.5 + half * 0.75, 0.96), (0.5 - half * 0.75, 0.96)]
    pen.fill(upper, shape="round")
    pen.fill(lower, shape="round")
    pen.stroke([(0.5 - half * 0.8, 0.07), (0.5 + half * 0.8, 0.07)], 0.03, "metal")
    for row in range(3):
        pen.dot(0.5, 0.84 + 0.04 * row, 0.011, "dark")
    pen.fill(box(0.5 + radius - 0.01, 0.475, 0.5 + radius + 0.045, 0.525, 0.01), "metal")
    case = "brass" if s["lugs"] > 0.66 else "metal"
    pen.fill(box(0.5 - half - lug, 0.5 - radius * 0.98, 0.5 + half + lug, 0.5 + radius * 0.98, 0.03), case)
    face = "accent" if s["ticks"] > 0.5 else "white"
    if style == "round":
        pen.fill(ellipse(0.5, 0.5, radius, radius), case, "ball")
        pen.fill(ellipse(0.5, 0.5, radius * 0.82, radius * 0.82), face)
    else:
        pen.fill(box(0.5 - radius, 0.5 - radius, 0.5 + radius, 0.5 + radius, 0.05), case, "ball")
        pen.fill(box(0.5 - radius * 0.82, 0.5 - radius * 0.82, 0.5 + radius * 0.82, 0.5 + radius * 0.82, 0.03), face)
    for angle in range(0, 360, 30 if s["ticks"] > 0.3 else 90):
        pen.stroke(turn([(0.5 + radius * 0.64, 0.5), (0.5 + radius * 0.74, 0.5)], angle), 0.014, "dark")
    pen.stroke([(0.5, 0.5), (0.5 - radius * 0.32, 0.5 - radius * 0.24)], 0.022, "dark")
    pen.stroke([(0.5, 0.5), (0.5 + radius * 0.4, 0.5 - radius * 0.42)], 0.016, "dark")
    pen.brand(0.5, 0.2, 0.055)
    pen.brand(0.5, 0.785, 0.045)


def glasses(pen: Pen, style: str, s: Shape) -> None:
    """Two lenses in a frame, temples folded back."""
    radius, gap = lerp(0.15, 0.185, s["lens"]), lerp(0.035, 0.06, s["bridge"])
    thick = lerp(0.035, 0.055, s["frame"])
    tint = "dark" if s["tint"] > 0.6 else "glass"
    x, y = 0.5 + gap + radius, 0.52
    arm: list[Point] = [
        (x + radius, y - 0.1),
        (x + radius + 0.07, y - 0.17),
        (x + radius + 0.06, y - 0.3),
        (x + 0.05, y - 0.33),
    ]
    for points in (arm, flip(arm)):
        pen.stroke(smooth(points, False), thick * 0.8, "trim", level=0.8)
    lens = {
        "round": ellipse(x, y, radius, radius),
        "square": box(x - radius, y - radius * 0.78, x + radius, y + radius * 0.78, 0.05),
        "cat-eye": smooth(
            [
                (x - radius, y - radius * 0.5),
                (x, y - radius * 0.62),
                (x + radius * 1.15, y - radius),
                (x + radius * 0.9, y + radius * 0.3),
                (x, y + radius * 0.72),
                (x - radius * 0.85, y + radius * 0.35),
            ]
        ),
    }[style]
    for points in (lens, flip(lens)):
        pen.fill(points, tint, "flat", 1.0, opacity=225 if tint == "dark" else 120)
        middle = sum(px for px, _ in points) / len(points)
        pen.seam([(middle - radius * 0.1, y + radius * 0.3), (middle + radius * 0.35, y - radius * 0.3)], 1.5, 0.02)
    for points in (lens, flip(lens)):
        pen.stroke([*points, points[0]], thick, "main")
    pen.stroke(arc(0.5, y - 0.02, gap + 0.02, 0.045, 180, 360), thick, "accent")
    pen.brand(x + radius * 0.5, y + radius * 0.35, 0.042)
    for side in (-1, 1):
        pen.fill(ellipse(0.5 + side * (gap + 2 * radius - 0.01), y - 0.1, 0.028, 0.028, 14), "accent")


def umbrella(pen: Pen, style: str, s: Shape) -> None:
    """An open umbrella: dome, ribs, shaft and handle."""
    reach, top = lerp(0.4, 0.45, s["width"]), lerp(0.16, 0.1, s["dome"])
    rim, drop = 0.5, lerp(0.03, 0.07, s["scallop"])
    end = lerp(0.84, 0.9, s["shaft"])
    pen.stroke([(0.5, 0.3), (0.5, end - 0.06)], 0.024, "metal", "round")
    if style == "crook-handled":
        pen.stroke([(0.5, end - 0.12), *arc(0.565, end - 0.03, 0.065, 0.07, 180, 0)], 0.045, "wood")
    else:
        pen.stroke([(0.5, end - 0.14), (0.5, end + 0.03)], 0.065, "wood", "round")
    pen.stroke([(0.5, top - 0.05), (0.5, top + 0.02)], 0.022, "metal")
    edge: list[Point] = []
    panels = 6
    for panel in range(panels):
        right = 0.5 + reach * (1 - 2 * panel / panels)
        left = right - 2 * reach / panels
        edge += [(right, rim), (lerp(right, left, 0.3), rim - drop * 0.85), (lerp(right, left, 0.7), rim - drop * 0.85)]
    dome = [*arc(0.5, rim, reach, rim - top, 180, 360), *edge, (0.5 - reach, rim)]
    pen.fill(dome, shape="ball")
    for rib in range(1, panels):
        foot = 0.5 + reach * (1 - 2 * rib / panels)
        pen.seam(smooth([(0.5, top), (lerp(0.5, foot, 0.78), lerp(top, rim, 0.36)), (foot, rim)], False), 0.66, 0.012)
    pen.stroke(arc(0.5, rim, reach, rim - top, 180, 215, 6), 0.014, "accent")
    pen.stroke(arc(0.5, rim, reach, rim - top, 325, 360, 6), 0.014, "accent")
    pen.brand(0.5 + reach * 0.17, lerp(top, rim, 0.56), 0.072)


SILHOUETTES = {"watch": watch, "glasses": glasses, "umbrella": umbrella}
