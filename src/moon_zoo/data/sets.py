"""Sets by the names of their splits: one set, or a folder that holds several."""

from __future__ import annotations

from pathlib import Path

from moon_zoo.errors import DataError


def find_sets(path: str) -> dict[str, str]:
    """Name to path of the sets at ``path``: itself, or those in the folders below it.

    Args:
        path: A set's folder, its manifest, a URL of either, or a folder of several sets; train, val and test come first.

    Raises:
        DataError: There is none; the message says what is there instead.
    """
    # Verbs are imported before their work is known: numpy comes when it is needed.
    from moon_zoo.data.manifest import read_manifest
    from moon_zoo.data.publishing import MANIFEST_NAME

    folder = Path(path)
    if folder.is_dir() and not (folder / MANIFEST_NAME).is_file():
        below = sorted(child for child in folder.iterdir() if (child / MANIFEST_NAME).is_file())
        if below:
            return {child.name: str(child) for child in sorted(below, key=_split_order)}
        deeper = sorted(folder.glob(f"*/*/{MANIFEST_NAME}"))
        if deeper:
            raise DataError(
                f"{path} holds no shards, but folders below it do",
                where=path,
                change=f"the path, for example to {deeper[0].parents[1]}",
            )
    read_manifest(path)  # raises with a message of its own where there is nothing
    name = folder.parent.name if folder.name == MANIFEST_NAME else folder.name
    return {name or path: path}


def _split_order(folder: Path) -> tuple[int, str]:
    known = ("train", "val", "test", "items")
    return (known.index(folder.name) if folder.name in known else len(known), folder.name)
