"""The whole loop on a tiny shop: once through, and killed at every stage."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moon_zoo import IndexedShards
from moon_zoo.cli.main import main
from moon_zoo.data.conversations import Preference

TINY = """
align:
  stages: [dream/instruction_tuning, dream/sft]
  preference: dream/preference
  products: 60
  rounds: 2
  samples: 3
  temperature: 1.5
  prompts_per_round: 16
  max_new_tokens: 12
  margin: 0.0
  length_ratio: 50
  judge: itself  # an untrained assistant's answers are all alike to the rules
  judge_prompts: short
  fit:
    model.photo_size: 32
    model.vocab_size: 400
    model.generation_samples: 1
    model.max_prompt_tokens: 400
    model.observing_tokens: 200
    model.backbone_options: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1,
      intermediate_size: 16, vision_config: {hidden_size: 16, depth: 1, num_heads: 2, intermediate_size: 16}}
    data.num_workers: 0
    data.batch_size: 4
    trainer.max_epochs: 2
    trainer.limit_train_batches: 2
    trainer.limit_val_batches: 2
    trainer.check_val_every_n_epoch: 1
    trainer.precision: 32-true
"""


INSIDE = (
    "stages/base/checkpoints/last.ckpt",
    "evaluations/base/val/answers.jsonl",
    "round-1/.samples.rows.jsonl",
    "steps/round-1/samples.json",
    "steps/round-1/judged.json",
    "round-1/run/checkpoints/last.ckpt",
    "steps/evaluations/round-1/val.json",
)
"""What appears while a stage is under way: a training after the first of its two epochs, an evaluation, sampling, judging,
pairing, the round's training, promotion."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY, "utf-8")
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished alignment."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["align", "--config", str(recipe), "--run", str(run), "--quiet"]) == 0
    return run


def pairs_of(run: Path, number: int) -> list[Preference]:
    sets = (IndexedShards(run / f"round-{number}" / "pairs" / split) for split in ("train", "val"))
    return [one[place] for one in sets for place in range(len(one))]


