"""Publishing: what a hub holds afterwards, and at every moment in between."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.hub import publish, stores
from moon_zoo.hub.download import download
from moon_zoo.hub.index import INDEX, Index, parse_index
from moon_zoo.hub.publish import LOCK, describe, publish_folder, read_index
from moon_zoo.hub.stores import FolderStore, FsspecStore, Store, open_store
from tests.hub.hf_server import FakeHuggingFace
from tests.hub.making import write_checkpoint

NAME = "dual_flow/mine"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "first", seed=1, weight_bytes=2000)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "second", seed=2, weight_bytes=2000)


def index_of(hub: Path) -> Index:
    return parse_index((hub / INDEX).read_text(), str(hub))


def files_of(hub: Path) -> list[str]:
    return sorted(path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file())


def check_whole(store: Store) -> Index:
    """Every file that the index names is there, and is what the index says."""
    index = read_index(store)
    for entry in index.entries.values():
        for file, content in entry.files.items():
            data = store.read_bytes(f"{entry.path}/{file}")
            assert (len(data), hashlib.sha256(data).hexdigest()) == (content.bytes, content.sha256)
    return index


def test_first_publication_lies_under_its_name_and_is_found(first: Path, tmp_path: Path) -> None:
    hub = tmp_path / "new" / "hub"
    told: list[str] = []
    entry = publish_folder(
        first, NAME, hub, summary="one\nline", licence="MIT", told=lambda file, size: told.append(f"{file} {size}")
    )
    assert (entry.path, entry.summary, entry.licence) == (NAME, "one line", "MIT")
    assert files_of(hub) == sorted([INDEX, *(f"{NAME}/{file}" for file in entry.files)])
    assert "model.safetensors 2000" in told
    assert check_whole(open_store(hub)).entries == {NAME: entry}
    assert download(NAME, hub=str(hub), progress=False) == hub / NAME


def test_second_publication_lies_beside_the_first_which_then_goes(first: Path, second: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    publish_folder(first, NAME, hub)
    publish_folder(first, "dual_flow/other", hub)
    entry = publish_folder(second, NAME, hub)
    assert entry.path == f"{NAME}@{entry.revision}"
    assert not (hub / NAME).exists()
    assert set(check_whole(open_store(hub)).entries) == {NAME, "dual_flow/other"}
    again = publish_folder(first, NAME, hub, keep_old=True)
    assert (hub / entry.path / "config.yaml").is_file() and (hub / again.path / "config.yaml").is_file()


def test_the_same_files_again_change_only_the_words(first: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    publish_folder(first, NAME, hub, summary="old")
    before = (hub / NAME / "model.safetensors").stat().st_mtime_ns
    entry = publish_folder(first, NAME, hub, summary="new", told=lambda file, size: pytest.fail(file))
    assert (entry.path, index_of(hub).entries[NAME].summary) == (NAME, "new")
    assert (hub / NAME / "model.safetensors").stat().st_mtime_ns == before
    check_whole(open_store(hub))


def test_files_of_somebody_else_at_that_place_are_left_alone(first: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    (hub / NAME).mkdir(parents=True)
    (hub / NAME / "thesis.md").write_text("years of work")
    entry = publish_folder(first, NAME, hub)
    assert entry.path == f"{NAME}@{entry.revision}"
    assert (hub / NAME / "thesis.md").read_text() == "years of work"


def test_a_checkpoint_nested_in_anothers_folder_touches_none_of_its_files(tmp_path: Path, first: Path) -> None:
    hub = tmp_path / "hub"
    publish_folder(first, NAME, hub)
    publish_folder(first, f"{NAME}/text_tower", hub)
    check_whole(open_store(hub))
    other = write_checkpoint(tmp_path / "other", seed=3, weight_bytes=10)
    publish_folder(other, f"{NAME}/text_tower", hub)
    publish_folder(other, NAME, hub)
    assert set(check_whole(open_store(hub)).entries) == {NAME, f"{NAME}/text_tower"}


def _publish_until(folder: Path, hub: Path, step: int) -> None:
    """Publish, and end the process without a farewell at a step: before a write or a removal, or inside a write."""
    count = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                os._exit(9)
            return function(*args, **options)

        return wrapper

    for method in ("write_file", "write_bytes", "delete"):
        setattr(FolderStore, method, counted(getattr(FolderStore, method)))
    stores.os.fsync = counted(os.fsync)  # type: ignore[attr-defined]
    publish_folder(folder, NAME, hub)
    os._exit(0)


def test_killed_at_any_step_the_hub_is_whole_and_can_be_published_to(first: Path, second: Path, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for replaces in (False, True):
        for step in range(1, 100, 1 if replaces else 4):
            hub = tmp_path / f"hub-{replaces}-{step}"
            if replaces:
                publish_folder(first, NAME, hub)
            process = fork.Process(target=_publish_until, args=(second, hub, step))
            process.start()
            process.join(30)
            assert process.exitcode in (0, 9)
            index = check_whole(open_store(hub))
            assert not replaces or NAME in index.entries
            entry = publish_folder(second, NAME, hub)
            assert check_whole(open_store(hub)).entries == {NAME: entry}
            assert not list((hub / entry.path).rglob("*.part")) or replaces
            assert not (hub / LOCK).exists()
            if process.exitcode == 0:
                break
            shutil.rmtree(hub)
        assert step > 8, "it was killed nowhere"


@pytest.mark.parametrize("fails_at", range(1, 7))
def test_a_store_that_fails_leaves_the_old_checkpoint(
    fails_at: int, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five files and the index make six writes."""
    hub = f"memory://hub-{fails_at}"
    old = publish_folder(first, NAME, hub)
    assert old.path == f"{NAME}@{old.revision}"  # object storage has no lock, so no path is ever written twice
    count = 0

    def failing(real: Callable[..., None]) -> Callable[..., None]:
        def write(*args: object) -> None:
            nonlocal count
            count += 1
            if count == fails_at:
                raise OSError("no space left")
            real(*args)

        return write

    for method in ("write_file", "write_bytes"):
        monkeypatch.setattr(FsspecStore, method, failing(getattr(FsspecStore, method)))
    with pytest.raises(CheckpointError, match="the hub cannot be written: no space left"):
        publish_folder(second, NAME, hub)
    assert check_whole(open_store(hub)).entries == {NAME: old}
    monkeypatch.undo()
    new = publish_folder(second, NAME, hub)
    assert check_whole(open_store(hub)).entries == {NAME: new}
    kept = fsspec.filesystem("memory").find(f"/hub-{fails_at}")
    assert sorted(path.rpartition("@")[2] for path in kept if "@" in path) == sorted(
        f"{new.revision}/{file}" for file in new.files
    )


