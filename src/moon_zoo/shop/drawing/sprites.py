"""An item as a picture on nothing: silhouette, surface and brand mark, straight from the front."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image

from moon_zoo.shop.catalogue import Item, Spu, spu
from moon_zoo.shop.drawing import accessories, bags, clothing, footwear, home
from moon_zoo.shop.drawing.pen import Pen
from moon_zoo.shop.drawing.surfaces import Surface
from moon_zoo.shop.vocabulary import BRANDS, COLOURS, Rgb

SILHOUETTES = {
    **clothing.SILHOUETTES,
    **footwear.SILHOUETTES,
    **bags.SILHOUETTES,
    **home.SILHOUETTES,
    **accessories.SILHOUETTES,
}
"""Leaf category to its drawing function ``(pen, style, shape parameters)``."""


@lru_cache(maxsize=64)
def _cached(seed: int, number: int, item: int, px: int) -> Image.Image:
    product = spu(seed, number)
    picture = draw_sprite(product, product.items[item], px)
    return picture.crop(picture.getbbox())


def sprite(product: Spu, item: Item, px: int) -> Image.Image:
    """The item, RGBA, drawn ``px`` a side and cropped to what is there. Its photos share it: do not draw on the result."""
    return _cached(product.seed, product.number, item.number, px)


def draw_sprite(product: Spu, item: Item, px: int) -> Image.Image:
    """Draw the item, RGBA, ``px`` a side."""
    surface = Surface(
        px,
        dyed(COLOURS[item.colour], product.tone),
        dyed(COLOURS[item.accent], product.tone),
        product.pattern,
        product.pattern_scale,
        product.pattern_angle,
        product.material,
    )
    pen = Pen(surface, BRANDS[product.brand])
    SILHOUETTES[product.leaf.name](pen, product.style, product.shape)
    return pen.picture()


def dyed(colour: Rgb, tone: Rgb) -> Rgb:
    """A colour of the maker's dye lot: ``colour`` shifted by ``tone``, within 8 bits."""
    red, green, blue = (min(250, max(16, value + shift)) for value, shift in zip(colour, tone))
    return red, green, blue
