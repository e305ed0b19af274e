"""Which thing meets which context, in which situation, and in which split.

A combination is a thing and a context of one group (a person, a cleaning agent, goods, a place to post, a place to lie, a
demand, ...), whatever the wording. Combinations are dealt so that one of val or test never occurs in train, while its thing
and its context each do, in the same group and situation: what is measured is whether risk is understood as a function of
both. What a thing is for is a fact that nothing else tells: such questions about a thing alone are all for training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from moon_zoo.shop.catalogue import dice
from moon_zoo.shop.conversations.alone import ASKED, DEMANDS, SHOTS
from moon_zoo.shop.conversations.asks import agent_risk, goods_risk, known_mix, page_risk, person_risk, reach
from moon_zoo.shop.conversations.things import PLACES, THINGS, Thing, with_trait
from moon_zoo.shop.conversations.words import AGENTS, FOODS, GOODS, PAGES, PEOPLE, ROOMS, Context

SITUATIONS: dict[str, int] = {"joint": 35, "image": 13, "text": 18, "looks_risky": 11, "benign": 23}
"""Situation to its share in percent: two thirds risky in some form."""

WEIGHTS: dict[tuple[str, str], int] = {
    ("joint", "person"): 5, ("joint", "agent"): 2, ("joint", "goods"): 2, ("joint", "page"): 2,
    ("benign", "person"): 6, ("benign", "agent"): 2, ("benign", "goods"): 2, ("benign", "page"): 3,
    ("benign", "place"): 3, ("benign", "fact"): 4,
    ("looks_risky", "shot"): 2, ("looks_risky", "keen"): 1, ("looks_risky", "kill"): 1,
    ("image", "place"): 1, ("text", "demand"): 1,
}  # fmt: skip
"""Situation and group to the weight of the group within the situation."""


LIKENESS: dict[str, int] = {"thing": 4, "context": 4, "": 1}
"""What a benign pair shares with a risky one of its group, to its weight within the group: were knives for adults or toys for
children seldom, a glance at one of the two would nearly always tell the risk."""

FEWEST = 2
"""Combinations of a group that a split is to have at least, where every part can still be trained."""


@dataclass(frozen=True, slots=True)
class Combination:
    """A thing in a context.

    Args:
        thing: Name of the thing.
        group: Kind of context.
        context: Name of the context within its group.
        situation: One of `SITUATIONS`.
        like: Of benign pairs: which of its parts risky pairs of the group have too, a key of `LIKENESS`.
    """

    thing: str
    group: str
    context: str
    situation: str
    like: str = ""

    @property
    def key(self) -> str:
        """Such as ``craft knife + nephew``."""
        return f"{self.thing} + {self.context}"


def every_combination() -> tuple[Combination, ...]:
    """All there are, in a fixed order."""
    return tuple(_all())


def _all() -> Iterator[Combination]:
    reachable = with_trait("sharp", "flame", "small", "medicine", "toxic")
    harmless = with_trait("toy", "food", "goods")
    alone = tuple(thing for thing in harmless if thing.name not in PLACES)
    yield from _pairs("person", _unique(reachable + alone), PEOPLE, person_risk)
    yield from _pairs("agent", with_trait("cleaner"), AGENTS, agent_risk, known_mix)
    yield from _pairs("goods", with_trait("brand", "own"), GOODS, goods_risk)
    yield from _pairs("page", with_trait("private", "toy", "goods"), PAGES, page_risk)
    for place in PLACES:
        for thing in with_trait("sharp", "flame", "small", "medicine", "toy", "food", "goods"):
            if thing.name not in PLACES:
                yield Combination(thing.name, "place", place, "benign" if reach(thing) is None else "image")
    for thing in with_trait("goods", "toy", "own", "cutter", "soapy"):
        for demand in DEMANDS:
            yield Combination(thing.name, "demand", demand, "text")
    for thing in THINGS.values():
        for fact in ASKED:
            yield Combination(thing.name, "fact", fact, "benign")
    for thing in with_trait("goods", "toy", "sharp", "flame", "cleaner"):
        for shot in SHOTS:
            yield Combination(thing.name, "shot", shot, "looks_risky")
    yield from (Combination(one.name, "keen", food, "looks_risky") for one in with_trait("cutter") for food in FOODS)
    yield from (Combination(one.name, "kill", place, "looks_risky") for one in with_trait("cleaner") for place in ROOMS)


def _pairs(
    group: str,
    things: tuple[Thing, ...],
    contexts: tuple[Context, ...],
    risk: Callable[[Thing, Context], str | None],
    known: Callable[[Thing, Context], bool] = lambda thing, context: True,
) -> Iterator[Combination]:
    pairs = [(thing, context) for thing in things for context in contexts if known(thing, context)]
    risky = [(thing.name, context.name) for thing, context in pairs if risk(thing, context) is not None]
    risky_things, risky_contexts = (set(names) for names in zip(*risky))
    for thing, context in pairs:
        if (thing.name, context.name) in risky:
            yield Combination(thing.name, group, context.name, "joint")
        else:
            like = "thing" if thing.name in risky_things else "context" if context.name in risky_contexts else ""
            yield Combination(thing.name, group, context.name, "benign", like)


def _unique(things: tuple[Thing, ...]) -> tuple[Thing, ...]:
    return tuple(dict.fromkeys(things))


@lru_cache(maxsize=16)
def dealt(seed: int, splits: tuple[tuple[str, float], ...]) -> dict[str, tuple[Combination, ...]]:
    """Split to its combinations.

    A combination is held out only while its thing and its context keep another one of the same group and situation for
    training, so a split may get fewer than its share.

    Args:
        seed: The shop's seed.
        splits: Names and fractions; ``train``, or else the first, is the one that must see every part.
    """
    names = [name for name, _ in splits]
    train = "train" if "train" in names else names[0]
    total = sum(fraction for _, fraction in splits)
    found: dict[str, list[Combination]] = {name: [] for name in names}
    cells: dict[tuple[str, str], list[Combination]] = {}
    for one in every_combination():
        cells.setdefault((one.situation, one.group), []).append(one)
    for cell, members in cells.items():
        dice(seed, "combinations", *cell).shuffle(members)
        left = Counter(part for one in members for part in (("thing", one.thing), ("context", one.context)))
        wanted = {name: max(FEWEST, round(len(members) * share / total)) for name, share in splits if name != train}
        for one in members:
            parts = (("thing", one.thing), ("context", one.context))
            short = max(wanted, key=lambda name: wanted[name], default=train)
            if one.context != "use" and wanted.get(short, 0) > 0 and all(left[part] > 1 for part in parts):
                wanted[short] -= 1
                left.subtract(parts)
                found[short].append(one)
            else:
                found[train].append(one)
    return {name: tuple(members) for name, members in found.items()}
