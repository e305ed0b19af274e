"""The shop's impressions as a set: rows, histories, cold items, the best figures, and equal bytes for equal arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.manifest import Manifest, read_manifest
from moon_zoo.errors import UsageError
from moon_zoo.shop import impressions as module
from moon_zoo.shop import write_shop
from moon_zoo.shop.best import figures
from moon_zoo.shop.catalogue import split_numbers, spu
from moon_zoo.shop.datamodule import ShopDataModule
from moon_zoo.shop.impression_plan import ROW_SHARES, ImpressionPlan, small_plan
from moon_zoo.shop.impressions import MAX_HISTORY, SCHEMA, Impressions, true_content

SMALL = {"kind": "impressions", "num_products": 60, "num_users": 40, "num_impressions": 2000, "progress": False}


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    """The small plan's rows per split."""
    parts: dict[str, list[pa.RecordBatch]] = {}
    for split, _, sample in Impressions(small_plan()).samples():
        parts.setdefault(split, []).extend(sample.batches())
    return {split: pa.Table.from_batches(some) for split, some in parts.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Manifest]]:
    folder = tmp_path_factory.mktemp("shop") / "clicks"
    return folder, write_shop(folder, **SMALL)


def column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()


def test_rows_are_dealt_to_the_splits_and_add_up(tables):
    assert {split: len(table) for split, table in tables.items()} == {"train": 1379, "val": 207, "test": 414}
    assert sum(ImpressionPlan(60, 0, 7, 101, small_plan().splits).rows_per_split().values()) == 101


def test_items_are_the_products_of_the_same_shop(tables):
    """Same ids, root categories and brands; cold ones belong to the product split of the same name."""
    plan = small_plan()
    numbers = split_numbers(plan.seed, plan.num_products, dict(plan.splits))
    for split, table in tables.items():
        for row in table.select(["item_id", "category", "brand", "query_item_id"]).slice(0, 200).to_pylist():
            product = spu(plan.seed, int(row["item_id"].split("-")[1]))
            assert row["item_id"] in {product.item_id(item) for item in product.items}
            assert (row["category"], row["brand"]) == (product.leaf.root, product.brand)
            assert product.number in numbers["train"] + (numbers[split] if split != "train" else [])
            assert int(row["query_item_id"].split("-")[1]) in numbers["train"]


def test_histories_are_the_earlier_clicks_of_the_user(tables):
    """Clicks of an earlier visit stand in every later history, in order, before the next visit's."""
    rows = pa.concat_tables([table.cast(tables["train"].schema) for table in tables.values()])
    users, times, clicks = column(rows, "user_id"), column(rows, "time"), column(rows, "click")
    items, history = column(rows, "item_id"), rows.column("history.item_id").to_pylist()
    for user in np.unique(users)[:10]:
        mine = np.flatnonzero(users == user)
        mine = mine[np.argsort(times[mine], kind="stable")]
        for row in mine:
            before = [items[other] for other in mine if clicks[other] and times[other] < times[row]]
            assert len(history[row]) <= MAX_HISTORY
            before = before[-MAX_HISTORY:]
            assert history[row][len(history[row]) - len(before) :] == before
        # What was clicked before the log begins stands first, as long as there is room.
        first, last = history[mine[0]], history[mine[-1]]
        assert len(last) == MAX_HISTORY or last[: len(first)] == first


def test_categories_of_the_history_go_with_its_items(tables):
    table = tables["test"].slice(0, 50)
    for items, categories in zip(table["history.item_id"].to_pylist(), table["history.category"].to_pylist()):
        roots = [spu(0, int(item.split("-")[1])).leaf.root for item in items]
        assert categories == roots


def test_earlier_queries_are_those_of_earlier_visits(tables):
    table = tables["train"]
    user = column(table, "user_id")[0]
    mine = [row for row in table.to_pylist() if row["user_id"] == user]
    visits = list(dict.fromkeys((row["time"], row["query_item_id"]) for row in mine))
    for place, (time, _) in enumerate(visits):
        said = next(row["queries.query_item_id"] for row in mine if row["time"] == time)
        asked = [query for _, query in visits[:place]]
        assert said[len(said) - len(asked) :] == asked


def test_a_users_history_is_stored_once():
    """What the rows' lists share is one range of one array: far fewer values than the lists have together."""
    _, _, sample = next(Impressions(small_plan()).samples())
    lists = sample.rows.column("history.item_id")
    assert pa.types.is_list_view(lists.type)
    assert len(lists.values) < 0.3 * sum(len(one) for one in lists.to_pylist())


def test_some_prices_are_missing_and_some_histories_empty(tables):
    price = column(tables["train"], "price")
    assert 0 < np.isnan(price).mean() < 0.1
    assert (price[~np.isnan(price)] > 0).all()
    assert any(len(one) == 0 for one in tables["train"]["history.item_id"].to_pylist())


def test_the_best_figures_are_those_of_the_written_probability(tables, written):
    trained = set(tables["train"]["item_id"].to_pylist())
    for split, manifest in written[1].items():
        table = tables[split]
        users = np.unique(column(table, "user_id"), return_inverse=True)[1]
        cold = np.array([item not in trained for item in table["item_id"].to_pylist()])
        for prefix, rows in (("", cold | True), ("warm/", ~cold), ("cold/", cold)):
            p, click = column(table, "probability")[rows], column(table, "click")[rows].astype(bool)
            for name, value in figures(p, click, users[rows]).items():
                assert manifest.extra["bayes"][prefix + name] == pytest.approx(value, abs=2e-6)
        assert ("cold/auc" in manifest.extra["bayes"]) == (split != "train")


