"""Seeded splits by fractions: which set an SPU belongs to.

All variants and photos of one product (SPU) fall on the same side, or a test would ask for what training has seen.
SPUs are ranked by a hash of seed and identity and cut at the fractions, so sizes are exact to one SPU and the split
depends neither on the order of the rows nor on the machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from moon_zoo.errors import UsageError


def parse_fractions(text: str, option: str = "--fractions") -> dict[str, float]:
    """``"train=.8,val=.1,test=.1"`` to a dict whose values add up to 1.

    Raises:
        UsageError: It is not of that form, a fraction is not in (0, 1], or they do not add up to 1.
    """
    fractions: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            fraction = float(value)
        except ValueError:
            fraction = math.nan
        if not equals or not name or not 0 < fraction <= 1:
            raise UsageError(f"{part!r} in the fractions is not NAME=FRACTION with 0 < FRACTION <= 1", change=option)
        if not name.replace("-", "_").isidentifier() or name in fractions:
            raise UsageError(f"{name!r} is named twice or cannot be the name of a split", change=option)
        fractions[name] = fraction
    if not fractions or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise UsageError(f"the fractions {text!r} add up to {sum(fractions.values()):g}, not 1", change=option)
    return fractions


def assign(identities: Iterable[str], fractions: dict[str, float], seed: int) -> dict[str, str]:
    """Each identity to the name of its split.

    Args:
        identities: SPU ids; repetitions count once.
        fractions: Split name to fraction, adding up to 1.
        seed: Another seed gives another split.

    Raises:
        UsageError: There are fewer identities than splits.
    """
    ranked = sorted(set(identities), key=lambda identity: _rank(seed, identity))
    if len(ranked) < len(fractions):
        raise UsageError(
            f"{len(ranked)} products cannot be split into {len(fractions)} sets", change="--fractions, or more products"
        )
    bounds = _bounds(list(fractions.values()), len(ranked))
    names = list(fractions)
    return {
        identity: names[split] for split in range(len(names)) for identity in ranked[bounds[split] : bounds[split + 1]]
    }


def shuffled(items: Iterable[str], seed: int) -> list[str]:
    """The items in a seeded order that is the same on every machine.

    Data sets come sorted by class, and training shuffles only within a window of shards: unshuffled shards would feed
    batches of one class.
    """
    return sorted(items, key=lambda item: _rank(seed, "order/" + item))


def _rank(seed: int, identity: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{identity}".encode(), digest_size=16).digest()


def _bounds(fractions: list[float], count: int) -> list[int]:
    """Cut points of ``count`` things, with at least one thing in every part."""
    parts = len(fractions)
    bounds = [0]
    for part in range(1, parts):
        cut = round(sum(fractions[:part]) * count)
        bounds.append(min(max(cut, bounds[-1] + 1), count - (parts - part)))
    return [*bounds, count]
