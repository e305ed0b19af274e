"""Which products exist: every SPU is a pure function of the shop's seed and the SPU's number.

Leaf categories take turns (number modulo their count). Within a leaf, brand, pattern and colour walk through all their
combinations in a seeded order, so two SPUs of a leaf share all three only after every combination was used (about 1,260
SPUs per leaf, 35,000 in all); shape parameters, tone and accent colour differ in any case. No rejection and no shared
state: an SPU can be made without the ones before it, in any process.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from moon_zoo.shop.vocabulary import BRANDS, COLOURS, LEAVES, Leaf, Rgb, luminance

MAX_VARIANTS = 3


@dataclass(frozen=True, slots=True)
class Item:
    """A colour variant of an SPU: what is put into the basket.

    Args:
        number: Its place among the SPU's variants, 0 first.
        colour: Name of the main colour.
        accent: Name of the second colour of patterns and trims.
    """

    number: int
    colour: str
    accent: str


@dataclass(frozen=True, slots=True)
class Spu:
    """A product in one to three colours.

    Args:
        seed: The shop's seed.
        number: The SPU's number in the shop.
        leaf: Its category.
        brand: Its brand.
        style: One of the leaf's styles.
        pattern: Surface pattern, shared by all variants.
        material: One of the leaf's materials.
        size: One of the leaf's sizes.
        shape: Shape parameters in ``[0, 1]``, by name.
        tone: Offset of red, green and blue of all its colours, -12 to 12: the dye lot of the maker.
        pattern_scale: Period of the pattern as a fraction of the picture.
        pattern_angle: Degrees; stripes and zigzags follow it.
        items: Its variants.
    """

    seed: int
    number: int
    leaf: Leaf
    brand: str
    style: str
    pattern: str
    material: str
    size: str
    shape: dict[str, float]
    tone: Rgb
    pattern_scale: float
    pattern_angle: int
    items: tuple[Item, ...]

    @property
    def spu_id(self) -> str:
        """Such as ``spu-000042``."""
        return f"spu-{self.number:06d}"

    def item_id(self, item: Item) -> str:
        """Such as ``spu-000042-1``."""
        return f"{self.spu_id}-{item.number}"

    def attributes(self, item: Item) -> dict[str, str]:
        """The attributes of `moon_zoo.data.kinds.Product`."""
        return {
            "brand": self.brand,
            "colour": item.colour,
            "material": self.material,
            "pattern": self.pattern,
            "size": self.size,
            "style": self.style,
        }


def dice(*key: object) -> random.Random:
    """A generator of its own for ``key``: same key, same numbers, whatever else was drawn before.

    Python's generator hashes the text with SHA-512, which does not depend on ``PYTHONHASHSEED``.
    """
    return random.Random("/".join(str(part) for part in key))


@lru_cache(maxsize=4096)
def spu(seed: int, number: int) -> Spu:
    """The SPU called ``number`` in the shop of ``seed``."""
    leaf = LEAVES[number % len(LEAVES)]
    rng = dice(seed, "spu", number)
    brand, pattern, colour = _combination(seed, leaf, number // len(LEAVES))
    variants = rng.choices((1, 2, 3), weights=(5, 3, 2))[0]
    colours = [colour, *rng.sample([other for other in COLOURS if other != colour], MAX_VARIANTS - 1)][:variants]
    return Spu(
        seed=seed,
        number=number,
        leaf=leaf,
        brand=brand,
        style=rng.choice(leaf.styles),
        pattern=pattern,
        material=rng.choice(leaf.materials),
        size=rng.choice(leaf.sizes),
        shape={name: round(rng.random(), 4) for name in leaf.shape},
        tone=(rng.randint(-12, 12), rng.randint(-12, 12), rng.randint(-12, 12)),
        pattern_scale=round(rng.uniform(0.085, 0.155), 4),
        pattern_angle=rng.choice((0, 0, 45, 90, 90, 135)),
        items=tuple(Item(place, name, _accent(rng, name)) for place, name in enumerate(colours)),
    )


def _combination(seed: int, leaf: Leaf, turn: int) -> tuple[str, str, str]:
    """Brand, pattern and colour of the leaf's ``turn``-th SPU: a full-period walk through all combinations."""
    brands, patterns, colours = tuple(BRANDS), leaf.patterns, tuple(COLOURS)
    count = len(brands) * len(patterns) * len(colours)
    rng = dice(seed, "leaf", leaf.name)
    start = rng.randrange(count)
    stride = rng.choice([step for step in range(count // 3, count) if math.gcd(step, count) == 1])
    place = (start + stride * turn) % count
    return (
        brands[place % len(brands)],
        patterns[place // len(brands) % len(patterns)],
        colours[place // (len(brands) * len(patterns))],
    )


def _accent(rng: random.Random, colour: str) -> str:
    """A second colour that stands out from ``colour``, white and black more often than others."""
    own = luminance(COLOURS[colour])
    names = [name for name in COLOURS if abs(luminance(COLOURS[name]) - own) > 60]
    return rng.choices(names, weights=[4 if name in ("white", "black", "navy") else 1 for name in names])[0]


def split_numbers(seed: int, num_products: int, splits: dict[str, float]) -> dict[str, list[int]]:
    """Deal the SPU numbers ``0 .. num_products - 1`` to splits, so that a product stands in one split only.

    Fractions are turned into counts by cumulative rounding, so the counts add up to ``num_products``.

    Returns:
        Sorted SPU numbers per split.
    """
    numbers = list(range(num_products))
    dice(seed, "splits").shuffle(numbers)
    total = sum(splits.values())
    dealt: dict[str, list[int]] = {}
    start, reached = 0, 0.0
    for name, fraction in splits.items():
        reached += fraction
        stop = round(num_products * reached / total)
        dealt[name] = sorted(numbers[start:stop])
        start = stop
    return dealt
