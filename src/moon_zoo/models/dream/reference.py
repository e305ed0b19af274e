"""The reference of preference optimisation: the policy as training began, in one of three forms.

``adapter``: the policy with its low-rank adapters off. ``copy``: a frozen second network, kept out of the module's
weights and in a file of the run's folder. ``cache``: its log-probabilities on disk
(`moon_zoo.models.dream.reference_cache`), and no second network in memory or in time.

A training that is resumed has the weights of a policy that has moved on, so its checkpoint notes what the reference
was, and file or cache must still be there.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from moon_zoo.data.dataset import ShardDataset
from moon_zoo.data.machine import usable_cores
from moon_zoo.errors import CheckpointError, DataError
from moon_zoo.models.dream.network import DreamNetwork
from moon_zoo.models.dream.reference_cache import Made, ReferenceCache, default_folder
from moon_zoo.nn.gathering import rank, sum_over_ranks, world_size
from moon_zoo.nn.multimodal.generation import evaluating
from moon_zoo.nn.multimodal.lora import without_adapters

if TYPE_CHECKING:
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.models.dream.module import Dream

log = logging.getLogger(__name__)

ReferenceName = Literal["adapter", "copy", "cache"]

FILE = "reference.safetensors"
"""Of the run's folder: the weights of a frozen copy."""

_THREADS = 8


class Reference(Protocol):
    """What knows the reference's log-probabilities."""

    def __call__(self, network: DreamNetwork, batch: Mapping[str, Tensor], split: str) -> Tensor | None:
        """float32 ``(batch, 2)``, without gradient; None where they are not known for this split."""
        ...


class AdapterOff:
    """The policy's own base weights."""

    def __call__(self, network: DreamNetwork, batch: Mapping[str, Tensor], split: str) -> Tensor:
        """See `Reference`."""
        with torch.no_grad(), without_adapters(network), evaluating(network):
            return network(batch)


class FrozenCopy:
    """A second network.

    Args:
        network: The policy as it is now; copied.
    """

    def __init__(self, network: DreamNetwork) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    def __call__(self, network: DreamNetwork, batch: Mapping[str, Tensor], split: str) -> Tensor:
        """See `Reference`."""
        with torch.no_grad():
            return self.network(batch)

    def save(self, path: Path) -> None:
        """Write the weights, whole or not at all."""
        from safetensors.torch import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}")
        # tied weights share memory, which the format refuses
        save_file({name: value.clone().contiguous() for name, value in self.network.state_dict().items()}, hidden)
        hidden.replace(path)

    def load(self, path: Path) -> None:
        """Take the weights that `save` wrote.

        Raises:
            CheckpointError: They are not there.
        """
        from safetensors.torch import load_file

        if not path.is_file():
            raise CheckpointError(
                "the reference that this training began with is not there any more, and its policy has moved on",
                where=str(path),
                change="the file; or begin a new training from the weights alone (--allow_missing)",
            )
        self.network.load_state_dict(load_file(path))


class Cached:
    """Log-probabilities from disk, by the position of samples.

    Args:
        tables: Split to float32 ``(samples, 2)``.
    """

    def __init__(self, tables: Mapping[str, Tensor]) -> None:
        self.tables = dict(tables)

    def __call__(self, network: DreamNetwork, batch: Mapping[str, Tensor], split: str) -> Tensor | None:
        """See `Reference`."""
        if split not in self.tables:
            return None
        table = self.tables[split].to(batch["index"].device)
        self.tables[split] = table  # stays there
        return table[batch["index"].clamp(min=0)]


def made_by(module: Dream, precision: str = "32-true") -> Made:
    """What a cache made by this model, as it is now, would say of itself."""
    return Made(
        model=module.fingerprint(),
        tokenizer=module.inputs.tokenizer_fingerprint(),
        settings=json.dumps(module.inputs.settings(), sort_keys=True),
        precision=precision,
    )


