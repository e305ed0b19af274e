"""From what people write to a folder or file."""

from __future__ import annotations

from pathlib import Path

import pytest

from moon_zoo import recipes
from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.hub.resolve import hub_and_name, resolve, split_url
from moon_zoo.hub.stores import hubs
from tests.hub.making import NAME, entry_of, make_hub, write_checkpoint, write_index
from tests.hub.server import HubServer


def make_run(folder: Path, *names: str) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: x\n")
    for name in names:
        (folder / "checkpoints" / name).write_text(name)
    return folder


def test_files_and_folders_on_the_disk_are_taken_as_they_are(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "best.ckpt", "last.ckpt")
    assert resolve(run / "checkpoints" / "last.ckpt") == run / "checkpoints" / "last.ckpt"
    assert resolve(run) == run / "checkpoints" / "best.ckpt"
    assert resolve(str(make_run(tmp_path / "short", "last.ckpt"))).name == "last.ckpt"
    folder = write_checkpoint(tmp_path / "saved")
    assert resolve(folder) == resolve(f"file://{folder}") == resolve(folder / "config.yaml") == folder


def test_run_without_a_checkpoint_and_other_folders_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        resolve(make_run(tmp_path / "run"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"it has no config\.yaml and no model\.safetensors"):
        resolve(tmp_path / "empty")
    (tmp_path / "empty" / "config.yaml").write_text("")
    with pytest.raises(CheckpointError, match=r"is no checkpoint folder: it has no model\.safetensors"):
        resolve(tmp_path / "empty")
    (tmp_path / "empty" / "pytorch_model.bin").write_text("")
    with pytest.raises(CheckpointError, match=r"holds pytorch_model\.bin .* reading a pickle can run any code"):
        resolve(tmp_path / "empty")
    (tmp_path / "photo.jpg").write_text("")
    with pytest.raises(CheckpointError, match=r"photo\.jpg is no checkpoint"):
        resolve(tmp_path / "photo.jpg")


def test_names_are_looked_up_on_hubs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_hub(tmp_path / "first", "m/one")
    make_hub(tmp_path / "second", "m/one", seed=1)
    write_checkpoint(tmp_path / "second" / "m" / "two")
    write_index(
        tmp_path / "second",
        entry_of(tmp_path / "second", "m/one", "m/one"),
        entry_of(tmp_path / "second", "m/two", "m/two"),
    )
    monkeypatch.setenv("MOON_ZOO_HUB", f"{tmp_path / 'first'} {tmp_path / 'second'}")
    assert hubs()[:2] == [str(tmp_path / "first"), str(tmp_path / "second")]
    assert resolve("m/one") == tmp_path / "first" / "m" / "one"
    assert resolve("m/two") == tmp_path / "second" / "m" / "two"
    assert resolve(f"{tmp_path / 'second'}#m/one") == tmp_path / "second" / "m" / "one"


def test_hub_that_is_down_is_passed_over_and_named(
    hub: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", f"http://127.0.0.1:9/hub {hub}")
    assert resolve(NAME) == hub / NAME
    assert (
        "the hub http://127.0.0.1:9/hub cannot be reached" in caplog.text and f"taken from {hub} instead" in caplog.text
    )
    with pytest.raises(CheckpointError, match="not asked, because they cannot be reached: the hub http://127"):
        resolve("m/other")


def test_a_folder_of_that_path_wins_over_a_name(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", str(hub))
    monkeypatch.chdir(tmp_path)
    assert resolve(NAME) == hub / NAME
    write_checkpoint(tmp_path / NAME, seed=3)
    assert resolve(NAME) == Path(NAME)


def test_a_name_wins_over_a_folder_that_is_no_checkpoint(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", str(hub))
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME / "train").mkdir(parents=True)
    assert resolve(NAME) == hub / NAME
    (tmp_path / "other" / "shards").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="other/shards is no checkpoint folder"):
        resolve("other/shards")


def test_shipped_checkpoints_are_the_last_hub() -> None:
    shipped = recipes.own_root().parent / "checkpoints"
    assert hubs() == ([str(shipped)] if (shipped / "index.yaml").is_file() else [])


def test_unknown_words_say_what_was_tried(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", str(hub))
    with pytest.raises(
        CheckpointError, match="no hub has a checkpoint 'dual_flow/tyni', nor is there such a file"
    ) as caught:
        resolve("dual_flow/tyni")
    assert caught.value.suggestions[0] == NAME
    with pytest.raises(CheckpointError, match="neither a file or folder, nor a name"):
        resolve("Shop")
    with pytest.raises(CheckpointError, match=r"no hub: there is no index\.yaml"):
        resolve(f"{hub.parent}/nowhere#m/x")


def test_urls_name_hub_and_checkpoint(server: HubServer, hub: Path) -> None:
    for text in (f"{server.url}/{NAME}", f"{server.url}#{NAME}", f"{server.url}/#{NAME}"):
        assert (resolve(text, progress=False) / "config.yaml").read_text() == (hub / NAME / "config.yaml").read_text()
    assert server.asked[f"{NAME}/model.safetensors"] == 1


def test_name_of_three_parts_in_a_url_is_found_by_its_index(hub: Path, server: HubServer) -> None:
    write_checkpoint(hub / "deep" / "a" / "b")
    write_index(hub, entry_of(hub, "deep/a/b", "deep/a/b"))
    assert hub_and_name(f"{server.url}/deep/a/b") == (server.url, "deep/a/b")
    assert resolve(f"{server.url}/deep/a/b", progress=False).name.startswith("b@")


def test_url_splits_are_tried_from_the_shortest_name() -> None:
    assert split_url("https://h/x/m/n") == [("https://h/x", "m/n"), ("https://h", "x/m/n")]
    assert split_url("s3://bucket/m/n") == [("s3://bucket", "m/n")]
    assert split_url("hf://owner/repo/m/n/o") == [("hf://owner/repo", "m/n/o")]
    assert split_url("hf://owner/repo@v1/m/n") == [("hf://owner/repo@v1", "m/n")]


@pytest.mark.parametrize("url", ["https://h/model.bin", "https://h/a/b.ckpt", "s3://b/x/y/weights.pt"])
def test_url_of_a_pickle_is_refused(url: str) -> None:
    with pytest.raises(CheckpointError, match="reading one from elsewhere can run any code"):
        resolve(url)


@pytest.mark.parametrize("url", ["https://host", "https://host/one", "hf://owner/repo", "https://host/A/B"])
def test_url_without_a_name_is_refused(url: str) -> None:
    with pytest.raises(CheckpointError, match="names no checkpoint on a hub"):
        resolve(url)


@pytest.mark.parametrize("hub", ["https://host/x?y=1", "hf://owner", "https://", "hf://a/b@../../c d"])
def test_location_that_is_no_hub_is_refused(hub: str) -> None:
    with pytest.raises((UsageError, CheckpointError), match=r"no hub's URL|no repository"):
        resolve(f"{hub}#m/x")
