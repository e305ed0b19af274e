"""Downloads from a web server that behaves, and from one that does not."""

from __future__ import annotations

import http.server
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moon_zoo.errors import CheckpointError
from moon_zoo.hub.cached import cached, lock_of, part_of
from moon_zoo.hub.download import HubUnreachable, download, obtain
from tests.hub.making import NAME, WEIGHT_BYTES, entry_of, make_hub, write_checkpoint, write_index
from tests.hub.server import HubServer, serving

WEIGHTS = f"{NAME}/model.safetensors"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }


def parts(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*.part") if path.is_file())


# what goes well --------------------------------------------------------------------------------------------------------


def test_checkpoint_arrives_whole_under_its_revision_and_is_fetched_once(
    server: HubServer, hub: Path, cache: Path
) -> None:
    folder = download(NAME, hub=server.url, progress=False)
    assert contents(folder) == contents(hub / NAME)
    assert folder.name == f"tiny@{entry_of(hub, NAME).revision}" and folder.is_relative_to(cache / "checkpoints")
    assert download(NAME, hub=server.url, progress=False) == folder
    assert server.asked[WEIGHTS] == 1 and server.asked["index.yaml"] == 2
    assert parts(cache) == []
    assert [(one.entry.name, one.hub, one.folder) for one in cached()] == [(NAME, server.url, folder)]


def test_hub_in_a_folder_is_used_in_place(hub: Path, cache: Path) -> None:
    assert download(NAME, hub=str(hub)) == hub / NAME
    assert download(NAME, hub=f"file://{hub}") == hub / NAME
    assert not cache.exists()


def test_download_to_a_folder_leaves_nothing_else_behind(server: HubServer, hub: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine" / "tiny"
    assert download(NAME, hub=server.url, to=target, progress=False) == target
    assert contents(target) == contents(hub / NAME)
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    assert not list(target.rglob(".*"))
    download(NAME, hub=server.url, to=target, progress=False)
    assert server.asked[WEIGHTS] == 1
    copy = download(NAME, hub=str(hub), to=tmp_path / "copy")
    assert contents(copy) == contents(hub / NAME)


def test_folder_that_holds_something_else_is_left_alone(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="exists already and is not dual_flow/tiny as the hub has it"):
        download(NAME, hub=server.url, to=tmp_path / "taken", progress=False)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["notes.txt"]


def test_new_publication_is_fetched_beside_the_old_one(server: HubServer, hub: Path) -> None:
    old = download(NAME, hub=server.url, progress=False)
    shutil.rmtree(hub / NAME)
    make_hub(hub, seed=1)
    new = download(NAME, hub=server.url, progress=False)
    assert new != old and contents(new) == contents(hub / NAME) and old.is_dir()


# servers that misbehave ------------------------------------------------------------------------------------------------


def test_dropped_connection_goes_on_where_it_ended(server: HubServer, hub: Path) -> None:
    server.drop_after, server.drops = 100_000, 2
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)
    assert [first for path, first in server.ranges if path == WEIGHTS] == [0, 100_000, 200_000]


def test_server_without_ranges_is_read_from_the_start_again(server: HubServer, hub: Path) -> None:
    server.drop_after, server.drops, server.ignore_ranges = 100_000, 1, True
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)
    # The first answer broke off, the second to a range came from the start and was left, the third came without one.
    assert [first for path, first in server.ranges if path == WEIGHTS] == [0, 100_000, 0]


def test_answer_with_another_range_is_not_mixed_in(server: HubServer, hub: Path) -> None:
    server.drop_after, server.drops, server.wrong_range = 100_000, 1, True
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)


def test_server_that_always_drops_and_knows_no_ranges_is_given_up(server: HubServer) -> None:
    server.drop_after, server.ignore_ranges = 100_000, True
    with pytest.raises(HubUnreachable, match=r"broke off: .*tried 3 times"):
        download(NAME, hub=server.url, progress=False)


def test_hanging_server_is_timed_out_and_gone_on_with(server: HubServer, hub: Path) -> None:
    server.hang_after = 250_000
    began = time.monotonic()
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)
    assert time.monotonic() - began < 2
    assert [first for path, first in server.ranges if path == WEIGHTS] == [0, 250_000]


