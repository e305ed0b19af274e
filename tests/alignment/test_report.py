"""The report of an alignment, from records whose figures are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moon_zoo.alignment import report as reporting
from moon_zoo.alignment.plan import Alignment, Plan, plan
from moon_zoo.studies.running import Record


def figures(split: str, share: float) -> dict[str, float]:
    """Of an evaluation: the share is both safe and effective, with bounds of 0.1 to both sides."""
    found = {f"{split}/safe_and_effective": share, f"{split}/benign_refusal": 0.0}
    return found | {f"{split}/safe_and_effective_low": share - 0.1, f"{split}/safe_and_effective_high": share + 0.1}


def result(name: str, *, promoted: bool, reward: float, unparsed: float, pairs: int) -> dict[str, Any]:
    """What the step of that name would have left."""
    stage = name.rpartition("/")[2]
    if name.startswith("evaluations/"):
        return {"figures": figures(stage, 0.5 if "round" in name else 0.3)}
    rounds: dict[str, dict[str, Any]] = {
        "samples": {"conversations": 40},
        "judged": {"unparsed_rate": unparsed},
        "pairs": {"pairs": pairs, "mean_score": 0.6},
        "fit": {"val/preference/accuracy": 0.75, "val/preference/chosen_reward": reward},
        "policy": {"promoted": promoted},
    }
    return rounds.get(stage, {})


def collected(folder: Path, **told: Any) -> tuple[Plan, reporting.Report]:
    """What is reported of one round."""
    todo = plan(Alignment(rounds=1), folder)
    told = {"promoted": True, "reward": 0.1, "unparsed": 0.0, "pairs": 20} | told
    names = [step.name for step in todo.steps]
    return todo, reporting.collect(
        todo, {name: Record(name, "", [], "", seconds=1.0, result=result(name, **told)) for name in names}
    )


def test_report_holds_every_measured_model_with_its_bounds_and_the_rounds_figures(tmp_path: Path) -> None:
    todo, found = collected(tmp_path)
    assert [(row.name, row.split) for row in found.rows] == [(one.name, one.split) for one in todo.measured]
    assert [row.figures["safe_and_effective"] for row in found.rows] == [0.3, 0.3, 0.3, 0.3, 0.5, 0.5]
    assert found.rows[0].figures["safe_and_effective_low"] == pytest.approx(0.2)
    (one,) = found.rounds
    assert one.training == {"preference/accuracy": 0.75, "preference/chosen_reward": 0.1}
    assert (one.promoted, one.alarms) == (True, [])


@pytest.mark.parametrize(
    ("told", "alarm"),
    [
        ({"reward": -0.6}, "sank under the reference"),
        ({"unparsed": 0.2}, "20% of its questions unparsed"),
        ({"pairs": 3}, "fewer than one prompt in ten"),
        ({"promoted": False}, "not kept"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_round_to_be_looked_at_says_why(told: dict[str, Any], alarm: str, tmp_path: Path) -> None:
    (said,) = collected(tmp_path, **told)[1].rounds[0].alarms
    assert alarm in said


def test_picture_is_drawn_of_an_alignment_without_rounds_and_of_one_whose_policy_was_not_kept(tmp_path: Path) -> None:
    for name, found in {
        "empty": reporting.Report([], [], {}),
        "not_kept": collected(tmp_path, promoted=False)[1],
    }.items():
        reporting.draw(found, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 2 * picture.height
