"""Batches that workers packed arrive whole, stay as they are, and cost no file descriptors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, IterableDataset

from moon_zoo.data.inputs import stack
from moon_zoo.data.transport import PREFETCH, Inbox, Outbox, Parcel


def batch_of(number: int) -> dict[str, object]:
    """All kinds of tensors; sizes change from batch to batch."""
    generator = torch.Generator().manual_seed(number)
    rows = 3 + number % 4
    photos = [torch.randint(0, 255, (16, 16, 3), generator=generator, dtype=torch.uint8) for _ in range(rows)]
    samples = [
        {
            "photo": photo.permute(2, 0, 1),
            "mask": torch.tensor([True, False]),
            "score": torch.rand((), generator=generator),
        }
        for photo in photos
    ]
    return {
        **stack(samples),
        "index": torch.arange(rows),
        "empty": torch.zeros((0, 4)),
        "strided": torch.arange(24.0).view(4, 6)[:, ::2],
        "expanded": torch.tensor([1, 2]).expand(3, 2),
        "half": torch.randn(5, generator=generator).to(torch.bfloat16),
        "name": f"batch {number}",
    }


class Batches(IterableDataset):
    def __init__(self, count: int) -> None:
        self.count, self.outbox = count, Outbox()

    def __iter__(self) -> Iterator[object]:
        for number in range(self.count):
            self.outbox.begin()
            yield self.outbox.post(batch_of(number))


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) and value.dtype == other[name].dtype
        if isinstance(value, torch.Tensor)
        else value == other[name]
        for name, value in one.items()
    )


def loader(count: int, **more: object) -> DataLoader:
    return DataLoader(
        Batches(count), batch_size=None, num_workers=1, prefetch_factor=PREFETCH, collate_fn=lambda batch: batch, **more
    )


def test_batches_arrive_whole_and_are_not_overwritten() -> None:
    """All are kept to the end, many more than there are buffers."""
    inbox = Inbox()
    received = []
    for parcel in loader(30):
        assert isinstance(parcel, Parcel)
        received.append(inbox.receive(parcel))
    assert len(received) == 30
    assert all(same(batch, batch_of(number)) for number, batch in enumerate(received))
    photos = received[0]["photo"]
    assert photos.shape == (3, 3, 16, 16) and photos.is_contiguous(memory_format=torch.channels_last)


def test_buffers_are_used_again() -> None:
    """Once warm, what `stack` makes lies in the buffer already, and no new descriptors are opened."""
    inbox, open_files = Inbox(), []
    for parcel in loader(40):
        inbox.receive(parcel)
        open_files.append(len(list(Path(f"/proc/{os.getpid()}/fd").iterdir())))
    assert max(open_files[20:]) <= open_files[19] + 1
    assert {slot for _, slot in inbox._held} == set(range(PREFETCH + 2))


def test_parcels_thrown_away_unread_break_nothing() -> None:
    """A persistent worker is asked for a new epoch while batches of the old one are under way."""
    inbox = Inbox()
    made = loader(12, persistent_workers=True)
    first = iter(made)
    inbox.receive(next(first))
    received = [inbox.receive(parcel) for parcel in made]
    assert len(received) == 12 and all(same(batch, batch_of(number)) for number, batch in enumerate(received))


def test_main_process_gets_batches_as_they_are() -> None:
    batch = batch_of(0)
    assert Inbox().receive(Outbox().post(batch)) is batch  # type: ignore[arg-type]
