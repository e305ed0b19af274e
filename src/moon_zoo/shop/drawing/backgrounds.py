"""Where customers put things before they take a photo: floors, cloths, walls, grass.

A background is cut from one of a few dozen wide textures that each process makes once; where it is cut, how it is
turned and tinted differs from photo to photo.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops

from moon_zoo.shop.drawing.surfaces import Field, grid, noise
from moon_zoo.shop.vocabulary import Rgb

_TONES: dict[str, tuple[Rgb, ...]] = {
    "planks": ((176, 128, 82), (120, 84, 58), (214, 182, 140), (150, 142, 132)),
    "tiles": ((206, 204, 198), (168, 184, 190), (198, 162, 134), (92, 96, 104)),
    "carpet": ((150, 60, 58), (84, 104, 130), (186, 172, 148), (104, 116, 92)),
    "cloth": ((206, 216, 226), (226, 206, 200), (120, 132, 156), (214, 210, 180)),
    "wall": ((214, 206, 190), (178, 196, 192), (200, 184, 198), (226, 222, 214)),
    "grass": ((96, 136, 68), (128, 148, 84)),
    "concrete": ((164, 164, 162), (120, 122, 126)),
    "marble": ((228, 226, 222), (196, 198, 200)),
}
KINDS = tuple((name, tone) for name, tones in _TONES.items() for tone in range(len(tones)))


def background(px: int, rng: random.Random) -> Image.Image:
    """A background of ``px`` a side, RGB."""
    name, tone = rng.choice(KINDS)
    wide = _texture(name, tone, px)
    spare = wide.width - px
    left, top = rng.randint(0, spare), rng.randint(0, spare)
    cut = wide.crop((left, top, left + px, top + px))
    if name != "wall" and rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.ROTATE_90)
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return cut


@lru_cache(maxsize=64)
def _texture(name: str, tone: int, px: int) -> Image.Image:
    side = px + px // 2
    x, y = grid(side)
    level = np.broadcast_to(_LEVELS[name](x, y, side), (side, side))
    grey = Image.fromarray((np.clip(level, 0, 1) * 255).astype(np.uint8))
    return ImageChops.multiply(
        Image.new("RGB", (side, side), _TONES[name][tone]), Image.merge("RGB", (grey, grey, grey))
    )


def _noise(side: int, coarse: int, which: int) -> Field:
    return np.asarray(noise(side, coarse, which), np.float64) / 255


def _planks(x: Field, y: Field, side: int) -> Field:
    board = np.floor(y * 7)
    shift = np.mod(board * 0.37, 1)
    seams = (np.mod(y * 7, 1) < 0.05) | (np.mod(x * 1.6 + shift, 1) < 0.012)
    rings = np.abs(np.mod(y * 31 + 3 * _noise(side, 5, 10), 1) - 0.5)
    return 1 - 0.4 * seams - 0.2 * rings - 0.12 * np.mod(board * 0.618, 1) - 0.06 * _noise(side, 90, 11)


def _tiles(x: Field, y: Field, side: int) -> Field:
    joints = (np.mod(x * 5, 1) < 0.045) | (np.mod(y * 5, 1) < 0.045)
    shade = np.mod(np.floor(x * 5) * 0.618 + np.floor(y * 5) * 0.382, 1)
    return 1 - 0.3 * joints - 0.1 * shade - 0.06 * _noise(side, 12, 12)


def _carpet(x: Field, y: Field, side: int) -> Field:
    return 0.98 - 0.3 * _noise(side, side // 2, 13) - 0.12 * _noise(side, 9, 14)


def _cloth(x: Field, y: Field, side: int) -> Field:
    wide = (np.mod(x * 6, 1) < 0.4) * 0.16 + (np.mod(y * 6, 1) < 0.4) * 0.16
    return 1 - wide - 0.22 * _noise(side, 5, 15) - 0.05 * _noise(side, side // 2, 16)


def _wall(x: Field, y: Field, side: int) -> Field:
    floor = y > 0.66
    return 1 - 0.06 * _noise(side, 60, 17) - 0.1 * _noise(side, 3, 18) - 0.34 * floor + 0.1 * floor * (y - 0.66)


def _grass(x: Field, y: Field, side: int) -> Field:
    return 1.02 - 0.42 * _noise(side, side // 3, 19) - 0.2 * _noise(side, 14, 20)


def _concrete(x: Field, y: Field, side: int) -> Field:
    return 1 - 0.18 * _noise(side, 7, 21) - 0.12 * _noise(side, side // 2, 22)


def _marble(x: Field, y: Field, side: int) -> Field:
    veins = np.abs(np.mod(x * 2 + y * 1.4 + 1.6 * _noise(side, 4, 23), 1) - 0.5)
    return 1 - 0.28 * (veins < 0.035) - 0.1 * _noise(side, 6, 24)


_LEVELS = {
    "planks": _planks,
    "tiles": _tiles,
    "carpet": _carpet,
    "cloth": _cloth,
    "wall": _wall,
    "grass": _grass,
    "concrete": _concrete,
    "marble": _marble,
}
