"""Cleaning of search logs: which pairs of a query and the item chosen are worth training on.

The steps of MOON's second post-training stage (arXiv:2511.11305): purchases alone; of an item's pairs the one whose
query is least like it; one pair for all variants (SKUs) of a product; as many pairs of each category as it has exposure;
no query in words that names fewer than two things. The paper names the steps; the details are ours and stand with each.

Every step is a function of records without photos and says which of them stay: millions of pairs fit into memory.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from moon_zoo.data.entities import Entities
from moon_zoo.data.kinds import Product

NO_CATEGORY = ""
"""Leaf category of items that have none."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the item chosen, without photos.

    Args:
        key: Of the sample.
        item_id: Of the item.
        spu_id: Shared by all variants of its product.
        category: Its leaf category, `NO_CATEGORY` where it has none.
        behaviour: ``click``, ``cart`` or ``purchase``.
        text: The query's words, None or empty where it has none.
        has_photo: Whether the query has a photo.
        similarity: Of query and item by some model, None where unknown.
    """

    key: str
    item_id: str
    spu_id: str
    category: str
    behaviour: str
    text: str | None
    has_photo: bool
    similarity: float | None = None

    @classmethod
    def of(cls, key: str, query: Mapping[str, object], item: Mapping[str, object], similarity: float | None) -> Pair:
        """From the JSON members of a search, ``query.json`` and ``item_product.json``."""
        product = Product(**{**item, "photos": [], "photo_roles": [], "core_boxes": []})  # type: ignore[arg-type]
        return cls(
            key=key,
            item_id=product.item_id,
            spu_id=product.spu_id,
            category=product.category[-1] if product.category else NO_CATEGORY,
            behaviour=str(query.get("behaviour", "purchase")),
            text=None if query.get("text") is None else str(query["text"]),
            has_photo=bool(query.get("photo")),
            similarity=similarity,
        )


class Kept(NamedTuple):
    """What a step leaves.

    Args:
        places: Of the records that stay, ascending.
        counts: Reason to how many records it removed.
    """

    places: list[int]
    counts: dict[str, int]


Step = Callable[[Sequence[Pair]], Kept]


@dataclass(frozen=True)
class Cleaning:
    """Which steps are done, in the order of the arguments.

    Args:
        behaviours: Pairs chosen otherwise are left out; empty for all.
        least_similar: Keep of each item the least similar pair; needs similarities.
        merge_skus: Keep one pair of each SPU.
        min_entities: Queries in words alone that name fewer entities are left out; 0 for none.
        entities: The entities.
        exposure: Category to its share of exposure, in any unit; None leaves categories as they are.
        min_kept: See `rebalance`.
        seed: Of what `rebalance` draws.
    """

    behaviours: tuple[str, ...] = ()
    least_similar: bool = False
    merge_skus: bool = True
    min_entities: int = 0
    entities: Entities = field(default_factory=Entities)
    exposure: Mapping[str, float] | None = None
    min_kept: float = 0.5
    seed: int = 0

    def clean(self, pairs: Sequence[Pair]) -> Kept:
        """All steps, one after another.

        The histogram comes last: earlier steps would bend it again.
        """
        places, counts = list(range(len(pairs))), Counter[str]()
        for step in self._steps():
            found = step([pairs[place] for place in places])
            places = [places[place] for place in found.places]
            counts.update(found.counts)
        return Kept(places, dict(counts))

    def _steps(self) -> Iterable[Step]:
        if self.behaviours:
            yield lambda pairs: only_behaviours(pairs, self.behaviours)
        if self.min_entities > 0:
            yield lambda pairs: enough_entities(pairs, self.entities, self.min_entities)
        if self.least_similar:
            yield least_similar_per_item
        if self.merge_skus:
            yield merge_skus
        exposure = self.exposure
        if exposure is not None:
            yield lambda pairs: rebalance(pairs, exposure, min_kept=self.min_kept, seed=self.seed)


def only_behaviours(pairs: Sequence[Pair], behaviours: Sequence[str]) -> Kept:
    """Leave out pairs that were not chosen in one of the given ways."""
    places = [place for place, pair in enumerate(pairs) if pair.behaviour in behaviours]
    return _kept(pairs, places, f"no {' or '.join(behaviours)}")


def enough_entities(pairs: Sequence[Pair], entities: Entities, at_least: int = 2) -> Kept:
    """Leave out queries in words alone that name fewer than ``at_least`` known things: "nice gift" could mean anything.

    A query with a photo stays: the photo says what the words need not.
    """
    places = [
        place for place, pair in enumerate(pairs) if pair.has_photo or len(entities.found(pair.text or "")) >= at_least
    ]
    return _kept(pairs, places, f"words that name fewer than {at_least} entities")


def least_similar_per_item(pairs: Sequence[Pair]) -> Kept:
    """Keep of each item the pair whose query is least like it: it teaches most. Of equals the first."""
    return _kept(pairs, _least_similar(pairs, [pair.item_id for pair in pairs]), "a less similar pair of the same item")


def merge_skus(pairs: Sequence[Pair]) -> Kept:
    """Keep one pair of each SPU, the least similar where similarities are known, else the first.

    Variants of one product are false negatives of one another, and products of many variants would count many times.
    """
    return _kept(pairs, _least_similar(pairs, [pair.spu_id for pair in pairs]), "another pair of the same SPU")


def rebalance(pairs: Sequence[Pair], exposure: Mapping[str, float], *, min_kept: float = 0.5, seed: int = 0) -> Kept:
    """Draw pairs so that categories come as often as users see them.

    Pairs can only be left out, so the exact histogram would keep no more than its scarcest category allows. Where that is
    less than ``min_kept``, scarce categories stay whole and fall short of their share, and the others share the rest.

    Args:
        pairs: The records.
        exposure: Category to exposure, in any unit; a category that is not named has none, and goes.
        min_kept: Share of the pairs of named categories that are to stay at least, in ``[0, 1]``.
        seed: Another seed draws other pairs. What is drawn of a category depends on nothing else in the set.

    Raises:
        ValueError: Exposures are negative or all zero for the categories that are there, or ``min_kept`` is out of range.
    """
    if not 0 <= min_kept <= 1:
        raise ValueError(f"min_kept must be between 0 and 1, not {min_kept}")
    if any(not 0 <= value < math.inf for value in exposure.values()):
        raise ValueError("exposure must be finite and not negative")
    members: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        if exposure.get(pair.category, 0) > 0:
            members[pair.category].append(place)
    if pairs and not members:
        raise ValueError("no category of these pairs has any exposure")
    quota = _quotas({name: len(places) for name, places in members.items()}, exposure, min_kept)
    kept = []
    for name, places in members.items():
        ranked = sorted(places, key=lambda place: _rank(seed, pairs[place].key))
        kept += ranked[: quota[name]]
    unseen = sum(exposure.get(pair.category, 0) == 0 for pair in pairs)
    reasons = {"a category without exposure": unseen, "a category above its exposure": len(pairs) - unseen - len(kept)}
    return Kept(sorted(kept), {reason: count for reason, count in reasons.items() if count})


def histogram(pairs: Sequence[Pair]) -> dict[str, int]:
    """Number of pairs per category, the most frequent first."""
    return dict(Counter(pair.category for pair in pairs).most_common())


def histogram_distance(counts: Mapping[str, float], exposure: Mapping[str, float]) -> float:
    """Total variation distance of two histograms' shares: 0 where they are the same, 1 where they have nothing in common."""
    first, second = sum(counts.values()), sum(exposure.values())
    if first == 0 or second == 0:
        return float(first != second)
    names = {**counts, **exposure}
    return 0.5 * sum(abs(counts.get(name, 0) / first - exposure.get(name, 0) / second) for name in names)


