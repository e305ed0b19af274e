"""The same embeddings on many devices: Ray Data hands whole shards to one actor per device.

Actors run the code of `moon_zoo.search.embedding` and write the same parts, so what comes out does not depend on how
many there are. Checkpoint, shards and output folder must be reachable under the same path or URL from every machine of
the cluster.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moon_zoo import errors
from moon_zoo.data.embedding_parts import PartEntry, PartPlan
from moon_zoo.data.machine import usable_cores
from moon_zoo.errors import CheckpointError, UsageError, ZooError
from moon_zoo.search.embedding import (
    AS_USUAL,
    Report,
    SetItems,
    Settings,
    Told,
    check_modalities,
    describe_model,
    items_of,
    make_parts,
    pick_device,
    report_of,
    writer_for,
)
from moon_zoo.search.item_sets import IndexedItems, Positions, check_kinds, open_sets


def embed_with_ray(
    checkpoint: str,
    shards: Sequence[str],
    to: str | os.PathLike[str],
    *,
    modalities: Sequence[str] | None = None,
    settings: Settings = AS_USUAL,
    overwrite: bool = False,
    told: Told | None = None,
) -> Report:
    """Write embeddings of shards to a folder; see `moon_zoo.search.embedding.embed`.

    Uses the cluster that Ray is connected to (``ray.init`` before, or the environment's ``RAY_ADDRESS``), else this
    machine.

    Args:
        checkpoint: Anything that `moon_zoo.models.pretrained.load` takes; every actor loads it.
        shards: Sets of shards, or tars to be streamed.
        to: The folder.
        modalities: Which of the model's to give; None for all.
        settings: How; ``num_workers`` is per actor.
        overwrite: Whether embeddings of another model or other sets may be replaced.
        told: Hears how it goes, a part at a time.

    Raises:
        UsageError: Ray is not installed.
        ZooError: As of `embed`.
    """
    ray = _ray()
    from moon_zoo.models import pretrained

    module = pretrained.load(checkpoint)
    sets = open_sets(shards, cache_bytes=settings.cache_bytes)
    check_kinds(sets, type(module).__name__, module.sample_kinds)
    about = describe_model(module, checkpoint, settings.dim)
    wanted = check_modalities(module, modalities)
    del module  # the actors have their own
    with writer_for(Path(to).absolute(), about, wanted, sets, settings, overwrite) as writer:
        began = time.monotonic()
        device = ""
        if writer.pending:
            work = items_of(sets, writer.pending)
            rows = [_row(one, number) for one in work for number in range(len(one.plans))]
            counts = [one.count for one in work]
            total = None if None in counts else sum(count or 0 for count in counts)
            share = _share(ray, settings)
            device = f"{min(share.actors, len(rows))} x {share.device} (Ray)"
            for entry in _run(ray, rows, about, writer.folder, settings, share):
                writer.add(entry)
                if told is not None:
                    told(entry.samples + entry.skipped, total)
        writer.finish()
        return report_of(writer, time.monotonic() - began, device)


@dataclass(frozen=True)
class Share:
    """What each actor gets.

    Args:
        actors: How many there can be.
        device: ``cpu`` or ``cuda``.
        cores: Of an actor.
        workers: Its loader's processes; None for its own choice.
    """

    actors: int
    device: str
    cores: int
    workers: int | None


def _ray() -> Any:
    # Ray tells of what it starts, and that arguments of actors are gone when the work is done. Errors reach us as errors.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(
            f"embedding with Ray needs Ray Data, which is not installed ({error})",
            where="--ray",
            change='pip install "moon-zoo[ray]"; or leave --ray out',
        ) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    return ray


def _row(one: SetItems, number: int) -> dict[str, Any]:
    """One shard as a row of Ray's table: plain values."""
    plan = one.plans[number]
    positions = one.positions[number] if one.positions else range(0)
    between = (positions.start, positions.stop) if isinstance(positions, range) else (0, 0)
    return {
        "plan": {**asdict(plan), "modalities": ",".join(plan.modalities)},
        "start": between[0],
        "stop": between[1],
        # They travel along: finding the items of a set of searches takes a look at the whole set.
        "positions": b"" if isinstance(positions, range) else positions.tobytes(),
    }


def _positions(row: dict[str, Any]) -> Positions:
    return np.frombuffer(row["positions"], np.int64) if row["positions"] else range(row["start"], row["stop"])


def _share(ray: Any, settings: Settings) -> Share:
    """One actor per GPU of the cluster; without any, one per machine, whose cores count as one device.

    Raises:
        UsageError: A GPU was asked for where there is none.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    with_gpus = [machine for machine in machines if machine.get("GPU", 0) >= 1]
    if settings.device == "cpu" or (settings.device == "auto" and not with_gpus):
        return Share(len(machines), "cpu", int(min(machine["CPU"] for machine in machines)), settings.num_workers)
    if not with_gpus:
        raise UsageError(
            f"the device {settings.device!r} was asked for, but the Ray cluster has no GPU",
            where="--device",
            change="--device to auto or cpu",
        )
    cores = max(int(min(machine["CPU"] // machine["GPU"] for machine in with_gpus)), 1)
    workers = settings.num_workers if settings.num_workers is not None else cores - 1
    return Share(int(sum(machine["GPU"] for machine in with_gpus)), "cuda", cores, workers)


def _run(
    ray: Any, rows: list[dict[str, Any]], about: dict[str, Any], folder: Path, settings: Settings, share: Share
) -> Iterator[PartEntry]:
    """The entries of the parts, in whichever order they are done."""
    import torch

    ray.data.DataContext.get_current().enable_progress_bars = False
    table = ray.data.from_items(rows, override_num_blocks=len(rows))  # a block per shard: actors take blocks
    done = table.map(
        PartMaker,
        fn_constructor_kwargs={
            "about": about,
            "folder": str(folder),
            "settings": replace(settings, device=share.device, num_workers=share.workers),
            "threads": (usable_cores(), torch.get_num_threads()),
        },
        compute=ray.data.ActorPoolStrategy(size=min(share.actors, len(rows))),
        num_cpus=share.cores,
        num_gpus=1 if share.device == "cuda" else 0,
    )
    for row in done.iter_rows():
        if row["error"]:
            raise _error(json.loads(row["error"]))
        yield PartEntry(**json.loads(row["entry"]))


class PartMaker:
    """An actor: a model on a device, which makes one part after the other.

    Args:
        about: The model, as `describe_model` tells it.
        folder: Where parts go.
        settings: How; the device is this actor's own.
        threads: Cores of the machine that started it all, and how many threads torch takes there.
    """

    def __init__(self, about: dict[str, Any], folder: str, settings: Settings, threads: tuple[int, int]) -> None:
        self.folder, self.settings = Path(folder), settings
        self._sets: dict[str, Any] = {}
        self._fault: ZooError | None = None
        try:
            self._load(about, threads)
        except ZooError as error:  # an actor that cannot be built is built again and again
            self._fault = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make the part of one row; an error comes back as a value: Ray would wrap it in the text of a traceback."""
        plan = PartPlan(**{**row["plan"], "modalities": tuple(row["plan"]["modalities"].split(","))})
        try:
            if self._fault is not None:
                raise self._fault
            return {"error": "", "entry": json.dumps(asdict(self._make(plan, _positions(row))))}
        except ZooError as error:
            told = {"kind": type(error).__name__, "what": error.what, "where": error.where, "change": error.change}
            return {"error": json.dumps(told), "entry": ""}

    def _load(self, about: dict[str, Any], threads: tuple[int, int]) -> None:
        import torch

        from moon_zoo.models import pretrained

        if usable_cores() == threads[0]:
            # Ray sets threads of its own; with another number sums come out otherwise in the last digit.
            torch.set_num_threads(threads[1])
        self.device = pick_device(self.settings.device)
        self.module = pretrained.load(about["source"]).eval()
        found = self.module.fingerprint()
        if found != about["fingerprint"]:
            raise CheckpointError(
                f"{about['source']} is another model on this machine of the cluster: {found[:12]} instead of "
                f"{about['fingerprint'][:12]}",
                where=about["source"],
                change="CHECKPOINT, to one that all machines share",
            )
        self.module.to(self.device)

    def _make(self, plan: PartPlan, positions: Positions) -> PartEntry:
        if plan.set not in self._sets:
            self._sets[plan.set] = open_sets([plan.set], cache_bytes=self.settings.cache_bytes)[0]
        one = self._sets[plan.set]
        places = (positions,) if isinstance(one, IndexedItems) else ()
        (entry,) = make_parts(self.module, [SetItems(one, (plan,), places)], self.folder, self.settings, self.device)
        return entry


def _error(told: dict[str, Any]) -> ZooError:
    kind = getattr(errors, told.pop("kind"), ZooError)
    return kind(told.pop("what"), **told)
