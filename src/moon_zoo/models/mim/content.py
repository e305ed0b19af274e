"""Which content table a click model uses: where it is, and whether it is one that the model was trained with.

Vectors of two models mean different things in the same number of dimensions, and a network over the wrong ones gives wrong
probabilities without a word. So a model remembers its table's fingerprint and that of the model that made it, and refuses
others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from moon_zoo.data.content_table import FOLDER, ContentTable
from moon_zoo.errors import CheckpointError, DataError, RecipeError, ZooError
from moon_zoo.hub.resolve import resolve

Check = Literal["model", "table", "dimension"]
"""What must be equal to what the model was trained with: who made the vectors, each of them, or only their size."""

OPTION = "model.init_args.embeddings"


def open_content(source: str | os.PathLike[str], modality: str | None = None) -> ContentTable:
    """A table from a file, a folder, or a checkpoint that carries one.

    Args:
        source: What `ContentTable.open` takes, or a checkpoint's name, run or URL.
        modality: Which vectors; None for the first.

    Raises:
        DataError: It is no table.
        CheckpointError: It is a checkpoint without one.
    """
    path = Path(source).expanduser()
    if path.exists() and not _is_run(path):
        return _named(source, lambda: ContentTable.open(path, modality))
    try:
        found = resolve(source)
    except CheckpointError as error:
        raise CheckpointError(
            f"there are no embeddings {os.fspath(source)!r}: neither a file or folder, nor a checkpoint that carries a table",
            where=OPTION,
            suggestions=error.suggestions,
            change=f"{OPTION}, to what `moon-zoo embed` wrote, a .parquet or .npy file, or a checkpoint such as mim/shop",
        ) from error
    if not (found / FOLDER).is_dir():
        raise CheckpointError(
            f"the checkpoint {os.fspath(source)} carries no embeddings",
            where=f"{OPTION} = {os.fspath(source)}",
            change=f"{OPTION}, to a folder of embeddings: moon-zoo embed {os.fspath(source)} SHARDS --to FOLDER",
        )
    return _named(source, lambda: ContentTable.open(found, modality))


def require_same(table: ContentTable, note: Mapping[str, Any] | None, check: Check) -> None:
    """Refuse a table that is not what the model was trained with.

    Args:
        table: The table given now.
        note: What the model remembers of the one it was trained with; None for nothing.
        check: What must be equal. Where the maker of either table is not known, ``model`` means ``table``.

    Raises:
        CheckpointError: It is another.
    """
    if note is None:
        return
    if table.dim != note["dim"]:
        raise CheckpointError(
            f"these embeddings have {table.dim} dimensions, the model was trained with {note['dim']}",
            where=f"{OPTION} = {table.source}",
            change=f"{OPTION}, to the embeddings it was trained with; or train it again",
        )
    if check == "dimension" or table.fingerprint == note["fingerprint"]:
        return
    same_maker = table.model is not None and table.model == note["model"]
    if check == "model" and same_maker:
        return
    by = f"their fingerprint is {table.fingerprint[:12]}, not {note['fingerprint'][:12]}"
    if table.model is not None and note["model"] is not None and not same_maker:
        by = f"they were made by the model {table.model[:12]}, not by {note['model'][:12]}"
    wider = "model" if same_maker else "dimension"
    raise CheckpointError(
        f"these embeddings are not those that the model was trained with: {by}",
        where=f"{OPTION} = {table.source}",
        change=f"{OPTION}; or, where their vectors do mean the same, model.init_args.embeddings_check to {wider}",
    )


def needed(behaviour: str) -> RecipeError:
    """The error of a model that looks at content and is given none."""
    return RecipeError(
        f"behaviour {behaviour} looks at the content of items, but no embeddings are given",
        where=OPTION,
        change=f"{OPTION}, to what `moon-zoo embed` wrote or a checkpoint such as mim/shop; or behaviour, to din or none",
    )


def _named(source: str | os.PathLike[str], read: Any) -> ContentTable:
    """What ``read`` gives; its errors name the option."""
    try:
        table: ContentTable = read()
        return table
    except ZooError as error:
        where = error.where if error.where is not None else os.fspath(source)
        change = OPTION if error.change == "the embeddings" else error.change
        raise DataError(
            error.what, where=f"{OPTION} = {where}", change=change, suggestions=error.suggestions
        ) from error


def _is_run(path: Path) -> bool:
    return path.suffix == ".ckpt" or (path / "checkpoints").is_dir()
