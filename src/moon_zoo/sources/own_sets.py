"""Sets of one's own that a source makes new ones from: a set, or a folder with one per split."""

from __future__ import annotations

import os
from pathlib import Path

from moon_zoo.data import remote
from moon_zoo.data.publishing import MANIFEST_NAME
from moon_zoo.data.reading import IndexedShards


def own_sets(path: str | os.PathLike[str]) -> dict[str, IndexedShards]:
    """Name of a split to its set.

    Args:
        path: A set's folder, its manifest, a URL of either, or a folder of several sets. One set is called as its folder.

    Raises:
        DataError: There is no set.
    """
    text = os.fspath(path)
    if not remote.is_url(text):
        folder = Path(text)
        if folder.is_dir() and not (folder / MANIFEST_NAME).is_file():
            below = sorted(child for child in folder.iterdir() if (child / MANIFEST_NAME).is_file())
            if below:
                return {child.name: IndexedShards(child) for child in below}
    shards = IndexedShards(text)
    name = (
        Path(shards.folder).absolute().name if not remote.is_url(text) else shards.folder.rstrip("/").rsplit("/", 1)[-1]
    )
    return {name: shards}
