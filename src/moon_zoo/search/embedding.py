"""Embeddings of shards, part by part: the model on one device, decoding in worker processes, Parquet out.

One part per shard (`moon_zoo.data.embedding_parts`). A run that is killed, anywhere, is gone on with by running it
again: parts that are whole and were made from the same model and shard are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moon_zoo.data.cache import DEFAULT_CACHE_BYTES
from moon_zoo.data.embedding_parts import DType, PartEntry, PartPlan, PartWriter, Precision, Record
from moon_zoo.data.embeddings import EmbeddingWriter
from moon_zoo.data.machine import usable_cores
from moon_zoo.errors import CheckpointError, UsageError, did_you_mean
from moon_zoo.hub.names import is_name
from moon_zoo.hub.resolve import resolve
from moon_zoo.models.base import ZooModule
from moon_zoo.models.pretrained import class_path
from moon_zoo.nn.matryoshka import prefix
from moon_zoo.search.item_loading import (
    RECORDS,
    ItemInputs,
    PositionBatches,
    StreamedBatches,
    indexed_loader,
    streamed_loader,
    tensors_of,
)
from moon_zoo.search.item_sets import IndexedItems, ItemSet, Positions, StreamedItems, check_kinds, open_sets

DEFAULT_BATCH_SIZE = 64
_MOST_WORKERS = 16

Told = Callable[[int, int | None], None]
"""Called with how many items were just done, and how many there are in all where that is known."""


@dataclass(frozen=True)
class Settings:
    """How items are embedded.

    Args:
        batch_size: Items per step of the model.
        device: ``auto``, or a device as torch names it.
        precision: ``32``, or ``bf16`` for autocast.
        dtype: Of the stored numbers.
        num_workers: Processes that read and decode; None takes a share of this machine's cores.
        on_error: What happens with a sample that cannot be read: ``raise``, or ``skip``, which counts it.
        cache_bytes: Room for shards fetched from URLs.
        dim: Numbers stored of each vector, its first, of unit length again; None for all. See `check_dim`.
    """

    batch_size: int = DEFAULT_BATCH_SIZE
    device: str = "auto"
    precision: Precision = "32"
    dtype: DType = "float32"
    num_workers: int | None = None
    on_error: str = "raise"
    cache_bytes: int = DEFAULT_CACHE_BYTES
    dim: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("batch_size", self.batch_size, 1),
            ("num_workers", self.num_workers, 0),
            ("dim", self.dim, 1),
        ):
            if value is not None and value < least:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is {value}, but must be at least {least}", change=option)


AS_USUAL = Settings()


@dataclass(frozen=True)
class Report:
    """What `embed` did.

    Args:
        folder: Where the embeddings are.
        model: As `embeddings.json` names it.
        vectors: Modality to how many there are.
        items: Items in all, also those that have none of the modalities.
        items_new: Items embedded now.
        skipped: Samples that could not be read.
        parts: How many parts there are.
        parts_kept: How many of them were there already.
        bytes: Size of all parts.
        device: What the model ran on; empty where nothing was left to do.
        seconds: How long it took, without loading the model.
        items_per_second: Of the items embedded now.
    """

    folder: str
    model: dict[str, Any]
    vectors: dict[str, int]
    items: int
    items_new: int
    skipped: int
    parts: int
    parts_kept: int
    bytes: int
    device: str
    seconds: float
    items_per_second: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def embed(
    module: ZooModule,
    shards: Sequence[str],
    to: str | os.PathLike[str],
    *,
    source: str,
    modalities: Sequence[str] | None = None,
    settings: Settings = AS_USUAL,
    overwrite: bool = False,
    told: Told | None = None,
) -> Report:
    """Write embeddings of shards to a folder.

    Args:
        module: The model, with weights and inputs.
        shards: Sets of shards, or tars to be streamed, each a path or URL.
        to: The folder; what an earlier run finished in it is kept.
        source: What the model was loaded from, so that a search can load it again.
        modalities: Which of the model's to give; None for all.
        settings: How.
        overwrite: Whether embeddings of another model or other sets may be replaced.
        told: Hears how it goes.

    Raises:
        CheckpointError: The model embeds nothing, or the folder holds another model's embeddings.
        DataError: A set cannot be read, or the folder cannot be written.
        UsageError: An unknown modality or device, or prefixes of a model that was not trained for them.
    """
    device = pick_device(settings.device)
    sets = open_sets(shards, cache_bytes=settings.cache_bytes)
    check_kinds(sets, type(module).__name__, module.sample_kinds)
    wanted = check_modalities(module, modalities)
    about = describe_model(module, source, settings.dim)
    with writer_for(to, about, wanted, sets, settings, overwrite) as writer:
        began = time.monotonic()
        if writer.pending:
            items = items_of(sets, writer.pending)
            module = module.eval().to(device)
            for entry in make_parts(module, items, writer.folder, settings, device, told):
                writer.add(entry)
        writer.finish()
        return report_of(writer, time.monotonic() - began, str(device) if writer.pending else "")


def writer_for(
    to: str | os.PathLike[str],
    about: Mapping[str, Any],
    modalities: Sequence[str],
    sets: Sequence[ItemSet],
    settings: Settings,
    overwrite: bool,
) -> EmbeddingWriter:
    """The writer of a run."""
    return EmbeddingWriter(
        to,
        model=about,
        modalities=modalities,
        sets=[one.plan for one in sets],
        dtype=settings.dtype,
        precision=settings.precision,
        keep_skipped=settings.on_error == "skip",
        overwrite=overwrite,
    )


def describe_model(module: ZooModule, source: str, dim: int | None = None) -> dict[str, Any]:
    """What `embeddings.json` says of the model. A path is made absolute: a search may begin in another folder.

    Args:
        module: The model.
        source: What it was loaded from.
        dim: Numbers stored of each vector; None for all. Where it is less, ``full_dim`` says what the model gives.

    Raises:
        UsageError: As of `check_dim`.
    """
    from moon_zoo import __version__

    full = int(getattr(module, "embedding_dim", 0))
    stored = check_dim(module, dim)
    return {
        "source": _lasting(source),
        "class_path": class_path(type(module)),
        "fingerprint": module.fingerprint(),
        "embedding_dim": stored,
        **({"full_dim": full} if stored != full else {}),
        "moon_zoo": __version__,
    }


def check_dim(module: ZooModule, wanted: int | None) -> int:
    """How many numbers of each vector are stored.

    Args:
        module: The model; ``matryoshka`` names the prefix sizes it was trained for, if any.
        wanted: How many are asked for; None for all.

    Raises:
        UsageError: The first numbers alone mean little: the model was not trained for prefixes of that size.
    """
    full = int(getattr(module, "embedding_dim", 0))
    if wanted is None or wanted == full:
        return full
    sizes, name = sorted(getattr(module, "matryoshka", None) or ()), type(module).__name__
    if wanted in sizes:
        return wanted
    if not sizes:
        raise UsageError(
            f"the first {wanted} of {full} numbers mean little by themselves: this {name} was not trained with prefixes",
            where="--dim",
            change=f"leave --dim out; or train a model that has it with model.matryoshka: [{wanted}, {full}]",
        )
    raise UsageError(
        f"this {name} was not trained with prefixes of {wanted} numbers, but of {', '.join(map(str, sizes))}",
        where="--dim",
        change=f"--dim, to one of {', '.join(map(str, sizes))}; or leave it out, for all {full}",
    )


def _lasting(source: str) -> str:
    where, mark, name = source.partition("#")  # of HUB#model/name; a source without one is all `where`
    path = Path(where).expanduser().resolve()
    if not path.exists():
        return source
    if is_name(source):
        with suppress(CheckpointError):
            # A folder may merely be called like the hub's checkpoint that was loaded.
            if not resolve(source, progress=False).resolve().is_relative_to(path):
                return source
    return f"{path}{mark}{name}"


def check_modalities(module: ZooModule, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The wanted modalities in the model's own order; all of them for None.

    Raises:
        CheckpointError: The model embeds nothing.
        UsageError: It does not give one of them.
    """
    known, name = type(module).modalities, type(module).__name__
    if not known:
        raise CheckpointError(f"{name} embeds nothing", where="CHECKPOINT", change="CHECKPOINT, to a model that does")
    for modality in wanted or ():
        if modality not in known:
            raise UsageError(
                f"{name} gives no {modality!r} vectors; it gives {', '.join(known)}",
                where="--modality",
                suggestions=did_you_mean(modality, known),
                change="--modality",
            )
    return known if wanted is None else tuple(modality for modality in known if modality in wanted)


