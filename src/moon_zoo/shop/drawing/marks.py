"""Brand marks: one small shape per brand, in a square of side 2 around the origin."""

from __future__ import annotations

from moon_zoo.shop.drawing.geometry import Point, arc, box, ellipse, flip, smooth, turn

_HEART_HALF = [(0.0, -0.45), (0.45, -0.85), (0.95, -0.45), (0.6, 0.3), (0.0, 0.95)]


def _star() -> list[Point]:
    outer = [turn([(0, -1.0)], 72 * k, 0, 0)[0] for k in range(5)]
    inner = [turn([(0, -0.42)], 72 * k + 36, 0, 0)[0] for k in range(5)]
    return [point for pair in zip(outer, inner) for point in pair]


MARKS: dict[str, list[list[Point]]] = {
    "disc": [ellipse(0, 0, 0.85, 0.85, 20)],
    "ring": [[*arc(0, 0, 0.95, 0.95, 0, 360, 24), *arc(0, 0, 0.5, 0.5, 360, 0, 24)]],
    "triangle": [[(0, -0.95), (0.95, 0.8), (-0.95, 0.8)]],
    "square": [box(-0.8, -0.8, 0.8, 0.8)],
    "diamond": [[(0, -1.05), (0.7, 0), (0, 1.05), (-0.7, 0)]],
    "star": [_star()],
    "heart": [[*smooth(_HEART_HALF, closed=False, steps=4), *reversed(flip(smooth(_HEART_HALF, False, 4), 0.0))]],
    "bolt": [[(0.2, -1.05), (-0.7, 0.2), (-0.05, 0.2), (-0.25, 1.05), (0.7, -0.25), (0.05, -0.25)]],
    "moon": [[*arc(0, 0, 0.95, 0.95, 50, 310, 20), *arc(0.45, 0, 0.72, 0.76, 270, 90, 16)]],
    "crown": [[(-0.95, 0.7), (-0.95, -0.6), (-0.45, 0.05), (0, -0.85), (0.45, 0.05), (0.95, -0.6), (0.95, 0.7)]],
    "cross": [
        [
            (-0.32, -0.95), (0.32, -0.95), (0.32, -0.32), (0.95, -0.32), (0.95, 0.32), (0.32, 0.32),
            (0.32, 0.95), (-0.32, 0.95), (-0.32, 0.32), (-0.95, 0.32), (-0.95, -0.32), (-0.32, -0.32),
        ]
    ],
    "bars": [box(-0.95, -0.85, 0.95, -0.42), box(-0.95, -0.2, 0.95, 0.22), box(-0.95, 0.45, 0.95, 0.88)],
}  # fmt: skip
"""Mark shape to its polygons."""
