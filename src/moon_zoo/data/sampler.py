"""Which samples a rank draws in which order, and where an epoch goes on after a break.

One `EpochOrder` serves all ranks: global batch i is the i-th stretch of ``batch_size * world`` positions after the
epoch's start, and rank r takes the r-th chunk of it. So the samples of an epoch do not depend on the number of ranks or
workers, and "the first n samples of epoch e are done" says all there is to know for going on.

A draw is one integer, a *ticket*: ``epoch << 40 | position``; ``-1 - ticket`` marks padding. The epoch travels with it
because workers live longer than an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DistributedSampler

from moon_zoo.data.order import EpochOrder

_POSITION_BITS = 40
_WORD = (1 << 64) - 1


class Ticket(NamedTuple):
    """One draw: which sample, in which epoch, and whether it counts (False for padding)."""

    epoch: int
    position: int
    valid: bool


def read_ticket(code: int) -> Ticket:
    """The draw that an integer stands for; a bare position is itself, in epoch 0."""
    valid = code >= 0
    code = code if valid else -1 - code
    return Ticket(code >> _POSITION_BITS, code & ((1 << _POSITION_BITS) - 1), valid)


def read_tickets(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epoch and position int64, and valid bool, of many draws at once; see `read_ticket`."""
    valid = codes >= 0
    codes = np.where(valid, codes, -1 - codes)
    return codes >> _POSITION_BITS, codes & ((1 << _POSITION_BITS) - 1), valid


def mix(*numbers: int) -> int:
    """One seed of 63 bits from several numbers (Steele et al. 2014, SplitMix64, chained).

    Ten times quicker than `numpy.random.SeedSequence`, which matters once per sample.
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state >> 1


class Start(NamedTuple):
    """Where an epoch begins: after ``offset`` samples (over all ranks) of ``epoch``."""

    epoch: int
    offset: int


class EpochSampler(DistributedSampler):  # a DistributedSampler, because Lightning replaces every other kind under DDP
    """Tickets for one rank.

    Training drops the last incomplete global batch. Evaluation pads it with marked repetitions, so that every rank sees
    the same number of equal batches and every sample counts once.

    Args:
        shard_sizes: Samples per shard, int64 ``(num_shards,)``.
        batch_size: Per rank.
        rank: Of this process among those that see different data.
        world: How many there are.
        training: Shuffle and drop, or keep the order and pad.
        seed: Of the order.
        window_shards: See `EpochOrder`.
        start: Where the first epoch begins; None at the start of the one that `set_epoch` names.

    Attributes:
        begun: Where the iteration under way began; None before the first.
        taken: Batches handed to this rank since then; counted by the loader, not here, because workers draw ahead.
    """

    def __init__(
        self,
        shard_sizes: np.ndarray,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        training: bool = False,
        seed: int = 0,
        window_shards: int = 4,
        start: Start | None = None,
    ) -> None:
        samples = int(shard_sizes.sum())
        dataset: Any = range(samples)  # the parent class asks for its length only
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=training, seed=seed, drop_last=training)
        self.samples = samples
        self.batch_size = batch_size
        self.training = training
        self.begun: Start | None = None
        self.taken = 0
        self.epoch = start.epoch if start is not None else 0
        self._shard_sizes = shard_sizes
        self._window_shards = window_shards
        self._start = start

    @property
    def global_batch(self) -> int:
        """Samples of one step over all ranks."""
        return self.batch_size * self.num_replicas

    @property
    def num_batches(self) -> int:
        """Batches of a whole epoch on each rank."""
        return self.batches_after(0)

    def batches_after(self, offset: int) -> int:
        """Batches that are left on each rank after ``offset`` samples of an epoch."""
        left = self.samples - offset
        return left // self.global_batch if self.training else -(-left // self.global_batch)

    def __len__(self) -> int:
        # Of a whole epoch, also where the first begins in the middle: Lightning sizes all epochs by the first answer.
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """Tickets of the epoch set by `set_epoch`, the first time from ``start`` on."""
        if self._start is not None:
            self.begun, self._start = self._start, None
        elif self.begun is None or self.taken > 0 or self.begun.epoch < self.epoch:
            self.begun = Start(self.epoch, 0)
        # else: nothing was taken from the last iteration, so it begins again. Lightning does that after some resumes.
        assert self.begun is not None
        self.taken = 0
        return self._tickets(self.begun)

    def _tickets(self, start: Start) -> Iterator[int]:
        epoch = start.epoch if self.training else 0
        order = EpochOrder(
            self._shard_sizes, self.seed, epoch, shuffle=self.training, window_shards=self._window_shards
        )
        for batch in range(self.batches_after(start.offset)):
            first = start.offset + batch * self.global_batch + self.rank * self.batch_size
            inside = min(max(self.samples - first, 0), self.batch_size)
            at = min(first, self.samples)
            tickets = order.positions(at, at + inside) | (epoch << _POSITION_BITS)
            yield from tickets.tolist()
            # Only evaluation has rows beyond the last sample. Which sample they repeat does not matter.
            yield from (-1 - row % self.samples for row in range(first + inside, first + self.batch_size))
