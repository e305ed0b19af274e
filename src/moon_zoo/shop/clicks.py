"""The shop's click model: what users are shown, and the probability with which they click it.

A visit is a search by the photo of an item, answered by several items: some like the query, some like one of the user's
interests, some merely popular. Of each the user sees photo, title and price, and clicks with the probability

    p = sigmoid(base + affinity + query match + popularity + brand + price + age + temper + device + hour)

``affinity`` is a soft maximum over the user's interests of the cosine of contents (`moon_zoo.shop.content`), so it can
be learned of items never seen before, but only from content. ``popularity`` of an item that was not sold during
training is 0: nothing could tell it. Clicks make the history that later visits are predicted from. All of it is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moon_zoo.shop.content import Items
from moon_zoo.shop.shelves import Shelf
from moon_zoo.shop.shoppers import AGE_GROUPS, MAX_INTERESTS, Shoppers, pick
from moon_zoo.shop.vocabulary import BRANDS, LEAVES

VISIT = 8
"""Items shown per visit."""

DEVICES = ("phone", "tablet", "desktop")
_DEVICE_SHARES = (0.6, 0.12, 0.28)
DAY = 86_400
PERIODS: dict[str, tuple[int, int]] = {
    "past": (-90 * DAY, 0),
    "train": (0, 20 * DAY),
    "val": (20 * DAY, 23 * DAY),
    "test": (23 * DAY, 29 * DAY),
}
"""When each part of the log takes place, in seconds since its beginning."""

COLD_SHARE = 0.25
"""Of the impressions of val and test show items that were not sold during training."""

_LIKE_QUERY, _LIKE_INTEREST = 0.25, 0.75  # shares of 0.25, 0.50, and 0.25 of popular ones
_QUERY_BY_INTEREST = 0.85
_NO_PRICE = 0.03


@dataclass(frozen=True, slots=True)
class Strengths:
    """How much each term adds to the logit; standard deviations where the term is drawn."""

    base: float = -2.9
    affinity: float = 2.5
    softness: float = 12.0  # of the maximum over interests
    query: float = 0.7
    popularity: float = 0.08
    brand: float = 0.25
    price: float = -0.25
    age: float = 0.25
    temper: float = 0.05
    device: float = 0.25
    hour: float = 0.2


@dataclass(frozen=True, slots=True)
class Market:
    """What is the same for all users.

    Args:
        items: Every item.
        usual: What is sold from the beginning.
        shelves: Period to what is sold from the beginning, and what is new in it (None where nothing is).
        popularity: Logits per item; 0 for new ones.
        prices: Per item, float64, NaN where unknown.
        price_logits: What the price adds, per item.
        brand_logits: Per brand.
        age_logits: Per age group.
        device_logits: Per device.
        strengths: Of the terms.
    """

    items: Items
    usual: Shelf
    shelves: dict[str, tuple[Shelf, Shelf | None]]
    popularity: np.ndarray
    prices: np.ndarray
    price_logits: np.ndarray
    brand_logits: np.ndarray
    age_logits: np.ndarray
    device_logits: np.ndarray
    strengths: Strengths


def market_of(rng: np.random.Generator, items: Items, sold: dict[str, np.ndarray], strengths: Strengths) -> Market:
    """Draw popularity, prices and effects.

    Args:
        rng: Where the draws come from.
        items: Every item.
        sold: ``train``, ``val``, ``test`` to the numbers of the items that come with it.
        strengths: Of the terms.
    """
    fame = rng.standard_normal(len(items))
    new = np.ones(len(items), dtype=bool)
    new[sold["train"]] = False
    level = rng.normal(3.2, 0.6, len(LEAVES))[items.leaves] + rng.normal(0, 0.25, len(BRANDS))[items.brands]
    log_price = level + rng.normal(0, 0.25, len(items))
    prices = np.round(np.exp(log_price), 2)
    known = rng.random(len(items)) >= _NO_PRICE
    usual = Shelf(items, sold["train"], np.exp(fame[sold["train"]]))
    return Market(
        items=items,
        usual=usual,
        shelves={
            "past": (usual, None),
            "train": (usual, None),
            "val": (usual, Shelf(items, sold["val"])),
            "test": (usual, Shelf(items, sold["test"])),
        },
        popularity=np.where(new, 0.0, strengths.popularity * fame),
        prices=np.where(known, prices, np.nan),
        price_logits=np.where(known, strengths.price * (log_price - 3.2) / 0.7, 0.0),
        brand_logits=_centred(strengths.brand * rng.standard_normal(len(BRANDS))),
        age_logits=_centred(strengths.age * rng.standard_normal(len(AGE_GROUPS))),
        device_logits=_centred(strengths.device * rng.standard_normal(len(DEVICES))),
        strengths=strengths,
    )


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits of some users, by user and time; ``first`` and ``size`` say which rows are theirs.

    Args:
        user: Place of the user among those given, int64 ``(visits,)``.
        period: Code of `PERIODS`.
        time: Seconds, rising within each user.
        query: Number of the item on the query photo.
        device: Codes of `DEVICES`.
        first: Row of the first item shown.
        size: How many are shown.
    """

    user: np.ndarray
    period: np.ndarray
    time: np.ndarray
    query: np.ndarray
    device: np.ndarray
    first: np.ndarray
    size: np.ndarray


