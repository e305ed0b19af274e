"""What a reader of figures should know of the rows behind them: ids that training did not know, histories that were cut."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moon_zoo.data.impressions.schema import OUT_OF_VOCABULARY, Schema
from moon_zoo.nn.gathering import sum_over_ranks


class RowNotes:
    """Counts over batches, on the device they are on; nothing waits for it before `sentence`.

    Args:
        schema: The model's columns.
        max_history: Longest history that is read.
    """

    def __init__(self, schema: Schema, max_history: int) -> None:
        self.columns = tuple(one.name for one in schema.categorical)
        self.sequences = tuple(one.name for one in schema.sequences)
        self.max_history = max_history
        self._counts: Tensor | None = None

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        valid = batch["valid"]
        unknown = [((batch[f"id/{name}"] == OUT_OF_VOCABULARY) & valid).sum() for name in self.columns]
        # Readers count cut rows of a whole batch, the rows that pad it included.
        cut = batch["cut"] * valid.sum() // len(valid)
        counts = torch.cat([torch.stack([valid.sum(), *unknown]), cut])
        self._counts = counts if self._counts is None else self._counts + counts

    def sentence(self) -> str | None:
        """Shares over all ranks' rows; None where there is nothing to tell. Every rank must call it."""
        size = 1 + len(self.columns) + len(self.sequences)
        counts = torch.zeros(size, dtype=torch.int64) if self._counts is None else self._counts
        rows, *rest = sum_over_ranks(counts).tolist()
        said = [
            f"{count:,} ({count / rows:.1%}) with {name} unknown to training"
            for name, count in zip(self.columns, rest)
            if count
        ]
        said += [
            f"{'' if count == rows else 'about '}{count:,} whose {name} is longer than {self.max_history}, of which the newest "
            "were read"
            for name, count in zip(self.sequences, rest[len(self.columns) :])
            if count
        ]
        return f"of {rows:,} rows, {'; '.join(said)}" if said else None
