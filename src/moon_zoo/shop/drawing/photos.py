"""Photos of an item: the clean one of the catalogue, and those of customers.

Every photo comes with its truth: which pixels the product covers before anything lies in front of it, and their box.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from moon_zoo.data.kinds import Box
from moon_zoo.shop.catalogue import Item, Spu, dice
from moon_zoo.shop.drawing.backgrounds import background
from moon_zoo.shop.drawing.distractors import distractor
from moon_zoo.shop.drawing.sprites import sprite
from moon_zoo.shop.drawing.surfaces import noise

CATALOGUE_QUALITY = 88
ROLES = ("catalogue", "user")


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and its truth.

    Args:
        image: The picture, RGB.
        mask: Coverage by the product, 8 bits, occluders left out of account.
        quality: JPEG quality it is to be stored with.
    """

    image: Image.Image
    mask: Image.Image
    quality: int

    @property
    def box(self) -> Box:
        """The product's box: the pixels that it covers by half or more, as fractions."""
        left, top, right, bottom = _bounds(self.mask.point(_HALF))
        width, height = self.mask.size
        return left / width, top / height, right / width, bottom / height

    def jpeg(self) -> bytes:
        """The encoded picture."""
        buffer = BytesIO()
        self.image.save(buffer, "JPEG", quality=self.quality)
        return buffer.getvalue()


_LEVELS = np.arange(256.0)
_HALF = [255 if level >= 128 else 0 for level in range(256)]


def _bounds(mask: Image.Image) -> tuple[int, int, int, int]:
    found = mask.getbbox()
    assert found is not None, "a photo without its product"
    return found


def role(number: int) -> str:
    """The role of an item's photo: the first is the catalogue's."""
    return ROLES[min(number, 1)]


def photo(product: Spu, item: Item, number: int, px: int) -> Photo:
    """Take the item's photo ``number``: 0 is the catalogue photo, every other one a customer's.

    Args:
        product: The SPU.
        item: The variant.
        number: Which photo; any number above 0 gives another customer's.
        px: Side of the photo in pixels.
    """
    rng = dice(product.seed, "photo", product.number, item.number, number)
    picture = sprite(product, item, 2 * px)
    return _catalogue_photo(picture, px, rng) if number == 0 else _user_photo(picture, px, rng)


