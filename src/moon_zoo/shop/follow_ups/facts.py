"""Which product has which concept, drawn by the shop's seed; and the shop's encyclopedia as pages and links.

A product is a thing of a brand. Of every aspect it has one concept of its group, and all concepts of a cell are had equally
often: so nothing about a product tells its concept, and only who looks it up knows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from moon_zoo.data.publishing import KNOWLEDGE_NAME
from moon_zoo.knowledge.building import StoreWriter
from moon_zoo.shop.catalogue import dice
from moon_zoo.shop.follow_ups.concepts import ASPECTS, CONCEPTS, GROUPS, Concept
from moon_zoo.shop.follow_ups.wordings import BRAND, KIND_OF, PRODUCT, SOLD_BY, THING, WORDINGS
from moon_zoo.shop.vocabulary import BRANDS

STORE_NAME = "shop"
STORE_FILE = KNOWLEDGE_NAME
"""The encyclopedia beside the shards of the shop's follow-ups."""

CLOSE, FAR = 1.0, 0.4
"""Weight of a link to a concept, and of one to a thing or brand."""


@dataclass(frozen=True, slots=True)
class Fact:
    """That a product has a concept.

    Args:
        brand: Of the product.
        thing: What it is, a leaf category.
        group: One of `GROUPS`.
        aspect: One of `ASPECTS`.
        concept: What it has.
    """

    brand: str
    thing: str
    group: str
    aspect: str
    concept: Concept

    @property
    def product(self) -> str:
        """Its title in the encyclopedia, such as ``Elmora mug``."""
        return f"{self.brand} {self.thing}"

    @property
    def definition(self) -> str:
        """What the encyclopedia says of the concept."""
        return WORDINGS[self.aspect].definition.format(effect=self.concept.effect)

    @property
    def key(self) -> str:
        """What is held out from training: product and aspect."""
        return f"{self.product} + {self.aspect}"


@lru_cache(maxsize=8)
def facts(seed: int) -> tuple[Fact, ...]:
    """All facts of a shop, in a fixed order."""
    found = []
    for group, things in GROUPS.items():
        products = [(brand, thing) for thing in things for brand in BRANDS]
        for aspect in ASPECTS:
            concepts = CONCEPTS[group, aspect]
            rng = dice(seed, "facts", group, aspect)
            order = list(range(len(products)))
            rng.shuffle(order)
            dealt = {place: concepts[number % len(concepts)] for number, place in enumerate(order)}
            found += [Fact(*products[place], group, aspect, dealt[place]) for place in range(len(products))]
    return tuple(found)


def write_encyclopedia(path: str | os.PathLike[str], seed: int, *, overwrite: bool = False) -> Path:
    """Write the shop's encyclopedia as a store of knowledge.

    Args:
        path: The file to be.
        seed: The shop's seed.
        overwrite: Replace a store that is there.

    Returns:
        The file.

    Raises:
        DataError: It is taken or cannot be written.
    """
    known = facts(seed)
    origin = f"moon_zoo's simulated shop, seed {seed}"
    with StoreWriter(path, name=STORE_NAME, overwrite=overwrite, licence="CC0-1.0", origin=origin) as store:
        things = [thing for group in GROUPS.values() for thing in group]
        for thing in things:
            store.page(thing, thing, THING.format(number=len(BRANDS)))
        for brand in BRANDS:
            store.page(brand, brand, BRAND.format(number=len(things)))
        for fact in known:
            about = PRODUCT.format(brand=fact.brand)
            store.page(fact.product, fact.product, about, again=True)
            store.page(fact.concept.title, fact.concept.title, fact.definition, again=True)
            store.link(fact.product, fact.concept.title, CLOSE, WORDINGS[fact.aspect].relation)
        for product, thing, brand in sorted({(fact.product, fact.thing, fact.brand) for fact in known}):
            store.link(product, thing, FAR, KIND_OF)
            store.link(product, brand, FAR, SOLD_BY)
    return Path(path)
