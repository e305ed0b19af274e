"""Points of outlines, in a unit square whose y axis points down."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]


def lerp(low: float, high: float, t: float) -> float:
    """``low`` at 0, ``high`` at 1."""
    return low + (high - low) * t


def mirror(right: Sequence[Point], axis: float = 0.5) -> list[Point]:
    """Close a right half, given from top to bottom, with its mirror image at ``x = axis``."""
    return [*right, *((2 * axis - x, y) for x, y in reversed(right))]


def flip(points: Sequence[Point], axis: float = 0.5) -> list[Point]:
    """The mirror image alone."""
    return [(2 * axis - x, y) for x, y in points]


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 6) -> list[Point]:
    """A Catmull-Rom spline through ``points``.

    Args:
        points: At least three.
        closed: Whether the last point joins the first.
        steps: Points per span.
    """
    count = len(points)
    spans = count if closed else count - 1
    result: list[Point] = []
    for span in range(spans):
        a, b, c, d = (_at(points, span + offset, closed) for offset in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            result.append((_spline(a[0], b[0], c[0], d[0], t), _spline(a[1], b[1], c[1], d[1], t)))
    if not closed:
        result.append(points[-1])
    return result


def ellipse(x: float, y: float, rx: float, ry: float, steps: int = 40) -> list[Point]:
    """An ellipse around ``(x, y)``."""
    return arc(x, y, rx, ry, 0, 360, steps)[:-1]


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, steps: int = 20) -> list[Point]:
    """Points of an elliptic arc; degrees, 0 to the right, 90 down."""
    angles = [math.radians(lerp(start, stop, step / steps)) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def box(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> list[Point]:
    """A rectangle, with round corners if ``radius`` is above 0."""
    if radius <= 0:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    radius = min(radius, (right - left) / 2, (bottom - top) / 2)
    return [
        *arc(left + radius, top + radius, radius, radius, 180, 270, 6),
        *arc(right - radius, top + radius, radius, radius, 270, 360, 6),
        *arc(right - radius, bottom - radius, radius, radius, 0, 90, 6),
        *arc(left + radius, bottom - radius, radius, radius, 90, 180, 6),
    ]


def turn(points: Sequence[Point], degrees: float, x: float = 0.5, y: float = 0.5) -> list[Point]:
    """Rotate around ``(x, y)``, clockwise on screen."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x + (px - x) * cosine - (py - y) * sine, y + (px - x) * sine + (py - y) * cosine) for px, py in points]


def _at(points: Sequence[Point], index: int, closed: bool) -> Point:
    return points[index % len(points)] if closed else points[min(max(index, 0), len(points) - 1)]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - 3 * c + d - a) * t * t * t)
