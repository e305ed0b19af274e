"""Bags: one function per leaf category."""

from __future__ import annotations

from moon_zoo.shop.drawing.geometry import arc, box, ellipse, flip, lerp, mirror, smooth
from moon_zoo.shop.drawing.pen import Pen

Shape = dict[str, float]


def backpack(pen: Pen, style: str, s: Shape) -> None:
    """Shoulder straps behind, a front pocket, a round or a rolled top."""
    half, top = lerp(0.22, 0.28, s["width"]), lerp(0.2, 0.13, s["height"])
    strap = [
        (0.5 + half - 0.07, top + 0.08),
        (0.5 + half + 0.1, 0.36),
        (0.5 + half + 0.09, 0.66),
        (0.5 + half - 0.05, 0.84),
    ]
    for points in (strap, flip(strap)):
        pen.stroke(smooth(points, False), lerp(0.045, 0.065, s["straps"]), "trim")
    pen.stroke(arc(0.5, top + 0.01, 0.075, 0.07, 180, 360), 0.034, "dark")
    if style == "roll-top":
        pen.fill(box(0.5 - half, top + 0.05, 0.5 + half, 0.92, 0.07), shape="round")
        pen.fill(box(0.5 - half - 0.02, top, 0.5 + half + 0.02, top + 0.12, 0.055), "accent", "tube")
        for x in (0.5 - half * 0.55, 0.5 + half * 0.55):
            pen.stroke([(x, top + 0.02), (x, top + 0.3)], 0.032, "dark")
    else:
        pen.fill(
            smooth(
                mirror(
                    [
                        (0.5, top),
                        (0.5 + half * 0.8, top + 0.06),
                        (0.5 + half, 0.38),
                        (0.5 + half, 0.8),
                        (0.5 + half * 0.85, 0.92),
                        (0.5, 0.93),
                    ]
                )
            ),
            shape="round",
        )
        pen.seam(arc(0.5, 0.36, half * 0.86, 0.36 - top - 0.06, 190, 350), 0.6, 0.014)
    pocket = lerp(0.6, 0.54, s["pocket"])
    pen.fill(box(0.5 - half * 0.74, pocket, 0.5 + half * 0.74, 0.88, 0.06), "accent", "round")
    pen.stroke([(0.5 - half * 0.6, pocket + 0.065), (0.5 + half * 0.6, pocket + 0.065)], 0.014, "metal")
    pen.brand(0.5, lerp(top, pocket, 0.62), 0.072)


def handbag(pen: Pen, style: str, s: Shape) -> None:
    """A tote with two handles, a satchel with a flap, or a bucket bag."""
    half, rise = lerp(0.28, 0.35, s["width"]), lerp(0.2, 0.3, s["handle"])
    top, base = lerp(0.46, 0.4, s["height"]), 0.9
    if style == "tote":
        pen.stroke(arc(0.5, top + 0.04, half * 0.5, rise + 0.06, 180, 360), 0.03, "trim", level=0.75)
        pen.fill(mirror([(0.5 + half, top), (0.5 + half * 0.86, base)]), shape="round")
        pen.stroke(arc(0.5, top + 0.12, half * 0.55, rise + 0.05, 180, 360), 0.036, "accent")
        mark = (0.5, 0.68)
    elif style == "satchel":
        pen.stroke(arc(0.5, top + 0.03, half * 0.42, rise * 0.8, 180, 360), 0.042, "accent")
        pen.fill(box(0.5 - half, top, 0.5 + half, base - 0.04, 0.06), shape="round")
        flap = lerp(0.6, 0.7, s["flap"])
        pen.fill(
            smooth(
                mirror(
                    [
                        (0.5, top - 0.005),
                        (0.5 + half * 0.97, top),
                        (0.5 + half * 0.98, flap - 0.08),
                        (0.5 + half * 0.55, flap),
                        (0.5, flap + 0.02),
                    ]
                ),
                steps=4,
            ),
            "accent",
            edge=0.6,
        )
        pen.fill(box(0.465, flap - 0.035, 0.535, flap + 0.055, 0.015), "brass")
        mark = (0.5 + half * 0.52, flap - 0.1)
    else:
        pen.stroke(
            smooth(
                [
                    (0.5 - half * 0.7, top + 0.02),
                    (0.5 - half * 0.4, top - rise),
                    (0.5 + half * 0.4, top - rise),
                    (0.5 + half * 0.7, top + 0.02),
                ],
                False,
            ),
            0.034,
            "trim",
        )
        pen.fill(
            smooth(
                mirror(
                    [
                        (0.5, top - 0.01),
                        (0.5 + half * 0.72, top),
                        (0.5 + half * 0.7, 0.6),
                        (0.5 + half * 0.92, base - 0.1),
                        (0.5 + half * 0.75, base),
                        (0.5, base + 0.01),
                    ]
                )
            ),
            shape="round",
        )
        pen.fill(ellipse(0.5, top + 0.02, half * 0.72, 0.04), "inside", level=0.7)
        pen.stroke([(0.5 - half * 0.68, top + 0.13), (0.5 + half * 0.68, top + 0.13)], 0.022, "accent")
        pen.stroke([(0.5, top + 0.13), (0.47, top + 0.27)], 0.018, "accent")
        mark = (0.5 + half * 0.3, 0.74)
    pen.brand(*mark, 0.075)


def suitcase(pen: Pen, style: str, s: Shape) -> None:
    """Two wheels, a pull-out handle; ribs on hard shells, pockets on soft ones."""
    half, top = lerp(0.2, 0.27, s["width"]), lerp(0.34, 0.26, s["height"])
    grip = lerp(0.1, 0.06, s["handle"])
    for x in (0.5 - half * 0.45, 0.5 + half * 0.45):
        pen.stroke([(x, grip), (x, top + 0.02)], 0.02, "metal")
    pen.stroke([(0.5 - half * 0.45, grip), (0.5 + half * 0.45, grip)], 0.042, "dark")
    for x in (0.5 - half * 0.7, 0.5 + half * 0.7):
        pen.fill(ellipse(x, 0.92, 0.042, 0.042, 20), "dark", "ball")
    pen.fill(box(0.5 - half, top, 0.5 + half, 0.9, lerp(0.03, 0.09, s["corner"])), shape="round")
    if style == "hard-shell":
        for rib in range(1, 7):
            x = 0.5 - half + rib * half * 2 / 7
            pen.seam([(x, top + 0.05), (x, 0.86)], 0.68, 0.013)
            pen.seam([(x + 0.013, top + 0.05), (x + 0.013, 0.86)], 1.2, 0.009)
        mark = (0.5, top + 0.15, 0.07)
    else:
        pen.fill(box(0.5 - half * 0.78, 0.58, 0.5 + half * 0.78, 0.85, 0.03), "accent")
        pen.fill(box(0.5 - half * 0.78, top + 0.06, 0.5 + half * 0.78, 0.53, 0.03), level=0.92)
        pen.stroke([(0.5 - half * 0.7, 0.62), (0.5 + half * 0.7, 0.62)], 0.013, "metal")
        mark = (0.5, (top + 0.59) / 2, 0.066)
    pen.stroke([(0.5 - half * 0.3, top), (0.5 + half * 0.3, top)], 0.03, "dark")
    pen.brand(*mark)


SILHOUETTES = {"backpack": backpack, "handbag": handbag, "suitcase": suitcase}
