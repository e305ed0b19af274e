"""The verbs download, cache, list and show, on checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from moon_zoo.cli.main import main
from moon_zoo.hub.cached import lock_of
from moon_zoo.hub.download import download
from tests.hub.making import NAME, entry_of, make_hub
from tests.hub.server import HubServer
from tests.hub.test_download import contents


def test_download_prints_the_folder_and_says_where_it_came_from(
    server: HubServer, hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", NAME, "--hub", server.url]) == 0
    out, err = capsys.readouterr()
    assert contents(Path(out.strip())) == contents(hub / NAME)
    assert f"dual_flow/tiny: 300.1 kB, licence CC0-1.0, fetched from {server.url}" in err
    assert main(["download", f"{server.url}#{NAME}", "--json", "--quiet"]) == 0
    again, err = capsys.readouterr()
    told = json.loads(again)
    assert told["path"] == out.strip() and told["revision"] == entry_of(hub, NAME).revision and not told["fetched"]
    assert err == ""


def test_download_to_a_folder_and_offline(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", NAME, "--hub", server.url, "--to", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "mine") and (tmp_path / "mine" / "config.yaml").is_file()
    assert main(["download", NAME, "--hub", server.url, "--offline"]) == 2
    assert "offline, and the checkpoint 'dual_flow/tiny' is not in the cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["download"], "the following arguments are required: name"),
        (["download", "a/b", "--hubb", "x"], "did you mean: --hub"),
        (["download", "x#a/b", "--hub", "y"], "two hubs: x and y"),
        (["download", "a/b", "--hub", "nowhere"], "nowhere is no hub"),
        (["cache", "claen"], "did you mean: clean"),
        (["cache", "clean"], "nothing said about what to clean"),
        (["cache", "clean", "nothing-like-it"], "nothing in the cache is called 'nothing-like-it'"),
        (["cache", "--all"], "say what to clean"),
        (["cache", "clean", "--older-than", "soon"], "'soon' is no number of days"),
        (["list", "models", "--checkpoints"], "--checkpoints lists checkpoints, not models"),
    ],
)
def test_mistakes_are_one_message(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    text = capsys.readouterr().err
    assert said in text and "Traceback" not in text


def test_list_shows_every_hub_with_what_is_here(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_hub(tmp_path / "near", "m/near")
    monkeypatch.setenv("MOON_ZOO_HUB", f"{server.url} {tmp_path / 'near'} http://127.0.0.1:9/hub")
    assert main(["list", "checkpoints", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(out)["checkpoints"] if row["name"] in (NAME, "m/near")}
    assert (rows[NAME]["hub"], rows[NAME]["here"], rows[NAME]["path"]) == (server.url, "no", None)
    assert (rows["m/near"]["hub"], rows["m/near"]["here"]) == (str(tmp_path / "near"), "in place")
    assert "note: the hub http://127.0.0.1:9/hub cannot be reached" in err
    download(NAME, progress=False)
    assert main(["list", "--checkpoints"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["name", "what it is", "size", "licence", "here", "hub"]
    assert [NAME, "noise", "300.1 kB", "CC0-1.0", "cached", server.url] in lines
    assert main(["list"]) == 0
    assert f"checkpoints\t{NAME}\tnoise" in capsys.readouterr().out.splitlines()


def test_list_offline_shows_what_is_cached_and_asks_nobody(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", server.url)
    download(NAME, progress=False)
    before = server.asked.total()
    monkeypatch.setenv("MOON_ZOO_OFFLINE", "1")
    assert main(["list", "checkpoints"]) == 0
    assert f"\tcached\t{server.url}" in capsys.readouterr().out and server.asked.total() == before


def test_list_notes_a_hostile_entry_and_shows_the_others(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (hub / "index.yaml").read_text()
    (hub / "index.yaml").write_text(text + "  m/evil: {path: ../x, files: {a.json: {bytes: 1, sha256: x}}}\n")
    monkeypatch.setenv("MOON_ZOO_HUB", str(hub))
    assert main(["list", "checkpoints"]) == 0
    out, err = capsys.readouterr()
    assert NAME in out and "m/evil" not in out and "note: the sha256 of a.json is 'x'" in err


def test_show_has_card_files_and_hub_without_fetching_weights(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOON_ZOO_HUB", server.url)
    assert main(["show", NAME]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# tiny 0\n") and "| model.safetensors | 300.0 kB |" in text
    assert f"- hub: {server.url}" in text and "- licence: CC0-1.0" in text and "- here: not here" in text
    assert set(server.asked) == {"index.yaml", f"{NAME}/README.md"}
    folder = download(NAME, progress=False)
    assert main(["show", NAME]) == 0
    assert f"- here: cached in {folder}" in capsys.readouterr().out
    assert main(["show", str(folder)]) == 0
    assert "# tiny 0" in capsys.readouterr().out
    assert main(["show", "dual_flow/tine"]) == 2
    assert f"did you mean: {NAME}" in capsys.readouterr().err


def test_show_refuses_a_card_that_was_altered(server: HubServer, hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hub / NAME / "README.md").write_text("# other\n")
    assert main(["show", f"{server.url}#{NAME}"]) == 2
    assert "is not the one that the hub's index names" in capsys.readouterr().err


def test_checkpoint_with_a_recipes_name_is_told_of_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_hub(tmp_path / "hub", "dual_flow/quickstart")
    monkeypatch.setenv("MOON_ZOO_HUB", str(tmp_path / "hub"))
    assert main(["show", "dual_flow/quickstart"]) == 0
    out, err = capsys.readouterr()
    assert "trainer" in out and "show dual_flow/quickstart --checkpoint" in err
    assert main(["show", "dual_flow/quickstart", "--checkpoint"]) == 0
    assert capsys.readouterr().out.startswith("# tiny 0")


# the cache -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(cache: Path, server: HubServer) -> dict[str, Path]:
    """A cache with one of everything; kind to where it is."""
    found = {"checkpoint": download(NAME, hub=server.url, progress=False)}
    for kind, path in {
        "shard": cache / "shards" / ("ab" * 32 + ".tar"),
        "part": cache / "shards" / f".{'cd' * 16}.part",
        "shop": cache / "shop" / "product-10x1-32px-0123" / "train" / "manifest.json",
        "stranger": cache / "holiday.jpg",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        found[kind] = path
    unfinished = found["checkpoint"].with_name(".other@0123.part")
    unfinished.mkdir()
    (unfinished / ".ab.part").write_bytes(bytes(50))
    return {**found, "unfinished": unfinished}


def test_cache_lists_everything_of_ours_with_sizes(
    full: dict[str, Path], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    kinds = [line[0] for line in lines]
    assert kinds == ["kind", "checkpoint", "unfinished", "shop", "unfinished", "shards"]
    assert lines[1][1].startswith(f"{NAME}@") and lines[-1][1:3] == ["1 file", "1.0 kB"]
    assert main(["cache", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cache"] == str(cache) and "holiday.jpg" not in str(told)
    assert {thing["path"] for thing in told["things"]} == {
        str(full["checkpoint"]), str(full["unfinished"]), str(full["shard"]), str(full["part"]), str(full["shop"].parents[1])
    }  # fmt: skip


def test_cache_cleans_what_is_named_and_nothing_else(full: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clean", NAME, "--yes"]) == 0
    assert not full["checkpoint"].exists() and full["shard"].exists() and full["unfinished"].exists()
    assert main(["cache", "clean", "unfinished", "shards", "--yes"]) == 0
    assert not full["unfinished"].exists() and not full["part"].exists() and not full["shard"].exists()
    assert full["shop"].exists()
    capsys.readouterr()
    assert main(["cache", "clean", "--all", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == ["shop/product-10x1-32px-0123"]
    assert full["stranger"].exists() and main(["cache"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_cache_cleans_what_was_not_used_for_long(full: dict[str, Path]) -> None:
    old = time.time() - 10 * 86_400
    os.utime(full["shard"], (old, old))
    assert main(["cache", "clean", "--older-than", "9", "--yes"]) == 0
    assert not full["shard"].exists() and full["checkpoint"].exists() and full["shop"].exists()


def test_cache_leaves_alone_what_another_process_is_writing(
    full: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(lock_of(full["checkpoint"])):
        assert main(["cache", "clean", NAME, "--yes"]) == 0
    assert full["checkpoint"].exists() and "another process is writing it" in capsys.readouterr().err


def test_cache_asks_before_it_cleans(full: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "moon_zoo", "cache", "clean", "--all"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "nobody can be asked" in done.stderr and "add --yes" in done.stderr
    assert full["checkpoint"].exists() and full["shard"].exists()


def test_listing_and_cache_import_nothing_heavy(hub: Path) -> None:
    program = (
        "import sys; from moon_zoo.cli.main import main; code = main(sys.argv[1:]); heavy = ('torch', 'numpy', 'lightning', "
        "'rich', 'httpx2', 'fsspec', 'huggingface_hub'); print(code, [n for n in heavy if n in sys.modules])"
    )
    for words in (["list", "checkpoints"], ["cache"], ["show", NAME], ["download", NAME, "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            env={**os.environ, "MOON_ZOO_HUB": str(hub)},
        )
        assert done.stdout.splitlines()[-1] == "0 []", words
