"""Publishing to a model repository of Hugging Face: one commit with the files, the index, and what it replaces removed.

The commit names its parent. Where somebody else's came in between, the server refuses it, and it is made anew on theirs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.errors import CheckpointError
from moon_zoo.hub.index import INDEX, HubEntry
from moon_zoo.hub.names import one_line
from moon_zoo.hub.stores import HuggingFaceStore

if TYPE_CHECKING:
    from moon_zoo.hub.publish import Told

ATTEMPTS = 4
_CONFLICTS = (409, 412)


def publish_commit(
    store: HuggingFaceStore, entry: HubEntry, folder: Path, *, keep_old: bool, told: Told | None
) -> HubEntry:
    """Commit a checkpoint folder to the repository; the parameters are those of `publish_folder`.

    Raises:
        CheckpointError: There is no such repository, it may not be written, or the commit fails.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(endpoint=store.endpoint)
    for attempt in range(ATTEMPTS):
        try:
            parent = api.repo_info(store.repo, revision=store.revision).sha
            placed_entry, operations = _operations(
                store, parent, entry, folder, keep_old, told if not attempt else None
            )
            api.create_commit(
                store.repo,
                operations,
                commit_message=f"Publish {entry.name}",
                revision=store.revision,
                parent_commit=parent,
            )
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise CheckpointError(
                f"there is no repository {store.repo} with revision {store.revision} that you may write",
                where=store.location,
                change=f"--to; or make it first (hf repo create {store.repo}) and log in (hf auth login)",
            ) from error
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status in _CONFLICTS and attempt + 1 < ATTEMPTS:
                continue
            raise CheckpointError(
                f"the commit was refused ({status}): {one_line(str(error))}",
                where=store.location,
                change="the token (hf auth login) to one that may write there" if status in (401, 403) else "--to",
            ) from error
        except (OSError, HTTPError) as error:
            raise CheckpointError(
                f"the repository cannot be reached: {one_line(str(error))}", where=store.location, change="--to"
            ) from error
        else:
            return placed_entry
    raise AssertionError("unreachable")


def _operations(
    store: HuggingFaceStore, parent: str | None, entry: HubEntry, folder: Path, keep_old: bool, told: Told | None
) -> tuple[HubEntry, list[Any]]:
    """The entry where it will lie, and what the commit does, on top of the index of the commit ``parent``."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    from moon_zoo.hub.publish import named_files, placed, read_index, superseded, with_entry

    before = read_index(HuggingFaceStore(f"hf://{store.repo}@{parent}"))
    entry = placed(entry, before, plain=True)
    after = with_entry(before, entry)
    operations: list[Any] = []
    already = named_files(before)
    for file, content in entry.files.items():
        path = f"{entry.path}/{file}"
        if path not in already:
            if told is not None:
                told(file, content.bytes)
            operations.append(CommitOperationAdd(path, str(folder / file)))
    operations.append(CommitOperationAdd(INDEX, after.to_yaml().encode("utf-8")))
    if not keep_old:
        operations += [CommitOperationDelete(path) for path in superseded(before, after)]
    return entry, operations
