"""What a set of impressions is like, in numbers: gathered block by block while it is written, kept in its manifest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from moon_zoo.data.impressions.block import Impressions
from moon_zoo.data.impressions.schema import FIRST, Schema
from moon_zoo.data.impressions.vocabulary import Vocabulary


class Moments:
    """Mean and standard deviation of numbers that come in parts, NaN left out (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.rows = self.present = 0
        self.mean = self._squares = 0.0

    def add(self, values: np.ndarray) -> None:
        """Take in numbers, NaN where missing."""
        part = Moments()
        part.rows = len(values)
        present = values[~np.isnan(values)].astype(np.float64)
        part.present = len(present)
        if part.present:
            part.mean = float(present.mean())
            part._squares = float(((present - part.mean) ** 2).sum())
        self.join(part)

    def join(self, other: Moments) -> None:
        """Take in what another took in."""
        self.rows += other.rows
        present = self.present + other.present
        if present:
            apart = other.mean - self.mean
            self._squares += other._squares + apart**2 * self.present * other.present / present
            self.mean += apart * other.present / present
        self.present = present

    @property
    def std(self) -> float:
        """Of the population; 1 where all numbers are equal, so that dividing by it changes nothing."""
        std = math.sqrt(self._squares / self.present) if self.present else 0.0
        return std if std > 0 else 1.0

    @property
    def missing(self) -> float:
        """Share of NaN."""
        return 1 - self.present / self.rows if self.rows else 0.0


class SplitStatistics:
    """Counts over the blocks of one split.

    Args:
        schema: Of the rows.
        vocabularies: Final ones.
        min_count: From how many training rows on a value counts as known.
    """

    def __init__(self, schema: Schema, vocabularies: dict[str, Vocabulary], min_count: int) -> None:
        self._schema = schema
        self._limits = {name: FIRST + one.known(min_count) for name, one in vocabularies.items()}
        self._cold_from = FIRST + vocabularies[schema.item_vocabulary].known(1)
        self._seen = {
            name: np.zeros(FIRST + len(vocabularies[schema.vocabulary_of(name)]), dtype=bool)
            for name in (schema.user, schema.item)
        }
        self.rows = self.clicks = self.cold_rows = 0
        self._unknown = dict.fromkeys(schema.id_columns, 0)
        self._nan = {one.name: 0 for one in schema.numeric}
        self._empty = {one.name: 0 for one in schema.sequences}
        self._longest = dict.fromkeys(self._empty, 0)
        self._elements = dict.fromkeys(self._empty, 0)

    def add(self, block: Impressions) -> None:
        """Count a block's rows."""
        schema = self._schema
        self.rows += block.rows
        self.clicks += int(block.columns[schema.label].sum())
        self.cold_rows += int((block.columns[schema.item] >= self._cold_from).sum())
        for name, seen in self._seen.items():
            seen[block.columns[name]] = True
        for one in schema.categorical:
            self._unknown[one.name] += int((block.columns[one.name] >= self._limits[one.vocabulary]).sum())
        for name in self._nan:
            self._nan[name] += int(np.isnan(block.columns[name]).sum())
        for sequence in schema.sequences:
            pool = block.sequences[sequence.name]
            self._empty[sequence.name] += int((pool.length == 0).sum())
            self._longest[sequence.name] = max(self._longest[sequence.name], int(pool.length.max(initial=0)))
            self._elements[sequence.name] += int(pool.length.sum(dtype=np.int64))
            for field, column in zip(sequence.fields, sequence.columns):
                bad = pool.fields[field] >= self._limits[schema.vocabulary_of(column)]
                # How many rows' histories hold each element of the pool, without spelling the histories out.
                opened = np.bincount(pool.start, minlength=len(bad) + 1)
                closed = np.bincount(pool.start + pool.length, minlength=len(bad) + 1)
                self._unknown[column] += int(np.cumsum(opened - closed)[:-1][bad].sum())

    def to_json(self) -> dict[str, Any]:
        """For ``extra["impressions"]`` of the manifest."""
        schema = self._schema
        return {
            "rows": self.rows,
            "clicks": self.clicks,
            "users": int(self._seen[schema.user].sum()),
            "items": int(self._seen[schema.item].sum()),
            "cold_rows": self.cold_rows,
            "out_of_vocabulary": self._unknown,
            "nan": self._nan,
            "empty_histories": self._empty,
            "longest_history": self._longest,
            "history_elements": self._elements,
        }