def test_server_that_hangs_for_good_is_given_up_and_what_came_is_kept(server: HubServer, cache: Path) -> None:
    server.hang_after = 0
    server.hang_seconds = 1
    with pytest.raises(HubUnreachable, match=r"nothing came within 0.3 s; tried 3 times") as caught:
        download(NAME, hub=server.url, progress=False)
    assert "what has arrived is kept" in str(caught.value)
    assert cached() == []


@pytest.mark.parametrize("status", [500, 503, 429])
def test_failing_server_is_asked_again(
    server: HubServer, hub: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.failures, server.status = 2, status
    with caplog.at_level(logging.WARNING):
        assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)
    assert server.asked[WEIGHTS] == 3
    assert f"{server.url}/{WEIGHTS} answered {status}" in caplog.text and "trying again in" in caplog.text


def test_server_that_keeps_failing_is_given_up_and_named(server: HubServer) -> None:
    server.failures = 100
    with pytest.raises(
        HubUnreachable, match=f"{server.url}/{WEIGHTS} answered 500 Internal Server Error; tried 3 times"
    ):
        download(NAME, hub=server.url, progress=False)
    assert server.asked[WEIGHTS] == 3


def test_server_is_left_alone_as_long_as_it_asks(server: HubServer) -> None:
    server.failures, server.status, server.retry_after = 1, 503, "1"
    began = time.monotonic()
    download(NAME, hub=server.url, progress=False)
    assert time.monotonic() - began >= 1


def test_body_without_a_length_that_ends_early_is_noticed(server: HubServer, hub: Path) -> None:
    server.no_length, server.drop_after, server.drops = True, 100_000, 1
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)


# files that are not what the index says --------------------------------------------------------------------------------