def test_manifests_tell_the_schema_the_truth_and_the_command(written):
    folder, manifests = written
    manifest = read_manifest(folder / "test")
    assert manifest.kind == "impressions"
    assert [one["name"] for one in manifest.extra["schema"]["categorical"]] == [one.name for one in SCHEMA.categorical]
    assert manifest.extra["shop"]["arguments"]["num_users"] == 40
    assert manifest.command == (
        "moon-zoo pack shop --kind impressions --num-products 60 --seed 0 --num-users 40 --num-impressions 2000"
    )
    about = manifest.extra["impressions"]
    assert about["rows"] == 414
    assert 0.15 < about["cold_rows"] / about["rows"] < 0.35
    assert manifests["train"].extra["impressions"]["cold_rows"] == 0


def test_packing_by_command_gives_the_same_bytes(written, tmp_path, capsys):
    folder, manifests = written
    assert main([*manifests["train"].command.split()[1:], "--to", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["test"]["kind"] == "impressions"
    for split in manifests:
        again = tmp_path / "again" / split
        for path in sorted((folder / split).glob("*.tar")):
            assert (again / path.name).read_bytes() == path.read_bytes()
        assert read_manifest(again).extra == read_manifest(folder / split).extra


def test_another_seed_shows_other_rows(tables):
    other = next(Impressions(small_plan(seed=1)).samples())[2].rows
    assert other.column("item_id").to_pylist()[:50] != tables["train"]["item_id"].to_pylist()[:50]


def test_memory_holds_one_block_of_users_and_blocks_do_not_share_users(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_USERS_PER_BLOCK", 15)
    shown = Impressions(small_plan())
    assert shown.num_blocks == 3
    users = [set(sample.rows.column("user_id").to_pylist()) for split, _, sample in shown.samples() if split == "train"]
    assert len(users) == 3
    assert not (users[0] & users[1] or users[1] & users[2] or users[0] & users[2])


def test_the_true_content_has_a_vector_for_every_item(tables):
    item_ids, vectors = true_content(small_plan())
    assert len(set(item_ids)) == len(item_ids) == len(vectors)
    assert set(tables["test"]["item_id"].to_pylist()) <= set(item_ids)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_true_content_of_the_history_orders_clicks_far_better_than_chance_also_for_cold_items():
    """The control behind every content model: mean similarity to the history, nothing learned."""
    plan = replace(small_plan(), num_products=300, num_users=150, num_impressions=15_000)
    ids, vectors = true_content(plan)
    place = {item: row for row, item in enumerate(ids)}
    found = {}
    rows = {split: sample.rows for split, _, sample in Impressions(plan).samples()}  # one block of users
    warm, shown = rows["train"].column("item_id").to_pylist(), rows["test"].column("item_id").to_pylist()
    target = vectors[[place[item] for item in shown]]
    history = [vectors[[place[item] for item in one]] for one in rows["test"].column("history.item_id").to_pylist()]
    score = np.array([np.exp(8 * (h @ t)).mean() if len(h) else 0.0 for h, t in zip(history, target)])
    cold = ~np.isin(shown, warm)
    click = rows["test"].column("click").to_numpy().astype(bool)
    for name, chosen in (("warm", ~cold), ("cold", cold)):
        found[name] = figures(score[chosen], click[chosen], np.zeros(chosen.sum()))["auc"]
    assert found["warm"] > 0.66
    assert found["cold"] > 0.66


def test_the_datamodule_writes_impressions_into_the_cache_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MOON_ZOO_CACHE", str(tmp_path))
    options = {name: value for name, value in SMALL.items() if name != "progress"}
    shop = ShopDataModule(**options)
    assert shop.folder.name.startswith("impressions-60-40x2000-")
    assert shop.folder != ShopDataModule(**{**options, "num_users": 41}).folder
    shop.prepare_data()
    assert len(shop.shards("test")) == 414
    assert set(shop.shards("test").manifest.extra["bayes"]) >= {"auc", "gauc", "logloss", "cold/auc", "warm/auc"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_users": 1}, "num_users is 1"),
        ({"num_users": 3000}, "3,000 users share 2,000 impressions"),
        ({"num_impressions": 0}, "num_impressions is 0"),
        ({"num_products": 5}, "num_products is 5"),
        ({"seed": -1}, "seed is -1"),
        ({"splits": {"train": 0.9, "test": 0.1}}, "have the splits train, val, test"),
        ({"splits": {"train": 1.0, "val": 1e-6, "test": 0.1}}, "none for the split 'val'"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_words(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        write_shop(tmp_path / "shop", **{**SMALL, **change})
    assert not (tmp_path / "shop").exists()


def test_splits_have_the_shares_that_are_documented():
    assert ImpressionPlan(3000, 0, 6000, 580_000, small_plan().splits).rows_per_split() == {
        "train": 400_000,
        "val": 60_000,
        "test": 120_000,
    }
    assert list(ROW_SHARES) == ["train", "val", "test"]
