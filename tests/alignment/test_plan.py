"""An alignment's steps, as commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from moon_zoo.alignment.plan import Alignment, plan, read
from moon_zoo.cli.main import main
from moon_zoo.errors import UsageError


def test_options_of_the_judge_reach_rounds_and_evaluations_alike(tmp_path: Path) -> None:
    alignment = Alignment(
        judge="http://localhost:1/v1", judge_model="j", judge_options={"timeout": 5, "no_images": True}
    )
    judging = [step.words for step in plan(alignment, tmp_path).steps if step.words[1] in ("judge", "evaluate")]
    assert len(judging) == 9  # two rounds; val of four models, test of three
    for words in judging:
        assert words[words.index("--timeout") + 1] == "5"
        assert "--no-images" in words and words[words.index("--judge-model") + 1] == "j"


def test_batch_size_reaches_all_that_answers(tmp_path: Path) -> None:
    steps = plan(read({"batch_size": 96}, "here.yaml"), tmp_path).steps
    answering = [step.words for step in steps if step.words[1] in ("sample", "evaluate")]
    assert len(answering) == 9
    assert {words[words.index("--batch-size") + 1] for words in answering} == {"96"}
    with pytest.raises(UsageError, match="batch_size is 0"):
        Alignment(batch_size=0)


def test_unknown_option_of_the_judge_is_refused_with_what_was_meant() -> None:
    with pytest.raises(UsageError, match=r"(?s)'timeuot'.*did you mean: timeout"):
        read({"judge_options": {"timeuot": 3}}, "here.yaml")


def test_check_of_an_alignment_tells_the_faults_of_each_of_its_trainings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: dream/quickstart\nalign: {fit: {model.betta: 0.2}}\n", "utf-8")
    assert main(["check", "--config", str(recipe)]) == 2
    told = capsys.readouterr().err
    assert told.count("Dream has no option 'betta'") == 3 and "did you mean: beta" in told
    recipe.write_text(f"base: dream/quickstart\nalign: {{conversations: {tmp_path}/none}}\n", "utf-8")
    assert main(["check", "--config", str(recipe)]) == 2
    assert f"{tmp_path}/none/train does not exist" in capsys.readouterr().err
