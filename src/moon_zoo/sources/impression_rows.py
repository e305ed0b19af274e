"""Some rows of a click table as the columns of its schema."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import pyarrow as pa

from moon_zoo.sources.base import Source
from moon_zoo.sources.impression_columns import Features
from moon_zoo.sources.impression_shaping import Shaper


def shaped(
    batch: pa.RecordBatch,
    features: Features,
    shaper: Shaper,
    where: tuple[str, int],
    only: Container[str] | None = None,
) -> dict[str, pa.Array | np.ndarray]:
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
    table: dict[str, pa.Array | np.ndarray] = {}
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
        source.notes.append(f"{count:,} rows without a {name}; it is called (missing) there")
    for name, count in shaper.cut.items():
        if count:
            source.notes.append(
                f"{count:,} lists in {name} had more than {shaper.longest:,} elements; the newest are kept"
            )
