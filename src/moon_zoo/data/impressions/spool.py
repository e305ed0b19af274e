"""Raw rows to blocks: two passes through a spool on disk, because ids are ordered by counts that are known at the end.

First pass: rows come in any order of splits and are laid down with ids in the order values are first seen. Second pass:
vocabularies are ordered by training counts, ids translated, and rows cut into blocks of equal size. Memory holds the
vocabularies, one batch of the source and one block, never the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions import raw
from moon_zoo.data.impressions.block import ID, Impressions, Pool, column_types
from moon_zoo.data.impressions.pieces import Piece, joined
from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.schema import Numeric, Schema
from moon_zoo.data.impressions.statistics import Moments, SplitStatistics
from moon_zoo.data.impressions.vocabulary import Vocabulary, ordered
from moon_zoo.errors import DataError

TRAIN = "train"
BLOCK_ROWS = 16384


@dataclass(slots=True)
class _Split:
    """What was laid down of one split."""

    file: IO[bytes]
    path: Path
    rows: int = 0
    batches: int = 0


class ImpressionsSpool:
    """Takes rows of several splits, and gives their blocks once all rows are there.

    Args:
        folder: Where to lay rows down meanwhile; made here, removed by `close`.
        block_rows: Rows of a block.
        min_count: The cut by frequency that models of these splits take unless told otherwise; statistics use it.

    Attributes:
        schema: Of the rows, None before the first.
        vocabularies: After `order`.
    """

    def __init__(self, folder: Path, *, block_rows: int = BLOCK_ROWS, min_count: int = 1) -> None:
        if block_rows < 1 or min_count < 1:
            raise DataError(f"block_rows is {block_rows} and min_count {min_count}, but both must be at least 1")
        self.schema: Schema | None = None
        self.vocabularies: dict[str, Vocabulary] = {}
        self.block_rows, self.min_count = block_rows, min_count
        self._folder = folder
        self._splits: dict[str, _Split] = {}
        self._seen: dict[str, dict[str, int]] = {}
        self._counts: dict[str, dict[str, np.ndarray]] = {}  # split, vocabulary: rows by first-seen id
        self._moments: dict[str, dict[str, Moments]] = {}
        self._translate: dict[str, np.ndarray] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order in which they came."""
        return tuple(self._splits)

    def add(self, split: str, key: str, sample: RawImpressions) -> None:
        """Lay rows down.

        Args:
            split: Whose they are.
            key: What the source calls them, for messages.
            sample: The rows.

        Raises:
            DataError: A value is not what its column holds; the row is counted from 1 within the split.
        """
        if self.schema is None:
            self.schema = sample.schema
        elif sample.schema != self.schema:
            raise DataError(
                f"{key} of {split} has other columns than the rows before it",
                where=f"split {split}",
                change="the source: all rows of a set have one schema",
            )
        if split not in self._splits:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{len(self._splits)}.rows"
            self._splits[split] = _Split(path.open("wb", buffering=1 << 20), path)
            self._counts[split] = {name: np.zeros(0, np.int64) for name in self.schema.vocabularies}
            self._moments[split] = {one.name: Moments() for one in self.schema.numeric}
        try:
            for batch in sample.batches():
                self._add(split, batch)
        except DataError as error:
            raise DataError(error.what, where=error.where or f"split {split}", change=error.change) from error

    def order(self) -> Schema:
        """Order the vocabularies by training counts; no rows can be added after that.

        Returns:
            The schema with the means and deviations of training.
        """
        assert self.schema is not None
        counted = [TRAIN] if TRAIN in self._splits else list(self._splits)
        for name in self.schema.vocabularies:
            seen = self._seen.get(name, {})
            counts = np.zeros(len(seen), dtype=np.int64)
            for split in counted:
                some = self._counts[split][name]
                counts[: len(some)] += some
            self.vocabularies[name], ids = ordered(list(seen), counts)
            self._translate[name] = ids
        self._seen.clear()
        self.schema = replace(self.schema, numeric=tuple(self._described(one, counted) for one in self.schema.numeric))
        return self.schema

    def blocks(self, split: str) -> Iterator[Impressions]:
        """The blocks of a split, in the order of its rows, after `order`."""
        pending: list[Piece] = []
        rows = 0
        for piece in self._batches(split):
            at = 0
            while rows + len(piece) - at >= self.block_rows:
                pending.append(piece.slice(at, at + self.block_rows - rows))
                at += self.block_rows - rows
                yield _block(pending)
                pending, rows = [], 0
            if at < len(piece):
                pending.append(piece.slice(at, len(piece)))
                rows += len(piece) - at
        if pending:
            yield _block(pending)

    def statistics(self) -> SplitStatistics:
        """An empty account of a split, to be fed with its blocks."""
        assert self.schema is not None
        return SplitStatistics(self.schema, self.vocabularies, self.min_count)

    def close(self) -> None:
        """Remove what was laid down."""
        for split in self._splits.values():
            split.file.close()
            split.path.unlink(missing_ok=True)
        if self._folder.is_dir():
            self._folder.rmdir()

    def _add(self, split: str, batch: pa.RecordBatch) -> None:
        schema, place = self.schema, self._splits[split]
        assert schema is not None
        piece = raw.encoded(schema, batch, self._encode, first=place.rows + 1)
        for one in schema.categorical:
            # What was looked at or asked for before was not thereby shown: items are counted in the item's column alone.
            if one.vocabulary != schema.item_vocabulary or one.name == schema.item:
                self._count(split, one.vocabulary, piece.columns[one.name])
        for number in schema.numeric:
            self._moments[split][number.name].add(piece.columns[number.name])
        for array in _arrays(piece):
            np.save(place.file, array, allow_pickle=False)
        place.rows += batch.num_rows
        place.batches += 1

    def _encode(self, vocabulary: str, texts: pa.Array) -> np.ndarray:
        seen = self._seen.setdefault(vocabulary, {})
        return np.array([seen.setdefault(text, len(seen)) for text in texts.to_pylist()], dtype=ID)

    def _count(self, split: str, vocabulary: str, values: np.ndarray) -> None:
        before = self._counts[split][vocabulary]
        counts = np.bincount(values, minlength=len(before))
        counts[: len(before)] += before
        self._counts[split][vocabulary] = counts

    def _described(self, number: Numeric, splits: list[str]) -> Numeric:
        moments = Moments()
        for split in splits:
            moments.join(self._moments[split][number.name])
        return replace(number, mean=moments.mean, std=moments.std, missing=moments.missing)

    def _batches(self, split: str) -> Iterator[Piece]:
        """What was laid down, with final ids."""
        assert self.schema is not None
        place, schema = self._splits[split], self.schema
        place.file.flush()
        with place.path.open("rb", buffering=1 << 20) as file:

            def load() -> np.ndarray:
                array: np.ndarray = np.load(file, allow_pickle=False)
                return array

            def load_ids(column: str) -> np.ndarray:
                return self._translate[schema.vocabulary_of(column)][load()]

            ids = set(schema.id_columns)
            for _ in range(place.batches):
                columns = {name: load_ids(name) if name in ids else load() for name in column_types(schema)}
                sequences = {}
                for one in schema.sequences:
                    start, length = load(), load()
                    sequences[one.name] = Pool(start, length, {name: load_ids(name) for name in one.fields})
                yield Piece(columns, sequences)


def _arrays(piece: Piece) -> Iterator[np.ndarray]:
    """The arrays of a piece in the order they are read again."""
    yield from piece.columns.values()
    for pool in piece.sequences.values():
        yield from (pool.start, pool.length, *pool.fields.values())


def _block(pieces: list[Piece]) -> Impressions:
    whole = joined(pieces)
    return Impressions(whole.columns, whole.sequences)
