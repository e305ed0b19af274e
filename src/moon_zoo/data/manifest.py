"""The manifest beside a set of shards: what they hold, their sizes and hashes, and where they come from.

`manifest.json` is what makes a folder of tars a set: without it nothing is read by position. It is written last, so a
run that dies leaves none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from moon_zoo.data import remote
from moon_zoo.data.publishing import MANIFEST_NAME
from moon_zoo.errors import DataError

FORMAT = 1
_SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard of a set.

    Args:
        name: File name beside the manifest.
        samples: How many samples it holds; of impressions, how many rows.
        bytes: Size of the tar.
        sha256: Hash of the tar.
        index_sha256: Hash of its index file.
        blocks: How many samples of the tar hold them, where one holds many (impressions); None where each holds one.
    """

    name: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str
    blocks: int | None = None

    @property
    def stored(self) -> int:
        """How many samples the tar and its index have."""
        return self.samples if self.blocks is None else self.blocks

    def to_json(self) -> dict[str, Any]:
        """Plain values; what does not apply is left out, as in sets written before it could."""
        values = asdict(self)
        return values if self.blocks is not None else {name: one for name, one in values.items() if name != "blocks"}

    @property
    def index_name(self) -> str:
        """File name of the index of member offsets: ``train-000000.index.npz`` of ``train-000000.tar``."""
        return self.name.removesuffix(".tar") + ".index.npz"


@dataclass(frozen=True)
class Manifest:
    """What a set of shards holds.

    Args:
        kind: Kind of the samples, a key of `moon_zoo.data.kinds.KINDS`.
        shards: The shards, in the order that numbers the samples.
        fields: Member name with numbers as ``*`` (``photo_*.jpg``) to its type (``image``).
        vocabularies: ``{"category": [leaf, ...], "attributes": {name: [value, ...]}}``, sorted, of products;
            ``{name: {value: count}}`` of conversations; of impressions ``{name: {"values": [...], "counts": [...]}}``, see
            `moon_zoo.data.impressions.vocabulary`.
        source: Where the data come from.
        licence: Their licence.
        parents: Fingerprints or paths of the sets this one was made from.
        command: The command that made it.
        extra: Anything else, as JSON.
        format: Version of this format.
    """

    kind: str
    shards: list[ShardEntry]
    fields: dict[str, str] = field(default_factory=dict)
    vocabularies: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    parents: list[str] = field(default_factory=list)
    command: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @cached_property
    def samples(self) -> int:
        """How many samples all shards hold together; of impressions, how many rows."""
        return sum(shard.samples for shard in self.shards)

    @cached_property
    def shard_sizes(self) -> np.ndarray:
        """Samples per shard, int64 ``(num_shards,)``."""
        return np.array([shard.samples for shard in self.shards], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of kind and shards: equal exactly when the same samples stand in the same order."""
        canonical = {"kind": self.kind, "shards": [shard.to_json() for shard in self.shards]}
        return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        ordered = {"format": values.pop("format"), "samples": self.samples, **values}
        ordered["shards"] = [shard.to_json() for shard in self.shards]
        return json.dumps(ordered, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def manifest_location(path: str | os.PathLike[str]) -> str:
    """The manifest's own path or URL, from it or from the folder it is in."""
    text = os.fspath(path)
    if text.rstrip("/").endswith(".json"):
        return text
    return remote.join(text, MANIFEST_NAME)


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a set's manifest.

    Args:
        path: The folder, its ``manifest.json``, or an fsspec URL of either.

    Raises:
        DataError: There is none, or it is no manifest of ours.
    """
    location = manifest_location(path)
    try:
        text = remote.read_bytes(location).decode("utf-8")
    except FileNotFoundError as error:
        raise _missing(path, location) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {location}: {error}", where=location) from error
    try:
        return _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{location} is no manifest of shards: {error}",
            where=location,
            change="the path, or write the set again",
        ) from error


def _parse(values: dict[str, Any]) -> Manifest:
    if values.get("format") != FORMAT:
        raise ValueError(f"it has format {values.get('format')!r}, this version of moon-zoo reads format {FORMAT}")
    values = dict(values)
    values.pop("samples", None)
    shards = [ShardEntry(**shard) for shard in values.pop("shards")]
    names = [shard.name for shard in shards]
    for shard in shards:
        # A name is joined to the set's folder: anything but a plain file name could point outside of it.
        if not _SHARD_NAME.fullmatch(shard.name):
            raise ValueError(f"the shard name {shard.name!r} is no plain file name ending in .tar")
        if not all(isinstance(count, int) and count >= 0 for count in (shard.samples, shard.bytes, shard.stored)):
            raise ValueError(f"samples and bytes of {shard.name} must be counts")
        if not all(_SHA256.fullmatch(value) for value in (shard.sha256, shard.index_sha256)):
            raise ValueError(f"the hashes of {shard.name} are no sha256")
    if len(set(names)) != len(names):
        raise ValueError("a shard is listed twice")
    known = {item.name for item in fields(Manifest)}
    # Later minor versions may add keys; what we do not know does not change what the shards hold.
    manifest = Manifest(shards=shards, **{name: value for name, value in values.items() if name in known})
    if not isinstance(manifest.kind, str):
        raise ValueError("kind must be a name")
    return manifest


def _missing(path: str | os.PathLike[str], location: str) -> DataError:
    text = os.fspath(path)
    if not remote.is_url(text):
        folder = Path(text)
        if folder.is_dir():
            splits = sorted(child.name for child in folder.iterdir() if (child / MANIFEST_NAME).is_file())
            if splits:
                return DataError(
                    f"{text} holds several sets, not one: {', '.join(splits)}",
                    where=text,
                    change=f"the path, to {folder / splits[0]}",
                )
            if any(folder.glob("*.tar")):
                return DataError(
                    f"{text} holds tars but no {MANIFEST_NAME}, so they cannot be read by position",
                    where=text,
                    change=f"run moon-zoo inspect --index {text}",
                )
        elif not folder.exists():
            return DataError(f"{text} does not exist", where=text, change="the path of the shards")
    return DataError(f"there is no {location}", where=location, change="the path of the shards")
