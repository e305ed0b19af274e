"""Photos to measure with: fractal noise with shapes, which JPEG compresses about as well as it does real photos.

Plain noise would be several times too large and flat colours several times too small, and decoding time follows size.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

QUALITY = 88
GRAIN = 7.0
"""Standard deviation of the sensor noise, of 255. With it a 350 px photo has about 40 kB and an 800 px one about 150
kB, as phone and catalogue photos of those sizes do."""


def make_photo(side: int, seed: int) -> bytes:
    """A JPEG of ``side`` x ``side`` pixels, the same for the same seed."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(_fractal(side, random))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = random.integers(0, side, 2).tolist()
        half = int(random.integers(side // 20, side // 4))
        colour = tuple(random.integers(0, 256, 3).tolist())
        draw = (pen.ellipse, pen.rectangle)[int(random.integers(2))]
        draw((x - half, y - half // 2, x + half, y + half // 2), fill=colour)
    grain = random.normal(0, GRAIN * np.sqrt(350 / side), (side, side, 1))
    pixels = np.asarray(image) + grain
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _fractal(side: int, random: np.random.Generator) -> np.ndarray:
    """Colour noise whose amplitude falls with frequency, as in natural images; uint8 ``(side, side, 3)``."""
    total = np.zeros((side, side, 3))
    cells = 4
    while cells < side:
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64) * (2 / cells)
        cells *= 2
    total -= total.min()
    return (total * (255 / total.max())).astype(np.uint8)
