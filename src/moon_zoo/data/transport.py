"""Batches from worker processes to the main process through memory that is used again and again.

torch's way makes a new shared-memory file for every tensor of every batch: pages to be cleared and mapped on both
sides, one file descriptor each. Measured here at 224 px, that is 125 microseconds a photo, a fifth of decoding it.
Instead a worker packs a batch into one of a few buffers that it keeps, and the main process copies it out in one piece:
20 microseconds.

Why no batch is overwritten before it is copied: a worker has at most ``prefetch_factor`` batches under way, the main
process copies one before it asks for the next, and there are two buffers more than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

PREFETCH = 3
"""Batches that each worker may be ahead."""

_ALIGN = 64  # bytes; a cache line, and more than any dtype needs


class _Place(NamedTuple):
    """Where a tensor lies in a buffer."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int  # in bytes
    length: int  # in bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a worker sends: a buffer, and where the tensors of the batch are in it.

    The buffer is sent every time, which costs a file descriptor in flight but no new memory: torch knows a buffer again
    that the receiver still holds. So nothing breaks where a loader throws parcels away unread, as at the start of an
    epoch.
    """

    worker: int
    slot: int
    buffer: Tensor
    used: int  # bytes
    places: dict[str, _Place]
    rest: dict[str, Any]


class Outbox:
    """The buffers of the process it is used in, made when first needed."""

    def __init__(self) -> None:
        self._buffers: list[Tensor | None] = [None] * (PREFETCH + 2)
        self._slot = 0

    def begin(self) -> None:
        """Before a batch is made in a worker: what `empty` gives is in the next buffer from now on."""
        if get_worker_info() is not None:
            _under_way.buffer, _under_way.used = self._buffers[self._slot], 0

    def post(self, batch: dict[str, Any]) -> dict[str, Any] | Parcel:
        """Pack a batch into the next buffer, in a worker; in the main process, give it back as it is.

        Values that are no tensors travel as they are.
        """
        worker = get_worker_info()
        if worker is None:
            return batch
        tensors = {name: _dense(value) for name, value in batch.items() if isinstance(value, Tensor)}
        buffer, inside, _under_way.buffer = self._buffers[self._slot], _under_way.used, None
        places, used = _lay_out(tensors, buffer, inside)
        if buffer is None or len(buffer) < used:
            places, used = _lay_out(tensors, None, 0)
            buffer = self._buffers[self._slot] = torch.empty(used, dtype=torch.uint8).share_memory_()
        for name, tensor in tensors.items():
            view = _view(buffer, places[name])
            if view.data_ptr() != tensor.data_ptr():
                view.copy_(tensor)
        rest = {name: value for name, value in batch.items() if name not in tensors}
        slot, self._slot = self._slot, (self._slot + 1) % len(self._buffers)
        return Parcel(worker.id, slot, buffer, used, places, rest)


class _UnderWay:
    """The buffer that the batch under way will travel in, and how much of it is taken."""

    buffer: Tensor | None = None
    used: int = 0


_under_way = _UnderWay()


def empty(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor; in a worker, where a batch is being made, in the buffer that the batch will travel
    in."""
    buffer, offset = _under_way.buffer, _under_way.used
    length = math.prod(size) * dtype.itemsize
    if buffer is None or length == 0 or offset + length > len(buffer):
        return torch.empty(size, dtype=dtype)
    _under_way.used = offset + _aligned(length)
    return buffer[offset : offset + length].view(dtype).view(size)


class Inbox:
    """The main process's side of all workers' buffers.

    Args:
        pin: Whether to copy into pinned memory, from which copies to an accelerator need not be waited for.
    """

    def __init__(self, pin: bool = False) -> None:
        self._pin = pin
        self._held: dict[tuple[int, int], Tensor] = {}

    def receive(self, batch: dict[str, Any] | Parcel) -> dict[str, Any]:
        """The batch, in memory of its own."""
        if not isinstance(batch, Parcel):
            return {name: value.pin_memory() for name, value in batch.items()} if self._pin else batch
        self._held[batch.worker, batch.slot] = batch.buffer
        own = torch.empty(batch.used, dtype=torch.uint8, pin_memory=self._pin)
        own.copy_(batch.buffer[: batch.used])
        return {name: _view(own, place) for name, place in batch.places.items()} | batch.rest


def _dense(tensor: Tensor) -> Tensor:
    """The tensor, or a copy without gaps; channels-last and other permuted layouts stay as they are."""
    filled = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return tensor if tensor.numel() == filled else tensor.contiguous()


def _lay_out(tensors: dict[str, Tensor], buffer: Tensor | None, offset: int) -> tuple[dict[str, _Place], int]:
    """Places of tensors: where they are, if that is in the buffer already, else one after the other from ``offset``
    on."""
    places = {}
    for name, tensor in tensors.items():
        length = tensor.numel() * tensor.element_size()
        at = -1 if buffer is None or length == 0 else tensor.data_ptr() - buffer.data_ptr()
        if buffer is None or not 0 <= at < len(buffer):
            at, offset = offset, offset + _aligned(length)
        places[name] = _Place(tensor.dtype, tuple(tensor.shape), tensor.stride(), at, length)
    return places, max(offset, _ALIGN)


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def _view(buffer: Tensor, place: _Place) -> Tensor:
    flat = buffer[place.offset : place.offset + place.length].view(place.dtype)
    return flat.as_strided(place.size, place.stride) if place.length else flat.view(place.size)
