"""Stores: folders, the web, S3 (a real server on this machine), Hugging Face's way to answer."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from moon_zoo.data.streams import Interrupted, RangeIgnored, open_url
from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.hub.cached import hub_id
from moon_zoo.hub.download import HubUnreachable, download
from moon_zoo.hub.resolve import resolve
from moon_zoo.hub.stores import FolderStore, Store, open_store
from tests.hub.making import NAME, make_hub
from tests.hub.server import HubServer, serving
from tests.hub.test_download import WEIGHTS, contents


def read(store: Store, path: str, offset: int = 0) -> bytes:
    return b"".join(store.open_from(path, offset))


def upload(store: Store, hub: Path) -> None:
    for file in hub.rglob("*"):
        if file.is_file():
            store.write_file(file.relative_to(hub).as_posix(), file)


def check_writable(store: Store, tmp_path: Path) -> None:
    """What every store does that can be published to."""
    (tmp_path / "local").write_bytes(bytes(range(256)) * 8)
    assert store.writable
    store.write_file("a/b@1/x.json", tmp_path / "local")
    store.write_bytes("index.yaml", b"one")
    store.write_bytes("index.yaml", b"two")
    assert store.read_bytes("index.yaml") == b"two"
    assert read(store, "a/b@1/x.json") == bytes(range(256)) * 8
    assert read(store, "a/b@1/x.json", 2000) == bytes(range(2000 - 7 * 256, 256))
    assert read(store, "a/b@1/x.json", 2048) == b""
    store.delete("a/b@1/x.json")
    store.delete("a/b@1/x.json")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("a/b@1/x.json")
    with pytest.raises(FileNotFoundError):
        read(store, "a/b@1/x.json", 3)


def test_folder_is_written_whole_and_left_without_empty_folders(tmp_path: Path) -> None:
    store = open_store(tmp_path / "hub")
    check_writable(store, tmp_path)
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["index.yaml"]
    assert store.local_path("index.yaml") == tmp_path / "hub" / "index.yaml"
    assert isinstance(open_store(f"file://{tmp_path}/a%20b"), FolderStore)
    assert open_store(f"file://{tmp_path}/a%20b").local_path("x") == tmp_path / "a b" / "x"


def test_memory_is_an_fsspec_store_like_any_other(tmp_path: Path, hub: Path) -> None:
    store = open_store("memory://tests-hub")
    try:
        check_writable(store, tmp_path)
        upload(store, hub)
        assert contents(download(NAME, hub="memory://tests-hub", progress=False)) == contents(hub / NAME)
    finally:
        fsspec.filesystem("memory").rm("/tests-hub", recursive=True)


def test_web_servers_are_read_only(server: HubServer, tmp_path: Path) -> None:
    store = open_store(server.url)
    assert not store.writable and store.local_path("index.yaml") is None
    for write in (
        lambda: store.write_bytes("x", b""),
        lambda: store.write_file("x", tmp_path / "x"),
        lambda: store.delete("x"),
    ):
        with pytest.raises(UsageError, match="can be read, not written to"):
            write()


def test_unknown_protocol_is_told() -> None:
    with pytest.raises(HubUnreachable, match="Protocol not known: nonsense"):
        download(NAME, hub="nonsense://x")


# http ------------------------------------------------------------------------------------------------------------------


def test_errors_of_the_web_are_told_apart(server: HubServer) -> None:
    server.only = "README.md"
    card = f"{server.url}/{NAME}/README.md"
    with pytest.raises(FileNotFoundError, match="nowhere answered 404"):
        list(open_url(f"{server.url}/nowhere"))
    for status, kind in ((401, PermissionError), (403, PermissionError), (410, FileNotFoundError), (418, OSError)):
        server.failures, server.status = 1, status
        with pytest.raises(kind, match=f"answered {status}"):
            list(open_url(card))
    for status in (408, 429, 500, 502, 504):
        server.failures, server.status = 1, status
        with pytest.raises(Interrupted, match=f"answered {status}"):
            list(open_url(card))
    server.ignore_ranges = True
    with pytest.raises(RangeIgnored, match="sends whole files only"):
        list(open_url(card, 3))
    with pytest.raises(Interrupted, match="Connection refused"):
        list(open_url("http://127.0.0.1:9/x"))
    with pytest.raises(OSError, match="cannot be read"):
        list(open_url("http://[::bad/x"))


def test_hub_that_lets_nobody_in_says_how_to_log_in(server: HubServer) -> None:
    server.only, server.failures, server.status = "index.yaml", 9, 403
    with pytest.raises(CheckpointError, match=r"does not let us in: .*answered 403") as caught:
        download(NAME, hub=server.url)
    assert "hf auth login" in str(caught.value)
    server.only = "model.safetensors"
    with pytest.raises(CheckpointError, match="does not hand out dual_flow/tiny"):
        download(NAME, hub=server.url, progress=False)


def test_redirects_are_followed_but_not_in_circles(server: HubServer, hub: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as other:
        other.redirect_to = server.url
        assert contents(download(NAME, hub=other.url, progress=False)) == contents(hub / NAME)
        other.redirect_to = other.url
        with pytest.raises(HubUnreachable, match="maximum allowed redirects"):
            download("m/other", hub=other.url)


def test_password_of_a_url_is_sent_and_never_shown(server: HubServer, cache: Path) -> None:
    location = server.url.replace("http://", "http://me:secret@")
    folder = download(NAME, hub=location, progress=False)
    assert server.headers[0]["Authorization"].startswith("Basic ")
    assert "secret" not in str(folder) and "secret" not in (folder / ".hub.json").read_text()
    with pytest.raises(CheckpointError) as caught:
        download("m/other", hub=location)
    assert "secret" not in str(caught.value)
    server.only, server.failures = "index.yaml", 9
    with pytest.raises(HubUnreachable) as unreachable:
        download("m/other", hub=location)
    assert "secret" not in str(unreachable.value)


def test_compressed_answers_are_unpacked(server: HubServer, hub: Path) -> None:
    text = (hub / "index.yaml").read_bytes()

    class Compressing(HubServer):
        def answer(self, request: Any) -> None:
            data = gzip.compress(text)
            request.send_response(200)
            request.send_header("Content-Encoding", "gzip")
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)

    compressing = Compressing(hub)
    compressing.start()
    try:
        assert open_store(compressing.url).read_bytes("index.yaml") == text
        with pytest.raises(RangeIgnored):
            list(open_url(f"{compressing.url}/index.yaml", 5))
    finally:
        compressing.stop()


def test_index_without_end_is_not_read_to_the_end(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moon_zoo.hub.stores.MOST_SMALL_BYTES", 1000)
    (server.folder / "index.yaml").write_bytes(b"# " * 1_000_000)
    with pytest.raises(CheckpointError, match="larger than 1,000 bytes"):
        download(NAME, hub=server.url)


def test_hub_ids_differ_and_are_plain_folder_names() -> None:
    ids = {hub_id(text) for text in ("https://h/a", "https://h/a-", "https://h/A", "s3://../..", "hf://o/r@v")}
    assert len(ids) == 5 and all("/" not in one and ".." not in one.strip(".") and one[0] not in ".-" for one in ids)


# s3 --------------------------------------------------------------------------------------------------------------------


def test_s3_is_written_read_from_anywhere_and_downloaded_from(s3: str, hub: Path, tmp_path: Path) -> None:
    store = open_store(s3)
    check_writable(store, tmp_path)
    upload(store, hub)
    assert contents(resolve(f"{s3}/{NAME}", progress=False)) == contents(hub / NAME)
    # Published again: nothing that s3fs remembers may stand in the way.
    shutil.rmtree(hub / NAME)
    make_hub(hub, seed=5)
    upload(store, hub)
    assert contents(resolve(f"{s3}#{NAME}", progress=False)) == contents(hub / NAME)
    store.delete(WEIGHTS)
    shutil.rmtree(os.environ["MOON_ZOO_CACHE"])
    with pytest.raises(CheckpointError, match=r"a file that its index names is not there .*model\.safetensors"):
        download(NAME, hub=s3, progress=False)
    with pytest.raises(CheckpointError, match="no hub: there is no index"):
        download(NAME, hub="s3://zoo/elsewhere")


def test_s3_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    for key, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(key, value)
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        with pytest.raises(HubUnreachable, match=r"127\.0\.0\.1:9"):
            download(NAME, hub="s3://zoo/hub")
    finally:
        fsspec.filesystem("s3").clear_instance_cache()


# Hugging Face ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hugging_face(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[HubServer, HubServer]]:
    """An endpoint that answers `/owner/repo/resolve/<revision>/...` by sending weights on to another host."""
    root = tmp_path / "endpoint"
    shutil.copytree(hub, root / "owner" / "repo" / "resolve" / "main")
    shutil.copytree(hub, root / "owner" / "repo" / "resolve" / "v1")
    with serving(root) as storage:

        class Endpoint(HubServer):
            def answer(self, request: Any) -> None:
                self.redirect_to = storage.url if request.path.endswith(".safetensors") else None
                super().answer(request)

        endpoint = Endpoint(root)
        endpoint.start()
        monkeypatch.setenv("HF_ENDPOINT", endpoint.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield endpoint, storage
        endpoint.stop()


def test_hugging_face_is_read_with_a_token_that_goes_to_no_other_host(
    hugging_face: tuple[HubServer, HubServer], hub: Path
) -> None:
    endpoint, storage = hugging_face
    assert contents(resolve(f"hf://owner/repo/{NAME}", progress=False)) == contents(hub / NAME)
    assert {headers["Authorization"] for headers in endpoint.headers} == {"Bearer hf_secret"}
    assert storage.headers and not any("Authorization" in headers for headers in storage.headers)
    folder = download(NAME, hub="hf://owner/repo@v1", progress=False)
    assert f"owner/repo/resolve/v1/{NAME}/README.md" in endpoint.asked
    assert "hf_secret" not in (folder / ".hub.json").read_text()


def test_hugging_face_without_a_token_sends_none(
    hugging_face: tuple[HubServer, HubServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    download(NAME, hub="hf://owner/repo", progress=False)
    assert not any("Authorization" in headers for headers in hugging_face[0].headers)


def test_missing_repository_is_told(hugging_face: tuple[HubServer, HubServer]) -> None:
    with pytest.raises(CheckpointError, match="hf://owner/other is no hub"):
        download(NAME, hub="hf://owner/other")
