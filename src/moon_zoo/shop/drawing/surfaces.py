"""Surfaces: what fills an outline. A pattern of two colours, woven, grained or polished by a material.

A material is a *grain* (an 8-bit picture that darkens, 255 leaves the colour as it is) and a *finish* (how light plays
on it: matte, satin, gloss, metal).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from moon_zoo.shop.vocabulary import Rgb

Mask = NDArray[np.bool_]
Field = NDArray[np.float64]

FINISHES: dict[str, str] = {
    "cotton": "matte", "linen": "matte", "jersey": "matte", "fleece": "matte", "denim": "matte", "silk": "satin",
    "satin": "satin", "velvet": "satin", "wool": "matte", "knit": "matte", "felt": "matte", "canvas": "matte",
    "mesh": "matte", "nylon": "satin", "leather": "gloss", "suede": "matte", "rubber": "satin", "plastic": "gloss",
    "aluminium": "metal", "steel": "metal", "metal": "metal", "ceramic": "gloss", "enamel": "gloss",
    "stoneware": "satin", "glass": "gloss", "wood": "satin", "paper": "matte",
}  # fmt: skip


def grid(px: int) -> tuple[Field, Field]:
    """Middles of the columns and rows of a square picture as fractions, ``(1, px)`` and ``(px, 1)``."""
    steps = (np.arange(px) + 0.5) / px
    return steps[None, :], steps[:, None]


def _direction(x: Field, y: Field, angle: int) -> tuple[Field, Field]:
    """Coordinates along and across an angle of 0, 45, 90 or 135 degrees, ``(px, px)``."""
    half = 0.7071067811865476
    cosine, sine = {0: (1.0, 0.0), 45: (half, half), 90: (0.0, 1.0), 135: (-half, half)}[angle]
    return x * cosine + y * sine, y * cosine - x * sine


def _plain(x: Field, y: Field, period: float, angle: int) -> Mask:
    return np.zeros((y.shape[0], x.shape[1]), bool)


def _striped(x: Field, y: Field, period: float, angle: int) -> Mask:
    along, _ = _direction(x, y, angle)
    return np.mod(along, period) < period * 0.45


def _dotted(x: Field, y: Field, period: float, angle: int) -> Mask:
    row = np.floor(y / period)
    u = np.mod(x + 0.5 * period * np.mod(row, 2), period) - period / 2
    v = np.mod(y, period) - period / 2
    return u * u + v * v < (0.31 * period) ** 2


def _checked(x: Field, y: Field, period: float, angle: int) -> Mask:
    wide = np.mod(x, 1.25 * period) < 0.55 * period
    high = np.mod(y, 1.25 * period) < 0.55 * period
    return wide ^ high


def _zigzag(x: Field, y: Field, period: float, angle: int) -> Mask:
    along, across = (x, y) if angle in (0, 45) else (y, x)
    wave = np.abs(np.mod(across, 1.3 * period) - 0.65 * period)
    return np.mod(along + wave, period) < period * 0.45


def _floral(x: Field, y: Field, period: float, angle: int) -> Mask:
    period = 1.7 * period
    row = np.floor(y / period)
    u = np.mod(x + 0.5 * period * np.mod(row, 2), period) - period / 2
    v = np.mod(y, period) - period / 2
    petal, reach = (0.16 * period) ** 2, 0.21 * period
    found = np.zeros(np.broadcast_shapes(u.shape, v.shape), bool)
    for dx, dy in ((0.0, -1.0), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309)):
        found |= (u - dx * reach) ** 2 + (v - dy * reach) ** 2 < petal
    return found & (u * u + v * v > (0.11 * period) ** 2)


def _colour_block(x: Field, y: Field, period: float, angle: int) -> Mask:
    along, _ = _direction(x - 0.5, y - 0.5, angle)
    return np.broadcast_to(along > 0.6 * (period - 0.12), (y.shape[0], x.shape[1]))


_PATTERNS: dict[str, Callable[[Field, Field, float, int], Mask]] = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "zigzag": _zigzag,
    "floral": _floral,
    "colour-block": _colour_block,
}


def pattern(name: str, px: int, period: float, angle: int) -> Image.Image:
    """Where the second colour lies: an 8-bit picture, 255 there and 0 elsewhere.

    Args:
        name: One of the shop's patterns.
        px: Side of the picture.
        period: Distance between repeats, as a fraction of the side.
        angle: 0, 45, 90 or 135 degrees.
    """
    x, y = grid(px)
    mask = np.broadcast_to(_PATTERNS[name](x, y, period, angle), (px, px))
    return Image.fromarray(mask.astype(np.uint8) * 255)


@lru_cache(maxsize=64)
def noise(px: int, coarse: int, which: int = 0) -> Image.Image:
    """Smooth 8-bit noise that has ``coarse`` cells per side, the same in every process."""
    cells = np.random.Generator(np.random.PCG64([coarse, which])).integers(0, 256, (coarse, coarse), np.uint8)
    return Image.fromarray(cells).resize((px, px), Image.Resampling.BICUBIC)


@lru_cache(maxsize=64)
def grain(material: str, px: int) -> Image.Image:
    """The grain of a material as an RGB picture to multiply with, ``px`` a side."""
    x, y = grid(px)
    fine = np.asarray(noise(px, px // 2, 1), np.float64) / 255
    level = np.broadcast_to(_GRAINS.get(material, _even)(x, y, fine, px), (px, px))
    return Image.merge("RGB", [Image.fromarray((np.clip(level, 0, 1) * 255).astype(np.uint8))] * 3)


def _even(x: Field, y: Field, fine: Field, px: int) -> Field:
    return 1 - 0.03 * fine


def _woven(x: Field, y: Field, fine: Field, px: int) -> Field:
    return 1 - 0.09 * fine - 0.05 * (np.mod(x * 64, 1) < 0.4) - 0.05 * (np.mod(y * 64, 1) < 0.4)


def _twill(x: Field, y: Field, fine: Field, px: int) -> Field:
    return 1 - 0.12 * fine - 0.17 * (np.mod((x + y) * 44, 1) < 0.42)


def _knitted(x: Field, y: Field, fine: Field, px: int) -> Field:
    chevron = np.mod(y * 26 + 2 * np.abs(np.mod(x * 13, 1) - 0.5), 1)
    return 1 - 0.26 * (chevron < 0.35) - 0.06 * fine - 0.12 * (np.mod(x * 13, 1) < 0.12)


def _fluffy(x: Field, y: Field, fine: Field, px: int) -> Field:
    return 1 - 0.2 * fine - 0.08 * np.asarray(noise(px, 40, 2), np.float64) / 255


def _grained(x: Field, y: Field, fine: Field, px: int) -> Field:
    cells = np.asarray(noise(px, 44, 3), np.float64) / 255
    return 1 - 0.14 * (np.abs(cells - 0.5) < 0.09) - 0.04 * fine


def _wooden(x: Field, y: Field, fine: Field, px: int) -> Field:
    drift = np.asarray(noise(px, 6, 4), np.float64) / 255
    rings = np.abs(np.mod(x * 13 + 2.2 * drift + 0.35 * y, 1) - 0.5)
    return 1 - 0.42 * rings - 0.08 * fine


def _brushed(x: Field, y: Field, fine: Field, px: int) -> Field:
    lines = np.asarray(noise(px, px // 2, 5).resize((px, 4)).resize((px, px)), np.float64) / 255
    return 1 - 0.14 * lines


def _speckled(x: Field, y: Field, fine: Field, px: int) -> Field:
    cells = np.asarray(noise(px, 56, 6), np.float64) / 255
    return 1 - 0.3 * (cells > 0.86) - 0.06 * fine


def _netted(x: Field, y: Field, fine: Field, px: int) -> Field:
    return 1 - 0.2 * ((np.mod(x * 42, 1) < 0.45) & (np.mod(y * 42, 1) < 0.45)) - 0.04 * fine


_GRAINS: dict[str, Callable[[Field, Field, Field, int], Field]] = {
    "cotton": _even, "jersey": _even, "linen": _woven, "canvas": _woven, "denim": _twill, "wool": _fluffy,
    "fleece": _fluffy, "felt": _fluffy, "velvet": _fluffy, "suede": _fluffy, "knit": _knitted, "leather": _grained,
    "wood": _wooden, "steel": _brushed, "aluminium": _brushed, "metal": _brushed, "stoneware": _speckled,
    "mesh": _netted, "nylon": _woven,
}  # fmt: skip


class Surface:
    """The paints of one item, each made when first used.

    Args:
        px: Side of the pictures.
        colour: Main colour.
        accent: Second colour, of patterns and trims.
        pattern: Name of the pattern.
        period: Distance between its repeats, as a fraction.
        angle: Its direction in degrees.
        material: What the item is made of.
    """

    _FIXED: ClassVar[dict[str, tuple[Rgb, str]]] = {
        "wood": ((186, 132, 80), "wood"),
        "metal": ((196, 198, 204), "metal"),
        "brass": ((214, 174, 92), "metal"),
        "sole": ((238, 234, 224), "rubber"),
        "dark": ((52, 50, 54), "rubber"),
        "white": ((250, 249, 246), "paper"),
        "inside": ((96, 92, 90), "paper"),
        "glass": ((200, 222, 232), "glass"),
        "leafy": ((74, 124, 66), "silk"),
        "glow": ((255, 240, 196), "paper"),
    }

    def __init__(
        self, px: int, colour: Rgb, accent: Rgb, pattern: str, period: float, angle: int, material: str
    ) -> None:
        self.px = px
        self.colour = colour
        self.accent = accent
        self.pattern = pattern
        self.period = period
        self.angle = angle
        self.material = material
        self._paints: dict[str, Image.Image] = {}

    def finish(self, paint: str) -> str:
        """How light plays on ``paint``."""
        return FINISHES[self._FIXED[paint][1] if paint in self._FIXED else self.material]

    def paint(self, name: str) -> Image.Image:
        """An RGB picture: ``main`` (patterned), ``plain``, ``accent``, ``trim`` (darker), or a fixed one such as ``wood``."""
        if name not in self._paints:
            self._paints[name] = self._make(name)
        return self._paints[name]

    def _make(self, name: str) -> Image.Image:
        if name in self._FIXED:
            colour, material = self._FIXED[name]
            return self._dyed(colour, material)
        if name == "main" and self.pattern != "plain":
            where = pattern(self.pattern, self.px, self.period, self.angle)
            flat = Image.composite(self._flat(self.accent), self._flat(self.colour), where)
            return ImageChops.multiply(flat, grain(self.material, self.px))
        colours = {"main": self.colour, "plain": self.colour, "accent": self.accent}
        if name == "trim":
            return self._dyed(
                (self.colour[0] * 5 // 7, self.colour[1] * 5 // 7, self.colour[2] * 5 // 7), self.material
            )
        return self._dyed(colours[name], self.material)

    def _dyed(self, colour: Rgb, material: str) -> Image.Image:
        return ImageChops.multiply(self._flat(colour), grain(material, self.px))

    def _flat(self, colour: Rgb) -> Image.Image:
        return Image.new("RGB", (self.px, self.px), colour)


@lru_cache(maxsize=64)
def light(shape: str, finish: str, side: int = 64) -> Image.Image:
    """How bright each place of a part is: an 8-bit picture, 128 neutral, less is shadow, more is highlight.

    Args:
        shape: ``flat`` (cloth on a table), ``round`` (an upright cylinder), ``ball``, ``tube`` (a lying cylinder).
        finish: ``matte``, ``satin``, ``gloss`` or ``metal``.
        side: Side of the picture.
    """
    x, y = grid(side)
    u = np.broadcast_to(x, (side, side))
    v = np.broadcast_to(y, (side, side))
    if shape == "tube":
        u, v = v, u
    if shape == "flat":
        level = 1.04 - 0.12 * v - 0.05 * u
    elif shape == "ball":
        distance = (u - 0.4) ** 2 + (v - 0.35) ** 2
        level = 1.1 - 0.95 * distance
    else:
        level = 1.08 - 1.1 * (u - 0.4) * (u - 0.4)
    if finish == "metal" and shape != "flat":
        level = level + np.interp(u, (0, 0.14, 0.26, 0.4, 0.62, 0.8, 1), (-0.12, 0.1, 0.42, 0.0, -0.16, 0.16, -0.2))
    elif finish == "metal":
        band = np.mod(u + v, 1)
        level = level + np.interp(band, (0, 0.3, 0.5, 0.7, 1), (0, 0.2, -0.1, 0.12, 0))
    elif finish == "gloss":
        level = level + _streak(shape, u, v, 0.62)
    elif finish == "satin":
        level = level + _streak(shape, u, v, 0.24)
    return Image.fromarray((np.clip(level, 0.1, 1.9) * 128).astype(np.uint8)).filter(ImageFilter.BoxBlur(1))


def _streak(shape: str, u: Field, v: Field, strength: float) -> Field:
    if shape == "ball":
        return strength * np.maximum(0, 1 - ((u - 0.3) ** 2 + (v - 0.24) ** 2) / 0.022)
    if shape == "flat":
        across = (u + 0.45 * v - 0.42) / 0.1
        return 0.5 * strength * np.maximum(0, 1 - across * across)
    across = (u - 0.24) / 0.075
    return strength * np.maximum(0, 1 - across * across) * (v > 0.06) * (v < 0.9)
