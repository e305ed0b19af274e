"""Tars without a manifest, read from front to back by the `webdataset` library's pipeline.

Its shard lists, tar expansion and grouping by key, with our table of decoders in the place of its `decode()` (which
unpickles) and our opening of files in the place of its `gopen` (which hands URLs to a shell). What streaming cannot do,
and an indexed set can (``moon-zoo inspect --index`` makes one):

- the length is not known: an epoch of training is ``streamed_length`` samples, drawn from endless passes over the
shards; - ranks and workers share the shards out among them; with fewer shards than readers, several readers read the
same shards in
  different orders, so a sample may come more than once in a pass;
- the order is deterministic for one number of ranks and workers only, and mixes within a buffer of samples;
- a run cannot go on in the middle of an epoch: it starts that epoch's stream again;
- validation and test need a single rank, since nobody knows how many batches the others have;
- samples have no positions: ``index`` is -1, and reports cannot show them.
"""

from __future__ import annotations

import itertools
import logging
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from moon_zoo.data import remote
from moon_zoo.data.dataset import Failure, ShardLoader, loading
from moon_zoo.data.decoders import decode_member
from moon_zoo.data.inputs import Draw, Inputs
from moon_zoo.data.kinds import detect_kind, kind_of, refuse_rows
from moon_zoo.data.sampler import mix
from moon_zoo.data.transport import Outbox, Parcel
from moon_zoo.errors import DataError, ZooError

log = logging.getLogger(__name__)

_SHUFFLE_BUFFER = 1000


def is_streamed(path: str) -> bool:
    """Whether a path names tars themselves, not a set with a manifest."""
    return path.endswith(".tar") or "{" in path


class StreamedShards:
    """Tars by path, URL or brace pattern.

    Args:
        pattern: Such as ``shards/{000..031}.tar`` or ``https://example.org/a.tar``.
        option: The option it was named by, for messages.
        check_kind: Called with the kind of the first sample; raises where the model takes another.

    Raises:
        DataError: A pattern that the library would hand to a shell, or a local tar that is missing.
    """

    def __init__(
        self, pattern: str, *, option: str = "the shards", check_kind: Callable[[str], None] | None = None
    ) -> None:
        from webdataset.shardlists import expand_urls

        if "pipe:" in pattern:
            raise DataError(
                f"{pattern} asks for a command to be run, which is refused",
                where=option,
                change=f"{option}, to a path or a URL that fsspec knows",
            )
        self.pattern = pattern
        self.option = option
        self.urls: list[str] = expand_urls(pattern)
        self._check_kind = check_kind
        for url in self.urls:
            if not remote.is_url(url) and not Path(url).is_file():
                raise DataError(f"the tar {url} does not exist", where=option, change=f"{option}")

    def samples(self, urls: list[str] | None = None) -> Iterator[Any]:
        """The samples of some of the tars (all by default), as dataclasses of their kind, one pass."""
        return (sample for _, sample in self.keyed_samples(urls))

    def keyed_samples(self, urls: list[str] | None = None) -> Iterator[tuple[str, Any]]:
        """The same with each sample's key before it."""
        from webdataset.tariterators import group_by_keys, tar_file_expander

        checked = False
        groups = group_by_keys(tar_file_expander(self._streams(self.urls if urls is None else urls)))
        while True:
            try:
                group = next(groups, None)
            except (tarfile.TarError, OSError, ValueError, EOFError) as error:
                raise DataError(
                    f"a tar cannot be read to its end: {error.args[0] if error.args else error}",
                    where=f"{getattr(self, '_url', self.pattern)}  ({self.option})",
                    change="copy the tar again",
                ) from error
            if group is None:
                return
            sample = self._sample(group)
            if not checked and self._check_kind is not None:
                self._check_kind(sample.kind)
                checked = True
            yield group["__key__"], sample

    def _streams(self, urls: list[str]) -> Iterator[dict[str, Any]]:
        for url in urls:
            self._url = url  # for messages
            if remote.is_url(url):
                import fsspec

                with fsspec.open(url, "rb") as stream:
                    yield {"url": url, "stream": stream}
            else:
                with Path(url).open("rb") as stream:
                    yield {"url": url, "stream": stream}

    def _sample(self, group: dict[str, Any]) -> Any:
        key, url = group["__key__"], group["__url__"]
        shard = url.rpartition("/")[2]
        raw = {field: data for field, data in group.items() if not field.startswith("__")}
        where = f"sample {key} in {url}  ({self.option})"
        try:
            members = {field: decode_member(field, data, shard=shard, key=key) for field, data in raw.items()}
            kind = detect_kind(members)
            refuse_rows(kind, where)
            return kind_of(kind).sample.from_members(members)
        except ZooError as error:
            raise DataError(error.what, where=where, change=error.change) from error
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise DataError(f"no sample of a known kind: {error}", where=where) from error