def test_tampered_file_is_refused_and_nothing_of_it_is_kept(server: HubServer, hub: Path, cache: Path) -> None:
    data = bytearray((hub / WEIGHTS).read_bytes())
    data[1234] ^= 1
    (hub / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: sha256 [0-9a-f]{12} instead of") as caught:
        download(NAME, hub=server.url, progress=False)
    assert "dual_flow/tiny is not what the hub's index says" in str(caught.value) and server.url in str(caught.value)
    assert cached() == [] and parts(cache) == [] and not list(cache.rglob("model.safetensors"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its sha256 is"):
        download(NAME, hub=str(hub))


def test_truncated_file_is_refused(server: HubServer, hub: Path, cache: Path) -> None:
    (hub / WEIGHTS).write_bytes((hub / WEIGHTS).read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=f"299,000 bytes instead of {WEIGHT_BYTES:,}"):
        download(NAME, hub=server.url, progress=False)
    assert parts(cache) == []
    with pytest.raises(CheckpointError, match=f"it has 299,000 bytes instead of {WEIGHT_BYTES:,}"):
        download(NAME, hub=str(hub))


def test_longer_file_is_refused_without_reading_it_all(server: HubServer, hub: Path, cache: Path) -> None:
    (hub / WEIGHTS).write_bytes((hub / WEIGHTS).read_bytes() + bytes(20_000_000))
    with pytest.raises(CheckpointError, match=f"model.safetensors: it is longer than {WEIGHT_BYTES:,} bytes"):
        download(NAME, hub=server.url, progress=False)
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 2 * WEIGHT_BYTES


def test_file_that_the_index_names_and_the_hub_lacks_is_named(server: HubServer, hub: Path, cache: Path) -> None:
    (hub / NAME / "inputs.json").unlink()
    with pytest.raises(CheckpointError, match=r"a file that its index names is not there .*inputs\.json answered 404"):
        download(NAME, hub=server.url, progress=False)
    assert cached() == []
    with pytest.raises(CheckpointError, match=r"inputs\.json: it is missing"):
        download(NAME, hub=str(hub))


def test_link_out_of_a_hub_in_a_folder_is_refused(hub: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (hub / NAME / "inputs.json").unlink()
    (hub / NAME / "inputs.json").symlink_to(secret)
    with pytest.raises(CheckpointError, match="leads out of the hub"):
        download(NAME, hub=str(hub))


def test_hub_published_to_during_a_download_is_read_once_more(hub: Path) -> None:
    class Republishing(HubServer):
        def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
            if request.path.endswith(WEIGHTS) and not self.asked[WEIGHTS]:
                shutil.rmtree(hub / NAME)  # between our reading the index and our reading the file
                write_checkpoint(hub / f"{NAME}@2", seed=2)
                write_index(hub, entry_of(hub, f"{NAME}@2"))
            super().answer(request)

    server = Republishing(hub)
    server.start()
    try:
        assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / f"{NAME}@2")
    finally:
        server.stop()


def test_file_damaged_in_the_cache_is_fetched_again_and_only_that_one(server: HubServer, hub: Path) -> None:
    folder = download(NAME, hub=server.url, progress=False)
    (folder / "inputs.json").write_text("[]")
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)
    assert server.asked[f"{NAME}/inputs.json"] == 2 and server.asked[WEIGHTS] == 1


# breaks, processes -----------------------------------------------------------------------------------------------------


def test_killed_download_is_taken_up_by_the_next_process(server: HubServer, hub: Path, cache: Path) -> None:
    server.slow_seconds = 0.2  # six pieces of 50 kB
    command = f"from moon_zoo.hub.download import download; download({NAME!r}, hub={server.url!r}, progress=False)"
    child = subprocess.Popen([sys.executable, "-c", command])
    while not any(part.stat().st_size >= 100_000 for part in parts(cache)):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    arrived = parts(cache)[0].stat().st_size
    assert 100_000 <= arrived < WEIGHT_BYTES and cached() == []
    server.slow_seconds = 0
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)
    assert server.ranges[-2][1] == arrived or (WEIGHTS, arrived) in server.ranges
    assert server.asked[f"{NAME}/README.md"] == 1 and parts(cache) == []


def test_part_left_damaged_by_a_dead_process_is_fetched_from_its_start(server: HubServer, hub: Path) -> None:
    server.drop_after, server.ignore_ranges = 100_000, True
    with pytest.raises(HubUnreachable):
        download(NAME, hub=server.url, progress=False)
    (part,) = parts(Path(os.environ["MOON_ZOO_CACHE"]))
    part.write_bytes(b"damaged" + part.read_bytes()[7:])
    server.ignore_ranges, server.drop_after = False, None
    assert contents(download(NAME, hub=server.url, progress=False)) == contents(hub / NAME)


def fetch_in_process(url: str, barrier: object, out: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    out.put(obtain(NAME, hub=url, progress=False).fetched)  # type: ignore[attr-defined]


def test_processes_that_want_the_same_checkpoint_fetch_it_once(server: HubServer, hub: Path) -> None:
    server.slow_seconds = 0.05
    context = multiprocessing.get_context("spawn")
    barrier, out = context.Barrier(3), context.Queue()
    children = [context.Process(target=fetch_in_process, args=(server.url, barrier, out)) for _ in range(3)]
    for child in children:
        child.start()
    fetched = [out.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert server.asked[WEIGHTS] == 1 and server.asked[f"{NAME}/config.yaml"] == 1 and any(fetched)
    assert contents(cached()[0].folder) == contents(hub / NAME)


def test_one_who_waits_for_another_process_is_told(
    server: HubServer, hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.slow_seconds = 0.05
    first = threading.Thread(target=download, args=(NAME,), kwargs={"hub": server.url, "progress": False})
    first.start()
    while not server.asked[WEIGHTS]:
        time.sleep(0.005)
    download(NAME, hub=server.url, progress=False)
    first.join()
    assert "another process is fetching tiny@" in caplog.text and server.asked[WEIGHTS] == 1


# offline, caches -------------------------------------------------------------------------------------------------------


def test_offline_takes_the_cached_checkpoint_and_asks_nobody(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = download(NAME, hub=server.url, progress=False)
    before = server.asked.total()
    monkeypatch.setenv("MOON_ZOO_OFFLINE", "1")
    monkeypatch.setenv("MOON_ZOO_HUB", server.url)
    assert download(NAME) == folder
    assert server.asked.total() == before
    monkeypatch.setenv("MOON_ZOO_OFFLINE", "0")
    assert download(NAME) == folder and server.asked.total() == before + 1


def test_offline_with_an_empty_cache_says_what_is_there(server: HubServer) -> None:
    with pytest.raises(
        CheckpointError, match="offline, and the checkpoint 'dual_flow/tiny' is not in the cache"
    ) as caught:
        download(NAME, hub=server.url, offline=True)
    assert "here are nothing" in str(caught.value) and not server.asked
    download(NAME, hub=server.url, progress=False)
    with pytest.raises(CheckpointError, match="did you mean: dual_flow/tiny"):
        download("dual_flow/tine", hub=server.url, offline=True)


def test_offline_still_reads_hubs_in_folders(hub: Path) -> None:
    assert download(NAME, hub=str(hub), offline=True) == hub / NAME


def test_damaged_cache_is_not_used_offline(server: HubServer) -> None:
    folder = download(NAME, hub=server.url, progress=False)
    (folder / "inputs.json").write_text("[]")
    with pytest.raises(
        CheckpointError, match=r"in the cache is damaged \(inputs\.json: .* its hub cannot be asked now"
    ):
        download(NAME, hub=server.url, offline=True)


def test_unreachable_hub_falls_back_on_the_cache_and_says_so(hub: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(hub) as server:
        folder = download(NAME, hub=server.url, progress=False)
    assert download(NAME, hub=server.url) == folder
    assert f"the hub {server.url} cannot be reached" in caplog.text and "taken from the cache instead" in caplog.text
    with pytest.raises(CheckpointError, match=r"cannot be reached: .*; the cache has no dual_flow/other of it"):
        download("dual_flow/other", hub=server.url)


def test_unknown_name_gets_suggestions_and_the_hubs_asked(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", server.url)
    with pytest.raises(CheckpointError, match="no hub has a checkpoint 'dual_flow/tinny'") as caught:
        download("dual_flow/tinny")
    assert caught.value.suggestions[0] == NAME and server.url in str(caught.value)


DOWNLOAD_AS_NOBODY = """
import os, sys
import httpx2, filelock, encodings.idna
from moon_zoo.errors import ZooError
from moon_zoo.hub import download, resolve
name, hub = sys.argv[1:]
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere; nobody may not
try:
    print(download.download(name, hub=hub, progress=False))
except ZooError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that others can reach, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        cache.mkdir()
        Path(folder).chmod(0o755)
        monkeypatch.setenv("MOON_ZOO_CACHE", str(cache))
        yield cache
        set_writable(cache, True)


def set_writable(cache: Path, writable: bool) -> None:
    for path in [cache, *cache.rglob("*")]:
        path.chmod((0o755 if writable else 0o555) if path.is_dir() else 0o444)


def test_read_only_cache_is_named_and_a_whole_checkpoint_in_it_still_works(server: HubServer, read_only: Path) -> None:
    command = [sys.executable, "-c", DOWNLOAD_AS_NOBODY, NAME, server.url]
    set_writable(read_only, False)
    refused = subprocess.run(command, capture_output=True, text=True)
    assert "dual_flow/tiny cannot be written into the cache: Permission denied" in refused.stderr
    assert str(read_only) in refused.stderr and "MOON_ZOO_CACHE, or --to, to a folder" in refused.stderr
    assert "Traceback" not in refused.stderr
    set_writable(read_only, True)
    folder = download(NAME, hub=server.url, progress=False)
    set_writable(read_only, False)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout.strip() == str(folder), again.stderr
    assert server.asked[WEIGHTS] == 1


def test_cache_that_is_a_file_is_named(server: HubServer, cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(CheckpointError, match="cannot be written into the cache: Not a directory"):
        download(NAME, hub=server.url, progress=False)


def test_full_disk_is_told_before_anything_is_fetched(server: HubServer, hub: Path) -> None:
    text = (hub / "index.yaml").read_text()
    (hub / "index.yaml").write_text(text.replace(f"bytes: {WEIGHT_BYTES}", f"bytes: {10**18}"))
    with pytest.raises(CheckpointError, match=r"needs 1,000,000,000,000 MB more, and .* are free"):
        download(NAME, hub=server.url, progress=False)
    assert server.asked[WEIGHTS] == 0


def test_lock_and_part_stand_beside_the_folder_they_belong_to(tmp_path: Path) -> None:
    assert lock_of(tmp_path / "a@1").parent == part_of(tmp_path / "a@1").parent == tmp_path


def test_record_of_a_cached_checkpoint_is_the_hubs_entry(server: HubServer, hub: Path) -> None:
    folder = download(NAME, hub=server.url, progress=False)
    record = json.loads((folder / ".hub.json").read_text())
    assert record["hub"] == server.url and record["checkpoints"][NAME]["files"]["inputs.json"]["bytes"] == 2