def pick_device(name: str) -> torch.device:
    """``auto`` takes a GPU where there is one.

    Raises:
        UsageError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"the device {name!r} cannot be used here: {str(error).splitlines()[0]}",
            where="--device",
            change="--device to auto or cpu",
        ) from error
    return device


# Parts ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetItems:
    """Parts of one set that are to be made, and the items of each.

    Args:
        items: The set.
        plans: The parts.
        positions: Of the items of each part; empty for a streamed set, which has none.
    """

    items: ItemSet
    plans: tuple[PartPlan, ...]
    positions: tuple[Positions, ...] = ()

    @property
    def count(self) -> int | None:
        """How many items there are; None for a streamed set."""
        return sum(map(len, self.positions)) if isinstance(self.items, IndexedItems) else None


def items_of(sets: Sequence[ItemSet], pending: Sequence[PartPlan]) -> list[SetItems]:
    """The pending parts by set."""
    found = []
    for one in sets:
        plans = tuple(plan for plan in pending if plan.set == one.plan.path)
        if plans:
            positions = tuple(one.positions(plan.shard) for plan in plans) if isinstance(one, IndexedItems) else ()
            found.append(SetItems(one, plans, positions))
    return found


def make_parts(
    module: ZooModule,
    sets: Sequence[SetItems],
    folder: Path,
    settings: Settings,
    device: torch.device,
    told: Told | None = None,
) -> Iterator[PartEntry]:
    """Write parts, and give each as it is done.

    Args:
        module: The model, on ``device`` and in eval mode.
        sets: What is to be made.
        folder: Where to.
        settings: How.
        device: Where the model is.
        told: Hears how it goes.
    """
    counts = [one.count for one in sets]
    total = None if None in counts else sum(count or 0 for count in counts)
    run = _Run(module, folder, settings, device, lambda done: told(done, total) if told is not None else None)
    for one in sets:
        yield from run.streamed(one) if isinstance(one.items, StreamedItems) else run.indexed(one)


class _Run:
    """The model, and where its vectors go."""

    def __init__(
        self,
        module: ZooModule,
        folder: Path,
        settings: Settings,
        device: torch.device,
        told: Callable[[int], None],
    ) -> None:
        self.module, self.folder, self.settings, self.device, self.told = module, folder, settings, device, told
        self.inputs = ItemInputs(module.inputs, searches="search" in module.sample_kinds)
        self.workers = settings.num_workers if settings.num_workers is not None else _default_workers(device)
        self.pin = device.type == "cuda"

    def indexed(self, one: SetItems) -> Iterator[PartEntry]:
        """Parts of a set with a manifest, one after the other."""
        assert isinstance(one.items, IndexedItems)
        shards, size = one.items.shards, self.settings.batch_size
        loader = indexed_loader(
            shards,
            self.inputs,
            PositionBatches(one.positions, size),
            on_error=self.settings.on_error,
            num_workers=self.workers,
            pin_memory=self.pin,
        )
        results = self._embedded(iter(loader), one.plans[0])
        for plan, positions in zip(one.plans, one.positions, strict=True):
            with PartWriter(self.folder, plan) as part:
                for _ in range(-(-len(positions) // size)):
                    batch, vectors = next(results)
                    places = batch["index"].tolist()
                    records = [
                        replace(record, index=place, key=shards.locate(place)[1])
                        for record, place in zip(batch[RECORDS], places, strict=True)
                    ]
                    self._write(part, records, vectors, batch["valid"].numpy())
            assert part.entry is not None
            yield part.entry
        shards.close()

    def streamed(self, one: SetItems) -> Iterator[PartEntry]:
        """Parts of tars that are read from front to back, several at a time."""
        assert isinstance(one.items, StreamedItems)
        urls = [one.items.urls[plan.shard] for plan in one.plans]
        batches = StreamedBatches(
            one.items.shards,
            urls,
            self.inputs,
            batch_size=self.settings.batch_size,
            on_error=self.settings.on_error,
        )
        loader = streamed_loader(batches, num_workers=self.workers, pin_memory=self.pin)
        writers: dict[int, PartWriter] = {}
        finished: set[int] = set()
        try:
            for batch, vectors in self._embedded(iter(loader), one.plans[0]):
                tar = int(batch["tar"])
                if tar not in writers:
                    writers[tar] = PartWriter(self.folder, one.plans[tar]).__enter__()
                writers[tar].skip(int(batch["skipped"]))
                self._write(writers[tar], batch[RECORDS], vectors, batch["valid"].numpy())
                if batch["last"]:
                    finished.add(tar)
                    yield _closed(writers.pop(tar))
            for tar in sorted(set(range(len(urls))) - finished):  # tars that hold nothing
                yield _closed(PartWriter(self.folder, one.plans[tar]).__enter__())
        except BaseException as error:
            for writer in writers.values():
                writer.__exit__(type(error), error, error.__traceback__)
            raise

    def _write(
        self,
        part: PartWriter,
        records: Sequence[Record],
        vectors: Mapping[str, tuple[np.ndarray, np.ndarray]],
        valid: np.ndarray,
    ) -> None:
        if not valid.all():
            part.skip(int((~valid).sum()))
            records = [record for record, good in zip(records, valid, strict=True) if good]
            vectors = {name: (values[valid], present[valid]) for name, (values, present) in vectors.items()}
        part.write(records, vectors)
        self.told(len(valid))

    def _embedded(
        self, batches: Iterator[dict[str, Any]], plan: PartPlan
    ) -> Iterator[tuple[dict[str, Any], dict[str, tuple[np.ndarray, np.ndarray]]]]:
        """Each batch with its vectors. The next batch is on its way to the device before the last one's are fetched.

        Args:
            batches: Of one set.
            plan: Any of the set's: they want the same vectors.
        """
        under_way: tuple[dict[str, Any], dict[str, tuple[Tensor, Tensor]]] | None = None
        for batch in batches:
            launched = batch, self._launch(tensors_of(batch), plan)
            if under_way is not None:
                yield under_way[0], _fetched(under_way[1])
            under_way = launched
        if under_way is not None:
            yield under_way[0], _fetched(under_way[1])

    def _launch(self, tensors: Mapping[str, Tensor], plan: PartPlan) -> dict[str, tuple[Tensor, Tensor]]:
        on_device = {name: value.to(self.device, non_blocking=True) for name, value in tensors.items()}
        # Entered here, not around the loop: between two batches the caller's code runs.
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")
        with torch.inference_mode(), autocast:
            found = self.module.embed(on_device, plan.modalities, side="item")
            return {name: (prefix(vectors, plan.embedding_dim), there) for name, (vectors, there) in found.items()}


def _fetched(vectors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: (values.float().cpu().numpy(), present.cpu().numpy()) for name, (values, present) in vectors.items()}


def _closed(writer: PartWriter) -> PartEntry:
    writer.__exit__(None, None, None)
    assert writer.entry is not None
    return writer.entry


def _default_workers(device: torch.device) -> int:
    """Without an accelerator the model wants the cores as well: half for each."""
    cores = usable_cores()
    return min(max(cores if device.type == "cuda" else cores // 2, 1), _MOST_WORKERS)


def report_of(writer: EmbeddingWriter, seconds: float, device: str) -> Report:
    """What a finished run did."""
    entries = writer.entries
    new = sum(entry.samples for entry in writer.added)
    return Report(
        folder=str(writer.folder),
        model=writer.model,
        vectors={name: sum(entry.modalities[name] for entry in entries) for name in writer.modalities},
        items=sum(entry.samples for entry in entries),
        items_new=new,
        skipped=sum(entry.skipped for entry in entries),
        parts=len(entries),
        parts_kept=len(writer.kept),
        bytes=sum(entry.bytes for entry in entries),
        device=device,
        seconds=round(seconds, 3),
        items_per_second=round(new / seconds, 1) if new and seconds > 0 else 0.0,
    )
