"""Raw rows to blocks: two passes through a spool on disk, because ids are ordered by counts that are known at the end.

First pass: rows come in any order of splits and are laid down with ids in the order values are first seen. Second pass:
vocabularies are ordered by training counts, ids translated, and rows cut into blocks of equal size. Memory holds the
vocabularies, one batch of the source and one block, never the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions import raw
from moon_zoo.data.impressions.block import ID, Impressions, Pool
from moon_zoo.data.impressions.pools import used
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
        pending: list[_Piece] = []
        rows = 0
        for piece in self._batches(split):
            at = 0
            while rows + len(piece) - at >= self.block_rows:
                pending.append(piece.slice(at, at + self.block_rows - rows))
                at += self.block_rows - rows
                yield self._block(pending)
                pending, rows = [], 0
            if at < len(piece):
                pending.append(piece.slice(at, len(piece)))
                rows += len(piece) - at
        if pending:
            yield self._block(pending)

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
        first = place.rows + 1
        arrays: list[np.ndarray] = []
        for one in schema.categorical:
            values = raw.ids(batch, one.name, one.vocabulary, self._encode, first)
            if one.vocabulary != schema.item_vocabulary or one.name == schema.item:
                self._count(split, one.vocabulary, values)
            arrays.append(values)
        for number in schema.numeric:
            values = raw.numbers(batch, number.name, first)
            self._moments[split][number.name].add(values)
            arrays.append(values)
        arrays.append(raw.labels(batch, schema.label, first))
        if schema.time is not None:
            arrays.append(raw.times(batch, schema.time, first))
        arrays += [raw.numbers(batch, name, first) for name in schema.truth]
        for sequence in schema.sequences:
            start, length, fields = raw.sequence(batch, sequence, schema.vocabulary_of, self._encode, first)
            arrays += [start.astype(ID), length.astype(ID), *fields.values()]
        for array in arrays:
            np.save(place.file, array, allow_pickle=False)
        place.rows += batch.num_rows
        place.batches += 1

    def _encode(self, vocabulary: str, texts: pa.Array) -> np.ndarray:
        seen = self._seen.setdefault(vocabulary, {})
        return np.array([seen.setdefault(text, len(seen)) for text in texts.to_pylist()], dtype=ID)

    def _count(self, split: str, vocabulary: str, values: np.ndarray) -> None:
        # What was looked at or asked for before was not thereby shown: items are counted in the item's column alone.
        before = self._counts[split][vocabulary]
        counts = np.bincount(values, minlength=len(before))
        counts[: len(before)] += before
        self._counts[split][vocabulary] = counts

    def _described(self, number: Numeric, splits: list[str]) -> Numeric:
        moments = Moments()
        for split in splits:
            moments.join(self._moments[split][number.name])
        return replace(number, mean=moments.mean, std=moments.std, missing=moments.missing)

    def _batches(self, split: str) -> Iterator[_Piece]:
        assert self.schema is not None
        place, schema = self._splits[split], self.schema
        place.file.flush()
        translate: Callable[[str], np.ndarray] = lambda column: self._translate[schema.vocabulary_of(column)]  # noqa: E731
        plain = [one.name for one in schema.numeric] + [schema.label]
        plain += [schema.time] if schema.time is not None else []
        plain += schema.truth
        with place.path.open("rb", buffering=1 << 20) as file:

            def load() -> np.ndarray:
                array: np.ndarray = np.load(file, allow_pickle=False)
                return array

            for _ in range(place.batches):
                columns = {one.name: translate(one.name)[load()] for one in schema.categorical}
                columns |= {name: load() for name in plain}
                sequences = {}
                for sequence in schema.sequences:
                    start, length = load(), load()
                    fields = {one: translate(column)[load()] for one, column in zip(sequence.fields, sequence.columns)}
                    sequences[sequence.name] = Pool(start, length, fields)
                yield _Piece(columns, sequences)

    def _block(self, pieces: list[_Piece]) -> Impressions:
        assert self.schema is not None
        columns = {name: np.concatenate([one.columns[name] for one in pieces]) for name in pieces[0].columns}
        sequences = {
            one.name: _joined([piece.sequences[one.name] for piece in pieces]) for one in self.schema.sequences
        }
        return Impressions(columns, sequences)


@dataclass(slots=True)
class _Piece:
    """Some rows with final ids, whose pools may hold more than they use."""

    columns: dict[str, np.ndarray]
    sequences: dict[str, Pool]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def slice(self, start: int, stop: int) -> _Piece:
        rows = slice(start, stop)
        pools = {name: Pool(one.start[rows], one.length[rows], one.fields) for name, one in self.sequences.items()}
        return _Piece({name: values[rows] for name, values in self.columns.items()}, pools)


def _joined(pools: list[Pool]) -> Pool:
    """One pool of several, with no more than their rows use."""
    starts, parts = [], []
    before = 0
    for pool in pools:
        start, elements = used(pool.start, pool.length)
        starts.append(np.where(pool.length > 0, start + before, 0))
        parts.append({name: values[elements] for name, values in pool.fields.items()})
        before += len(elements)
    if before > np.iinfo(ID).max:
        raise DataError(f"a block's histories have {before:,} elements", change="block_rows, to fewer rows")
    return Pool(
        start=np.concatenate(starts).astype(ID),
        length=np.concatenate([pool.length for pool in pools]).astype(ID),
        fields={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )
