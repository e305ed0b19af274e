"""Which items there are to embed: sets of shards by position, or tars that are streamed.

A set of products gives its products. A set of searches gives the items that were chosen in it, each once, where it comes
first: that takes one look at all item ids, which read nothing but the small records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moon_zoo.data import remote
from moon_zoo.data.cache import DEFAULT_CACHE_BYTES
from moon_zoo.data.embeddings import SetPlan
from moon_zoo.data.ids import file_sha256, stable_id
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.streaming import StreamedShards, is_streamed
from moon_zoo.errors import DataError, UsageError

OPTION = "SHARDS"

Positions = range | np.ndarray
"""Of items in a set, ascending: a range costs nothing, however many there are; an array is int64."""

_CHANGES = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified")


class IndexedItems:
    """The items of a set with a manifest.

    Args:
        path: The set's folder, its manifest, or a URL of either.
        cache_bytes: Room for shards fetched from URLs.
    """

    def __init__(self, path: str, *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.shards = IndexedShards(path, cache_bytes=cache_bytes)
        manifest, folder = self.shards.manifest, self.shards.folder
        self.kind = manifest.kind
        self.plan = SetPlan(
            # Absolute, so that whoever reads the embeddings from another folder finds the photos.
            path=folder if remote.is_url(folder) else str(Path(folder).resolve()),
            fingerprint=manifest.fingerprint,
            kind=manifest.kind,
            samples=manifest.samples,
            shards=tuple((shard.name, shard.sha256, shard.samples) for shard in manifest.shards),
        )
        self._ends = np.cumsum(manifest.shard_sizes).tolist()
        self._numbers = {shard.name: number for number, shard in enumerate(manifest.shards)}
        self._first_seen: np.ndarray | None = None

    def positions(self, shard: str) -> Positions:
        """Positions of the items that a shard gives, ascending."""
        end = self._ends[self._numbers[shard]]
        start = end - self.plan.shards[self._numbers[shard]][2]
        if self.kind != "search":
            return range(start, end)
        if self._first_seen is None:
            self._first_seen = self._first_positions()
        low, high = np.searchsorted(self._first_seen, [start, end])
        return self._first_seen[low:high]

    def _first_positions(self) -> np.ndarray:
        """Where each item comes first; eight bytes per search, however many there are."""
        ids = np.fromiter(map(self._item, range(len(self.shards))), dtype=np.int64, count=len(self.shards))
        return np.sort(np.unique(ids, return_index=True)[1])

    def _item(self, position: int) -> int:
        try:
            record = self.shards.member(position, "item_product.json")
            return stable_id(str(record["item_id"]))
        except (DataError, TypeError, KeyError):
            # Not ours to judge: the sample will be read as a whole, and refused or skipped there.
            return -1 - position


class StreamedItems:
    """The products in tars without a manifest, each tar a shard.

    Args:
        pattern: Path, URL or brace pattern.
    """

    def __init__(self, pattern: str) -> None:
        where = pattern if remote.is_url(pattern) else str(Path(pattern).resolve())
        self.shards = StreamedShards(where, option=f"{OPTION} {pattern}", check_kind=self._check_kind)
        self.kind = "product"
        self.urls = {url.rpartition("/")[2]: url for url in self.shards.urls}
        if len(self.urls) < len(self.shards.urls):
            raise DataError(f"two tars of {pattern} have one name", where=OPTION, change="their names")
        tars = tuple((name, _identity(url), -1) for name, url in self.urls.items())
        names = json.dumps([(name, sha256) for name, sha256, _ in tars])
        self.plan = SetPlan(
            path=where,
            fingerprint=hashlib.sha256(names.encode()).hexdigest(),
            kind=self.kind,
            samples=-1,
            shards=tars,
        )

    def _check_kind(self, kind: str) -> None:
        if kind != "product":
            raise DataError(
                f"these tars hold samples of kind {kind}; which items come twice in them is not known while they are "
                "streamed",
                where=f"{OPTION} {self.plan.path}",
                change="run moon-zoo inspect --index on their folder, and name that",
            )


ItemSet = IndexedItems | StreamedItems


def open_sets(paths: Sequence[str], *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> list[ItemSet]:
    """The sets at these paths.

    Raises:
        DataError: One cannot be read.
        UsageError: One is named twice.
    """
    sets: list[ItemSet] = [
        StreamedItems(path) if is_streamed(path) else IndexedItems(path, cache_bytes=cache_bytes) for path in paths
    ]
    seen: set[str] = set()
    for one in sets:
        if one.plan.path in seen:
            raise UsageError(f"the set {one.plan.path} is named twice", where=OPTION, change="name it once")
        seen.add(one.plan.path)
    return sets


def check_kinds(sets: Sequence[ItemSet], model: str, kinds: Sequence[str]) -> None:
    """Whether a model takes what the sets hold.

    Raises:
        DataError: It does not.
    """
    for one in sets:
        if one.kind not in kinds:
            raise DataError(
                f"{model} takes samples of kind {' or '.join(kinds)}, but {one.plan.path} holds kind {one.kind}",
                where=OPTION,
                change=f"{OPTION}, to shards of kind {' or '.join(kinds)}",
            )


def _identity(url: str) -> str:
    """Hash of a tar's bytes; of what a server says of it, where reading it twice would mean fetching it twice."""
    if not remote.is_url(url):
        return file_sha256(Path(url))
    fs, path = remote.file_system(url)
    try:
        about = fs.info(path)
    except OSError as error:
        raise DataError(f"cannot reach {url}: {error or type(error).__name__}", where=OPTION, change=OPTION) from error
    known = {name: str(about[name]) for name in _CHANGES if about.get(name) is not None}
    return hashlib.sha256(json.dumps([url, known], sort_keys=True).encode()).hexdigest()
