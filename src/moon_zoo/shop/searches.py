"""What customers look for, and what they choose: queries in words, by photo, or both; the item; what they passed over.

Photos of queries are new ones that the item's page does not show. A photo with words asks for something else than the
photo shows: another colour of the same product where there is one, else a size or material that no photo tells.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from moon_zoo.shop.catalogue import Item, Spu, dice, spu
from moon_zoo.shop.words import query, wish

FORMS: dict[str, int] = {"text": 45, "photo": 35, "combined": 20}
"""Kinds of queries and their weights."""

BEHAVIOUR_WEIGHTS: dict[str, int] = {"click": 50, "cart": 22, "purchase": 28}

QUERY_PHOTO_START = 100
"""Numbers of photos from here on are taken for queries only."""

_CANDIDATES = 24


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search before its photos are taken.

    Args:
        form: One of `FORMS`.
        text: Words of the query, or None.
        shown: The variant on the query photo, None without one.
        photo_number: Which photo of it.
        behaviour: What the customer did.
        passed_over: Items of the same leaf and split that look alike and were not chosen.
    """

    form: str
    text: str | None
    shown: Item | None
    photo_number: int
    behaviour: str
    passed_over: tuple[tuple[Spu, Item], ...]


def search(product: Spu, item: Item, number: int, peers: Sequence[int], num_negatives: int = 2) -> Wanted:
    """The ``number``-th search that ended at ``item``.

    Args:
        product: The SPU chosen.
        item: The variant chosen.
        number: Which search.
        peers: SPU numbers of the same leaf and split.
        num_negatives: How many passed-over items to name; fewer where the leaf has fewer.
    """
    rng = dice(product.seed, "search", product.number, item.number, number)
    form = rng.choices(tuple(FORMS), weights=tuple(FORMS.values()))[0]
    behaviour = rng.choices(tuple(BEHAVIOUR_WEIGHTS), weights=tuple(BEHAVIOUR_WEIGHTS.values()))[0]
    text: str | None = None
    shown: Item | None = None
    if form == "text":
        text = query(product, item, rng)
    elif form == "photo":
        shown = item
    else:
        shown, text = _photo_and_wish(product, item, rng)
    negatives = hard_negatives(product, item, peers, num_negatives, rng)
    return Wanted(form, text, shown, QUERY_PHOTO_START + number, behaviour, negatives)


def _photo_and_wish(product: Spu, item: Item, rng: random.Random) -> tuple[Item, str]:
    others = [other for other in product.items if other.number != item.number]
    if others:
        return rng.choice(others), wish("colour", product, item, rng)
    return item, wish(rng.choice(("size", "material", "brand")), product, item, rng)


def hard_negatives(
    product: Spu, item: Item, peers: Sequence[int], count: int, rng: random.Random
) -> tuple[tuple[Spu, Item], ...]:
    """Items of other SPUs that share most with ``item``: the best of up to 24 drawn at random."""
    others = [number for number in peers if number != product.number]
    drawn = rng.sample(others, min(_CANDIDATES, len(others)))
    candidates = [
        (other, variant) for other in (spu(product.seed, number) for number in drawn) for variant in other.items
    ]
    wanted = product.attributes(item)
    candidates.sort(key=lambda pair: (-_shared(wanted, pair[0].attributes(pair[1])), pair[0].number, pair[1].number))
    chosen: list[tuple[Spu, Item]] = []
    for other, variant in candidates:
        if all(other.number != taken.number for taken, _ in chosen):
            chosen.append((other, variant))
        if len(chosen) == count:
            break
    return tuple(chosen)


def _shared(wanted: dict[str, str], offered: dict[str, str]) -> int:
    """How alike two items look: colour and pattern count twice, size not at all."""
    weights = {"colour": 2, "pattern": 2, "style": 1, "brand": 1, "material": 1}
    return sum(weight for name, weight in weights.items() if wanted[name] == offered[name])
