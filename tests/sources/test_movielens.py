"""MovieLens with posters in a small made-up copy of its layout, and the real set where it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moon_zoo.data.impressions.grouped_auc import grouped_auc
from moon_zoo.data.kinds import Product, Search
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.bias_floors import floors
from moon_zoo.sources.movielens import MovieLensSource
from tests.sources.making import movielens, write, write_tar

REAL = Path(__file__).parents[3] / "shared" / "data" / "movielens_posters.tar"


def read(source: MovieLensSource) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[Any]]]:
    """Rows and samples by split."""
    rows: dict[str, list[dict[str, Any]]] = {}
    samples: dict[str, list[Any]] = {}
    for split, _, sample in source.read():
        if isinstance(sample, (Product, Search)):
            samples.setdefault(split, []).append(sample)
        else:
            rows.setdefault(split, []).extend(sample.rows.to_pylist())
    return rows, samples


def test_the_newest_ratings_of_each_user_are_held_out_and_four_stars_are_a_click(tmp_path):
    movielens(tmp_path)
    source = MovieLensSource(tmp_path, cold_share=0)
    rows, _ = read(source)
    assert {split: Counter(row["user_id"] for row in part) for split, part in rows.items()} == {
        "train": dict.fromkeys("1234", 7),
        "val": dict.fromkeys("1234", 1),
        "test": dict.fromkeys("1234", 2),
    }
    assert {row["timestamp"] for row in rows["test"]} == {9, 10} and {row["timestamp"] for row in rows["val"]} == {8}
    for row in (row for part in rows.values() for row in part):
        assert row["click"] == ((int(row["user_id"]) + int(row["item_id"])) % 5 + 1 >= 4)


def test_histories_are_the_films_liked_before_oldest_first(tmp_path):
    movielens(tmp_path)
    rows, _ = read(MovieLensSource(tmp_path, cold_share=0, history=2))
    for row in (row for part in rows.values() for row in part):
        user, now = int(row["user_id"]), row["timestamp"]
        liked = [str(film) for film in range(1, now) if (user + film) % 5 + 1 >= 4]
        assert row["history.item_id"] == liked[-2:]
        assert len(row["history.genre"]) == len(row["history.item_id"])


def test_cold_films_are_in_no_training_row_no_training_history_and_no_pair(tmp_path):
    movielens(tmp_path, users=6)
    rows, samples = read(MovieLensSource(tmp_path, cold_share=0.4, seed=1))
    trained = {row["item_id"] for row in rows["train"]}
    cold = {str(film) for film in range(1, 8)} - trained
    assert cold
    assert not cold & {film for row in rows["train"] for film in row["history.item_id"]}
    assert {product.item_id for product in samples["warm_items"]} == trained
    assert {search.item.item_id for search in samples["searches"]} <= trained
    assert len(samples["items"]) == 10


def test_films_become_products_with_their_rarest_genre(tmp_path):
    files = movielens(tmp_path)
    _, samples = read(MovieLensSource(tmp_path, cold_share=0))
    items = {product.item_id: product for product in samples["items"]}
    assert items["4"] == Product(
        item_id="4",
        title="Film, 4 (1994)",
        description="About 4.",
        photos=[files["posters/4.jpg"]],
        category=("Western",),
        attributes={"genres": "Drama, Western", "decade": "1990s", "language": "en"},
    )
    assert items["3"].photos == [] and items["3"].category == ("Comedy",)
    assert items["2"].attributes["decade"] == items["2"].attributes["language"] == "unknown"


def test_gaps_in_numbers_are_missing_and_ages_are_groups(tmp_path):
    movielens(tmp_path)
    rows, _ = read(MovieLensSource(tmp_path, cold_share=0))
    second = [row for row in rows["train"] if row["item_id"] == "2"]
    assert all(np.isnan(row["runtime"]) and np.isnan(row["year"]) for row in second)
    ages = {row["user_id"]: row["age_group"] for row in rows["train"]}
    assert ages == {"1": "25-34", "2": "35-44", "3": "45-49", "4": "56 and over"}


def test_pairs_are_neighbours_among_a_users_liked_films_with_posters(tmp_path):
    movielens(tmp_path, users=1)
    _, samples = read(MovieLensSource(tmp_path, cold_share=0, test_share=0, val_share=0.1))
    # User 1 gives film f (1 + f) % 5 + 1 stars: 4 to films 2 and 7, 5 to films 3 and 8. Film 3 has no poster.
    found = [(search.item.item_id, search.behaviour) for search in samples["searches"]]
    assert found == [("7", "click"), ("8", "purchase")]
    assert "searches_val" not in samples
    _, samples = read(MovieLensSource(tmp_path, cold_share=0, test_share=0.2, val_share=0.1, pairs=6))
    assert [search.item.item_id for search in samples["searches_val"]] == ["8"]


def test_the_tar_is_read_without_unpacking_and_gives_the_same(tmp_path):
    path = write_tar(tmp_path / "movielens.tar", movielens(tmp_path / "folder"))
    # As texts, since a missing number equals nothing.
    assert repr(read(MovieLensSource(path))) == repr(read(MovieLensSource(tmp_path / "folder")))


def test_faults_are_placed(tmp_path):
    def fault(name: str, content: str, **options: Any) -> DataError | UsageError:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        movielens(folder)
        write(folder / name, content)
        with pytest.raises((DataError, UsageError)) as caught:
            read(MovieLensSource(folder, **options))
        return caught.value

    header = "user_id,movie_id,rating,timestamp\n"
    assert fault("ratings.csv", header + "1,99,5,1\n").what == (
        "1 rating of unknown films or users: line 2 (movie_id 99 is not in items.csv)"
    )
    error = fault("ratings.csv", header + "1,1,six,1\n")
    assert error.what == "the rating 'six' is no whole number" and str(error.where).endswith("ratings.csv, line 2")
    assert fault("ratings.csv", header + "1,1,6,1\n").what == "a rating of 6 is not in 1 to 5"
    assert fault("ratings.csv", header).what == "there are no ratings"
    assert fault("ratings.csv", "user_id,movie_id\n").what.startswith("columns are missing: rating, timestamp")
    assert "leave no rows to train on" in fault("x", "", test_share=0.5, val_share=0.5).what
    assert fault("x", "", cold_share=1.0).change == "--cold-share"
    with pytest.raises(DataError, match=r"no ratings\.csv"):
        read(MovieLensSource(write(tmp_path / "empty" / "x.csv", "").parent))


def test_floors_are_the_auc_of_shrunken_means():
    """Two users and two items, all known: what the biases must be is worked out beside.

    Training: mean click rate 1/2. Item 0 was clicked in 2 of 2 rows: (2 - 1) / (2 + 5) above; item 1 in 0 of 2: as much
    below. So item bias orders item 0 above item 1, and users, who clicked 1 of 2 each, are alike: all scores are equal.
    """
    users, items = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 0, 1])
    labels = np.array([1.0, 0, 1, 0, 1, 0])
    train = np.array([True] * 4 + [False] * 2)
    assert floors(users, items, labels, train, ~train) == {"item bias": 1.0, "user bias": 0.5, "user + item bias": 1.0}
    assert floors(users, items, labels, train, np.array([False] * 4 + [True, False])) == {}


def test_auc_counts_ties_as_half_like_a_plain_loop():
    draw = np.random.default_rng(3)
    scores, labels = draw.integers(0, 6, 60).astype(float), draw.integers(0, 2, 60)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    assert grouped_auc(scores, labels == 1, np.zeros(len(scores), np.int64))[0] == pytest.approx(np.mean(pairs))


@pytest.mark.skipif(not REAL.is_file(), reason="the real set is not here")
def test_the_real_set_has_its_floors_and_thousands_of_cold_rows():
    source = MovieLensSource(REAL, check_photos=False, workers=0, pairs=6)
    tables: dict[str, list[Any]] = {}
    for split, _, sample in source.read():
        tables.setdefault(split, []).append(sample)
    items = {
        split: np.concatenate([one.rows["item_id"].to_numpy() for one in tables[split]])
        for split in ("train", "val", "test")
    }
    assert {split: len(ids) for split, ids in items.items()} == {"train": 43740, "val": 8026, "test": 15995}
    assert len(tables["items"]) == 1682
    trained = set(items["train"])
    assert sum(item not in trained for item in items["test"]) > 3000
    known = source.extras["test"]["floors"]
    assert 0.70 < known["all"]["user + item bias"] < 0.74 and known["cold"]["item bias"] == 0.5
