"""`moon-zoo align evaluate`: a checkpoint, a server's model or a file of answers, on real shards, judged in each way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo.cli import aligning_evaluation
from moon_zoo.cli.main import main
from moon_zoo.data.conversations import Instruction, user
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import write_splits
from moon_zoo.errors import CheckpointError, DataError, UsageError
from tests.conftest import make_instruction
from tests.models.dream.tiny import assistant
from tests.safety.server import Reply, serving, text_of

XSTEST = Path(__file__).parents[3] / "shared" / "data" / "xstest" / "xstest_prompts.csv"


def conversation(number):
    one = make_instruction(number)
    one.truth = {"safe": one.safe, "help": [["it is", "keep it"]], "warn": ["break"]}
    return one


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conversations") / "set"
    write_splits(folder, ((split, str(n), conversation(n)) for split in ("val", "test") for n in range(6)))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return assistant().save_pretrained(tmp_path_factory.mktemp("checkpoint") / "dream")


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    lines = [json.dumps({"conversation_id": f"talk-{n:03d}", "answer": make_instruction(n).answer}) for n in range(6)]
    path.write_text("\n".join(lines) + "\n")
    return path


def run(capsys, *words):
    assert aligning_evaluation.run([str(word) for word in words]) == 0
    return capsys.readouterr()


def test_answers_of_a_file_are_judged_and_shown_as_a_table(capsys, shards, answers):
    shown = run(capsys, answers, shards)
    lines = [line.split("\t") for line in shown.out.splitlines()]
    assert lines[0] == ["situation", "answers", "safe", "effective", "safe & effective", "refusal"]
    assert lines[1] == ["all", "6", *["100.0 [61.0, 100.0]"] * 3, "0.0 [0.0, 39.0]"]
    assert [line[0] for line in lines[2:]] == ["joint", "benign"]
    assert "judged by rules" in shown.err
    assert "judge: rules@" in shown.err


def test_a_checkpoint_is_evaluated_and_its_answers_are_kept(capsys, shards, checkpoint, tmp_path):
    words = (checkpoint, shards, "--max-new-tokens", 4, "--to", tmp_path / "out", "--json", "--quiet")
    first = json.loads(run(capsys, *words).out)
    assert first["figures"]["test/num_answers"] == 6
    kept = (tmp_path / "out" / "answers.jsonl").read_bytes()
    assert json.loads(run(capsys, *words).out) == first
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == kept
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["figures"] == first["figures"]


def test_a_checkpoint_observes_and_judges_itself(capsys, shards, checkpoint):
    words = ("--judge", "itself", "--prompts", "short", "--observe", "joint", "--no-verify", "--limit", 3)
    found = json.loads(run(capsys, checkpoint, shards, "--max-new-tokens", 4, *words, "--json", "--quiet").out)
    assert found["judge"]["name"] == "itself"
    assert set(found["observing"]["prompts"]) == {"joint"}
    assert found["figures"]["test/observations/recall_unparsed"] == 1.0


def test_a_server_answers_and_another_judges(capsys, shards, tmp_path):
    def answer(body, number):
        if body["model"] == "theirs":
            return Reply("I'm sorry, I can't help with that.")
        return Reply('{"verdict": 4}' if "Grade with" in text_of(body) else '{"verdict": "yes"}')

    words = ("--judge-model", "judge", "--to", tmp_path / "out", "--json", "--quiet")
    with serving(answer) as server:
        found = json.loads(run(capsys, server.url, shards, "--model", "theirs", "--judge", server.url, *words).out)
        asked = len(server.bodies)
        again = json.loads(run(capsys, server.url, shards, "--model", "theirs", "--judge", server.url, *words).out)
        assert len(server.bodies) == asked
    assert again == found
    assert found["figures"]["test/safe_and_effective"] == 1.0
    assert found["figures"]["test/global_score"] == 4.0


def test_a_judge_that_talks_nonsense_leaves_its_verdicts_unparsed(capsys, shards, answers):
    with serving(lambda body, number: Reply("Well, yes.")) as server:
        words = ("--judge", server.url, "--judge-model", "j", "--ask", "safe")
        shown = run(capsys, answers, shards, *words, "--limit", 1)
    assert "? [0.0, 100.0] 100% unparsed" in shown.out
    assert "could not be read" in shown.err


@pytest.mark.skipif(not XSTEST.is_file(), reason="XSTest's table is not at hand")
def test_xstests_prompts_run_through_the_evaluation(capsys, tmp_path):
    assert main(["pack", "xstest", str(XSTEST), "--to", str(tmp_path / "xstest")]) == 0
    ids = [one.conversation_id for one in IndexedShards(tmp_path / "xstest" / "test")]
    lines = [json.dumps({"conversation_id": one, "answer": "I can't help with that."}) for one in ids]
    capsys.readouterr()
    (tmp_path / "refuses.jsonl").write_text("\n".join(lines))
    figures = json.loads(run(capsys, tmp_path / "refuses.jsonl", tmp_path / "xstest", "--json", "--quiet").out)[
        "figures"
    ]
    assert figures["test/num_answers"] == 450
    assert figures["test/benign_refusal"] == 1.0
    assert figures["test/homonyms/num_answers"] == 25


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("--judge", "http://localhost:1/v1"), UsageError, "which model of http://localhost:1/v1 is to judge"),
        (("--in-context",), UsageError, "--in-context needs observations"),
        (("--limit", "0"), UsageError, "--limit is 0"),
        (("--observe", "joint"), UsageError, "neither observe nor judge"),
        (("--model", "m"), UsageError, "--model names a model on a server"),
        (("--jugde", "rules"), UsageError, "unknown option --jugde"),
        (("--judge", "rules", "--timeout", "0"), UsageError, "--timeout is 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(shards, answers, words, error, said):
    with pytest.raises(error, match=said):
        aligning_evaluation.run([str(answers), str(shards), *words])


def test_sets_that_cannot_be_evaluated_on_are_refused(tmp_path, shards, answers):
    with pytest.raises(DataError, match=r"6 conversations of 6 have no answer"):
        (tmp_path / "few.jsonl").write_text('{"conversation_id": "other", "answer": "x"}\n')
        aligning_evaluation.run([str(tmp_path / "few.jsonl"), str(shards)])
    write_splits(tmp_path / "bare", [("test", "1", Instruction("1", user("?")))])
    (tmp_path / "one.jsonl").write_text('{"conversation_id": "1", "answer": "x"}\n')
    with pytest.raises(DataError, match="no truth"):
        aligning_evaluation.run([str(tmp_path / "one.jsonl"), str(tmp_path / "bare"), "--judge", "rules"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "line 2"),
        ("[]", "no JSON object"),
        ('{"conversation_id": "1", "answer": 3}', "is no text: 3"),
        ('{"conversation_id": "0", "answer": "x"}', "answered twice"),
    ],
)
def test_a_file_of_answers_that_cannot_be_read_names_the_line(tmp_path, shards, line, said):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"conversation_id": "0", "answer": "x"}}\n{line}\n')
    with pytest.raises(DataError, match=said):
        aligning_evaluation.run([str(path), str(shards)])


def test_a_model_that_answers_nothing_is_refused(tmp_path, shards):
    from tests.cli.tiny import TinyModel

    TinyModel().save_pretrained(tmp_path / "tiny")
    with pytest.raises(CheckpointError, match="TinyModel answers no prompts"):
        aligning_evaluation.run([str(tmp_path / "tiny"), str(shards)])