def _quotas(counts: Mapping[str, int], exposure: Mapping[str, float], min_kept: float) -> dict[str, int]:
    """How many of each category stay: ``min(count, share * total)`` for the least total that keeps enough."""
    if not counts:
        return {}
    shares = {name: exposure[name] / sum(exposure[other] for other in counts) for name in counts}
    total = _total(counts, shares, min_kept * sum(counts.values()))
    ideal = {name: min(float(counts[name]), shares[name] * total) for name in counts}
    # Every category keeps a pair: rounded down to none it would be unknown to training.
    quota = {name: min(counts[name], max(1, math.floor(ideal[name] + 1e-9))) for name in counts}
    left = round(sum(ideal.values())) - sum(quota.values())
    # The largest remainders get what rounding down has left over.
    rounded_most = sorted(counts, key=lambda name: (quota[name] - ideal[name], name))
    for name in [name for name in rounded_most if quota[name] < counts[name]][: max(left, 0)]:
        quota[name] += 1
    return quota


def _total(counts: Mapping[str, int], shares: Mapping[str, float], wanted: float) -> float:
    """The least total, from where the scarcest category is used up, for which ``wanted`` pairs are kept.

    What is kept is linear in the total between the totals at which a category is used up.
    """
    used_up_at = sorted((counts[name] / shares[name], name) for name in counts)
    full, open_share = 0.0, 1.0
    for (total, name), (following, _) in pairwise(used_up_at):
        full, open_share = full + counts[name], open_share - shares[name]
        if full + open_share * following >= wanted:
            return max(total, (wanted - full) / open_share)
    return used_up_at[-1][0]


def _least_similar(pairs: Sequence[Pair], owners: Sequence[str]) -> list[int]:
    """Place of the least similar pair of each owner, the first where nothing is known; ascending."""
    best: dict[str, int] = {}
    for place, owner in enumerate(owners):
        if owner not in best or _similarity(pairs[place]) < _similarity(pairs[best[owner]]):
            best[owner] = place
    return sorted(best.values())


def _similarity(pair: Pair) -> float:
    return math.inf if pair.similarity is None else pair.similarity


def _rank(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=16).digest()


def _kept(pairs: Sequence[Pair], places: list[int], reason: str) -> Kept:
    return Kept(places, {reason: len(pairs) - len(places)} if len(places) < len(pairs) else {})
