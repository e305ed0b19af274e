"""The three tables of MovieLens-100K with posters: films, users and ratings, read and checked.

Columns are those of the set's README: ``items.csv`` has a 0/1 column per genre, and for most films a year, an overview,
the original language and the running time; a gap is an empty cell.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from moon_zoo.data.wording import counted, first_few
from moon_zoo.errors import DataError
from moon_zoo.sources.tree import FileTree

NOT_GENRES = ("movie_id", "title", "year", "overview", "original_language", "runtime")
NO_GENRE = "genre_unknown"
MISSING = "unknown"
"""What a feature says of a film or user whose cell is empty."""

AGES = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (50, "45-49"), (56, "50-55"))
"""Age groups by their upper bound (left out), those of the later MovieLens-1M."""


@dataclass(frozen=True, slots=True)
class Film:
    """A row of items.csv.

    Args:
        item_id: ``movie_id``.
        title: With the year in brackets, as it stands there.
        overview: A few sentences; may be empty.
        genres: All of them, at least one.
        genre: The one of `genres` that fewest films have: ``Drama`` says little where ``Western`` stands beside it.
        year: NaN where unknown.
        language: Two letters.
        runtime: Minutes, NaN where unknown.
    """

    item_id: str
    title: str
    overview: str
    genres: tuple[str, ...]
    genre: str
    year: float
    language: str
    runtime: float

    @property
    def decade(self) -> str:
        """``1990s``."""
        return MISSING if np.isnan(self.year) else f"{int(self.year) // 10 * 10}s"


@dataclass(frozen=True, slots=True)
class User:
    """A row of users.csv."""

    user_id: str
    age_group: str
    gender: str
    occupation: str


@dataclass(frozen=True, slots=True)
class Ratings:
    """The columns of ratings.csv, sorted by user, then by time (equal times in the file's order).

    Args:
        users: Place of each row's user in the list of users, int64 ``(rows,)``.
        films: Place of its film in the list of films.
        ratings: 1 to 5, int64.
        times: Seconds since 1970, int64.
    """

    users: np.ndarray
    films: np.ndarray
    ratings: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> Ratings:
        """Some of the rows, by number or by mask."""
        return Ratings(self.users[rows], self.films[rows], self.ratings[rows], self.times[rows])


def find_base(tree: FileTree) -> PurePosixPath:
    """The folder of ratings.csv: the root, or below it.

    Raises:
        DataError: There is none.
    """
    tables = sorted(
        (PurePosixPath(name) for name in tree.names() if PurePosixPath(name).name == "ratings.csv"),
        key=lambda table: len(table.parts),
    )
    if not tables:
        raise DataError(
            f"no ratings.csv in {tree.root}",
            change="path; it is the tar, or the folder that holds ratings.csv, items.csv, users.csv and posters",
        )
    return tables[0].parent


def read_films(tree: FileTree, base: PurePosixPath) -> list[Film]:
    """The films of items.csv in its order.

    Raises:
        DataError: A column is missing, an id comes twice or a number is none.
    """
    rows = list(_rows(tree, str(base / "items.csv"), ("movie_id", "title")))
    if not rows:
        raise DataError("there are no films", where=f"{tree.root}, items.csv")
    names = [name for name in rows[0][1] if name not in NOT_GENRES]
    genres = [
        tuple("unknown" if name == NO_GENRE else name for name in names if cells[name].strip() == "1") or (MISSING,)
        for _, cells in rows
    ]
    films_of = Counter(name for several in genres for name in several)
    films = [
        Film(
            item_id=cells["movie_id"].strip(),
            title=cells["title"].strip(),
            overview=" ".join(cells.get("overview", "").split()),
            genres=several,
            genre=min(several, key=lambda name: (films_of[name], name)),
            year=_number(cells.get("year", ""), where),
            language=cells.get("original_language", "").strip() or MISSING,
            runtime=_number(cells.get("runtime", ""), where),
        )
        for (where, cells), several in zip(rows, genres, strict=True)
    ]
    _no_id_twice([film.item_id for film in films], f"{tree.root}, items.csv")
    return films


def read_users(tree: FileTree, base: PurePosixPath) -> list[User]:
    """The users of users.csv in its order."""
    users = [
        User(
            user_id=cells["user_id"].strip(),
            age_group=_age_group(_number(cells["age"], where)),
            gender=cells["gender"].strip() or MISSING,
            occupation=cells["occupation"].strip() or MISSING,
        )
        for where, cells in _rows(tree, str(base / "users.csv"), ("user_id", "age", "gender", "occupation"))
    ]
    _no_id_twice([user.user_id for user in users], f"{tree.root}, users.csv")
    return users


def read_ratings(tree: FileTree, base: PurePosixPath, films: Sequence[Film], users: Sequence[User]) -> Ratings:
    """The rows of ratings.csv.

    Raises:
        DataError: A cell is no whole number, a rating is not in 1 to 5, or a film or user is in neither table.
    """
    film_places = {film.item_id: place for place, film in enumerate(films)}
    user_places = {user.user_id: place for place, user in enumerate(users)}
    numbers: list[tuple[int, int, int, int]] = []
    strangers: list[str] = []
    for where, cells in _rows(tree, str(base / "ratings.csv"), ("user_id", "movie_id", "rating", "timestamp")):
        user, film = user_places.get(cells["user_id"].strip()), film_places.get(cells["movie_id"].strip())
        if user is None or film is None:
            table, name = ("users.csv", "user_id") if user is None else ("items.csv", "movie_id")
            strangers.append(f"{where.rpartition(', ')[2]} ({name} {cells[name]} is not in {table})")
            continue
        rating, time = (_whole(cells[name], name, where) for name in ("rating", "timestamp"))
        if not 1 <= rating <= 5:
            raise DataError(f"a rating of {rating} is not in 1 to 5", where=where)
        numbers.append((user, film, rating, time))
    if strangers:
        raise DataError(
            f"{counted(strangers, 'rating')} of unknown films or users: {first_few(strangers)}",
            where=f"{tree.root}, ratings.csv",
            change="the tables; they must be of one release",
        )
    if not numbers:
        raise DataError("there are no ratings", where=f"{tree.root}, ratings.csv")
    columns = np.array(numbers, dtype=np.int64).T
    ratings = Ratings(*columns)
    return ratings.take(np.lexsort((ratings.times, ratings.users)))


def _rows(tree: FileTree, name: str, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV stands, and its cells."""
    where = f"{tree.root}, {PurePosixPath(name).name}"
    try:
        text = tree.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 (byte {error.start})", where=str(tree.root)) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in needed if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"columns are missing: {', '.join(missing)} (found: {', '.join(reader.fieldnames or ())})", where=where
        )
    for cells in reader:
        if None in cells or None in cells.values():
            raise DataError(
                "a row has another number of cells than the header", where=f"{where}, line {reader.line_num}"
            )
        yield f"{where}, line {reader.line_num}", cells


def _age_group(age: float) -> str:
    if np.isnan(age):
        return MISSING
    return next((name for bound, name in AGES if age < bound), "56 and over")


def _number(cell: str, where: str) -> float:
    if not cell.strip():
        return float("nan")
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"{cell!r} is no number", where=where) from error


def _whole(cell: str, name: str, where: str) -> int:
    try:
        return int(cell)
    except ValueError as error:
        raise DataError(f"the {name} {cell!r} is no whole number", where=where) from error


def _no_id_twice(ids: Sequence[str], where: str) -> None:
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{counted(twice, 'id')} more than once: {first_few(twice)}", where=where)