@dataclass(frozen=True, slots=True)
class Log:
    """What was shown in visits, in their order.

    Args:
        visits: The visits.
        visit: Place of each row's visit, int64 ``(rows,)``.
        item: Number of the item shown.
        probability: Of a click, float64, rounded to 6 decimals.
        click: Bool.
    """

    visits: Visits
    visit: np.ndarray
    item: np.ndarray
    probability: np.ndarray
    click: np.ndarray


def simulate(rng: np.random.Generator, market: Market, users: Shoppers, rows: dict[str, np.ndarray]) -> Log:
    """Let users visit the shop.

    Args:
        rng: Where the draws come from.
        market: What is sold, and what counts.
        users: Who comes.
        rows: Period, but for the past, to impressions per user, int64 ``(users,)``.
    """
    past = np.where(rows["train"] > 0, users.past, 0)  # who first comes after training has none
    counts = np.stack([past if period == "past" else rows[period] for period in PERIODS], axis=1)
    visits = _visits(rng, market, users, counts)
    visit = np.repeat(np.arange(len(visits.user)), visits.size)
    item = _shown(rng, market, users, visits, visit)
    logit = _logits(market, users, visits, visit, item)
    # Rounded: the last bits of a matrix product differ between machines, and must not reach the shards.
    probability = np.round(1 / (1 + np.exp(-logit)), 6)
    return Log(visits, visit, item, probability, rng.random(len(item)) < probability)


def _visits(rng: np.random.Generator, market: Market, users: Shoppers, rows: np.ndarray) -> Visits:
    per_cell = -(-rows // VISIT)  # (users, periods)
    cell = np.repeat(np.arange(rows.size), per_cell.ravel())
    place = np.arange(len(cell)) - np.repeat(np.cumsum(per_cell.ravel()) - per_cell.ravel(), per_cell.ravel())
    size = np.minimum(rows.ravel()[cell] - place * VISIT, VISIT)
    user, period = cell // rows.shape[1], cell % rows.shape[1]
    begin, end = np.array(list(PERIODS.values())).T
    time = (begin[period] + rng.random(len(cell)) * (end - begin)[period]).astype(np.int64)
    time = time[np.lexsort((time, cell))]
    anchors = _interests(rng, users, user)
    by_interest = rng.random(len(cell)) < _QUERY_BY_INTEREST
    query = np.where(by_interest, market.usual.near(rng, anchors), market.usual.draw(rng, len(cell)))
    return Visits(user, period, time, query, pick(rng, _DEVICE_SHARES, len(cell)), np.cumsum(size) - size, size)


def _interests(rng: np.random.Generator, users: Shoppers, user: np.ndarray) -> np.ndarray:
    """The item that one of each user's interests is like."""
    which = (rng.random(len(user)) * users.num_interests[user]).astype(np.int64)
    return users.interests[user, which]


def _shown(rng: np.random.Generator, market: Market, users: Shoppers, visits: Visits, visit: np.ndarray) -> np.ndarray:
    """Which item each row shows."""
    period, query = visits.period[visit], visits.query[visit]
    reason = rng.random(len(visit))
    anchors = np.where(reason < _LIKE_QUERY, query, _interests(rng, users, visits.user[visit]))
    like = reason < _LIKE_INTEREST
    fresh = rng.random(len(visit)) < COLD_SHARE
    shown = np.empty(len(visit), dtype=np.int64)
    for code, name in enumerate(PERIODS):
        usual, new = market.shelves[name]
        here = period == code
        _fill(rng, usual, shown, here & ~fresh if new is not None else here, like, anchors)
        if new is not None:
            _fill(rng, new, shown, here & fresh, like, anchors)
    return shown


def _fill(
    rng: np.random.Generator,
    shelf: Shelf,
    shown: np.ndarray,
    rows: np.ndarray,
    like: np.ndarray,
    anchors: np.ndarray,
) -> None:
    places = np.flatnonzero(rows)
    shown[places] = np.where(like[places], shelf.near(rng, anchors[places]), shelf.draw(rng, len(places)))


def _logits(
    market: Market, users: Shoppers, visits: Visits, visit: np.ndarray, item: np.ndarray, chunk: int = 1 << 16
) -> np.ndarray:
    by, content, user = market.strengths, market.items.content, visits.user[visit]
    hour = visits.time // 3600 % 24
    logit = (
        by.base
        + market.popularity[item]
        + market.brand_logits[market.items.brands[item]]
        + market.price_logits[item]
        + (market.age_logits[users.ages] + users.tempers)[user]
        + (market.device_logits[visits.device] + by.hour * np.sin((hour - 14) * (2 * np.pi / 24)))[visit]
    )
    for start in range(0, len(item), chunk):
        rows = slice(start, start + chunk)
        shown = content[item[rows]]
        logit[rows] += by.query * np.einsum("rd,rd->r", shown, content[visits.query[visit[rows]]])
        logit[rows] += by.affinity * affinity(shown, content, users, user[rows], by.softness)
    return logit


def affinity(shown: np.ndarray, content: np.ndarray, users: Shoppers, user: np.ndarray, softness: float) -> np.ndarray:
    """Soft maximum over each user's interests of the cosine with what is shown, float64 ``(rows,)``."""
    cosine = np.empty((len(shown), MAX_INTERESTS))
    for place in range(MAX_INTERESTS):
        cosine[:, place] = np.einsum("rd,rd->r", shown, content[users.interests[user, place]])
    there = np.arange(MAX_INTERESTS) < users.num_interests[user, None]
    weight = np.exp(softness * cosine) * there
    return (weight * cosine).sum(1) / weight.sum(1)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()