def _catalogue_photo(picture: Image.Image, px: int, rng: random.Random) -> Photo:
    """On near white, centred, upright, with a soft shadow."""
    white = rng.randint(244, 254)
    canvas = Image.new("RGB", (px, px), (white, white, min(255, white + rng.randint(-2, 1))))
    scale = px * rng.uniform(0.8, 0.88) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.BILINEAR)
    placed = Image.new("RGBA", (px, px))
    placed.paste(small, ((px - size[0]) // 2, (px - size[1]) // 2))
    mask = placed.getchannel("A")
    shade(canvas, mask, px, 0, px // 40, 60)
    canvas.paste(placed, mask=mask)
    return Photo(canvas, mask, CATALOGUE_QUALITY)


def _user_photo(picture: Image.Image, px: int, rng: random.Random) -> Photo:
    """Among other things, at an angle, in somebody's light."""
    canvas = background(px, rng)
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        _put(
            canvas,
            distractor(round(px * rng.uniform(0.18, 0.42)), rng),
            rng.uniform(-0.1, 0.85),
            rng.uniform(-0.1, 0.85),
        )
    placed = _place(picture, px, rng)
    mask = placed.getchannel("A")
    shade(canvas, mask, px, rng.randint(-px // 24, px // 24), rng.randint(1, px // 20), rng.randint(60, 130))
    canvas.paste(placed, mask=mask)
    _occlude(canvas, mask, px, rng)
    return Photo(developed(canvas, px, rng), mask, rng.randint(72, 90))


def _place(picture: Image.Image, px: int, rng: random.Random) -> Image.Image:
    """The product turned, tilted and scaled into the frame, RGBA."""
    extent = px * rng.uniform(0.55, 0.9)
    angle = math.radians(rng.gauss(0, 14) if rng.random() < 0.85 else rng.uniform(-180, 180))
    squash = rng.uniform(0.82, 1.0)
    if extent < 0.8 * max(picture.size):  # without this, bilinear sampling would skip pixels
        picture = picture.reduce(2)
    scale = extent / max(picture.size)
    across, down = (scale * squash, scale) if rng.random() < 0.5 else (scale, scale * squash)
    slack = (px - extent) / 2 + 0.06 * px
    x, y = px / 2 + rng.uniform(-slack, slack), px / 2 + rng.uniform(-slack, slack)
    cosine, sine = round(math.cos(angle), 6), round(math.sin(angle), 6)
    # Photo to picture: move to the product's middle, turn back, scale back.
    a, b = cosine / across, sine / across
    d, e = -sine / down, cosine / down
    c = picture.width / 2 - a * x - b * y
    f = picture.height / 2 - d * x - e * y
    # Perspective, pivoting on the middle of the product: far edges shrink.
    g, h = rng.uniform(-0.22, 0.22) / px, rng.uniform(-0.22, 0.22) / px
    rest = 1 - g * x - h * y
    middle_x, middle_y = picture.width / 2, picture.height / 2
    a, b, c = a + middle_x * g, b + middle_x * h, c - middle_x * (g * x + h * y)
    d, e, f = d + middle_y * g, e + middle_y * h, f - middle_y * (g * x + h * y)
    data = tuple(value / rest for value in (a, b, c, d, e, f, g, h))
    return picture.transform((px, px), Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR)


def _occlude(canvas: Image.Image, mask: Image.Image, px: int, rng: random.Random) -> None:
    """Let something lie over an edge of the product in every other photo."""
    if rng.random() < 0.5:
        return
    left, top, right, bottom = _bounds(mask)
    thing = distractor(round(px * rng.uniform(0.16, 0.3)), rng)
    side = rng.randrange(4)
    x = (left, right, rng.uniform(left, right), rng.uniform(left, right))[side]
    y = (rng.uniform(top, bottom), rng.uniform(top, bottom), top, bottom)[side]
    _put(canvas, thing, (x - thing.width / 2) / px, (y - thing.height / 2) / px)


def _put(canvas: Image.Image, thing: Image.Image, x: float, y: float) -> None:
    """Paste a thing with a little shadow, its corner at fractions ``(x, y)``."""
    left, top = round(x * canvas.width), round(y * canvas.height)
    alpha = thing.getchannel("A")
    canvas.paste((30, 28, 26), (left + 2, top + 3), alpha.point(_FAINT))
    canvas.paste(thing, (left, top), alpha)


_FAINT = [level * 90 // 255 for level in range(256)]


def shade(canvas: Image.Image, mask: Image.Image, px: int, dx: int, dy: int, depth: int) -> None:
    """The product's soft shadow, ``(dx, dy)`` pixels away."""
    soft = ImageChops.offset(mask, dx, dy).filter(ImageFilter.BoxBlur(px / 32))
    canvas.paste((24, 22, 22), mask=soft.point([level * depth // 255 for level in range(256)]))


def developed(canvas: Image.Image, px: int, rng: random.Random) -> Image.Image:
    """Uneven light, a colour cast, exposure and contrast, blur and sensor noise."""
    strength = rng.uniform(0, 0.4)
    lit = _light_fall(px, rng.randrange(8)).point([round(255 - strength * level) for level in range(256)])
    canvas = ImageChops.multiply(canvas, Image.merge("RGB", (lit, lit, lit)))
    exposure, contrast = rng.uniform(0.9, 1.22), rng.uniform(0.86, 1.1)
    warmth, tint = rng.gauss(0, 0.06), rng.gauss(0, 0.025)
    curve = (_LEVELS - 128) * contrast + 128
    table: list[int] = []
    for gain in (1 + warmth, 1 + tint, 1 - warmth):
        table += np.clip(np.rint(curve * (gain * exposure)), 0, 255).astype(int).tolist()
    canvas = canvas.point(table)
    blur = rng.uniform(0, 1.0) * px / 128
    if blur > 0.35:
        canvas = canvas.filter(ImageFilter.BoxBlur(blur * 0.8))
    return _noisy(canvas, px, rng)


def _light_fall(px: int, direction: int) -> Image.Image:
    """A ramp of 8 bits, bright to dark, from one of eight sides."""
    ramp = Image.linear_gradient("L").resize((px, px), Image.Resampling.BILINEAR)
    if direction >= 4:  # from a corner
        ramp = ImageChops.add(ramp, ramp.transpose(Image.Transpose.ROTATE_90), scale=2)
    turns = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)[direction % 4]
    return ramp if turns is None else ramp.transpose(turns)


def _noisy(canvas: Image.Image, px: int, rng: random.Random) -> Image.Image:
    """Add noise of amplitude 1 to 11: a random cut of a fixed field, weakened."""
    amplitude = rng.randint(1, 11)
    field = noise(2 * px, 2 * px, 30)
    left, top = rng.randint(0, px), rng.randint(0, px)
    weak = field.crop((left, top, left + px, top + px)).point(
        [128 + (level - 128) * amplitude // 128 for level in range(256)]
    )
    return ImageChops.add(canvas, Image.merge("RGB", (weak, weak, weak)), 1, -128)
