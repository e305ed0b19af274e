"""The index kept beside embeddings: built on first use, used again as long as it belongs to them.

``EMBEDDINGS/index/<modality>-<kind>/``. One that another model made is refused with both names; one of earlier
embeddings of the same model, altered, cut or tuned for less recall is built again, and that is said.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from moon_zoo.data.embeddings import Embeddings
from moon_zoo.errors import CheckpointError, DataError, UsageError
from moon_zoo.search.choosing import check_recall, choose_kind, draw_sample
from moon_zoo.search.index import Advance, SearchIndex, read_about

FOLDER = "index"
SEED = 0
Say = Callable[[str], None]


def kept_index(
    embeddings: Embeddings,
    modality: str,
    *,
    kind: str = "auto",
    recall: float = 0.99,
    rebuild: bool = False,
    say: Say = lambda text: None,
    progress: Advance | None = None,
) -> SearchIndex:
    """The index over one modality of the embeddings, loaded where it is kept, else built and kept.

    Args:
        embeddings: What is searched in.
        modality: Whose vectors.
        kind: ``auto``, ``flat``, ``ivf`` or ``hnsw``.
        recall: Recall@10 wanted, in ``(0, 1]``.
        rebuild: Whether to build anew.
        say: Told in a line why something is built that was there, or cannot be kept.
        progress: Told what is indexed.

    Raises:
        CheckpointError: The index that is there was built from another model's embeddings.
        DataError: There are no vectors.
        UsageError: Unknown kind or modality, or a recall that cannot be.
    """
    check_recall(recall)
    rows = embeddings.count(modality)
    if not rows:
        raise UsageError(
            f"{embeddings.folder} holds no vectors of {modality!r}: no item has it",
            where=str(embeddings.folder),
            change=f"--modality, to one of {', '.join(name for name in embeddings.modalities if embeddings.count(name))}",
        )
    chosen = choose_kind(kind, rows)
    folder = embeddings.folder / FOLDER / f"{modality}-{chosen}"
    with _lock(folder) as writable:
        if not rebuild:
            found = _load(folder, embeddings, recall, say)
            if found is not None:
                return found
        built = SearchIndex.build(
            embeddings.vectors(modality),
            chosen,
            recall,
            SEED,
            queries=_other_queries(embeddings, modality) if chosen != "flat" else None,
            progress=progress,
        )
        if writable:
            _keep(built, folder, embeddings, modality, say)
        else:
            say(f"the index is not kept: {folder} cannot be written")
        return built


def _load(folder: Path, embeddings: Embeddings, recall: float, say: Say) -> SearchIndex | None:
    """The kept index; None, said why, where another must be built."""
    if not folder.is_dir() or not any(child for child in folder.iterdir() if not child.name.startswith(".")):
        return None
    try:
        _check_model(read_about(folder), folder, embeddings)
        stale = _stale(read_about(folder), embeddings, recall)
        if stale is None:
            return SearchIndex.load(folder)
    except CheckpointError:
        raise
    except DataError as error:
        stale = error.what
    say(f"indexing again: {stale}")
    return None


def _check_model(said: dict[str, Any], folder: Path, embeddings: Embeddings) -> None:
    theirs, ours = said.get("model"), embeddings.model
    if not isinstance(theirs, dict):
        raise DataError("the index does not say which model's vectors it holds")
    if theirs.get("fingerprint") != ours["fingerprint"] or said["dim"] != embeddings.embedding_dim:
        raise CheckpointError(
            f"the index holds vectors of {theirs.get('source')} ({str(theirs.get('fingerprint'))[:12]}, "
            f"{said['dim']} dimensions), the embeddings are by {ours['source']} ({ours['fingerprint'][:12]}, "
            f"{embeddings.embedding_dim} dimensions)",
            where=str(folder),
            change="add --rebuild, to index these embeddings",
        )


def _stale(said: dict[str, Any], embeddings: Embeddings, recall: float) -> str | None:
    if said.get("embeddings") != embeddings.fingerprint:
        return "the index is of earlier embeddings"
    if said["kind"] != "flat" and said["recall"].get("target", 0) < recall:
        return f"the index was built for a recall of {said['recall'].get('target')}, {recall:g} is asked"
    return None


def _keep(built: SearchIndex, folder: Path, embeddings: Embeddings, modality: str, say: Say) -> None:
    model = {name: embeddings.model.get(name) for name in ("source", "fingerprint")}
    try:
        built.save(folder, model=model, modality=modality, embeddings=embeddings.fingerprint)
    except (OSError, RuntimeError) as error:  # faiss raises the latter when the disk is full
        say(f"the index is not kept: {error}")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """One process at a time builds an index; False where the place is read-only and nothing can be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _other_queries(embeddings: Embeddings, modality: str) -> dict[str, np.ndarray]:
    """Sample queries from the other modalities: words lie elsewhere than products do, and are what is asked with."""
    return {
        other: _sampled(embeddings, other)
        for other in embeddings.modalities
        if other != modality and embeddings.count(other)
    }


def _sampled(embeddings: Embeddings, modality: str) -> np.ndarray:
    """Vectors of a sample of rows, read a few at a time."""
    wanted = draw_sample(embeddings.count(modality), SEED)
    parts, start = [], 0
    for batch in embeddings.batches(["vector"], modality):
        rows = wanted[(wanted >= start) & (wanted < start + batch.num_rows)] - start
        column = batch.column(0).take(rows)
        parts.append(np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32))
        start += batch.num_rows
    return np.concatenate(parts).reshape(-1, embeddings.embedding_dim)