def reference_log_probabilities(
    module: Dream,
    shards: IndexedShards,
    *,
    folder: Path | None = None,
    made: Made | None = None,
    may_compute: bool = True,
    batch_size: int = 32,
    forward: Callable[[], AbstractContextManager[Any]] = nullcontext,
    on_error: str = "raise",
    quiet: bool = True,
) -> Tensor:
    """What a model makes of every pair of a set: from its cache, which is made or completed first.

    Every rank computes its share of the shards; all get the whole table.

    Args:
        module: The reference.
        shards: Of kind ``preference``.
        folder: Of the cache; None for the zoo's own.
        made: What the cache is to say of itself; None for `made_by`.
        may_compute: Whether ``module`` is still the reference; False where it has been trained since.
        batch_size: Pairs at a time.
        forward: Gives the context of a forward pass, for its precision.
        on_error: ``raise``, or ``skip`` for zeros where a sample cannot be read.
        quiet: Without a progress bar.

    Returns:
        float32 ``(samples, 2)``: chosen and rejected.

    Raises:
        CheckpointError: The cache is another model's, or is not there and may not be made.
        DataError: A sample cannot be read.
    """
    made = made or made_by(module)
    identity = made.of(shards.manifest.fingerprint)
    folder = default_folder(identity) if folder is None else folder / shards.manifest.fingerprint[:12]
    cache = ReferenceCache(folder, identity, shards.manifest.shard_sizes.tolist())
    own = range(rank(), len(shards.manifest.shards), world_size())
    missing = sorted(set(cache.missing()) & set(own))
    lacking = int(sum_over_ranks(torch.tensor(len(missing), device=module.device)))  # all ranks go on, or none
    if lacking and not may_compute:
        raise CheckpointError(
            f"the log-probabilities of the reference are not there any more for {lacking} shards, and the policy moved on",
            where=str(folder),
            change="the folder (or MOON_ZOO_CACHE); or begin a new training from the weights alone (--allow_missing)",
        )
    if missing:
        network, device = module.network, module.device
        dataset = ShardDataset(shards, module.inputs, on_error=on_error)
        total = sum(int(shards.manifest.shard_sizes[number]) for number in missing)
        with evaluating(network), _Told(total, quiet or rank() > 0) as told, _pool() as pool:

            def compute(positions: Sequence[int]) -> np.ndarray:
                found = []
                shards.locate(positions[0])  # opens the shard once, before several threads read from it
                for start in range(0, len(positions), batch_size):
                    rows = list(pool.map(lambda place: _row(dataset, place), positions[start : start + batch_size]))
                    with torch.no_grad(), forward():
                        found.append(_of_rows(network, module, rows, device))
                    told.advance(len(rows))
                return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.float32)

            cache.make(compute, missing)
    table = torch.from_numpy(cache.rows(list(own))).to(module.device)
    return sum_over_ranks(table)


def _row(dataset: ShardDataset, place: int) -> dict[str, Tensor] | None:
    try:
        return dataset[place]
    except DataError:
        if dataset.on_error == "skip":
            return None  # training passes it over too
        raise


def _of_rows(
    network: DreamNetwork, module: Dream, rows: Sequence[dict[str, Tensor] | None], device: torch.device
) -> np.ndarray:
    found = np.zeros((len(rows), 2), dtype=np.float32)
    read = [number for number, row in enumerate(rows) if row is not None]
    if read:
        batch = module.inputs.batch([row for row in rows if row is not None])
        values = network({name: value.to(device) for name, value in batch.items()})
        found[read] = values.float().cpu().numpy()
    return found


def _pool() -> ThreadPoolExecutor:
    """Photos are decoded outside Python's lock."""
    return ThreadPoolExecutor(min(_THREADS, usable_cores()))


class _Told:
    """A bar while the reference is computed, as Lightning draws its own."""

    def __init__(self, total: int, quiet: bool) -> None:
        self.total, self.quiet = total, quiet
        self._bar: Any = None

    def __enter__(self) -> _Told:
        if not self.quiet:
            from rich.console import Console
            from rich.progress import Progress

            log.info("log-probabilities of the reference: %d pairs", self.total)
            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("reference", total=self.total)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, count)
