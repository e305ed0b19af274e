"""What people write: sellers' titles and customers' queries.

A title leaves out much that the photo shows (in a good third of them the colour is missing) and says what no photo can
show (material, size, what it is good for). So photo and title together identify a product better than either alone.
"""

from __future__ import annotations

import random

from moon_zoo.shop.catalogue import Item, Spu, dice
from moon_zoo.shop.vocabulary import COLOUR_WORDS, PATTERN_WORDS

Facts = tuple[str, ...]

TITLE_SHARES: dict[str, float] = {
    "brand": 0.75,
    "colour": 0.62,
    "pattern": 0.6,
    "style": 0.5,
    "material": 0.6,
    "size": 0.45,
    "extra": 0.35,
}
"""How likely a title is to say a fact."""

QUERY_SHARES: dict[str, float] = {
    "brand": 0.45,
    "colour": 0.8,
    "pattern": 0.65,
    "style": 0.4,
    "material": 0.35,
    "size": 0.15,
}
"""How likely a query in words is to ask for a fact."""

_PLAIN_SHARE = 0.2  # few people say that something has no pattern
_TITLE_ORDERS = (
    "{brand} {style} {colour} {pattern} {material} {noun} {after}, {extra}, {size}",
    "{style} {noun} {after} by {brand}, {colour} {pattern}, {material}, {size}, {extra}",
    "{colour} {pattern} {noun} {after} in {material}, {style}, {size}, {extra} - {brand}",
    "{brand} {noun} {after} {material} {colour} {pattern} {style} {extra} {size}",
    "{noun} {after}, {style}, {pattern} {colour}, {size}, {material}, {extra}, {brand}",
)
_QUERY_ORDERS = (
    "{brand} {colour} {pattern} {style} {material} {noun} {after} {size}",
    "{colour} {pattern} {noun} {after} {style} {brand} {material} {size}",
    "{style} {noun} {after} {material} {colour} {pattern} {brand} {size}",
)


def title(product: Spu, item: Item) -> str:
    """The seller's title of an item."""
    rng = dice(product.seed, "title", product.number, item.number)
    said = _said(product, rng, TITLE_SHARES)
    text = _join(rng.choice(_TITLE_ORDERS), _words(product, item, said, rng))
    return text[0].upper() + text[1:] if rng.random() < 0.6 else text.title() if rng.random() < 0.4 else text


def title_facts(product: Spu, item: Item) -> frozenset[str]:
    """Which facts `title` says, keys of `TITLE_SHARES`."""
    return _said(product, dice(product.seed, "title", product.number, item.number), TITLE_SHARES)


def query(product: Spu, item: Item, rng: random.Random) -> str:
    """What a customer who wants the item types: lower case, short, always with the noun and one fact at least."""
    said = _said(product, rng, QUERY_SHARES) or frozenset({"colour"})
    return _join(rng.choice(_QUERY_ORDERS), _words(product, item, said, rng)).lower()


def wish(fact: str, product: Spu, item: Item, rng: random.Random) -> str:
    """The words beside a query photo: ``in red``, ``size M``.

    Args:
        fact: ``colour``, ``size``, ``material``, ``pattern`` or ``brand``: what the words ask for.
        product: The product wanted.
        item: The variant wanted.
        rng: Chooses the wording.
    """
    word = _words(product, item, frozenset({fact}), rng)
    value = word["after"] or word[fact]
    openings = {
        "colour": ("in {}", "this in {}", "same but {}", "{} please", "do you have it in {}"),
        "size": ("{}", "size {}", "this in {}"),
        "material": ("in {}", "made of {}", "this one, {}"),
        "pattern": ("{}", "but {}", "same, {}"),
        "brand": ("by {}", "from {}", "like this by {}"),
    }[fact]
    return rng.choice(openings).format(value).lower()


def _said(product: Spu, rng: random.Random, shares: dict[str, float]) -> frozenset[str]:
    draws = {fact: rng.random() for fact in shares}
    plain = product.pattern == "plain"
    return frozenset(
        fact for fact, share in shares.items() if draws[fact] < (_PLAIN_SHARE if fact == "pattern" and plain else share)
    )


def _words(product: Spu, item: Item, said: frozenset[str], rng: random.Random) -> dict[str, str]:
    colour = rng.choice(COLOUR_WORDS[item.colour])
    if product.pattern != "plain" and rng.random() < 0.35:
        colour = f"{colour} and {item.accent}"
    pattern = rng.choice(PATTERN_WORDS[product.pattern])
    words = {
        "noun": rng.choice(product.leaf.nouns),
        "brand": product.brand,
        "colour": colour,
        "pattern": pattern,
        "style": product.style,
        "material": product.material,
        "size": product.size,
        "extra": rng.choice(product.leaf.extras),
        "after": "",
    }
    for fact in TITLE_SHARES:
        if fact not in said:
            words[fact] = ""
    if words["pattern"].startswith("with "):  # `with stripes` stands behind the noun
        words["after"], words["pattern"] = words["pattern"], ""
    return words


def _join(order: str, words: dict[str, str]) -> str:
    """Fill in an order of words and tidy up what empty places leave: double spaces, lone commas, `by` nobody."""
    parts = []
    for part in order.format(**words).split(","):
        tokens = part.split()
        while tokens and tokens[-1] in ("by", "in", "-"):
            tokens.pop()
        tokens = [word for word, after in zip(tokens, [*tokens[1:], ""]) if not (word == "in" and after == "-")]
        if tokens and tokens[0] == "-":
            tokens.pop(0)
        if tokens:
            parts.append(" ".join(tokens))
    return ", ".join(parts)
