"""Which column of a click table is what: from the words of a command line to a schema and the columns it is read from.

Feature names are the table's column names, so that a model that was trained on the table predicts for rows as they stand
in it. Sequences alone get names of ours, ``{sequence}.{feature}``, since one column tells neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moon_zoo.data.impressions.schema import Categorical, Numeric, Role, Schema
from moon_zoo.data.impressions.schema import Sequence as History
from moon_zoo.errors import UsageError, did_you_mean

GUESSES = {
    "user": ("user_id", "userid", "user", "uid"),
    "item": ("item_id", "itemid", "item", "iid", "product_id", "adgroup_id", "movie_id"),
    "label": ("click", "label", "clicked", "clk", "is_click"),
    "time": ("timestamp", "time", "time_stamp", "event_time"),
    "split": ("split",),
}
"""Names that columns of these meanings usually have, the first that is there is taken."""

CLICK = "click"
"""What the label is called where it is made from a rating."""

HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Features:
    """What the columns of a table are.

    Args:
        schema: The features.
        columns: Column of the schema to the table's, of every column that is read.
    """

    schema: Schema
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class Declared:
    """What the command line says of a table's columns; see `moon_zoo.sources.impressions.ImpressionsSource`.

    Args:
        user: Column of users; None guesses.
        item: Column of items.
        label: Column of clicks.
        time: Column of times; None guesses, an empty name is none.
        query: Column of what was asked for, if any.
        features: Role to the columns of features.
        numeric: Those columns, of any role, that hold numbers.
        truth: Columns that no model may see.
        history: Column of a sequence (``history.item_id``) to the table's column.
        shared: Feature to the feature whose values it shares.
        ratings: Whether the label's column holds ratings, of which clicks are made.
    """

    user: str | None = None
    item: str | None = None
    label: str | None = None
    time: str | None = None
    query: str | None = None
    features: Mapping[Role, Sequence[str]] | None = None
    numeric: Sequence[str] = ()
    truth: Sequence[str] = ()
    history: Mapping[str, str] | None = None
    shared: Mapping[str, str] | None = None
    ratings: bool = False

    def resolve(self, names: Sequence[str], derived: Sequence[str] | None = None) -> Features:
        """The schema of a table.

        Args:
            names: The table's columns.
            derived: Features of items beside the item itself that histories made from clicks hold; None takes the table's
                lists instead.

        Raises:
            UsageError: A column is not told and has none of the usual names, or is told to be two things.
        """
        user, item = self._one("user", self.user, names), self._one("item", self.item, names)
        label = self._one("label", self.label, names)
        roles = self._roles(user, item)
        numbers = set(self.numeric)
        features = {*roles, *numbers, *self.truth}
        time = self.time if self.time is not None else guess("time", [name for name in names if name not in features])
        categorical = [
            Categorical(name, role, self._vocabulary(name, roles))
            for name, role in roles.items()
            if name not in numbers
        ]
        numeric = [Numeric(name, role) for name, role in roles.items() if name in numbers]
        numeric += [Numeric(name, "context") for name in self.numeric if name not in roles]
        lists = self._lists(names, {one.name for one in categorical}, item) if derived is None else {}
        sequences = _sequences(lists) if derived is None else (History(HISTORY, (item, *derived)),)
        schema = Schema(
            categorical=tuple(categorical),
            numeric=tuple(numeric),
            sequences=sequences,
            user=user,
            item=item,
            query=self.query,
            label=CLICK if self.ratings else label,
            time=time or None,
            truth=tuple(self.truth),
        )
        made = () if derived is None else sequences[0].columns
        columns = {name: lists.get(name, name) for name in schema.columns if name not in made}
        return Features(schema, columns | {schema.label: label})

    def _one(self, what: str, given: str | None, names: Sequence[str]) -> str:
        found = given if given is not None else guess(what, names)
        if found is None:
            raise UsageError(
                f"no column is known to be the {what}: none is called {', '.join(GUESSES[what])}",
                change=f"--{what} COLUMN; the table has: {', '.join(names)}",
            )
        return found

    def _roles(self, user: str, item: str) -> dict[str, Role]:
        """Feature to role, users and items first."""
        roles: dict[str, Role] = {user: "user", item: "item"}
        if user == item:
            raise UsageError(f"{user!r} cannot be user and item at once", change="--user or --item")
        if self.query is not None:
            roles[self.query] = "query"
        for role, columns in (self.features or {}).items():
            for column in columns:
                if roles.setdefault(column, role) != role:
                    raise UsageError(
                        f"the column {column!r} is said to tell about the {roles[column]} and about the {role}",
                        change=f"--{roles[column]}-features or --{role}-features",
                    )
        return roles

    def _vocabulary(self, name: str, roles: Mapping[str, Role]) -> str:
        other = (self.shared or {}).get(name, name)
        for one in (*(self.shared or {}), other):
            if one not in roles:
                raise UsageError(
                    f"{one!r} in --shared is no feature; there are {', '.join(roles)}",
                    suggestions=did_you_mean(one, roles),
                    change="--shared FEATURE=OTHER, such as query_item_id=item_id",
                )
        return other

    def _lists(self, names: Sequence[str], features: set[str], item: str) -> dict[str, str]:
        """Column of a sequence to the table's, those told and those that name themselves (``history.item_id``)."""
        lists: dict[str, str] = {}
        for target, column in (self.history or {}).items():
            sequence, dot, feature = target.rpartition(".")
            feature = feature if column else item  # a column alone holds items
            lists[f"{sequence if dot and column else HISTORY}.{feature}"] = column or target
        for name in names:
            if name not in lists and name not in lists.values() and name.partition(".")[2] in features:
                lists[name] = name
        for target in lists:
            feature = target.rpartition(".")[2]
            if feature not in features:
                raise UsageError(
                    f"--history {feature}=... names no feature; there are {', '.join(sorted(features))}",
                    suggestions=did_you_mean(feature, features),
                    change="--history FEATURE=COLUMN, or declare the feature with --item-features",
                )
        return lists


def leftover(features: Features, names: Sequence[str], used: Sequence[str | None]) -> list[str]:
    """Columns of the table that are nothing."""
    taken = {*features.columns.values(), *(name for name in used if name is not None)}
    return [name for name in names if name not in taken]


def guess(what: str, names: Sequence[str]) -> str | None:
    """The first of the usual names of a column (see `GUESSES`) that is there; None where none is."""
    return next((name for name in GUESSES[what] if name in names), None)


def _sequences(lists: Mapping[str, str]) -> tuple[History, ...]:
    fields: dict[str, list[str]] = {}
    for target in lists:
        sequence, _, feature = target.rpartition(".")
        fields.setdefault(sequence, []).append(feature)
    return tuple(History(name, tuple(features)) for name, features in fields.items())