def test_one_command_runs_the_rounds_and_tells_what_came_of_them(whole: Path) -> None:
    report = json.loads((whole / "report.json").read_text("utf-8"))
    assert [(row["name"], row["split"]) for row in report["rows"]] == [
        ("base", "val"),
        ("base", "test"),
        ("sft", "val"),
        ("sft", "test"),
        ("round 1", "val"),
        ("round 2", "val"),
        ("round 2", "test"),
    ]
    for row in report["rows"]:
        low, value, high = (row["figures"][f"safe_and_effective{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1
    for one in report["rounds"]:
        counts = one["pairs"]
        assert counts["pairs"] + sum(value for name, value in counts.items() if name.startswith("dropped/")) == 16
        assert counts["train"] + counts["val"] == counts["pairs"] == len(pairs_of(whole, one["number"]))
        assert one["judged"]["unparsed"] == 0
    assert (whole / "report.png").read_bytes().startswith(b"\x89PNG")


def test_every_pair_says_where_it_comes_from(whole: Path) -> None:
    for number in (1, 2):
        for pair in pairs_of(whole, number):
            assert pair.chosen != pair.rejected
            assert pair.scores["chosen"] > pair.scores["rejected"]
            assert pair.round == number and pair.judge.startswith("itself ")
            assert pair.origin["seed"] == 7 + number and pair.origin["samples"] == 3
            assert {pair.origin["chosen"], pair.origin["rejected"]} <= {0, 1, 2}


def test_every_set_names_its_parent(whole: Path) -> None:
    place = whole / "round-1"
    chain = [whole / "conversations" / "train", place / "samples", place / "judged", place / "pairs" / "train"]
    for before, after in itertools.pairwise(chain):
        manifest = json.loads((after / "manifest.json").read_text("utf-8"))
        assert manifest["parents"] == [IndexedShards(before).manifest.fingerprint]
        assert manifest["command"].startswith("moon-zoo align")


def test_rounds_ask_different_conversations(whole: Path) -> None:
    asked = []
    for number in (1, 2):
        samples = IndexedShards(whole / f"round-{number}" / "samples")
        asked.append({samples[place].conversation_id for place in range(len(samples))})
    assert len(asked[0]) == len(asked[1]) == 16 and not asked[0] & asked[1]


def test_killed_again_and_again_it_ends_with_the_same_pairs(recipe: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    steps = len(json.loads((whole / "report.json").read_text("utf-8"))["seconds"])
    command = [sys.executable, "-m", "moon_zoo", "align", "--config", str(recipe), "--run", str(run), "--quiet"]
    for mark in INSIDE:
        process = subprocess.Popen(command, env=dict(os.environ), start_new_session=True, stderr=subprocess.PIPE)
        while process.poll() is None:
            if (run / mark).exists():
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.01)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, mark
    done = {path: path.read_bytes() for path in (run / "steps").rglob("*.json")}
    assert 0 < len(done) < steps
    assert main(["align", "--config", str(recipe), "--run", str(run), "--quiet"]) == 0
    assert all(path.read_bytes() == before for path, before in done.items()), "a finished step was done again"
    for fitted in ("stages/base", "round-1/run"):
        assert "--resume" in (run / fitted / "config.yaml").read_text("utf-8").splitlines()[1], "it began anew"
        figures = [json.loads((folder / fitted / "metrics.json").read_text("utf-8")) for folder in (run, whole)]
        assert figures[0] == figures[1]
    for number in (1, 2):
        found, expected = pairs_of(run, number), pairs_of(whole, number)
        assert [(one.conversation_id, one.chosen, one.rejected) for one in found] == [
            (one.conversation_id, one.chosen, one.rejected) for one in expected
        ]


# mistakes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "dual_flow/quickstart"], "has no key align"),
        (["--config", "dream/quickstart", "--set", "marign=0.2"], "unknown key 'marign' under align"),
        (["--config", "dream/quickstart", "--set", "rounds=many"], "align.rounds is 'many', which is no number"),
        (["--config", "dream/quickstart", "--rounds", "-1"], "rounds is -1"),
        (["sampel"], "unknown stage 'sampel'"),
    ],
)
def test_mistakes_are_told_before_any_time_is_spent(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["align", *words, *(["--run", str(run)] if words[0] == "--config" else [])]) == 2
    assert said in capsys.readouterr().err
    assert not run.exists()


def test_a_recipe_of_an_alignment_is_no_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "dream/quickstart"]) == 2
    assert "moon-zoo align" in capsys.readouterr().err


def test_samples_that_are_none_are_refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = str(whole / "conversations" / "train")
    assert main(["align", "judge", plain, "--to", str(tmp_path / "judged")]) == 2
    assert "has no samples" in capsys.readouterr().err
    assert main(["align", "pairs", plain, "--to", str(tmp_path / "pairs")]) == 2
    assert "has no verdicts" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "pairs").exists()


def test_a_judge_that_is_down_stops_the_round_or_leaves_it_unparsed(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "align",
        "judge",
        str(whole / "round-1" / "samples"),
        "--judge",
        "http://127.0.0.1:9/v1",
        "--judge-model",
        "x",
    ]
    assert main([*words, "--to", str(tmp_path / "stopped")]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err
    assert not (tmp_path / "stopped").exists()
    assert main([*words, "--to", str(tmp_path / "judged"), "--on-unavailable", "unparsed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unparsed_rate"] == 1.0
    assert main(["align", "pairs", str(tmp_path / "judged"), "--to", str(tmp_path / "pairs")]) == 2
    assert "unscored 16" in capsys.readouterr().err


def test_a_worse_policy_is_not_promoted(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("good", 0.9), ("bad", 0.5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps({"figures": {"val/safe_and_effective": value}}))
    better, worse = str(whole / "stages" / "base"), str(whole / "round-1" / "run")
    words = ["align", "promote", worse, "--instead-of", better, "--json"]
    for after, before, promoted in (("bad", "good", False), ("good", "bad", True)):
        given = ["--evaluation", str(tmp_path / after), "--evaluation-before", str(tmp_path / before)]
        given += ["--to", str(tmp_path / f"policy-{promoted}")]
        assert main([*words, *given]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["promoted"] is promoted and found["policy"] == (worse if promoted else better)
