"""Tickets to rows, rows to batches: what loader workers do.

An error in a worker is handed over as a value and raised in the main process: torch would wrap it in the text of a
traceback.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from moon_zoo.data import remote
from moon_zoo.data.decoders import IMAGE_EXTENSIONS, extension_of
from moon_zoo.data.images import decode_photo
from moon_zoo.data.inputs import Draw, Inputs
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.sampler import EpochSampler, Ticket, mix, read_ticket
from moon_zoo.data.transport import PREFETCH, Inbox, Outbox, Parcel
from moon_zoo.errors import DataError, ZooError

log = logging.getLogger(__name__)

Row = dict[str, Tensor]
_MOST_WORKERS = 256
_TOLD_PER_WORKER = 3
_SEARCHED_FOR_FILLER = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way from a worker to the main process."""

    error: ZooError


class ShardDataset(Dataset):
    """Rows of tensors by ticket.

    Args:
        shards: The samples.
        inputs: Turns them into tensors.
        training: Whether to augment.
        seed: Of the augmentation.
        on_error: ``raise``, or ``skip``: a sample that cannot be read becomes a row with ``valid`` False.
        option: The option the shards were named by, for messages.
    """

    def __init__(
        self,
        shards: IndexedShards,
        inputs: Inputs,
        *,
        training: bool = False,
        seed: int = 0,
        on_error: str = "raise",
        option: str = "the shards",
    ) -> None:
        self.shards = shards
        self.inputs = inputs
        self.training = training
        self.seed = seed
        self.on_error = on_error
        self.option = option
        self.pin_memory = False
        self._outbox = Outbox()
        self._generator: torch.Generator | None = None
        # One slot per worker (the last is the main process), in memory all of them share: no lock is needed.
        self._skipped = torch.zeros(_MOST_WORKERS + 1, dtype=torch.int64).share_memory_()

    @property
    def skipped(self) -> int:
        """Draws that gave no readable sample, over all workers of this rank."""
        return int(self._skipped.sum())

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, code: int) -> dict[str, Tensor]:
        """One row, without a batch axis; for use without a loader."""
        ticket = read_ticket(code)
        return self._tagged(self._row(ticket), ticket)

    def __getitems__(self, codes: Sequence[int]) -> dict[str, Tensor] | Parcel | Failure:
        """The batch of several tickets: what ``inputs.batch`` made, ``index`` and ``valid``; packed up in workers."""
        try:
            self._outbox.begin()
            return self._outbox.post(self._batch(codes))
        except ZooError as error:
            return Failure(error)

    def _batch(self, codes: Sequence[int]) -> dict[str, Tensor]:
        tickets = [read_ticket(code) for code in codes]
        rows: list[Row | None] = []
        for ticket in tickets:
            try:
                rows.append(self._row(ticket))
            except DataError as error:
                if self.on_error != "skip":
                    raise
                self._note(error)
                rows.append(None)
        read = [row is not None for row in rows]
        if not all(read):
            filler = next((row for row in rows if row is not None), None) or self._filler(tickets[0])
            rows = [row if row is not None else filler for row in rows]
        batch = dict(self.inputs.batch([row for row in rows if row is not None]))
        batch["index"] = torch.tensor([ticket.position for ticket in tickets], dtype=torch.int64)
        batch["valid"] = torch.tensor([ticket.valid and good for ticket, good in zip(tickets, read)])
        return batch

    def _row(self, ticket: Ticket) -> Row:
        try:
            return self.inputs.sample(self.shards[ticket.position], self._draw(ticket))
        except ZooError as error:
            raise self._located(error, ticket.position) from error

    def _draw(self, ticket: Ticket) -> Draw:
        if not self.training:
            return Draw()
        if self._generator is None:
            self._generator = torch.Generator()
        # Seeded by what is drawn, not by who draws it: ranks, workers and resumes change nothing.
        self._generator.manual_seed(mix(self.seed, ticket.epoch, ticket.position))
        return Draw(training=True, generator=self._generator)

    def _tagged(self, row: Row, ticket: Ticket) -> Row:
        return {**row, "index": torch.tensor(ticket.position), "valid": torch.tensor(ticket.valid)}

    def _located(self, error: ZooError, position: int) -> ZooError:
        """The same error, naming field, key and shard."""
        try:
            shard, key = self.shards.locate(position)
        except ZooError:
            return error  # the shard itself cannot be opened, which is what the error says
        where = f"{remote.join(self.shards.folder, shard)}  ({self.option})"
        what = error.what
        if key not in what and key not in (error.where or ""):
            field = self._broken_photo(position)
            what = f"{field + ' of ' if field else ''}sample {key} in {shard}: {what}"
        elif error.where is not None:
            where = f"{error.where}  ({self.option})"
        return type(error)(what, where=where, change=error.change, suggestions=error.suggestions)

    def _broken_photo(self, position: int) -> str | None:
        """The first photo of a sample that cannot be decoded."""
        for field, value in self.shards.members(position).items():
            if extension_of(field) in IMAGE_EXTENSIONS:
                try:
                    decode_photo(value)
                except DataError:
                    return field
        return None

    def _note(self, error: DataError, rows: int = 1) -> None:
        worker = get_worker_info()
        slot = _MOST_WORKERS if worker is None else worker.id % _MOST_WORKERS
        self._skipped[slot] += rows
        if self._skipped[slot] <= _TOLD_PER_WORKER * rows:
            log.warning("skipped: %s", error)

    def _filler(self, ticket: Ticket) -> Row:
        """Any readable row, where none of a batch is: its shapes are needed, its values do not count."""
        for step in range(1, min(len(self), _SEARCHED_FOR_FILLER)):
            try:
                return self._row(ticket._replace(position=(ticket.position + step) % len(self)))
            except DataError:
                continue
        raise DataError(
            f"no readable sample among {_SEARCHED_FOR_FILLER} in a row",
            where=self.option,
            change="the shards: verify them",
        )


