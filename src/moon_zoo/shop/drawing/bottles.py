"""Bottles, tubes and boxes of the household: what is poured, sprayed, swallowed or rubbed in. One function per thing.

Each is told from the others by its outline alone (a jug, a trigger, a bent neck, a waist), so that it can be at 64 pixels;
``s`` in ``[0, 1]`` makes it slimmer or fuller.
"""

from __future__ import annotations

from collections.abc import Callable

from moon_zoo.shop.drawing.geometry import Point, arc, box, ellipse, lerp, mirror, smooth
from moon_zoo.shop.drawing.pen import Pen


def jug(pen: Pen, s: float) -> None:
    """Bleach: a broad jug with a handle cut out of its shoulder, and a warning diamond on a white label."""
    half = lerp(0.25, 0.3, s)
    body: list[Point] = [
        (0.44, 0.2),
        (0.5 + half * 0.6, 0.24),
        (0.5 + half, 0.36),
        (0.5 + half, 0.9),
        (0.5 + half * 0.9, 0.94),
        (0.5 - half * 0.9, 0.94),
        (0.5 - half, 0.9),
        (0.5 - half, 0.44),
        (0.3, 0.3),
    ]
    pen.fill(body, shape="round")
    pen.cut(ellipse(0.5 + half * 0.55, 0.42, half * 0.24, 0.085))
    pen.fill(box(0.3, 0.1, 0.45, 0.24, 0.02), "dark", "round")
    pen.fill(box(0.5 - half * 0.78, 0.56, 0.5 + half * 0.78, 0.86, 0.02), "white")
    pen.fill([(0.5, 0.59), (0.61, 0.71), (0.5, 0.83), (0.39, 0.71)], "dark")


def spray(pen: Pen, s: float) -> None:
    """Mould spray: a trigger on a slim bottle."""
    half = lerp(0.15, 0.19, s)
    pen.fill(mirror([(0.55, 0.3), (0.56, 0.4), (0.5 + half, 0.54), (0.5 + half, 0.95)]), shape="round")
    pen.fill(box(0.43, 0.2, 0.57, 0.32, 0.01), "dark", "round")
    pen.fill([(0.22, 0.08), (0.62, 0.06), (0.72, 0.12), (0.66, 0.22), (0.38, 0.22), (0.22, 0.17)], "dark")
    pen.stroke([(0.38, 0.2), (0.33, 0.3), (0.35, 0.4)], 0.05, "dark")
    pen.fill(box(0.5 - half * 0.8, 0.6, 0.5 + half * 0.8, 0.86, 0.02), "white")
    pen.fill([(0.5, 0.62), (0.59, 0.73), (0.5, 0.84), (0.41, 0.73)], "dark")


def vinegar(pen: Pen, s: float) -> None:
    """A tall glass bottle with a thin neck, half full."""
    half = lerp(0.13, 0.17, s)
    outline = mirror([(0.535, 0.12), (0.535, 0.32), (0.5 + half, 0.46), (0.5 + half, 0.95)])
    pen.fill(outline, "glass", "round")
    pen.fill(mirror([(0.5 + half * 0.9, 0.5), (0.5 + half * 0.9, 0.93)]), "plain", "round")
    pen.fill(box(0.45, 0.05, 0.55, 0.13, 0.01), "wood", "round")
    pen.fill(ellipse(0.5, 0.7, half * 0.68, 0.1), "white")


def limescale(pen: Pen, s: float) -> None:
    """Limescale remover: a flat bottle whose neck is bent to the side, for pouring under a rim."""
    half = lerp(0.2, 0.24, s)
    pen.fill(
        [(0.5 - half, 0.42), (0.42, 0.3), (0.56, 0.3), (0.5 + half, 0.42), (0.5 + half, 0.95), (0.5 - half, 0.95)],
        shape="round",
    )
    pen.stroke(smooth([(0.48, 0.34), (0.46, 0.2), (0.32, 0.13), (0.2, 0.18)], False), 0.11, "plain", "round")
    pen.stroke([(0.22, 0.17), (0.12, 0.23)], 0.1, "accent", "round")
    pen.fill(box(0.5 - half * 0.8, 0.54, 0.5 + half * 0.8, 0.86, 0.02), "white")
    for y in (0.62, 0.7, 0.78):
        pen.stroke([(0.5 - half * 0.5, y), (0.5 + half * 0.5, y)], 0.03, "accent")


def lemon_juice(pen: Pen, s: float) -> None:
    """A squeeze bottle in the shape of a lemon."""
    pen.fill(ellipse(0.5, 0.6, lerp(0.3, 0.36, s), 0.3), shape="ball")
    pen.fill(mirror([(0.54, 0.26), (0.6, 0.36)]), "plain", "round")
    pen.fill(box(0.44, 0.14, 0.56, 0.28, 0.02), "leafy", "round")
    pen.fill(ellipse(0.63, 0.24, 0.09, 0.045), "leafy")


