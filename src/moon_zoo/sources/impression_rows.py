"""Some rows of a click table as the columns of its schema."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.tables.logs import Log
from moon_zoo.data.tables.shaping import UNNAMED, Shaper
from moon_zoo.data.wording import many
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.impression_columns import Features

Columns = dict[str, pa.Array | np.ndarray]


def shaped(
    batch: pa.RecordBatch,
    features: Features,
    shaper: Shaper,
    where: tuple[str, int],
    only: Container[str] | None = None,
) -> Columns:
    """Columns of the schema that the table has.

    Args:
        batch: Some rows as they stand in the file.
        features: What its columns are.
        shaper: Reads them.
        where: File, and number of the first row.
        only: Columns wanted; None takes all that are read.

    Raises:
        DataError: A value cannot be what its column is said to be.
    """
    schema = features.schema
    needed = {schema.user, schema.item}
    numeric = {*(one.name for one in schema.numeric), *schema.truth}
    table: Columns = {}
    for name, source in features.columns.items():
        if only is not None and name not in only:
            continue
        column = batch.column(source)
        if name == schema.label:
            table[name] = shaper.labels(column, source, where)
        elif name == schema.time:
            table[name] = shaper.times(column, source, where)
        elif name in numeric:
            table[name] = shaper.numbers(column, source, where)
        elif "." in name and name not in {one.name for one in schema.categorical}:
            table[name] = shaper.lists(column, source, where)
        else:
            table[name] = shaper.names(column, source, where, needed=name in needed)
    return table


def note_shaping(source: Source, shaper: Shaper) -> None:
    """Say what had to be filled in or cut."""
    for name, count in shaper.filled.items():
        source.notes.append(f"{many(count, 'row')} without a {name}; it is called {UNNAMED} there")
    for name, count in shaper.cut.items():
        if count:
            source.notes.append(
                f"{many(count, 'list')} in {name} had more than {shaper.longest:,} elements; the newest are kept"
            )


def read_logs(
    logs: Mapping[str, Log],
    features: Features,
    shaper: Shaper,
    finish: Callable[[Columns, pa.RecordBatch], Columns] | None = None,
    extra: tuple[str, ...] = (),
) -> Iterator[Packed]:
    """The rows of tables that are split already, some thousands at a time.

    Args:
        logs: Split to its table.
        features: What the columns are.
        shaper: Reads them.
        finish: Changes or adds columns; is given the shaped ones and the rows as they stand in the file.
        extra: Columns of the table that ``finish`` needs beside those of the features.
    """
    for split, log in logs.items():
        number = 0
        for where, row, batch in log.batches([*features.columns.values(), *extra]):
            table = shaped(batch, features, shaper, (where, row))
            table = table if finish is None else finish(table, batch)
            yield split, f"rows-{number:010d}", RawImpressions(features.schema, pa.table(table))
            number += batch.num_rows


def joined(ids: pa.Array, keys: pa.Array, columns: Mapping[str, pa.Array]) -> tuple[dict[str, pa.Array], int]:
    """Columns of another table, by id.

    Args:
        ids: Whom they are wanted for, ``(rows,)``.
        keys: Ids of the other table, each once.
        columns: Its columns, one value per key.

    Returns:
        Column to its values for ``ids``, null where the id is unknown; and how many are.
    """
    places = pc.index_in(ids, value_set=keys)
    return {name: column.take(places) for name, column in columns.items()}, int(places.null_count)
