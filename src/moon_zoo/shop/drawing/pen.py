"""The pen: fills outlines in the unit square with paint and light.

Three pictures grow together: colours, light (128 neutral) and coverage. They are joined once, at the end; drawing at
twice the wanted size and halving gives smooth edges for little time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw

from moon_zoo.shop.drawing.geometry import Point, ellipse
from moon_zoo.shop.drawing.marks import MARKS
from moon_zoo.shop.drawing.surfaces import Surface, light
from moon_zoo.shop.vocabulary import Rgb, luminance

MARK_SCALE = 0.84
"""One knob for all brand marks: how hard the finest cue of a product is to see."""
_INK: Rgb = (34, 32, 38)
_PAPER: Rgb = (252, 250, 244)
_DARK = [min(255, 2 * level) for level in range(256)]
_BRIGHT = [max(0, level - 128) * 2 for level in range(256)]


@lru_cache(maxsize=256)
def _dimmer(level: float) -> list[int]:
    return [min(255, round(value * level)) for value in range(256)]


class Pen:
    """A canvas of ``surface.px`` a side.

    Args:
        surface: The paints.
        mark: Shape of the brand's mark.
    """

    def __init__(self, surface: Surface, mark: str = "disc") -> None:
        self.px = surface.px
        self.surface = surface
        self._mark = mark
        self._rgb = Image.new("RGB", (self.px, self.px), surface.colour)
        self._light = Image.new("L", (self.px, self.px), 128)
        self._alpha = Image.new("L", (self.px, self.px), 0)
        self._on_light = ImageDraw.Draw(self._light)

    def fill(
        self,
        points: Sequence[Point],
        paint: str = "main",
        shape: str = "flat",
        level: float = 1.0,
        edge: float = 0.72,
        opacity: int = 255,
    ) -> None:
        """Fill an outline.

        Args:
            points: The outline.
            paint: A paint of `Surface.paint`.
            shape: How the part is lit, see `surfaces.light`.
            level: Brightness of the whole part, 1 neutral.
            edge: Brightness of the line around it, 1 for none.
            opacity: 0 to 255; glass lets the background through.
        """
        pixels = self._pixels(points)
        frame = self._frame(pixels)
        mask = Image.new("L", (frame[2] - frame[0], frame[3] - frame[1]))
        ImageDraw.Draw(mask).polygon([(x - frame[0], y - frame[1]) for x, y in pixels], fill=255)
        self._lay(frame, mask, paint, shape, level, opacity)
        if edge < 1:
            self._on_light.line([*pixels, pixels[0]], fill=round(128 * edge), width=max(1, round(self.px * 0.006)))

    def stroke(
        self, points: Sequence[Point], width: float, paint: str = "main", shape: str = "flat", level: float = 1.0
    ) -> None:
        """A strap, handle or stem: a line of ``width`` with round ends."""
        pixels = self._pixels(points)
        thick = max(2, round(width * self.px))
        if thick > 4:  # a darker line below is its edge, or a white strap would be lost on white
            self._line(pixels, thick + max(2, round(self.px * 0.012)), paint, shape, 0.68 * level)
        self._line(pixels, thick, paint, shape, level)

    def _line(self, pixels: Sequence[Point], thick: int, paint: str, shape: str, level: float) -> None:
        frame = self._frame(pixels, thick // 2 + 1)
        mask = Image.new("L", (frame[2] - frame[0], frame[3] - frame[1]))
        draw = ImageDraw.Draw(mask)
        inside = [(x - frame[0], y - frame[1]) for x, y in pixels]
        draw.line(inside, fill=255, width=thick, joint="curve")
        for x, y in (inside[0], inside[-1]):
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
        self._lay(frame, mask, paint, shape, level, 255)

    def seam(self, points: Sequence[Point], level: float = 0.8, width: float = 0.006) -> None:
        """A fold, stitch or gap: a line of shadow (or of light, above 1) on what is already there."""
        self._on_light.line(self._pixels(points), fill=round(128 * level), width=max(1, round(width * self.px)))

    def dot(self, x: float, y: float, radius: float, paint: str = "accent", level: float = 1.0) -> None:
        """A button or stud."""
        corners = [
            (x - radius, y - radius),
            (x + radius, y - radius),
            (x + radius, y + radius),
            (x - radius, y + radius),
        ]
        frame = self._frame(self._pixels(corners))
        mask = Image.new("L", (frame[2] - frame[0], frame[3] - frame[1]))
        ImageDraw.Draw(mask).ellipse((0, 0, mask.width - 1, mask.height - 1), fill=255)
        self._lay(frame, mask, paint, "flat", level, 255)

    def cut(self, points: Sequence[Point]) -> None:
        """A hole."""
        ImageDraw.Draw(self._alpha).polygon(self._pixels(points), fill=0)

    def brand(self, x: float, y: float, size: float = 0.055, on: str = "plain") -> None:
        """The brand's mark around ``(x, y)``; ``size`` is half its side.

        On a patterned surface it lies on a plate, or the pattern would swallow it.

        Args:
            x: Column.
            y: Row.
            size: Half the side of the mark.
            on: ``plain`` (the item's own colour or pattern) or ``white`` (a dial).
        """
        size *= MARK_SCALE
        bright = on == "white" or luminance(self.surface.colour) > 140
        ink, plate = (_INK, _PAPER) if bright else (_PAPER, _INK)
        if on == "plain" and self.surface.pattern != "plain":
            self._stamp([(x + 1.45 * size * dx, y + 1.45 * size * dy) for dx, dy in ellipse(0, 0, 1, 1, 24)], plate)
        for polygon in MARKS[self._mark]:
            self._stamp([(x + size * dx, y + size * dy) for dx, dy in polygon], ink)

    def _stamp(self, points: Sequence[Point], colour: Rgb) -> None:
        pixels = self._pixels(points)
        ImageDraw.Draw(self._rgb).polygon(pixels, fill=colour)
        self._on_light.polygon(pixels, fill=128)
        ImageDraw.Draw(self._alpha).polygon(pixels, fill=255)

    def picture(self) -> Image.Image:
        """What was drawn, RGBA."""
        shadow = self._light.point(_DARK)
        dark = ImageChops.multiply(self._rgb, Image.merge("RGB", (shadow, shadow, shadow)))
        dark.paste((255, 255, 255), mask=self._light.point(_BRIGHT))
        dark.putalpha(self._alpha)
        return dark

    def _lay(
        self, frame: tuple[int, int, int, int], mask: Image.Image, paint: str, shape: str, level: float, opacity: int
    ) -> None:
        lit = light(shape, self.surface.finish(paint)).resize(mask.size, Image.Resampling.BILINEAR)
        if level != 1:
            lit = lit.point(_dimmer(level))
        self._rgb.paste(self.surface.paint(paint).crop(frame), frame, mask)
        self._light.paste(lit, frame, mask)
        self._alpha.paste(opacity, frame, mask)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        return [(round(x * self.px, 3), round(y * self.px, 3)) for x, y in points]

    def _frame(self, pixels: Sequence[Point], margin: int = 0) -> tuple[int, int, int, int]:
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        left, top = int(max(0, min(xs) - margin)), int(max(0, min(ys) - margin))
        right, bottom = int(min(self.px, max(xs) + margin + 2)), int(min(self.px, max(ys) + margin + 2))
        return left, top, max(right, left + 1), max(bottom, top + 1)
