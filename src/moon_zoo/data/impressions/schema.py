"""What the columns of an impression table are: the data contract between a table, its shards and a click model.

A schema is declared when a table is packed, stored in the manifest (``extra["schema"]``), learned by a model's inputs and
carried in its checkpoint. A model reads from it which embeddings to make, so a new table needs no code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from moon_zoo.errors import DataError, did_you_mean

Role = Literal["user", "item", "query", "context"]
"""Whom a feature tells about: who looks, what is shown, what was asked for, or the circumstances."""

ROLES: tuple[Role, ...] = ("user", "item", "query", "context")

PADDING, OUT_OF_VOCABULARY, FIRST = 0, 1, 2
"""Ids that stand for no value and for a value that is not known; those of the vocabulary's values begin at `FIRST`."""


@dataclass(frozen=True, slots=True)
class Categorical:
    """A feature whose values are names or ids.

    Args:
        name: Its column.
        role: Whom it tells about.
        vocabulary: Name of the vocabulary its values are of; features that share one share ids (and embeddings).
    """

    name: str
    role: Role
    vocabulary: str


@dataclass(frozen=True, slots=True)
class Numeric:
    """A feature whose values are numbers; NaN where it is missing.

    Args:
        name: Its column.
        role: Whom it tells about.
        mean: Over the training rows that have it.
        std: The same; 1 where all are equal.
        missing: Share of training rows without it.
    """

    name: str
    role: Role
    mean: float = 0.0
    std: float = 1.0
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a user did before, oldest first: one or more aligned columns of lists, ``{name}.{field}``.

    Args:
        name: Such as ``history``.
        fields: Names of the categorical features that the lists hold earlier values of, such as ``item_id`` and
            ``category``; ``history.item_id`` shares the vocabulary of ``item_id``.
    """

    name: str
    fields: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """``history.item_id``, ``history.category``."""
        return tuple(f"{self.name}.{one}" for one in self.fields)


@dataclass(frozen=True)
class Schema:
    """The columns of an impression table.

    Args:
        categorical: Features of names and ids; `user` and `item` are among them.
        numeric: Features of numbers.
        sequences: What users did before.
        user: The feature that tells users apart, by which GAUC is grouped.
        item: The feature that content embeddings are served by.
        query: The feature that tells what was asked for, if any. Where it shares the item's vocabulary (a search by the
            photo of an item), it has that item's embedding.
        label: Column of the click, 0 or 1.
        time: Column of the time, in whatever unit the table has; None where there is none.
        truth: Columns of numbers that are known of simulated data (``probability``); never shown to a model.
    """

    categorical: tuple[Categorical, ...]
    numeric: tuple[Numeric, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    user: str = "user_id"
    item: str = "item_id"
    query: str | None = None
    label: str = "click"
    time: str | None = None
    truth: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [one.name for one in self.categorical]
        for role, name in (("user", self.user), ("item", self.item), ("query", self.query)):
            if name is not None and name not in names:
                raise DataError(
                    f"the {role} feature {name!r} is not among the categorical features: {', '.join(names) or 'none'}",
                    suggestions=did_you_mean(name, names),
                    change=f"the {role} column",
                )
        for sequence in self.sequences:
            for one in sequence.fields:
                if one not in names:
                    raise DataError(
                        f"the sequence {sequence.name} holds {one!r}, which is no categorical feature: {', '.join(names)}",
                        suggestions=did_you_mean(one, names),
                        change=f"the column {sequence.name}.{one}",
                    )
        columns = list(self.columns)
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise DataError(f"the column {twice[0]} is declared twice", change="the names of the features")

    @property
    def columns(self) -> Iterator[str]:
        """Every column of a table of this schema, those that may be missing (time, truth) last."""
        yield from (one.name for one in self.categorical)
        yield from (one.name for one in self.numeric)
        for sequence in self.sequences:
            yield from sequence.columns
        yield self.label
        if self.time is not None:
            yield self.time
        yield from self.truth

    def feature(self, name: str) -> Categorical:
        """The categorical feature called ``name``."""
        return next(one for one in self.categorical if one.name == name)

    @property
    def item_vocabulary(self) -> str:
        """The vocabulary that content embeddings are served by."""
        return self.feature(self.item).vocabulary

    def vocabulary_of(self, column: str) -> str:
        """The vocabulary of a categorical column or of a sequence's, such as ``history.item_id``."""
        return self.feature(column.rpartition(".")[2]).vocabulary

    @property
    def vocabularies(self) -> tuple[str, ...]:
        """Names of all vocabularies, each once, in the order of features."""
        return tuple(dict.fromkeys(one.vocabulary for one in self.categorical))

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Every column of ids: the categorical features, then the sequences' columns."""
        inside = (column for sequence in self.sequences for column in sequence.columns)
        return (*(one.name for one in self.categorical), *inside)

    @property
    def content_columns(self) -> tuple[str, ...]:
        """Those of `id_columns` whose values are items, so that each has a content embedding."""
        return tuple(column for column in self.id_columns if self.vocabulary_of(column) == self.item_vocabulary)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest or a checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            DataError: It is no schema.
        """
        try:
            rest = dict(values)
            categorical = tuple(Categorical(**one) for one in rest.pop("categorical"))
            numeric = tuple(Numeric(**one) for one in rest.pop("numeric", ()))
            sequences = tuple(Sequence(one["name"], tuple(one["fields"])) for one in rest.pop("sequences", ()))
            truth = tuple(rest.pop("truth", ()))
            return cls(categorical=categorical, numeric=numeric, sequences=sequences, truth=truth, **rest)
        except (TypeError, KeyError, AttributeError) as error:
            raise DataError(f"this is no schema of impressions: {type(error).__name__} {error}") from error
