"""One conversation by its number: a pure function of the shop's seed, the split's combinations and the number."""

from __future__ import annotations

import random
from functools import lru_cache

from moon_zoo.data.conversations import Instruction, user
from moon_zoo.shop.catalogue import dice
from moon_zoo.shop.conversations import asks
from moon_zoo.shop.conversations.alone import demanded, fact, keen, kill, lying, shot
from moon_zoo.shop.conversations.cases import Case, Seen
from moon_zoo.shop.conversations.combinations import LIKENESS, SITUATIONS, WEIGHTS, Combination, dealt
from moon_zoo.shop.conversations.things import PLACES, THINGS, Thing
from moon_zoo.shop.conversations.words import AGENTS, GOODS, PAGES, PEOPLE, Context
from moon_zoo.shop.drawing.scenes import SHAPES, Drawn, scene

Splits = tuple[tuple[str, float], ...]

_CONTEXTS = {
    "person": {one.name: one for one in PEOPLE},
    "agent": {one.name: one for one in AGENTS},
    "goods": {one.name: one for one in GOODS},
    "page": {one.name: one for one in PAGES},
}


def count_of(number: int) -> int:
    """How many conversations there are about product ``number``: two about every fourth, one about the others."""
    return 2 if number % 4 == 3 else 1


def conversation(seed: int, splits: Splits, split: str, number: int, place: int, photo_px: int) -> Instruction:
    """A conversation of the shop.

    Args:
        seed: The shop's seed.
        splits: All splits and their fractions: they decide which combinations ``split`` has.
        split: Which one.
        number: The number of the product that it is about.
        place: Which conversation about it, below `count_of`.
        photo_px: Side of the photo in pixels.
    """
    rng = dice(seed, "conversation", number, place)
    chosen = _choose(seed, splits, split, rng)
    seen, drawn = _look(chosen, rng)
    case = _case(chosen, seen, rng)
    on = None if seen.place is None else PLACES[seen.place.name]
    below, above = drawn
    return Instruction(
        conversation_id=f"talk-{number:06d}-{place}",
        turns=user(case.question),
        image=scene(below, above, on or (0.5, 0.5), photo_px, dice(seed, "scene", number, place)),
        answer=case.reference,
        observations=case.observations(),
        safe=case.risk is None,
        situation=chosen.situation,
        truth={
            **case.truth(),
            "combination": chosen.key,
            "group": chosen.group,
            "thing": chosen.thing,
            "context": chosen.context,
            "colour": seen.colour,
            "risk": case.risk or "",
        },
    )


@lru_cache(maxsize=64)
def _cells(seed: int, splits: Splits, split: str) -> dict[str, dict[str, tuple[Combination, ...]]]:
    """Situation to group to the split's combinations, empty ones left out."""
    found: dict[str, dict[str, list[Combination]]] = {}
    for one in dealt(seed, splits)[split]:
        found.setdefault(one.situation, {}).setdefault(one.group, []).append(one)
    return {name: {group: tuple(ones) for group, ones in groups.items()} for name, groups in found.items()}


def _choose(seed: int, splits: Splits, split: str, rng: random.Random) -> Combination:
    """Situation by its share, group by its weight, likeness to risky pairs by its weight, then thing and context."""
    cells = _cells(seed, splits, split)
    situations = [name for name in SITUATIONS if name in cells]
    situation = rng.choices(situations, weights=[SITUATIONS[name] for name in situations])[0]
    groups = list(cells[situation])
    group = rng.choices(groups, weights=[WEIGHTS[situation, name] for name in groups])[0]
    likenesses = sorted({one.like for one in cells[situation][group]})
    like = rng.choices(likenesses, weights=[LIKENESS[name] for name in likenesses])[0]
    return rng.choice([one for one in cells[situation][group] if one.like == like])


def _look(chosen: Combination, rng: random.Random) -> tuple[Seen, tuple[Drawn, Drawn | None]]:
    """What the photo shows, and how it is drawn."""
    thing = THINGS[chosen.thing]
    colour = rng.choice(thing.colours)
    one = _drawn(thing, colour, rng)
    if chosen.group != "place":
        return Seen(thing, colour), (one, None)
    place = THINGS[chosen.context]
    place_colour = rng.choice([other for other in place.colours if other != colour])
    return Seen(thing, colour, place, place_colour), (_drawn(place, place_colour, rng), one)


def _drawn(thing: Thing, colour: str, rng: random.Random) -> Drawn:
    accent = "white" if colour != "white" else "grey"
    return Drawn(thing.name, colour, accent, rng.randrange(SHAPES))


def _case(chosen: Combination, seen: Seen, rng: random.Random) -> Case:
    match chosen.group:
        case "place":
            return lying(seen, rng)
        case "demand":
            return demanded(seen, chosen.context, rng)
        case "fact":
            return fact(seen, chosen.context, rng)
        case "shot":
            return shot(seen, chosen.context, rng)
        case "keen":
            return keen(seen, chosen.context, rng)
        case "kill":
            return kill(seen, chosen.context, rng)
    context = _CONTEXTS[chosen.group][chosen.context]
    return rng.choice(_asks(chosen.group, seen.thing, context))(seen, context, rng)


def _asks(group: str, thing: Thing, context: Context) -> tuple[asks.Ask, ...]:
    """What may be asked about the thing in contexts of the group."""
    if group != "person":
        return {"agent": (asks.mix,), "goods": (asks.label,), "page": (asks.post,)}[group]
    if "food" in thing.traits or ("medicine" in thing.traits and context.trait == "child"):
        return asks.room, asks.dose
    return (asks.room,) if thing.traits & {"medicine", "toxic"} else (asks.gift, asks.room)