def test_an_entry_lost_to_another_publisher_is_written_again(
    first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one read the index before ours was in it, and writes it after."""
    hub = "memory://raced"
    others = open_store("memory://raced")
    publish_folder(second, "acme/other", hub)
    lost = others.read_bytes(INDEX)
    write, writes = FsspecStore.write_bytes, 0

    def raced(store: FsspecStore, path: str, data: bytes) -> None:
        nonlocal writes
        writes += 1
        write(store, path, data)
        if writes == 1:
            write(store, path, lost)

    monkeypatch.setattr(FsspecStore, "write_bytes", raced)
    publish_folder(first, NAME, hub)
    assert writes == 2
    assert set(check_whole(others).entries) == {"acme/other", NAME}


def _publish_one(number: int, folder: Path, hub: Path) -> None:
    publish_folder(folder, f"acme/number-{number}", hub)


def test_processes_that_publish_at_once_lose_nothing(first: Path, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    hub = tmp_path / "hub"
    processes = [fork.Process(target=_publish_one, args=(number, first, hub)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert set(check_whole(open_store(hub)).entries) == {f"acme/number-{number}" for number in range(6)}
    assert not (hub / LOCK).exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "weights.bin").write_bytes(b""), "may hold pickles"),
        (lambda folder: (folder / ".secret.json").write_text("{}"), "hidden file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda folder: (folder / "config.yaml").write_text("{"), "config.yaml cannot be read"),
        (lambda folder: (folder / "link.json").symlink_to("/etc/hostname"), "link out of the checkpoint folder"),
    ],
)
def test_a_folder_that_hubs_would_refuse_is_refused(
    spoil: Callable[[Path], object], said: str, first: Path, tmp_path: Path
) -> None:
    spoil(first)
    with pytest.raises(CheckpointError, match=said):
        publish_folder(first, NAME, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_hubs_that_cannot_be_written_are_refused(first: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can be read, not written to"):
        publish_folder(first, NAME, "https://example.invalid/hub")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="the hub cannot be written"):
        publish_folder(first, NAME, tmp_path / "file")
    with pytest.raises(CheckpointError, match="cannot be a checkpoint's name"):
        publish_folder(first, "Mine", tmp_path / "hub")


def test_a_broken_index_is_not_replaced(first: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / INDEX).write_text("format: 1\ncheckpoints: {a/b: {path: ../x, files: {}}}\n")
    before = (hub / INDEX).read_text()
    with pytest.raises(CheckpointError):
        publish_folder(first, NAME, hub)
    assert (hub / INDEX).read_text() == before
    assert files_of(hub) == [INDEX]


def test_describe_writes_nothing(first: Path, tmp_path: Path) -> None:
    before = files_of(tmp_path)
    assert describe(first, NAME).bytes == sum(path.stat().st_size for path in first.rglob("*") if path.is_file())
    assert files_of(tmp_path) == before


# Object storage and Hugging Face -----------------------------------------------------------------------------------------


def test_s3_is_published_to_twice(s3: str, first: Path, second: Path) -> None:
    publish_folder(first, NAME, s3)
    entry = publish_folder(second, NAME, s3)
    assert check_whole(open_store(s3)).entries == {NAME: entry}
    assert len(fsspec.filesystem("s3", skip_instance_cache=True).find(s3)) == 1 + len(entry.files)
    with pytest.raises(CheckpointError, match="the hub cannot be written"):
        publish_folder(first, NAME, "s3://no-such-bucket/hub")


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHuggingFace]:
    server = FakeHuggingFace("acme/zoo")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # read from the environment on import
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.stop()


def test_hugging_face_gets_one_commit_with_files_and_index(face: FakeHuggingFace, first: Path, second: Path) -> None:
    entry = publish_folder(first, NAME, "hf://acme/zoo")
    assert len(face.commits) == 2 and entry.path == NAME
    assert face.tokens == {"Bearer hf_secret"}
    assert check_whole(open_store("hf://acme/zoo")).entries == {NAME: entry}
    entry = publish_folder(second, NAME, "hf://acme/zoo")
    assert len(face.commits) == 3
    assert sorted(face.files) == sorted([INDEX, *(f"{entry.path}/{file}" for file in entry.files)])
    assert check_whole(open_store("hf://acme/zoo")).entries == {NAME: entry}


def test_a_commit_that_came_too_late_is_made_on_top_of_the_other(
    face: FakeHuggingFace, first: Path, second: Path
) -> None:
    publish_folder(first, "acme/one", "hf://acme/zoo")
    face.before_commit = lambda: publish_folder(second, "acme/two", "hf://acme/zoo")
    publish_folder(second, "acme/three", "hf://acme/zoo")
    assert set(check_whole(open_store("hf://acme/zoo")).entries) == {"acme/one", "acme/two", "acme/three"}


def test_a_repository_that_is_not_there_or_not_ours_is_told(face: FakeHuggingFace, first: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no repository acme/other with revision main") as refused:
        publish_folder(first, NAME, "hf://acme/other")
    assert "hf repo create acme/other" in str(refused.value)
    face.refuse = 403
    with pytest.raises(CheckpointError, match=r"the commit was refused \(403\)") as refused:
        publish_folder(first, NAME, "hf://acme/zoo")
    assert "hf auth login" in str(refused.value)
    face.stop()
    with pytest.raises(CheckpointError, match="the repository cannot be reached"):
        publish_folder(first, NAME, "hf://acme/zoo")


def test_lock_seconds_are_named(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(publish, "LOCK_SECONDS", 0.05)
    (tmp_path / "hub").mkdir()
    with (
        FileLock(tmp_path / "hub" / LOCK),
        pytest.raises(CheckpointError, match="another process has been publishing"),
    ):
        publish_folder(first, NAME, tmp_path / "hub")
