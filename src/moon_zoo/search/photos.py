"""Photos of results, from the shards that were embedded, as long as those are still there and still the same."""

from __future__ import annotations

from typing import Any

from moon_zoo.data.embeddings import Embeddings
from moon_zoo.data.kinds import Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import ZooError
from moon_zoo.search.results import Result


class Photos:
    """Finds an item's first photo.

    Args:
        embeddings: Name the sets.

    Attributes:
        notes: Set to why its photos cannot be shown, for those where that is so.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._fingerprints = {one["path"]: one["fingerprint"] for one in embeddings.sets}
        self._sets: dict[str, IndexedShards | None] = {}
        self.notes: dict[str, str] = {}

    def of(self, result: Result) -> bytes | None:
        """The encoded photo; None where the item has none, or its shards are gone or others by now."""
        if result.index < 0:
            self.notes.setdefault(result.set, f"{result.set} has no manifest, so its samples cannot be found again")
            return None
        shards = self._open(result.set)
        if shards is None:
            return None
        try:
            sample: Any = shards[result.index]
        except (ZooError, IndexError) as error:
            self.notes.setdefault(result.set, error.what if isinstance(error, ZooError) else str(error))
            return None
        item = sample.item if isinstance(sample, Search) else sample
        return item.photos[0] if item.photos else None

    def close(self) -> None:
        """Close the shards."""
        for shards in self._sets.values():
            if shards is not None:
                shards.close()

    def _open(self, path: str) -> IndexedShards | None:
        if path not in self._sets:
            self._sets[path] = None
            try:
                shards = IndexedShards(path)
            except ZooError as error:
                self.notes[path] = error.what
            else:
                # Other shards under the same path would put another product's photo beside the title.
                if shards.manifest.fingerprint == self._fingerprints.get(path):
                    self._sets[path] = shards
                else:
                    self.notes[path] = f"the shards in {path} are others than those that were embedded"
        return self._sets[path]
