"""Tickets to batches of impressions, thousands of rows at a time: no row is ever handled alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from moon_zoo.data.dataset import ShardDataset
from moon_zoo.data.impressions.columns import Columns
from moon_zoo.data.impressions.reading import RowShards
from moon_zoo.data.inputs import Draw
from moon_zoo.data.sampler import mix, read_tickets
from moon_zoo.errors import DataError

if TYPE_CHECKING:
    from moon_zoo.data.impressions.table import TableRows


class RowDataset(ShardDataset):
    """Batches of rows by ticket.

    The inputs are asked for a reader of this set once: ``inputs.reader(schema, vocabularies)`` gives an object with
    ``limits`` (sequence to its longest wanted length) that turns `Columns` and a `Draw` into tensors. A batch is drawn as
    a whole: the generator of a training batch is seeded by its epoch and its first row.

    Args:
        shards: The rows.
        inputs: The model's.
        training: Whether batches are for training.
        seed: Of the draw.
        on_error: ``raise``, or ``skip``: rows that cannot be read are padding with ``valid`` False.
        option: The option the rows were named by, for messages.
    """

    shards: RowShards | TableRows  # type: ignore[assignment]

    def __init__(self, shards: RowShards | TableRows, inputs: Any, **options: Any) -> None:
        super().__init__(shards, inputs, **options)  # type: ignore[arg-type]
        self._reader = inputs.reader(shards.schema, shards.vocabularies)

    def __getitem__(self, code: int) -> dict[str, Tensor]:
        """The batch of one row."""
        return self._batch([code])

    def _batch(self, codes: Sequence[int]) -> dict[str, Tensor]:
        epochs, positions, valid = read_tickets(np.asarray(codes, dtype=np.int64))
        columns, read = self._columns(positions)
        draw = Draw()
        if self.training:
            generator = torch.Generator().manual_seed(mix(self.seed, int(epochs[0]), int(positions[0])))
            draw = Draw(training=True, generator=generator)
        batch = dict(self._reader(columns, draw))
        batch["index"] = torch.from_numpy(positions)
        batch["valid"] = torch.from_numpy(valid & read)
        return batch

    def _columns(self, positions: np.ndarray) -> tuple[Columns, np.ndarray]:
        """The rows, and which of them are what was asked for, bool ``(rows,)``."""
        every = np.ones(len(positions), dtype=bool)
        try:
            return self.shards.take(positions, self._reader.limits), every
        except DataError as error:
            if self.on_error != "skip":
                raise DataError(error.what, where=f"{error.where}  ({self.option})", change=error.change) from error
        shard = np.searchsorted(np.cumsum(self.shards.sizes), positions, side="right")
        for one in np.unique(shard):
            try:
                self.shards.take(positions[shard == one][:1], self._reader.limits)
            except DataError as error:
                every[shard == one] = False
                self._note(error, int((shard == one).sum()))
        filler = positions[every][0] if every.any() else self._readable()
        return self.shards.take(np.where(every, positions, filler), self._reader.limits), every

    def _readable(self) -> int:
        """Any row that can be read, where none of a batch can: its shapes are needed, its values do not count."""
        ends = np.cumsum(self.shards.sizes)
        for first in (ends - self.shards.sizes)[self.shards.sizes > 0]:
            try:
                self.shards.take(np.array([first]), self._reader.limits)
            except DataError:
                continue
            return int(first)
        raise DataError("no shard can be read", where=self.option, change="the shards: verify them")
