"""MovieLens-100K with posters and overviews: a click log whose items have a picture and a text.

Source: Harper and Konstan 2015, "The MovieLens Datasets: History and Context", ACM TiiS 5(4),
https://grouplens.org/datasets/movielens/100k/, with posters and overviews of the films. A rating of 4 or 5 is the click.

All is ordered by time: the newest share of each user's ratings is for testing, the share before it for validation, and a
history holds the films that a user liked strictly before. So that figures of cold items are more than noise, a seeded
share of the films is taken out of training: the rows, and with them their places in histories and pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.schema import Categorical, Numeric, Schema, Sequence
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.wording import counted
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.bias_floors import floors
from moon_zoo.sources.history_lists import Histories
from moon_zoo.sources.movielens_tables import Film, Ratings, User, find_base, read_films, read_ratings, read_users
from moon_zoo.sources.photos import PhotoReader
from moon_zoo.sources.splits import shuffled
from moon_zoo.sources.time_splits import SPLITS, TRAIN, VAL, by_user, check_shares
from moon_zoo.sources.tree import open_tree

CLICK = 4
"""The lowest rating that counts as a click."""

HISTORY = ("item_id", "genre")

SCHEMA = Schema(
    categorical=(
        *(Categorical(name, "user", name) for name in ("user_id", "age_group", "gender", "occupation")),
        *(Categorical(name, "item", name) for name in ("item_id", "genre", "genres", "decade", "language")),
    ),
    numeric=(Numeric("runtime", "item"), Numeric("year", "item")),
    sequences=(Sequence("history", HISTORY),),
    time="timestamp",
)

ROWS = 8192
"""Rows handed over at once."""


class MovieLensSource(PhotoSource):
    """MovieLens-100K with posters: who liked which film (a rating of 4 or 5), in order of time.

    Writes the impressions train, val and test; the films as products: items (all of them), warm_items (those with
    training rows, to train towers on) and cold_items (the others); and searches, pairs of films that a user liked one
    after the other in training: the earlier one's poster is the query, the later film what was chosen, a purchase where
    it got 5 stars. searches_val are the same, with a later film from val.

    Args:
        path: The tar, or the folder with ratings.csv, items.csv, users.csv and posters.
        test_share: Share of each user's ratings, the newest, for testing.
        val_share: Share of each user's ratings, those before the newest, for validation.
        cold_share: Share of the films that are kept out of training, so that they are cold in val and test.
        pairs: Most pairs of films in searches, a sixth of it in searches_val; drawn by the seed where there are more.
        history: Longest history, the newest films kept; 0 for no limit.
        min_count: Default frequency cut of models: values in fewer training rows count as unknown.
        seed: Seed of the choice of cold films, of pairs, and of the order of products.
        max_side: Shrink larger posters to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk posters, 1 to 95.
        check_photos: Decode every poster once, so that a broken one is found now.
        on_error: raise, or skip to leave out films whose posters cannot be used, and count them.
        workers: Threads that read posters; all cores by default.
    """

    summary: ClassVar[str] = "MovieLens-100K with posters: ratings as clicks, films as products"
    kind = "impressions"
    example: ClassVar[str] = "moon-zoo pack movielens movielens_posters.tar --to shards/movielens"

    licence = "GroupLens terms of use: research, no redistribution"
    description = (
        "MovieLens-100K with posters and overviews; Harper and Konstan 2015, The MovieLens Datasets: History and "
        "Context, ACM TiiS 5(4); https://grouplens.org/datasets/movielens/100k/"
    )

    def __init__(
        self,
        path: Path,
        *,
        test_share: float = 0.2,
        val_share: float = 0.1,
        cold_share: float = 0.2,
        pairs: int = 6000,
        history: int = 200,
        min_count: int = 1,
        seed: int = 0,
        max_side: int = 0,
        quality: int = 90,
        check_photos: bool = True,
        on_error: str = "raise",
        workers: int | None = None,
    ) -> None:
        check_shares(test_share, val_share)
        if not 0 <= cold_share < 1:
            raise UsageError(f"a share of {cold_share:g} is not in 0 to 1 (1 left out)", change="--cold-share")
        for option, value, least in (("--pairs", pairs, 0), ("--history", history, 0), ("--min-count", min_count, 1)):
            if value < least:
                raise UsageError(f"{option} takes {least} or more, not {value}", change=option)
        self.tree = open_tree(path)
        super().__init__(PhotoReader(self.tree, max_side, quality, check_photos), on_error=on_error, workers=workers)
        self.test_share, self.val_share, self.cold_share = test_share, val_share, cold_share
        self.pairs, self.history, self.min_count, self.seed = pairs, history, min_count, seed

    def read(self) -> Iterator[Packed]:
        """Yield the products, the pairs, then the impressions of each split by user and time."""
        base = find_base(self.tree)
        films, users = read_films(self.tree, base), read_users(self.tree, base)
        ratings = read_ratings(self.tree, base, films, users)
        sides = by_user(ratings.users, ratings.times, self.test_share, self.val_share)
        kept = ~((sides == TRAIN) & self._cold(films)[ratings.films])
        ratings, sides = ratings.take(kept), sides[kept]
        warm = np.zeros(len(films), dtype=bool)
        warm[ratings.films[sides == TRAIN]] = True
        if not warm.any():
            raise DataError("no rating is left to train on", change="--test-share, --val-share or --cold-share")
        posters = self._posters(base, films)
        chosen = self._pairs(films, ratings, sides, posters)
        self._note(films, ratings, sides, warm, posters)
        pairs = sum(len(some) for some in chosen.values())
        self.total = 2 * len(films) + pairs + int(sum(-(-np.bincount(sides, minlength=3) // ROWS)))
        yield from self._products(films, warm, posters)
        for split, some in chosen.items():
            yield from self._searches(split, films, ratings, some, posters)
        yield from self._impressions(films, users, ratings, sides)

    def _cold(self, films: list[Film]) -> np.ndarray:
        """True for the films that are kept out of training, ``(films,)``."""
        ids = shuffled((film.item_id for film in films), self.seed)
        cold = set(ids[: round(self.cold_share * len(ids))])
        return np.array([film.item_id in cold for film in films], dtype=bool)

    def _posters(self, base: object, films: list[Film]) -> dict[str, str]:
        """Item id to its poster's path, for the films that have one; a few have none, which is no fault."""
        paths = {film.item_id: f"{base}/posters/{film.item_id}.jpg" for film in films}
        posters = {item_id: path for item_id, path in paths.items() if self.tree.exists(path)}
        if not posters:
            raise DataError(
                f"no film has a poster in {self.tree.root}", change="path; posters are posters/<movie_id>.jpg"
            )
        return posters

    def _products(self, films: list[Film], warm: np.ndarray, posters: dict[str, str]) -> Iterator[Packed]:
        by_id = {film.item_id: place for place, film in enumerate(films)}
        everyone = np.ones(len(films), dtype=bool)
        for split, wanted in (("items", everyone), ("warm_items", warm), ("cold_items", ~warm)):

            def build(item_id: str, split: str = split) -> Packed:
                return split, item_id, self._product(films[by_id[item_id]], posters)

            yield from self.packed(
                build, shuffled((film.item_id for film in films if wanted[by_id[film.item_id]]), self.seed)
            )

    def _pairs(
        self, films: list[Film], ratings: Ratings, sides: np.ndarray, posters: dict[str, str]
    ) -> dict[str, np.ndarray]:
        """Split to rows of two films with posters that a user liked one after the other, int64 ``(pairs, 2)``."""
        has_poster = np.array([film.item_id in posters for film in films])
        liked = (ratings.ratings >= CLICK) & has_poster[ratings.films]
        found = {
            "searches": _consecutive(ratings.users, liked & (sides == TRAIN)),
            # Here the later film is one that nobody has trained on as an answer to this user, and may be cold.
            "searches_val": _consecutive(ratings.users, liked & (sides <= VAL)),
        }
        found["searches_val"] = found["searches_val"][sides[found["searches_val"][:, 1]] == VAL]
        draw = np.random.default_rng(self.seed)
        limits = {"searches": self.pairs, "searches_val": self.pairs // 6}
        return {name: rows[np.sort(draw.permutation(len(rows))[: limits[name]])] for name, rows in found.items()}

    def _searches(
        self, split: str, films: list[Film], ratings: Ratings, pairs: np.ndarray, posters: dict[str, str]
    ) -> Iterator[Packed]:
        def build(pair: tuple[int, int]) -> Packed:
            earlier, later = pair
            search = Search(
                item=self._product(films[ratings.films[later]], posters),
                query_photo=self.photos.read(posters[films[ratings.films[earlier]].item_id]),
                behaviour="purchase" if ratings.ratings[later] == 5 else "click",
            )
            return split, f"pair-{later:06d}", search

        yield from self.packed(build, ((int(earlier), int(later)) for earlier, later in pairs))

    def _product(self, film: Film, posters: dict[str, str]) -> Product:
        poster = posters.get(film.item_id)
        return Product(
            item_id=film.item_id,
            title=film.title,
            description=film.overview,
            photos=[] if poster is None else [self.photos.read(poster)],
            category=(film.genre,),
            attributes={"genres": ", ".join(film.genres), "decade": film.decade, "language": film.language},
        )

    def _impressions(
        self, films: list[Film], users: list[User], ratings: Ratings, sides: np.ndarray
    ) -> Iterator[Packed]:
        clicks = ratings.ratings >= CLICK
        histories = Histories.of(ratings.users, ratings.times, clicks, self.history or None)
        columns = _columns(films, users)
        fields = {f"history.{name}": (columns["item"][name], ratings.films) for name in HISTORY}
        for side, split in enumerate(SPLITS):
            rows = np.flatnonzero(sides == side)
            for first in range(0, len(rows), ROWS):
                block = rows[first : first + ROWS]
                table = {name: column.take(pa.array(ratings.users[block])) for name, column in columns["user"].items()}
                table |= {name: column.take(pa.array(ratings.films[block])) for name, column in columns["item"].items()}
                table |= histories.lists(block, fields)
                table |= {
                    "click": pa.array(clicks[block].astype(np.uint8)),
                    "timestamp": pa.array(ratings.times[block]),
                }
                yield split, f"rows-{first:08d}", RawImpressions(SCHEMA, pa.table(table))

    def _note(
        self, films: list[Film], ratings: Ratings, sides: np.ndarray, warm: np.ndarray, posters: dict[str, str]
    ) -> None:
        """Say what the data are, and what a model must beat (also in the manifest's ``extra["floors"]``)."""
        bare = [film for film in films if film.item_id not in posters]
        if bare:
            self.notes.append(f"{counted(bare, 'film')} without a poster; they are kept, with their texts alone")
        labels = (ratings.ratings >= CLICK).astype(np.float64)
        cold = ~warm[ratings.films]
        for side, split in reversed(tuple(enumerate(SPLITS))):
            if side == TRAIN:
                continue
            rows = sides == side
            known: dict[str, dict[str, float]] = {}
            for which, some in (("all", rows), ("cold", rows & cold), ("warm", rows & ~cold)):
                known[which] = floors(ratings.users, ratings.films, labels, sides == TRAIN, some)
                shown = ", ".join(f"{name} {value:.3f}" for name, value in known[which].items())
                self.notes.append(
                    f"{split} {which} ({int(some.sum()):,} rows): AUC of {shown or 'one class alone: none'}"
                )
            self.extras[split] = {"floors": known}


def _columns(films: list[Film], users: list[User]) -> dict[str, dict[str, pa.Array]]:
    """Role to feature to its values, one per user or film."""
    return {
        "user": {name: pa.array([getattr(user, name) for user in users]) for name in User.__slots__},
        "item": {
            "item_id": pa.array([film.item_id for film in films]),
            "genre": pa.array([film.genre for film in films]),
            "genres": pa.array(["|".join(film.genres) for film in films]),
            "decade": pa.array([film.decade for film in films]),
            "language": pa.array([film.language for film in films]),
            "runtime": pa.array([film.runtime for film in films], pa.float32()),
            "year": pa.array([film.year for film in films], pa.float32()),
        },
    }


def _consecutive(users: np.ndarray, liked: np.ndarray) -> np.ndarray:
    """Neighbours among the liked rows that are of one user, int64 ``(pairs, 2)``; rows are sorted by user and time."""
    rows = np.flatnonzero(liked)
    same = users[rows[1:]] == users[rows[:-1]]
    return np.stack([rows[:-1][same], rows[1:][same]], axis=1)
