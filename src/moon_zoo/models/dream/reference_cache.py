"""Log-probabilities of a reference on disk: what a model that stays as it is makes of every pair of a set, computed once.

Keyed by the sample's position in its set, so images count as much as words do. A cache is a folder: ``cache.json`` says
by whose weights and tokenizer, which settings, in which precision and of which set it was made, and one Parquet part
per shard holds the numbers. A part is written under a hidden name and renamed, so what has its name is whole: a cache
whose making was killed is gone on with. What was made by another model is refused, with what differs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from moon_zoo.data.cache import cache_root
from moon_zoo.errors import CheckpointError

FORMAT: Final = 1
HEADER: Final = "cache.json"
ANSWERS: Final = ("chosen", "rejected")

_MEANING: Final = {
    "model": "the weights of the reference",
    "tokenizer": "the tokenizer",
    "settings": "settings of the inputs (image size, system turn, length of answers)",
    "precision": "the precision",
    "set": "the set of pairs",
}


@dataclass(frozen=True, slots=True)
class Made:
    """What a reference's log-probabilities depend on.

    Args:
        model: Fingerprint of the reference.
        tokenizer: Of its tokenizer.
        settings: Of its inputs, as JSON.
        precision: As the trainer names it.
    """

    model: str
    tokenizer: str
    settings: str
    precision: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)

    def of(self, manifest_fingerprint: str) -> dict[str, Any]:
        """With the set: the identity of a cache."""
        return {"format": FORMAT, **asdict(self), "set": manifest_fingerprint}


def default_folder(identity: dict[str, Any]) -> Path:
    """Where a cache is kept unless a folder is named: in the zoo's cache, under its identity."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_root() / "reference" / digest[:24]


class ReferenceCache:
    """The cache of one set.

    Args:
        folder: Where it is, or is to be made.
        identity: From `Made.of`.
        shard_sizes: Samples of each shard of the set.

    Raises:
        CheckpointError: The folder holds a cache that was made by another model, tokenizer, or of another set.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], shard_sizes: Sequence[int]) -> None:
        self.folder = folder
        self.identity = identity
        self.starts = np.concatenate([[0], np.cumsum(np.asarray(shard_sizes, dtype=np.int64))])
        header = folder / HEADER
        if header.exists():
            self._require_same(header)

    @property
    def samples(self) -> int:
        """Pairs of the set."""
        return int(self.starts[-1])

    def missing(self) -> list[int]:
        """Numbers of the shards that have no part yet, or a broken one."""
        return [number for number in range(len(self.starts) - 1) if self._read(number) is None]

    def make(self, compute: Callable[[Sequence[int]], np.ndarray], shards: Sequence[int]) -> None:
        """Write the parts of some shards.

        Args:
            compute: Positions of samples to float32 ``(samples, 2)``: log-probabilities of the chosen and the rejected
            answer. shards: Numbers.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(HEADER, lambda path: path.write_text(json.dumps(self.identity, indent=2) + "\n", "utf-8"))
        for number in shards:
            positions = range(int(self.starts[number]), int(self.starts[number + 1]))
            found = compute(positions)
            columns: dict[str, Any] = {"index": pa.array(positions, pa.int64())}
            columns |= {name: pa.array(found[:, place], pa.float32()) for place, name in enumerate(ANSWERS)}
            table = pa.table(columns)
            self._write(_part(number), lambda path, table=table: pq.write_table(table, path))  # type: ignore[misc]

    def rows(self, shards: Sequence[int]) -> np.ndarray:
        """What some parts hold, in their places of the whole set: float32 ``(samples, 2)``, zeros elsewhere.

        Raises:
            CheckpointError: A part is not there.
        """
        found = np.zeros((self.samples, len(ANSWERS)), dtype=np.float32)
        for number in shards:
            part = self._read(number)
            if part is None:
                raise CheckpointError(
                    f"the cache of the reference lacks {_part(number)}, or it is broken",
                    where=str(self.folder),
                    change="the folder: remove it, and it is made again from the weights that training began with",
                )
            found[self.starts[number] : self.starts[number + 1]] = part
        return found

    def _read(self, number: int) -> np.ndarray | None:
        path = self.folder / _part(number)
        if not path.is_file():
            return None
        try:
            table = pq.read_table(path, columns=list(ANSWERS))
        except (OSError, pa.ArrowException):
            return None
        if table.num_rows != self.starts[number + 1] - self.starts[number]:
            return None
        return np.stack([table[name].to_numpy() for name in ANSWERS], axis=1).astype(np.float32, copy=False)

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        hidden = self.folder / f".{name}.{os.getpid()}"
        write(hidden)
        hidden.replace(self.folder / name)

    def _require_same(self, header: Path) -> None:
        change = (
            "model.init_args.reference_cache, to another folder (or null, for the zoo's own cache), or remove this one"
        )
        try:
            found = json.loads(header.read_text("utf-8"))
            if not isinstance(found, dict):
                raise ValueError("it is no object")
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"this is no cache of a reference: {error}", where=str(header), change=change
            ) from error
        differing = [name for name in _MEANING if found.get(name) != self.identity[name]]
        if found.get("format") != FORMAT or differing:
            told = "; ".join(
                f"{_MEANING[name]}: {_short(found.get(name))} there, {_short(self.identity[name])} here"
                for name in differing
            )
            raise CheckpointError(
                f"the log-probabilities kept here are not this reference's: {told or 'another format'}",
                where=str(self.folder),
                change=change,
            )


def _part(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