class _StreamedBatches(IterableDataset):
    """Batches of one rank; its workers share them."""

    def __init__(
        self,
        shards: StreamedShards,
        inputs: Inputs,
        *,
        batch_size: int,
        rank: int,
        world: int,
        batches: int | None,
        seed: int,
        on_error: str,
    ) -> None:
        self.shards, self.inputs = shards, inputs
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.batches = batches  # of this rank per epoch; None reads every tar once
        self.seed, self.on_error = seed, on_error
        self.epoch = 0
        self.pin_memory = False
        self._outbox = Outbox()

    def __iter__(self) -> Iterator[dict[str, Tensor] | Parcel | Failure]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        try:
            if self.batches is None:
                yield from map(self._outbox.post, self._read_once(self.shards.urls[number::workers]))
            else:
                own = len(range(number, self.batches, workers))
                batches = self._read_on(self.rank * workers + number, self.world * workers)
                yield from map(self._outbox.post, itertools.islice(batches, own))
        except ZooError as error:
            yield Failure(error)
        # Workers that live on are started with the same object again: count what the main process cannot tell them.
        self.epoch += 1

    def _read_once(self, urls: list[str]) -> Iterator[dict[str, Tensor]]:
        yield from self._batched(self._rows(self.shards.samples(urls), training=False), pad=True)

    def _read_on(self, reader: int, readers: int) -> Iterator[dict[str, Tensor]]:
        """Endless passes over this reader's share of the tars."""
        from webdataset.filters import _shuffle

        urls = self.shards.urls
        share = urls[reader::readers] if len(urls) >= readers else urls
        rng = random.Random(f"{self.seed}/{self.epoch}/{reader}/{readers}")

        def passes() -> Iterator[Any]:
            for _ in itertools.count():
                empty = True
                for sample in self.shards.samples(rng.sample(share, len(share))):
                    empty = False
                    yield sample
                if empty:
                    raise DataError(f"{self.shards.pattern} holds no samples", where=self.shards.option)

        samples = _shuffle(passes(), bufsize=_SHUFFLE_BUFFER, initial=_SHUFFLE_BUFFER // 10, rng=rng)
        yield from self._batched(self._rows(samples, training=True, reader=reader), pad=False)

    def _rows(self, samples: Iterator[Any], training: bool, reader: int = 0) -> Iterator[dict[str, Tensor]]:
        for number, sample in enumerate(samples):
            draw = Draw()
            if training:
                seed = mix(self.seed, self.epoch, reader, number)
                draw = Draw(training=True, generator=torch.Generator().manual_seed(seed))
            try:
                yield self.inputs.sample(sample, draw)
            except DataError as error:
                if self.on_error != "skip":
                    raise
                log.warning("skipped: %s", error)

    def _batched(self, rows: Iterator[dict[str, Tensor]], pad: bool) -> Iterator[dict[str, Tensor]]:
        while some := list(itertools.islice(rows, self.batch_size)):
            valid = len(some)
            if pad:
                some += [some[-1]] * (self.batch_size - valid)
            batch = dict(self.inputs.batch(some))
            batch["index"] = torch.full((len(some),), -1, dtype=torch.int64)
            batch["valid"] = torch.arange(len(some)) < valid
            yield batch


class _CountedBatches(_StreamedBatches):
    """The same with a length, for training."""

    def __len__(self) -> int:
        assert self.batches is not None
        return self.batches


def streamed_loader(
    shards: StreamedShards,
    inputs: Inputs,
    *,
    batch_size: int,
    rank: int,
    world: int,
    training: bool,
    length: int | None,
    seed: int,
    on_error: str,
    num_workers: int,
    pin_memory: bool,
) -> ShardLoader:
    """The loader of streamed tars on one rank.

    Raises:
        DataError: Training without a length, or evaluation on several ranks.
    """
    remedy = "run moon-zoo inspect --index on the folder, which makes an indexed set of it"
    if training and length is None:
        raise DataError(
            f"the length of {shards.pattern} is not known, because it is streamed",
            where=shards.option,
            change=f"data.init_args.streamed_length, to the samples of an epoch; or {remedy}",
        )
    if not training and world > 1:
        raise DataError(
            f"{shards.pattern} is streamed, which cannot be evaluated on {world} ranks",
            where=shards.option,
            change=remedy,
        )
    batches = None
    if training:
        assert length is not None
        batches = length // (batch_size * world)
        if batches == 0:
            raise DataError(
                f"{length} samples do not fill one step of {batch_size} on {world} rank(s)",
                where="data.init_args.streamed_length",
                change="data.init_args.streamed_length or data.init_args.batch_size",
            )
    made = _CountedBatches if training else _StreamedBatches
    dataset = made(
        shards,
        inputs,
        batch_size=batch_size,
        rank=rank,
        world=world,
        batches=batches,
        seed=seed,
        on_error=on_error,
    )
    dataset.pin_memory = pin_memory
    workers = min(num_workers, len(shards.urls)) if not training else num_workers
    return ShardLoader(
        dataset,
        batch_size=None,
        persistent_workers=training and workers > 0,
        **loading(workers),
    )
