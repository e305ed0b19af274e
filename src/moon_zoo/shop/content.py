"""What photo and title tell about each item, as a vector: the content by which the shop's users choose.

Two items are as alike as the weighted share of what they have in common: leaf category above all, then colour (close
colours count in part), then pattern, style and material. The weights follow what photos and titles show plainly, so
that an encoder trained on the shop's products can learn most of it; ours, from no paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from moon_zoo.shop.catalogue import spu
from moon_zoo.shop.vocabulary import BRANDS, COLOURS, LEAVES, PATTERNS

WEIGHTS: dict[str, float] = {
    "root": 0.12,
    "leaf": 0.50,
    "colour": 0.30,
    "pattern": 0.04,
    "style": 0.03,
    "material": 0.01,
}
"""Share of each attribute in the cosine of two contents; they add up to 1."""

ROOTS: tuple[str, ...] = tuple(dict.fromkeys(leaf.root for leaf in LEAVES))
_MATERIALS = tuple(sorted({material for leaf in LEAVES for material in leaf.materials}))
_STYLES = tuple((leaf.name, style) for leaf in LEAVES for style in leaf.styles)
_COLOUR_REACH = 60.0  # distance in RGB at which two colours count as alike by exp(-1/2)


@dataclass(frozen=True, slots=True)
class Items:
    """Every item of a shop, as arrays in the order of SPUs and variants; codes count from 0.

    Args:
        item_ids: ``spu-000042-1``, unicode ``(items,)``.
        spus: Number of each item's SPU, int64.
        roots: Codes of `ROOTS`.
        leaves: Codes of `LEAVES`.
        colours: Codes of `COLOURS`.
        brands: Codes of `BRANDS`.
        content: Unit vectors, float32 ``(items, dim)``.
    """

    item_ids: np.ndarray
    spus: np.ndarray
    roots: np.ndarray
    leaves: np.ndarray
    colours: np.ndarray
    brands: np.ndarray
    content: np.ndarray

    def __len__(self) -> int:
        return len(self.item_ids)


def items_of(seed: int, num_products: int) -> Items:
    """The items of a shop: those of kind ``product`` with the same seed and number of products."""
    names: list[str] = []
    codes: list[tuple[int, ...]] = []
    leaves = {leaf.name: place for place, leaf in enumerate(LEAVES)}
    styles = {style: place for place, style in enumerate(_STYLES)}
    for number in range(num_products):
        product = spu(seed, number)
        common = (
            number,
            ROOTS.index(product.leaf.root),
            leaves[product.leaf.name],
            list(BRANDS).index(product.brand),
            PATTERNS.index(product.pattern),
            styles[product.leaf.name, product.style],
            _MATERIALS.index(product.material),
        )
        for item in product.items:
            names.append(product.item_id(item))
            codes.append((*common, _COLOUR_CODES[item.colour]))
    number_, root, leaf, brand, pattern, style, material, colour = np.array(codes, dtype=np.int64).T.copy()
    parts = {
        "root": np.eye(len(ROOTS))[root],
        "leaf": np.eye(len(LEAVES))[leaf],
        "colour": _colour_directions()[colour],
        "pattern": np.eye(len(PATTERNS))[pattern],
        "style": np.eye(len(_STYLES))[style],
        "material": np.eye(len(_MATERIALS))[material],
    }
    content = np.concatenate([part * WEIGHTS[name] ** 0.5 for name, part in parts.items()], axis=1)
    return Items(np.array(names), number_, root, leaf, colour, brand, content.astype(np.float32))


_COLOUR_CODES = {name: place for place, name in enumerate(COLOURS)}


@lru_cache(maxsize=1)
def _colour_directions() -> np.ndarray:
    """Unit vectors whose cosine falls with the distance of the colours: navy is near black, far from yellow."""
    rgb = np.array(list(COLOURS.values()), dtype=np.float64)
    square = ((rgb[:, None] - rgb[None]) ** 2).sum(-1)  # (colours, colours)
    # Cholesky, not eigenvectors: these have no sign of their own, so bytes would depend on the library.
    return np.linalg.cholesky(np.exp(-square / (2 * _COLOUR_REACH**2)))
