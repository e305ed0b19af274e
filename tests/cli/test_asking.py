"""`moon-zoo predict --question`: steps as they come, the question on stdout, and what is missing said plainly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo.cli.main import main
from moon_zoo.knowledge.building import StoreWriter
from tests.knowledge.toy import TEXTS, TIES
from tests.models.followup.tiny import tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asking") / "checkpoint"
    tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asking") / "toy.sqlite"
    with StoreWriter(path, name="toy") as writer:
        for key, text in TEXTS.items():
            writer.page(key, key, text)
        for start, ties in TIES.items():
            for end, weight, reason in ties:
                writer.link(start, end, weight, reason)
    return path


def test_steps_are_told_and_the_question_alone_is_printed(
    checkpoint: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "graph.html"
    words = ["predict", "--ckpt_path", str(checkpoint), "--store", str(store), "--draw", str(picture)]
    assert main([*words, "--question", "is the mug stoneware?", "--answer", "yes, it is."]) == 0
    said = capsys.readouterr()
    assert len(said.out.strip().splitlines()) == 1
    heads = [line.split()[0] for line in said.err.splitlines() if not line.startswith(" ")]
    assert heads[:6] == ["topic", "keywords", "page", "graph", "concept", "knowledge"]
    assert "stoneware" in picture.read_text("utf-8")


def test_json_has_all_that_was_found(checkpoint: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--ckpt_path", str(checkpoint), "--store", str(store), "--json", "--mode", "paper"]
    assert main([*words, "--question", "is the mug stoneware?"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["provenance"]["mode"] == "paper" and found["nodes"][0]["level"] == 0
    assert found["concept"] in TEXTS


@pytest.mark.parametrize("question", ["", "🙂", "木の器は何ですか"])
def test_questions_about_nothing_known_are_answered_without_an_error(
    checkpoint: Path, store: Path, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--ckpt_path", str(checkpoint), "--store", str(store), "--answer", ""]
    assert main([*words, f"--question={question}"]) == 0
    assert "page       (none)" in capsys.readouterr().err


def test_without_a_store_a_question_is_asked_from_the_two_texts(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--ckpt_path", str(checkpoint), "--question", "is it?", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.strip()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--question", "a?"], "no model is named"),
        (["--answer", "a", "--ckpt_path", "x"], "--question"),
        (["--question", "a?", "--ckpt_path", "{ckpt}", "--draw", "x.png"], "without a store"),
        (["--question", "a?", "--ckpt_path", "{ckpt}", "--store", "not-there.sqlite"], "not-there.sqlite"),
        (["--question", "a?", "--ckpt_path", "{ckpt}", "--colour", "red"], "unknown option --colour"),
    ],
)
def test_mistakes_are_one_message(
    checkpoint: Path, words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *(word.replace("{ckpt}", str(checkpoint)) for word in words)]) == 2
    assert wanted in capsys.readouterr().err