def washing_up(pen: Pen, s: float) -> None:
    """Washing-up liquid: a waisted bottle with a push-top."""
    half = lerp(0.19, 0.23, s)
    right = [
        (0.5 + half * 0.5, 0.28),
        (0.5 + half, 0.4),
        (0.5 + half * 0.66, 0.6),
        (0.5 + half, 0.82),
        (0.5 + half, 0.95),
    ]
    pen.fill(mirror(smooth(right, False)), shape="round")
    pen.fill(box(0.4, 0.18, 0.6, 0.29, 0.02), "white", "round")
    pen.fill(box(0.46, 0.08, 0.54, 0.19, 0.02), "white", "round")
    for x, y, radius in ((0.44, 0.74, 0.05), (0.56, 0.68, 0.04), (0.55, 0.83, 0.055)):
        pen.fill(ellipse(x, y, radius, radius, 20), "glass", "ball")


def hand_soap(pen: Pen, s: float) -> None:
    """A pump on a low round bottle."""
    half = lerp(0.22, 0.27, s)
    pen.fill(box(0.5 - half, 0.48, 0.5 + half, 0.95, 0.1), shape="round")
    pen.fill(box(0.42, 0.38, 0.58, 0.5, 0.01), "metal", "round")
    pen.stroke([(0.5, 0.4), (0.5, 0.22)], 0.045, "metal", "round")
    pen.stroke([(0.56, 0.21), (0.24, 0.21), (0.22, 0.27)], 0.07, "metal", "tube")
    pen.fill(ellipse(0.5, 0.72, half * 0.5, 0.1), "white")


def sunscreen(pen: Pen, s: float) -> None:
    """A tube that stands on its cap, with a sun on it."""
    half = lerp(0.19, 0.23, s)
    pen.fill([(0.5 - half * 1.1, 0.06), (0.5 + half * 1.1, 0.06), (0.5 + half * 0.8, 0.78), (0.5 - half * 0.8, 0.78)])
    pen.seam([(0.5 - half, 0.11), (0.5 + half, 0.11)], 0.7, 0.014)
    pen.fill(box(0.5 - half * 0.7, 0.77, 0.5 + half * 0.7, 0.95, 0.02), "white", "round")
    pen.fill(ellipse(0.5, 0.42, 0.09, 0.09, 24), "glow")
    for x, y in ((0, -1), (0.7, -0.7), (1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7)):
        pen.stroke([(0.5 + 0.12 * x, 0.42 + 0.12 * y), (0.5 + 0.16 * x, 0.42 + 0.16 * y)], 0.025, "glow")


def tablets(pen: Pen, s: float) -> None:
    """A strip of foil with two rows of tablets."""
    top = lerp(0.27, 0.31, s)
    pen.fill(box(0.06, top, 0.94, 1 - top, 0.03), "metal")
    for row in (0.41, 0.59):
        for column in range(5):
            pen.fill(ellipse(0.15 + 0.175 * column, row, 0.062, 0.068, 20), "plain", "ball")


def pill_bottle(pen: Pen, s: float) -> None:
    """A short see-through bottle with a broad white cap, a label with a cross, and pills beside it."""
    half = lerp(0.2, 0.24, s)
    pen.fill(box(0.42 - half, 0.26, 0.42 + half, 0.92, 0.04), "plain", "round")
    pen.fill(box(0.42 - half * 1.1, 0.1, 0.42 + half * 1.1, 0.28, 0.02), "white", "round")
    pen.fill(box(0.42 - half * 0.86, 0.42, 0.42 + half * 0.86, 0.76), "white")
    pen.fill(box(0.39, 0.46, 0.45, 0.72), "dark")
    pen.fill(box(0.31, 0.56, 0.53, 0.62), "dark")
    for x, y in ((0.76, 0.88), (0.88, 0.92), (0.83, 0.79)):
        pen.fill(ellipse(x, y, 0.065, 0.045, 20), "accent", "ball")


def cough_syrup(pen: Pen, s: float) -> None:
    """A dark flask with a label, and a measuring spoon in front."""
    half = lerp(0.17, 0.2, s)
    pen.fill(mirror([(0.45, 0.2), (0.45, 0.28), (0.4 + half, 0.38), (0.4 + half, 0.94)], 0.4), "plain", "round")
    pen.fill(box(0.33, 0.09, 0.47, 0.21, 0.01), "white", "round")
    pen.fill(box(0.4 - half * 0.84, 0.5, 0.4 + half * 0.84, 0.82), "white")
    pen.fill(box(0.375, 0.55, 0.425, 0.77), "accent")
    pen.fill(box(0.31, 0.635, 0.49, 0.685), "accent")
    pen.stroke([(0.7, 0.46), (0.78, 0.8)], 0.04, "metal")
    pen.fill([*arc(0.8, 0.84, 0.13, 0.1, 0, 180), (0.67, 0.82), (0.93, 0.82)], "plain", "ball")


SILHOUETTES: dict[str, Callable[[Pen, float], None]] = {
    "bleach": jug,
    "mould spray": spray,
    "vinegar": vinegar,
    "limescale remover": limescale,
    "lemon juice": lemon_juice,
    "washing-up liquid": washing_up,
    "hand soap": hand_soap,
    "sunscreen": sunscreen,
    "tablets": tablets,
    "pill bottle": pill_bottle,
    "cough syrup": cough_syrup,
}
"""Thing to its drawing function ``(pen, s)``."""
