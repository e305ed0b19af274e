"""The click model: what is shown, who clicks, and what the probability depends on."""

from __future__ import annotations

import numpy as np
import pytest

from moon_zoo.shop.clicks import COLD_SHARE, PERIODS, VISIT, Log, Market, Strengths, affinity, market_of, simulate
from moon_zoo.shop.content import Items, items_of
from moon_zoo.shop.shelves import Shelf
from moon_zoo.shop.shoppers import Shoppers, rows_per_user, shoppers_of

USERS = 300


@pytest.fixture(scope="module")
def items() -> Items:
    return items_of(seed=3, num_products=400)


@pytest.fixture(scope="module")
def market(items: Items) -> Market:
    place = items.spus % 10
    sold = {"train": place < 8, "val": place == 8, "test": place == 9}
    numbers = {split: np.flatnonzero(rows) for split, rows in sold.items()}
    return market_of(np.random.default_rng(0), items, numbers, Strengths())


@pytest.fixture(scope="module")
def simulated(market: Market) -> tuple[Shoppers, Log]:
    rng = np.random.default_rng(1)
    users = shoppers_of(rng, USERS, market.usual.members, temper_std=0.05)
    return users, simulate(rng, market, users, rows_per_user(rng, USERS, {"train": 20_000, "val": 3000, "test": 6000}))


def test_contents_have_length_one_and_alike_items_are_near(items: Items):
    np.testing.assert_allclose(np.linalg.norm(items.content, axis=1), 1, atol=1e-6)
    cosine = items.content @ items.content.T
    same_leaf = items.leaves[:, None] == items.leaves
    same_colour = items.colours[:, None] == items.colours
    assert cosine[same_leaf & same_colour].min() > cosine[same_leaf & ~same_colour].mean()
    assert cosine[same_leaf].min() > cosine[~same_leaf].max()
    assert (cosine > -1e-6).all()


def test_similar_items_share_leaf_or_colour_and_come_from_the_shelf(items: Items):
    members = np.flatnonzero(items.spus % 3 == 0)
    shelf = Shelf(items, members)
    anchors = np.repeat(np.arange(len(items)), 20)
    drawn = shelf.near(np.random.default_rng(0), anchors)
    assert np.isin(drawn, members).all()
    # Most groups of leaf and colour are empty on so small a shelf; those give any item.
    shared = items.leaves[drawn] == items.leaves[anchors]
    assert shared.mean() > 0.4
    both = np.isin(items.leaves * 100 + items.colours, (items.leaves * 100 + items.colours)[members])[anchors]
    assert 0.8 < shared[both].mean() < 0.95


def test_a_leaf_that_the_shelf_does_not_hold_gives_any_item_of_it(items: Items):
    members = np.flatnonzero(items.leaves == 0)
    drawn = Shelf(items, members).near(np.random.default_rng(0), np.flatnonzero(items.roots == items.roots.max()))
    assert np.isin(drawn, members).all()


def test_weights_of_a_shelf_are_how_often_its_items_come(items: Items):
    shelf = Shelf(items, np.array([4, 7]), np.array([1.0, 3.0]))
    drawn = shelf.draw(np.random.default_rng(0), 4000)
    assert set(drawn) == {4, 7}
    assert (drawn == 7).mean() == pytest.approx(0.75, abs=0.03)


def test_affinity_is_a_soft_maximum_over_the_users_own_interests(items: Items):
    """A user of one interest has the cosine with it; a second, far one hardly lowers the best match."""
    interests = np.array([[0, 50, 50, 50], [0, 50, 50, 50]])
    zeros = np.zeros(2)
    users = Shoppers(interests, np.array([1, 2]), zeros.astype(int), zeros, zeros.astype(int))
    shown = items.content[[0, 0]]
    found = affinity(shown, items.content, users, np.array([0, 1]), softness=12.0)
    near, far = 1.0, float(items.content[0] @ items.content[50])
    weight = np.exp(12 * (far - near))
    assert found[0] == pytest.approx(1.0, abs=1e-6)
    assert found[1] == pytest.approx((near + weight * far) / (1 + weight), abs=1e-6)


def test_clicks_come_as_often_as_their_probability_says(simulated: tuple[Shoppers, Log]):
    """In each tenth of the rows by probability, within four standard deviations."""
    _, log = simulated
    for part in np.array_split(np.argsort(log.probability), 10):
        p = log.probability[part]
        assert abs(log.click[part].mean() - p.mean()) < 4 * np.sqrt((p * (1 - p)).sum()) / len(part)


def test_a_part_of_what_val_and_test_show_is_new_and_nothing_else_is(market: Market, simulated: tuple[Shoppers, Log]):
    _, log = simulated
    usual = np.isin(log.item, market.usual.members)
    period = log.visits.period[log.visit]
    for code, name in enumerate(PERIODS):
        fresh = ~usual[period == code]
        if name in ("past", "train"):
            assert not fresh.any()
        else:
            assert fresh.mean() == pytest.approx(COLD_SHARE, abs=0.04)
            assert np.isin(log.item[(period == code) & ~usual], market.shelves[name][1].members).all()
    assert (market.popularity[~np.isin(np.arange(len(market.items)), market.usual.members)] == 0).all()


def test_visits_follow_one_another_within_their_period(simulated: tuple[Shoppers, Log]):
    visits = simulated[1].visits
    assert (np.diff(visits.user) >= 0).all()
    assert (np.diff(visits.time)[np.diff(visits.user) == 0] >= 0).all()
    begin, end = np.array(list(PERIODS.values())).T
    assert ((begin[visits.period] <= visits.time) & (visits.time < end[visits.period])).all()
    assert ((visits.size >= 1) & (visits.size <= VISIT)).all()
    assert (visits.first == np.cumsum(visits.size) - visits.size).all()


def test_who_first_comes_after_training_has_no_past(simulated: tuple[Shoppers, Log]):
    visits = simulated[1].visits
    trained = set(visits.user[visits.period == 1])
    assert set(visits.user[visits.period == 0]) <= trained
    assert set(visits.user[visits.period == 3]) - trained


def test_rows_dealt_to_users_add_up():
    dealt = rows_per_user(np.random.default_rng(5), 17, {"train": 1000, "val": 3, "test": 0})
    assert {split: int(rows.sum()) for split, rows in dealt.items()} == {"train": 1000, "val": 3, "test": 0}
    assert all((rows >= 0).all() for rows in dealt.values())
    assert rows_per_user(np.random.default_rng(5), 1, {"train": 7})["train"].tolist() == [7]


def test_more_liked_items_are_clicked_more_often(market: Market, simulated: tuple[Shoppers, Log]):
    users, log = simulated
    user = log.visits.user[log.visit]
    liked = affinity(market.items.content[log.item], market.items.content, users, user, 12.0)
    assert log.click[liked > 0.8].mean() > 2.5 * log.click[liked < 0.3].mean()
