"""From what people write for a checkpoint to a folder or file on this machine.

In this order: a ``.ckpt`` file, a checkpoint folder, a run's folder, a name on one of the hubs, a hub's URL. What is on
the disk under that very path wins over a name.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from moon_zoo.data import remote
from moon_zoo.errors import CheckpointError
from moon_zoo.hub.cached import cached
from moon_zoo.hub.download import UnknownCheckpoint, download, is_offline, read_index
from moon_zoo.hub.index import INDEX
from moon_zoo.hub.names import CONFIG, PICKLE_SUFFIXES, WEIGHTS, is_name
from moon_zoo.hub.stores import FolderStore, hubs, open_store

_MOST_PARTS = 4
"""Of a name in a URL that does not tell where its name begins; ``HUB#name`` does."""

BEST, LAST = "best.ckpt", "last.ckpt"


def resolve(source: str | os.PathLike[str], *, progress: bool = True) -> Path:
    """Where a checkpoint is on this machine; fetched first where it is a hub's.

    Args:
        source: A ``.ckpt`` file, a checkpoint folder, a run's folder (its ``best.ckpt``, else ``last.ckpt``), a name such as
            ``dual_flow/shop``, or a URL: ``https://host/hub/model/name``, ``hf://owner/repo/model/name``, ``HUB#model/name``.
        progress: Whether to show how a download goes.

    Returns:
        A ``.ckpt`` file or a checkpoint folder.

    Raises:
        CheckpointError: It is nothing of the kind, or cannot be fetched.
    """
    text = os.fspath(source)
    path = Path(unquote(text.removeprefix("file://")) if text.startswith("file://") else text).expanduser()
    if path.is_file():
        return _file(path)
    if path.is_dir():
        try:
            return _folder(path)
        except CheckpointError:
            # A folder of shards or runs may happen to be called like a checkpoint of a hub.
            if not is_name(text) or text not in known_names():
                raise
    if "#" in text or is_name(text) or (remote.is_url(text) and not text.startswith("file://")):
        hub, name = hub_and_name(text)
        try:
            return download(name, hub=hub, progress=progress)
        except UnknownCheckpoint as error:
            if hub is not None:
                raise
            raise CheckpointError(
                f"{error.what}, nor is there such a file or folder",
                where=error.where,
                suggestions=error.suggestions,
                change=error.change,
            ) from None
    raise CheckpointError(
        f"there is no checkpoint {text!r}: neither a file or folder, nor a name such as dual_flow/shop",
        change="the path or name; `moon-zoo list checkpoints` shows the names",
    )


def known_names() -> set[str]:
    """Checkpoints that hubs in folders and the cache have: what can be told without asking another machine."""
    folders = [store for store in map(open_store, hubs()) if isinstance(store, FolderStore)]
    indexes = [read_index(store) for store in folders]
    return {name for index in indexes for name in index.entries} | {one.entry.name for one in cached()}


def hub_and_name(text: str) -> tuple[str | None, str]:
    """The hub and the name in what people write: ``(None, name)`` for a plain name, the hub as well for ``HUB#name`` and URLs.

    Raises:
        CheckpointError: It is a URL that names no checkpoint.
    """
    hub, mark, name = text.rpartition("#")
    if mark:
        return hub, name
    if not remote.is_url(text):
        return None, text
    asked = split_url(text)
    return next(((hub, name) for hub, name in asked[:-1] if _is_hub(hub)), asked[-1])


def split_url(url: str) -> list[tuple[str, str]]:
    """The hubs and names that ``url`` may mean, likeliest first: ``https://host/hub/model/name`` does not tell where its name
    begins.

    Raises:
        CheckpointError: It cannot be a hub's URL with a name.
    """
    scheme, _, rest = url.partition("://")
    parts = [part for part in rest.split("/") if part]
    first = 2 if scheme == "hf" else 1  # owner/repo, or a host or bucket
    splits = [len(parts) - length for length in range(2, min(len(parts) - first, _MOST_PARTS) + 1)]
    if scheme == "hf" and splits:
        splits = [first]
    found = [(f"{scheme}://{'/'.join(parts[:at])}", "/".join(parts[at:])) for at in splits]
    found = [(hub, name) for hub, name in found if is_name(name)]
    suffix = PurePosixPath(rest).suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{url} is refused: {suffix} files are or may hold pickles, and reading one from elsewhere can run any code",
            change="the URL to a checkpoint on a hub, which is safetensors; or download the file yourself where you trust it",
        )
    if not found:
        raise CheckpointError(
            f"{url} names no checkpoint on a hub",
            change="the URL to the hub's, followed by the checkpoint's name: https://host/hub/dual_flow/shop",
        )
    return found


def _is_hub(location: str) -> bool:
    store = open_store(location)
    if isinstance(store, FolderStore) or not is_offline():
        try:
            store.read_bytes(INDEX)
            return True
        except (FileNotFoundError, PermissionError):  # S3 answers 403 to who may not list
            return False
        except OSError:
            pass
    return bool(cached(store.location))


def _file(path: Path) -> Path:
    if path.suffix == ".ckpt":
        return path
    if path.name in (CONFIG, WEIGHTS):
        return _folder(path.parent)
    raise CheckpointError(
        f"{path} is no checkpoint: one is a folder with {CONFIG} and {WEIGHTS}, or a Lightning .ckpt file",
        where=str(path),
        change="the path",
    )


def _folder(path: Path) -> Path:
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        return path
    if (path / "checkpoints").is_dir():
        for name in (BEST, LAST):
            if (path / "checkpoints" / name).is_file():
                return path / "checkpoints" / name
        raise CheckpointError(
            f"the run {path} has no checkpoint yet", where=str(path / "checkpoints"), change="the run"
        )
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise CheckpointError(
            f"{path} holds {', '.join(pickles[:3])} but no {WEIGHTS}: such files are or may hold pickles, "
            "and reading a pickle can run any code, so they are not read",
            where=str(path),
            change=f"the checkpoint: convert its weights to {WEIGHTS} where you trust it",
        )
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    raise CheckpointError(
        f"{path} is no checkpoint folder: it has no {' and no '.join(missing)}",
        where=str(path),
        change="the path to a checkpoint folder, a run's folder or a .ckpt file",
    )
