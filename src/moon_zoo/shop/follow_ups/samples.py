"""One follow-up by its number: a pure function of the shop's seed, the split's facts and the number."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.shop.catalogue import dice
from moon_zoo.shop.follow_ups.facts import STORE_NAME, Fact, facts
from moon_zoo.shop.follow_ups.wordings import WORDINGS

Splits = tuple[tuple[str, float], ...]


@lru_cache(maxsize=16)
def dealt(seed: int, splits: Splits) -> dict[str, tuple[Fact, ...]]:
    """Split to its facts, in the order in which they are asked about.

    A fact is held out only while its product keeps another fact for training, and its concept another product.

    Args:
        seed: The shop's seed.
        splits: Names and fractions; ``train``, or else the first, is the one that must see every product and concept.
    """
    names = [name for name, _ in splits]
    train = "train" if "train" in names else names[0]
    total = sum(fraction for _, fraction in splits)
    known = list(facts(seed))
    dice(seed, "held out").shuffle(known)
    left = Counter(part for fact in known for part in _parts(fact))
    wanted = {name: max(1, round(len(known) * share / total)) for name, share in splits if name != train}
    found: dict[str, list[Fact]] = {name: [] for name in names}
    for fact in known:
        short = max(wanted, key=lambda name: wanted[name], default=train)
        if wanted.get(short, 0) > 0 and all(left[part] > 1 for part in _parts(fact)):
            wanted[short] -= 1
            left.subtract(_parts(fact))
            found[short].append(fact)
        else:
            found[train].append(fact)
    return {name: tuple(members) for name, members in found.items()}


def _parts(fact: Fact) -> tuple[tuple[str, str], ...]:
    return ("product", fact.product), ("concept", fact.concept.title)


def follow_up(seed: int, splits: Splits, split: str, place: int) -> FollowUp:
    """A follow-up of the shop.

    Args:
        seed: The shop's seed.
        splits: All splits and their fractions: they decide which facts ``split`` has.
        split: Which one.
        place: Which one of the split, from 0: facts take turns.
    """
    members = dealt(seed, splits)[split]
    fact = members[place % len(members)]
    rng = dice(seed, "follow-up", split, place)
    said = WORDINGS[fact.aspect]
    wording = rng.randrange(len(said.questions))
    words = {
        "product": fact.product,
        "thing": fact.thing,
        "concept": fact.concept.title,
        "effect": fact.concept.effect,
    }
    return FollowUp(
        conversation_id=f"ask-{split}-{place:06d}",
        question=said.questions[wording].format(**words),
        answer=rng.choice(said.answers).format(**words),
        follow_up=said.follow_ups[wording].format(**words),
        knowledge=Knowledge(
            text=f"{fact.concept.title}: {fact.definition}",
            concept=fact.concept.title,
            source=STORE_NAME,
            provenance={
                "page": fact.product,
                "node": fact.concept.title,
                "reasons": [said.relation.format(head=fact.product, tail=fact.concept.title)],
                "found_by": "truth",
            },
        ),
        truth={
            "concept": fact.concept.title,
            "page": fact.concept.title,
            "topic": fact.product,
            "aspect": fact.aspect,
            "combination": fact.key,
        },
    )
