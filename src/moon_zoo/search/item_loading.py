"""Items to batches for embedding: decoded in worker processes, part by part, with what is known of each item beside.

A batch never holds items of two parts, so that a part comes out the same whichever parts were made before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from moon_zoo.data.dataset import Failure, ShardDataset, ShardLoader, loading
from moon_zoo.data.embedding_parts import Record
from moon_zoo.data.inputs import Draw, Inputs
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.streaming import StreamedShards
from moon_zoo.data.transport import Outbox, Parcel
from moon_zoo.errors import DataError, ZooError
from moon_zoo.search.item_sets import OPTION, Positions

RECORDS = "records"


class ItemInputs:
    """A model's inputs for the item side alone: a product's asking photo is not decoded, a search's query is left out.

    Args:
        inputs: The model's.
        searches: Whether they take searches: then an item goes in as one without a question.
    """

    def __init__(self, inputs: Inputs, *, searches: bool) -> None:
        self.inputs = inputs
        self.searches = searches

    def sample(self, sample: Product | Search, draw: Draw) -> dict[str, Any]:
        """Tensors of the item, and its record without a place."""
        item = sample.item if isinstance(sample, Search) else sample
        try:
            tensors = self.inputs.sample(Search(item=item, query_text="") if self.searches else item, draw)
        except DataError as error:
            # Decoders name the option of training.
            change = error.change and error.change.replace("data.init_args.on_error", "--on-error")
            raise DataError(error.what, where=error.where, change=change, suggestions=error.suggestions) from error
        return {**tensors, RECORDS: Record(-1, "", item.item_id, item.spu_id, "/".join(item.category), item.title)}

    def batch(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The model's batch, and the list of records."""
        tensors = [{name: value for name, value in sample.items() if name != RECORDS} for sample in samples]
        return {**self.inputs.batch(tensors), RECORDS: [sample[RECORDS] for sample in samples]}

    def fit(self, samples: Iterable[Any], manifest: Any) -> None:
        """Nothing: the model has learned."""

    def state_dict(self) -> dict[str, Any]:
        """Of the model's inputs."""
        return self.inputs.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Of the model's inputs."""
        self.inputs.load_state_dict(state)


def indexed_loader(
    shards: IndexedShards,
    inputs: ItemInputs,
    batches: PositionBatches,
    *,
    on_error: str,
    num_workers: int,
    pin_memory: bool,
) -> ShardLoader:
    """A loader of the items at these positions."""
    dataset = ShardDataset(shards, inputs, on_error=on_error, option=f"{OPTION} {shards.path}")
    dataset.pin_memory = pin_memory and num_workers > 0  # without workers records would be pinned too
    return ShardLoader(
        dataset,
        batch_sampler=batches,
        **loading(num_workers),
    )


class PositionBatches:
    """Positions of each part in stretches of at most ``batch_size``; made as they are asked for.

    Args:
        parts: Positions of each part's items.
        batch_size: Items per batch; the last of a part may have fewer.
    """

    def __init__(self, parts: Sequence[Positions], batch_size: int) -> None:
        self.parts, self.batch_size = parts, batch_size

    def __len__(self) -> int:
        return sum(-(-len(positions) // self.batch_size) for positions in self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        for positions in self.parts:
            for start in range(0, len(positions), self.batch_size):
                yield list(map(int, positions[start : start + self.batch_size]))


class StreamedBatches(IterableDataset):
    """Batches of tars without positions; a worker reads a tar from front to back, several workers several tars.

    A batch says which tar it is of (``tar``), how many samples before it could not be read (``skipped``), and whether it
    ends its tar (``last``).

    Args:
        shards: The tars.
        urls: Which of them.
        inputs: Turns samples into tensors.
        batch_size: Samples per batch; the last of a tar may have fewer.
        on_error: ``raise`` or ``skip``.
    """

    def __init__(
        self, shards: StreamedShards, urls: Sequence[str], inputs: ItemInputs, *, batch_size: int, on_error: str
    ) -> None:
        self.shards, self.urls, self.inputs = shards, list(urls), inputs
        self.batch_size, self.on_error = batch_size, on_error
        self.pin_memory = False
        self._outbox = Outbox()
        self._skipped = 0

    def __iter__(self) -> Iterator[dict[str, Any] | Parcel | Failure]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        try:
            for tar in range(number, len(self.urls), workers):
                yield from map(self._outbox.post, self._batches(tar))
        except ZooError as error:
            yield Failure(error)

    def _batches(self, tar: int) -> Iterator[dict[str, Any]]:
        self._skipped = 0
        rows = self._rows(self.urls[tar])
        some = list(itertools.islice(rows, self.batch_size))
        if self._skipped and not some:
            raise DataError(f"no readable sample in {self.urls[tar]}", where=self.shards.option, change="the tar")
        while some:
            following = list(itertools.islice(rows, self.batch_size))
            batch: dict[str, Any] = self.inputs.batch(some)
            batch["valid"] = torch.ones(len(some), dtype=torch.bool)
            yield {**batch, "tar": tar, "skipped": self._skipped, "last": not following}
            some, self._skipped = following, 0

    def _rows(self, url: str) -> Iterator[dict[str, Any]]:
        for key, sample in self.shards.keyed_samples([url]):
            try:
                row = self.inputs.sample(sample, Draw())
            except DataError as error:
                if self.on_error != "skip":
                    where = f"sample {key} in {url}  ({self.shards.option})"
                    raise DataError(error.what, where=where, change=error.change) from error
                self._skipped += 1
                continue
            yield {**row, RECORDS: replace(row[RECORDS], key=key)}


def streamed_loader(batches: StreamedBatches, *, num_workers: int, pin_memory: bool) -> ShardLoader:
    """A loader of streamed tars; more workers than tars would have nothing to do."""
    workers = min(num_workers, len(batches.urls))
    batches.pin_memory = pin_memory and workers > 0
    return ShardLoader(
        batches,
        batch_size=None,
        **loading(workers),
    )


def tensors_of(batch: dict[str, Any]) -> dict[str, Tensor]:
    """What goes to the model's device."""
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}
