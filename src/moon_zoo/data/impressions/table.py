"""Raw rows of a table file with the face of a set: for predicting on ids as they stand in somebody's table.

The table is read whole, as ids of vocabularies made from itself; a model maps them to its own by value, as it does those of
any set. What is larger than memory is packed first (``moon-zoo pack impressions``) and then read by `RowShards`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from moon_zoo.data.ids import file_sha256
from moon_zoo.data.impressions.block import ID, Impressions, Pool
from moon_zoo.data.impressions.columns import Columns
from moon_zoo.data.impressions.histories import earlier
from moon_zoo.data.impressions.pieces import Piece, joined
from moon_zoo.data.impressions.raw import encoded
from moon_zoo.data.impressions.schema import Schema, Sequence
from moon_zoo.data.impressions.vocabulary import Vocabulary, ordered
from moon_zoo.data.manifest import Manifest, ShardEntry
from moon_zoo.data.tables.logs import Log
from moon_zoo.data.tables.shaping import Shaper
from moon_zoo.errors import DataError, did_you_mean

log = logging.getLogger(__name__)


class TableRows:
    """The rows of a table, by position; the same face as `RowShards`.

    Columns are named as in the schema. The table needs every categorical and numeric feature; where it lacks the label, the
    time or a truth, `Columns.values` lacks them too. A sequence whose columns it lacks is empty, unless it is derived from
    ``history_log``.

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file (text files also with .gz).
        schema: What its columns are: the schema of a model, or of the set it was trained on.
        history_log: A table of earlier events with the same columns, of which rows with label 1 count (all, where it has no
            label): every row's sequences are then what its user clicked before the row's time, oldest first; where the rows
            have no time, all that the user clicked.

    Raises:
        DataError: A column is missing, or a value is not what its column holds.
    """

    def __init__(self, path: str | os.PathLike[str], schema: Schema, *, history_log: str | None = None) -> None:
        self.path = os.fspath(path)
        self.folder = os.fspath(Path(path).parent)
        self._seen: dict[str, dict[str, int]] = {name: {} for name in schema.vocabularies}
        table = Log([Path(path)])
        self._check(table, schema, history_log)
        self._rows = self._read(table, schema, present_sequences(table, schema, history_log is None))
        if history_log is not None:
            try:
                self._add_histories(Log([Path(history_log)]), schema)
            except DataError as error:
                option = "data.init_args.history_log"
                change = option if error.change in (None, "path") else error.change
                raise DataError(
                    error.what,
                    where=f"{error.where or history_log}  ({option})",
                    change=change,
                    suggestions=error.suggestions,
                ) from error
        self.schema = schema
        self.vocabularies: dict[str, Vocabulary] = self._order(schema)
        self.sizes: np.ndarray = np.array([len(self)], dtype=np.int64)
        size = Path(path).stat().st_size
        sha256 = file_sha256(Path(path))
        self.manifest = Manifest(
            kind=Impressions.kind,
            shards=[ShardEntry(Path(path).name, len(self), size, sha256, sha256)],
            extra={"schema": schema.to_json()},
            source=self.path,
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Columns]:
        """All rows at once."""
        yield self.take(np.arange(len(self)))

    def take(self, positions: np.ndarray, limits: Mapping[str, int] | None = None) -> Columns:
        """Some rows; see `RowShards.take`."""
        positions = np.asarray(positions, dtype=np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"positions {positions.min()} to {positions.max()} of {len(self)} rows")
        return self._rows.take(positions, limits)

    def locate(self, position: int) -> tuple[str, str]:
        """File name and row (from 1), for messages."""
        return Path(self.path).name, f"row {position + 1:,}"

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, table: Log, schema: Schema, history_log: str | None) -> None:
        wanted = list(features(schema))
        missing = [name for name in wanted if name not in table.names]
        if missing:
            raise DataError(
                f"{table.where} lacks {'the column' if len(missing) == 1 else f'{len(missing)} columns:'} "
                f"{', '.join(missing)}; it has {', '.join(table.names)}",
                where=self.path,
                suggestions=did_you_mean(missing[0], table.names),
                change="the table: the model needs every feature that it was trained with, under the same name",
            )
        for one in schema.sequences:
            there = [column for column in one.columns if column in table.names]
            if there and len(there) < len(one.columns):
                lacking = next(column for column in one.columns if column not in there)
                raise DataError(
                    f"{table.where} has {there[0]}, but not {lacking}, which belongs to it",
                    where=self.path,
                    change="the table: give all columns of a sequence or none",
                )
            if there and history_log is not None:
                raise DataError(
                    f"{table.where} has its own {there[0]}, and a log of earlier events is given too",
                    where=self.path,
                    change="one of the two: data.init_args.history_log, or the table's columns",
                )
            if not there and history_log is None:
                log.warning(
                    "%s has no %s, so every row's %s is empty; data.init_args.history_log derives it from a table of "
                    "earlier events",
                    self.path,
                    " and ".join(one.columns),
                    one.name,
                )

    def _read(self, table: Log, schema: Schema, sequences: tuple[Sequence, ...]) -> Piece:
        shaper = Shaper()
        wanted = list(features(schema))
        wanted += [column for one in sequences for column in one.columns]
        wanted += [name for name in (schema.label, schema.time, *schema.truth) if name in table.names]
        pieces = []
        for file, first, batch in table.batches(wanted):
            where = (file, first)
            columns: dict[str, pa.Array] = {}
            for one in schema.categorical:
                needed = one.name in (schema.user, schema.item)
                columns[one.name] = shaper.names(batch.column(one.name), one.name, where, needed=needed)
            for name in (*(number.name for number in schema.numeric), *schema.truth):
                if name in wanted:
                    columns[name] = shaper.numbers(batch.column(name), name, where)
            if schema.label in wanted:
                columns[schema.label] = pa.array(shaper.labels(batch.column(schema.label), schema.label, where))
            if schema.time is not None and schema.time in wanted:
                columns[schema.time] = pa.array(shaper.times(batch.column(schema.time), schema.time, where))
            for sequence in sequences:
                for column in sequence.columns:
                    columns[column] = shaper.lists(batch.column(column), column, where)
            pieces.append(encoded(schema, pa.RecordBatch.from_pydict(columns), self._encode, first))
        if not pieces:
            raise DataError(f"{table.where} has no rows", where=self.path, change="the table")
        piece = joined(pieces)
        for sequence in schema.sequences:
            if sequence not in sequences:
                none = np.zeros(len(piece), dtype=ID)
                piece.sequences[sequence.name] = Pool(none, none, dict.fromkeys(sequence.fields, np.zeros(0, ID)))
        return piece

    def _add_histories(self, events: Log, schema: Schema) -> None:
        """Derive every sequence from a log of earlier events."""
        fields = list(dict.fromkeys(field for one in schema.sequences for field in one.fields))
        for name in (schema.user, *fields, *((schema.time,) if schema.time is not None else ())):
            if name not in events.names:
                raise DataError(
                    f"the log of earlier events {events.where} lacks the column {name}; it has {', '.join(events.names)}",
                    suggestions=did_you_mean(name, events.names),
                    change="the log: it needs the user, the time, and what histories hold",
                )
        if schema.time is None:
            raise DataError(
                "histories cannot be derived from a log: the model's rows have no time",
                change="the table: give it columns of lists",
            )
        needed = list(dict.fromkeys((schema.user, schema.item, *fields)))
        slim = Schema(
            categorical=tuple(one for one in schema.categorical if one.name in needed),
            user=schema.user,
            item=schema.item,
            label=schema.label,
            time=schema.time,
        )
        found = self._read(events, slim, ())
        clicked = np.flatnonzero(found.columns.get(schema.label, np.ones(len(found), dtype=np.uint8)))
        times = self._rows.columns.get(schema.time)
        if times is None:
            times = np.full(len(self), np.iinfo(np.int64).max)
        start, length, order = earlier(
            found.columns[schema.user][clicked],
            found.columns[schema.time][clicked],
            self._rows.columns[schema.user],
            times,
        )
        for one in schema.sequences:
            pools = {field: found.columns[field][clicked][order] for field in one.fields}
            self._rows.sequences[one.name] = Pool(start, length, pools)

    def _encode(self, vocabulary: str, texts: pa.Array) -> np.ndarray:
        seen = self._seen[vocabulary]
        return np.array([seen.setdefault(text, len(seen)) for text in texts.to_pylist()], dtype=ID)

    def _order(self, schema: Schema) -> dict[str, Vocabulary]:
        """Make first-seen ids those of vocabularies, ordered as a set's."""
        counts = {name: np.zeros(len(seen), dtype=np.int64) for name, seen in self._seen.items()}
        for one in schema.categorical:
            if one.vocabulary != schema.item_vocabulary or one.name == schema.item:
                counts[one.vocabulary] += np.bincount(
                    self._rows.columns[one.name], minlength=len(counts[one.vocabulary])
                )
        made = {name: ordered(list(seen), counts[name]) for name, seen in self._seen.items()}
        for one in schema.categorical:
            self._rows.columns[one.name] = made[one.vocabulary][1][self._rows.columns[one.name]]
        for sequence in schema.sequences:
            fields = self._rows.sequences[sequence.name].fields
            for field, column in zip(sequence.fields, sequence.columns):
                fields[field] = made[schema.vocabulary_of(column)][1][fields[field]]
        self._seen.clear()
        return {name: vocabulary for name, (vocabulary, _) in made.items()}


def features(schema: Schema) -> tuple[str, ...]:
    """The columns that every table must have: categorical and numeric features."""
    return (*(one.name for one in schema.categorical), *(one.name for one in schema.numeric))


def present_sequences(table: Log, schema: Schema, from_table: bool) -> tuple[Sequence, ...]:
    """The sequences whose columns a table has; none where they are not to come from it."""
    return tuple(one for one in schema.sequences if from_table and set(one.columns) <= set(table.names))
