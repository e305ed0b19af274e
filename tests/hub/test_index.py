"""What an index may say, and what is refused of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from moon_zoo.errors import CheckpointError
from moon_zoo.hub.download import download
from moon_zoo.hub.index import HubEntry, HubFile, Index, parse_index
from moon_zoo.hub.names import check_file, check_path, is_name
from tests.hub.making import NAME, entry_of
from tests.hub.server import HubServer

SHA = "ab" * 32


def entry(**changes: object) -> HubEntry:
    files = {"config.yaml": HubFile(3, SHA), "model.safetensors": HubFile(40, "cd" * 32)}
    values = {"name": "m/x", "path": "m/x", "summary": "s", "class_path": "a.B", "moon_zoo": "0.1", "licence": "MIT"}
    return HubEntry(**{**values, "files": files, **changes})  # type: ignore[arg-type]


def index_text(name: str = "m/x", path: object = "m/x", **files: object) -> str:
    listed = {"config.yaml": {"bytes": 3, "sha256": SHA}, "model.safetensors": {"bytes": 40, "sha256": SHA}, **files}
    return yaml.safe_dump({"format": 1, "checkpoints": {name: {"path": path, "files": listed}}})


def test_index_reads_back_what_it_writes() -> None:
    index = Index({"m/x": entry(summary="Zwei: *Türme* # nicht &c"), "a/b": entry(name="a/b", path="a/b@0123")})
    again = parse_index(index.to_yaml(), "hub/index.yaml")
    assert again.entries == index.entries and list(again.entries) == ["a/b", "m/x"] and again.faults == {}
    assert again.entry("m/x").bytes == 43


def test_revision_follows_the_files_and_nothing_else() -> None:
    one = entry()
    assert len(one.revision) == 12 and one.revision == entry(summary="other", path="m/x@1", licence="").revision
    turned = dict(reversed(one.files.items()))
    assert entry(files=turned).revision == one.revision
    assert entry(files={**one.files, "config.yaml": HubFile(4, SHA)}).revision != one.revision


@pytest.mark.parametrize("name", ["dual_flow/shop", "a/b/c", "0x/1-2.3_4"])
def test_names_have_two_plain_parts_or_more(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["shop", "A/b", "a//b", "/a/b", "a/b/", "../b", "a/..", "a b/c", "a/b\n", "x" * 300 + "/y"]
)
def test_other_words_are_no_names(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../etc/passwd", "leads out of its folder"),
        ("a/../../b.json", "leads out of its folder"),
        ("/etc/passwd", "no relative path"),
        ("~/x.json", "no relative path"),
        ("C:/x.json", "no relative path"),
        ("a\\b.json", "no relative path"),
        ("https://elsewhere/model.safetensors", "leads to another place"),
        ("//elsewhere/x.json", "no relative path"),
        (".hub.json", "hidden file"),
        ("a/.ssh/config.json", "hidden file"),
        ("a//b.json", "characters that file names here do not have"),
        ("a\x1b[2Jb.json", "characters that file names here do not have"),
        ("a%2e%2e/b.json", "characters that file names here do not have"),
        ("", "no text"),
        (7, "no text"),
        ("a" * 250, "characters that file names here do not have"),
    ],
)
def test_hostile_paths_are_refused_with_the_reason(path: object, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        check_path(path, "hub/index.yaml")
    assert "hub/index.yaml" in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["pytorch_model.bin", "model.ckpt", "x/weights.PT", "a.pkl", "v.npy", "v.npz", "m.pth", "x.joblib"]
)
def test_pickles_are_refused_with_the_reason(path: str) -> None:
    with pytest.raises(CheckpointError, match="reading a pickle can run any code"):
        check_file(path, "hub/index.yaml")


@pytest.mark.parametrize("path", ["run.py", "lib.so", "setup.sh", "Makefile", "page.html", "a.svg"])
def test_files_of_other_kinds_are_refused(path: str) -> None:
    with pytest.raises(CheckpointError, match="checkpoints hold no"):
        check_file(path, "hub/index.yaml")


@pytest.mark.parametrize(
    "path",
    ["model.safetensors", "text_tower/config.json", "README.md", "a.model", "t.jinja", "embeddings/items.parquet"],
)
def test_files_of_checkpoints_pass(path: str) -> None:
    assert check_file(path, "hub/index.yaml") == path


def test_a_hostile_entry_spoils_itself_and_no_other() -> None:
    good = yaml.safe_load(index_text())["checkpoints"]
    bad = yaml.safe_load(index_text("m/evil", "../outside"))["checkpoints"]
    worse = yaml.safe_load(index_text("../m/evil"))["checkpoints"]
    index = parse_index(yaml.safe_dump({"format": 1, "checkpoints": {**good, **bad, **worse}}), "hub/index.yaml")
    assert list(index.entries) == ["m/x"] and set(index.faults) == {"m/evil", "../m/evil"}
    with pytest.raises(CheckpointError, match=r"the path '../outside', which is refused: it leads out of its folder"):
        index.entry("m/evil")
    with pytest.raises(CheckpointError, match="cannot be a checkpoint's name"):
        index.entry("../m/evil")
    with pytest.raises(CheckpointError):
        index.to_yaml()  # writing it again would drop them without a word


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it must hold `format: 1`"),
        ("<html><body>Log in</body></html>", "it must hold `format: 1`"),
        ("- a\n- b", "it must hold `format: 1`"),
        ("format: 1\ncheckpoints: [1]", "it must hold `format: 1`"),
        ("format: 2\ncheckpoints: {}", "is of format 2, this version of moon-zoo reads format 1"),
        ("a: [", "it is no YAML"),
        ("a: !!python/object/apply:os.system [ls]", "it is no YAML"),
        ("a: &x [1]\nb: [*x, *x]", "it holds YAML aliases"),
        ("a: &x {b: 1}\nc: {<<: *x}", "it holds YAML aliases"),
        ("\x00", "it is no YAML"),
    ],
)
def test_what_is_no_index_is_told(text: str, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_index(text, "https://host/index.yaml")
    assert said in str(caught.value) and "https://host/index.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.safetensors": None}, "the size of model.safetensors is None"),
        ({"model.safetensors": {"bytes": -1, "sha256": SHA}}, "is -1, not a number of bytes"),
        ({"model.safetensors": {"bytes": True, "sha256": SHA}}, "not a number of bytes"),
        ({"model.safetensors": {"bytes": 1, "sha256": "AB" * 32}}, "not 64 hex digits"),
        ({"model.safetensors": {"bytes": 1, "sha256": 12}}, "is 12, not 64 hex digits"),
        ({"README.md": {"bytes": 1, "sha256": SHA}, "readme.md": {"bytes": 1, "sha256": SHA}}, "upper and lower case"),
        ({"model.bin": {"bytes": 1, "sha256": SHA}}, "reading a pickle can run any code"),
    ],
)
def test_entries_that_cannot_be_checked_are_refused(changes: dict[str, object], said: str) -> None:
    index = parse_index(index_text(**changes), "i")
    with pytest.raises(CheckpointError) as caught:
        index.entry("m/x")
    assert said in str(caught.value)


@pytest.mark.parametrize("missing", ["config.yaml", "model.safetensors"])
def test_entry_without_config_or_weights_is_no_checkpoint(missing: str) -> None:
    document = yaml.safe_load(index_text())
    del document["checkpoints"]["m/x"]["files"][missing]
    with pytest.raises(CheckpointError, match=f"m/x has no {missing}"):
        parse_index(yaml.safe_dump(document), "i").entry("m/x")


def test_text_of_a_hub_cannot_steer_a_terminal() -> None:
    text = yaml.safe_dump({"format": 1, "checkpoints": {"m/x": {
        **yaml.safe_load(index_text())["checkpoints"]["m/x"], "summary": "a\x1b[31m\nb" + "c" * 999}}})  # fmt: skip
    summary = parse_index(text, "i").entry("m/x").summary
    assert summary.startswith("a [31m b") and len(summary) == 300


@pytest.mark.parametrize(
    ("path", "name", "said"),
    [
        ("../../secret", NAME, "it leads out of its folder"),
        ("/etc", NAME, "it is no relative path"),
        ("https://elsewhere/x", NAME, "it leads to another place"),
    ],
)
def test_a_hub_that_names_hostile_paths_is_not_asked_for_them(
    server: HubServer, hub: Path, cache: Path, path: str, name: str, said: str
) -> None:
    text = (hub / "index.yaml").read_text()
    (hub / "index.yaml").write_text(text.replace(f"path: {NAME}", f"path: {path}"))
    with pytest.raises(CheckpointError, match=said):
        download(name, hub=server.url, progress=False)
    assert list(server.asked) == ["index.yaml"] and not cache.exists()


def test_pickle_offered_by_a_hub_is_not_fetched(server: HubServer, hub: Path, cache: Path) -> None:
    (hub / NAME / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (hub / "index.yaml").write_text(Index({NAME: entry_of(hub, NAME)}).to_yaml())
    with pytest.raises(
        CheckpointError, match=r"offers pytorch_model\.bin, which is refused: \.bin files are or may hold"
    ):
        download(NAME, hub=server.url, progress=False)
    assert list(server.asked) == ["index.yaml"] and not cache.exists()