def as_it_is(batch: Any) -> Any:
    """The collate function of loaders whose dataset makes whole batches."""
    return batch


class ShardLoader(DataLoader):
    """A loader that raises handed-over errors, and counts what it hands to the training loop."""

    def __iter__(self) -> Any:
        """Batches; see `DataLoader`."""
        sampler = self.sampler if isinstance(self.sampler, EpochSampler) else None
        batches = super().__iter__()
        if self.num_workers == 0 and getattr(self.dataset, "training", False):
            # torch takes a seed for workers from the global generator whenever it begins to iterate: once per fit where
            # workers persist, once per epoch where there are none. Dropout must not depend on that.
            self.generator = torch.Generator()
        return _Handing(batches, sampler, Inbox(pin=getattr(self.dataset, "pin_memory", False)))

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the DataModule keeps the place. That there is a state at all tells Lightning that resuming works."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""


class _Handing:
    """An iterator over batches in the main process."""

    def __init__(self, batches: Iterator[Any], sampler: EpochSampler | None, inbox: Inbox) -> None:
        self._batches, self._sampler, self._inbox = batches, sampler, inbox

    def __iter__(self) -> _Handing:
        return self

    def __next__(self) -> dict[str, Tensor]:
        batch = next(self._batches)
        if isinstance(batch, Failure):
            error = batch.error
            # Stop the workers now. The error's traceback holds this frame, and this frame would hold error and workers
            # in a cycle, whose collection in a later fork waits for processes that are not its children.
            self._batches = iter(())
            del batch
            try:
                raise error
            finally:
                del error
        if self._sampler is not None:
            self._sampler.taken += 1
        return self._inbox.receive(batch)


def set_up_worker(worker: int) -> None:
    """What every worker process does first: one thread, so that workers do not fight over cores."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def loading(num_workers: int) -> dict[str, Any]:
    """Arguments that every loader here has, whatever it loads: its dataset makes whole batches, in workers that prefetch."""
    return {
        "num_workers": num_workers,
        "collate_fn": as_it_is,  # the dataset makes the batch, so a row that fails is filled where it is drawn
        "prefetch_factor": PREFETCH if num_workers > 0 else None,
        "worker_init_fn": set_up_worker if num_workers > 0 else None,
    }


def shard_loader(
    dataset: ShardDataset,
    sampler: EpochSampler,
    *,
    num_workers: int,
    pin_memory: bool = False,
    persistent: bool = False,
) -> ShardLoader:
    """The loader of one split on one rank."""
    dataset.pin_memory = pin_memory  # kept there, because Lightning builds some loaders anew from what torch knows
    return ShardLoader(
        dataset,
        batch_size=sampler.batch_size,
        sampler=sampler,
        persistent_workers=persistent and num_workers > 0,
        **loading(min(num_workers, _MOST_WORKERS)),
    )
