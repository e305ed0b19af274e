"""The order of an epoch: a pure function of (seed, epoch, shard sizes), the same on every machine.

Shards are permuted; then samples are shuffled within windows of a few shards, so that a reader touches few files at a
time and memory stays bounded: a window's order is computed when it is needed. numpy promises the streams of bit
generators and `SeedSequence` for good, but not those of `Generator.permutation`; so a permutation here is the argsort
of raw draws.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

_KEPT_WINDOWS = 2


class EpochOrder:
    """In which order an epoch visits the samples.

    Args:
        shard_sizes: Samples per shard, in the manifest's order.
        seed: Non-negative.
        epoch: Non-negative.
        shuffle: False keeps the manifest's order.
        window_shards: How many shards are mixed with one another. 1 mixes within shards only; more mixes better and
            holds more files open.

    Example:
        >>> EpochOrder([3, 3], seed=0, epoch=0).positions(0, 6)
        array([...])
    """

    def __init__(
        self,
        shard_sizes: Sequence[int] | np.ndarray,
        seed: int,
        epoch: int,
        shuffle: bool = True,
        window_shards: int = 4,
    ) -> None:
        if seed < 0 or epoch < 0:
            raise ValueError(f"seed and epoch must not be negative, got {seed} and {epoch}")
        if window_shards < 1:
            raise ValueError(f"window_shards must be at least 1, got {window_shards}")
        sizes = np.asarray(shard_sizes, dtype=np.int64)
        self._length = int(sizes.sum())
        self._seed, self._epoch = seed, epoch
        self.shuffle = shuffle
        if not shuffle:
            return
        shards = _permutation((seed, epoch, 0), len(sizes))
        self._starts = (np.cumsum(sizes) - sizes)[shards]  # first position of each shard, in visiting order
        self._sizes = sizes[shards]
        self._window_shards = window_shards
        firsts = np.arange(0, len(sizes), window_shards)
        window_sizes = np.add.reduceat(self._sizes, firsts) if len(sizes) else np.zeros(0, dtype=np.int64)
        self._window_ends = np.cumsum(window_sizes)
        self._windows: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Global positions of the samples that come at ``start`` to ``stop`` (exclusive), int64 ``(stop - start,)``."""
        if not 0 <= start <= stop <= self._length:
            raise IndexError(f"{start} to {stop} of an epoch of {self._length} samples")
        if start == stop or not self.shuffle:
            return np.arange(start, stop, dtype=np.int64)
        parts = []
        window = int(np.searchsorted(self._window_ends, start, side="right"))
        while start < stop:
            end = int(self._window_ends[window])
            order = self._window(window)
            offset = end - len(order)
            parts.append(order[start - offset : min(stop, end) - offset])
            start = min(stop, end)
            window += 1
        return np.concatenate(parts)

    def _window(self, window: int) -> np.ndarray:
        order = self._windows.get(window)
        if order is None:
            some = slice(window * self._window_shards, (window + 1) * self._window_shards)
            inside = np.concatenate(
                [np.arange(first, first + size) for first, size in zip(self._starts[some], self._sizes[some])]
            )
            order = inside[_permutation((self._seed, self._epoch, 1 + window), len(inside))]
            self._windows[window] = order
            if len(self._windows) > _KEPT_WINDOWS:
                self._windows.popitem(last=False)
        return order


def _permutation(entropy: tuple[int, ...], length: int) -> np.ndarray:
    """A permutation of ``0 .. length - 1``, the same for the same entropy on every machine and version of numpy."""
    draws = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(length)
    return np.argsort(draws, kind="stable")
