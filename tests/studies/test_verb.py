"""`moon-zoo study` from the command line: its plans, its messages, and a small study of each kind, for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo.cli import structure, studying, train
from moon_zoo.cli.main import main
from moon_zoo.cli.study import PARSERS
from moon_zoo.studies.steps import Step


def steps_of(study: str, *words: str) -> list[Step]:
    options = PARSERS[study]().parse_strict(list(words))
    steps, _ = studying.PLANS[study](options)
    return steps


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scalling", "--to", "x"], "did you mean: scaling?"),
        (["--to", "x", "scaling"], "--to comes after the study's name"),
        (["exchange-rate"], "required: --to"),
        (["exchange-rate", "--to", "x", "--make", "step"], "unknown 'step' (did you mean steps?)"),
        (["exchange-rate", "--to", "x", "--make", "nothing"], "0 checkpoints; a slope needs at least 3"),
        (["exchange-rate", "--to", "x", "--make", "steps", "--steps", "100,400"], "2 checkpoints; a slope"),
        (["exchange-rate", "--to", "x", "--steps", "100,-4"], "whole numbers from 1 on"),
        (["exchange-rate", "--to", "x", "--fractions", "1.5"], "between 0 and 1"),
        (["exchange-rate", "--to", "x", "--fractions", "0.001"], "of which 0.001 is none or all"),
        (["exchange-rate", "--to", "x", "--seeds", "0"], "--seeds is 0"),
        (["exchange-rate", "--to", "x", "--recipe", "mim/cub"], "mim/cub"),
        (
            ["exchange-rate", "--to", "x", "--recipe", "dual_flow/quickstart"],
            "trains DualFlow, expected a model that learns from impressions",
        ),
        (["exchange-rate", "--to", "x", "--tower-recipe", "mim/din"], "trains Mim, expected a model that embeds"),
        (["exchange-rate", "--to", "x", "--tower", "max_steps=3"], "'max_steps=3' is no setting of a recipe"),
        (["exchange-rate", "--to", "x", "--checkpoints", "runs/a", "runs/b", "runs/c"], "runs/a"),
        (["exchange-rate", "--to", "x", "--products", "nowhere"], "nowhere has no split 'train'"),
        (["exchange-rate", "--to", "x", "--impressions", "nowhere"], "nowhere has no split 'train'"),
        (["exchange-rate", "--to", "x", "--test-items", "nowhere"], "no train set is named"),
        (["scaling", "--to", "x", "--over", "histories"], "did you mean history?"),
        (["scaling", "--to", "x", "--over", "history", "--history", "1,10,100"], "at least 4 rising sizes"),
        (["scaling", "--to", "x", "--samples", "100,200,300,400"], "100 samples are no whole batches of 64"),
        (["scaling", "--to", "x", "--over", "rows", "--rows", "10,20,30,40"], "10 rows are less than a batch"),
        (["scaling", "--to", "x", "--over", "history", "--embeddings", "gone"], "there are no embeddings at gone"),
        (["scaling", "--to", ".", "--over", "history"], "holds other files, but no study"),
    ],
)
def test_mistakes_are_said_before_any_time_is_spent(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    # a mistake that is not seen must fail the test, not run a study
    monkeypatch.setattr(studying, "execute", lambda step: pytest.fail(f"{step.name} was begun"))
    assert main(["study", *words]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


@pytest.mark.parametrize("study", ["exchange-rate", "scaling"])
def test_every_command_of_a_default_study_is_one_that_its_verb_takes(study: str, tmp_path: Path) -> None:
    """Options and settings exist, in the recipes as shipped; one command of each kind is looked at in full."""
    looked = set()
    for step in steps_of(study, "--to", str(tmp_path / "study")):
        kind = (step.verb, *(word for word in step.words if word.startswith("--")))
        if step.verb == "fit" and kind not in looked:
            looked.add(kind)
            parser = train.parser_for("fit")
            options, rest = parser.parse_known_args(list(step.words[1:]))
            structure.require_sound(train.read_recipe(options, train.read_overrides(parser, rest)))
    assert len(looked) >= 4


def test_a_study_fits_into_its_time_by_its_own_estimate(tmp_path: Path) -> None:
    for study in set(PARSERS) - set(studying.UNTIMED):
        assert sum(step.seconds for step in steps_of(study, "--to", str(tmp_path / "study"))) < 25 * 60


def test_a_dry_run_prints_commands_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "study"
    assert main(["study", "exchange-rate", "--to", str(to), "--make", "steps", "--seeds", "1", "--dry-run"]) == 0
    printed = capsys.readouterr()
    commands = [line for line in printed.out.splitlines() if not line.startswith("#")]
    assert commands[0].startswith("moon-zoo pack shop --photo-px 64") or commands[0].startswith(
        "moon-zoo pack shop --photo_px 64"
    )
    assert all(line.startswith("moon-zoo ") for line in commands)
    assert f"{len(commands)} steps, about" in printed.err
    assert not to.exists()


def test_towers_by_steps_are_checkpoints_of_one_run(tmp_path: Path) -> None:
    steps = steps_of("exchange-rate", "--to", str(tmp_path / "study"), "--make", "steps", "--steps", "20,30,60")
    fits = [step for step in steps if step.name.startswith("towers") and step.verb == "fit"]
    assert len(fits) == 1
    assert '"every_n_train_steps": 10' in " ".join(fits[0].words)
    assert [step.words[1].rpartition("/")[2] for step in steps if step.verb == "embed"] == [
        "step=20.ckpt",
        "step=30.ckpt",
        "step=60.ckpt",
    ]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of forty products and a thousand impressions."""
    root = tmp_path_factory.mktemp("shop")
    for kind, more in (
        ("product", ["--photo-px", "32", "--photos-per-product", "2"]),
        ("impressions", ["--num-users", "20", "--num-impressions", "1200"]),
    ):
        assert main(["pack", "shop", "--kind", kind, "--num-products", "40", *more, "--to", str(root / kind)]) == 0
    return root


SMALL = [
    "--batch-size",
    "8",
    "--image-size",
    "32",
    "--tower",
    "data.num_workers=0",
    "--click",
    "data.num_workers=0",
    "--click",
    "data.batch_size=200",
    "--click",
    "trainer.max_epochs=1",
    "--seeds",
    "1",
]


def own(shop: Path) -> list[str]:
    return ["--products", str(shop / "product"), "--impressions", str(shop / "impressions")]


def test_an_exchange_rate_from_towers_to_clicks(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real towers, embeddings and click models; a second call finds all of it done."""
    to = tmp_path / "rate"
    words = ["study", "exchange-rate", "--to", str(to), *own(shop), *SMALL]
    words += ["--make", "steps", "--steps", "1,2,4", "--controls", "none"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "control: none" in first.out
    assert all((to / name).is_file() for name in ("study.json", "study.csv", "exchange_rate.png"))
    assert main([*words, "--json"]) == 0
    second = capsys.readouterr()
    assert "of them are finished already; what is left takes about 0 s" in second.err
    found = json.loads(second.out)
    assert [one["name"] for one in found["found"]["checkpoints"]] == ["steps-1", "steps-2", "steps-4"]
    assert set(found["found"]["checkpoints"][0]["downstream"][0]) > {"auc", "gauc", "logloss"}
    assert found["command"].startswith("moon-zoo study exchange-rate")
    assert all(step["seconds"] > 0 for step in found["steps"])


def test_a_scaling_study_tells_its_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands that only say what they would have measured: 1 - recall is .2 + 2 / sqrt(samples)."""

    def measures(step: Step) -> dict[str, float]:
        if step.writes is not None:
            step.writes.mkdir(parents=True)
            (step.writes / "made").touch()
        samples = 64 * int(step.name.split("-")[1]) if step.verb == "test" else 0
        return {"test/photo_to_product/recall@10": 0.8 - 2 * samples**-0.5} if samples else {}

    monkeypatch.setattr(studying, "execute", measures)
    to = tmp_path / "study"
    assert main(["study", "scaling", "--to", str(to), "--over", "samples"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("samples"))
    assert row.split("\t")[:5] == ["samples", "1 - photo_to_product/recall@10", "0.2500", "0.2125", "0.50"]
    (curve,) = json.loads((to / "study.json").read_text())["found"]["curves"]
    assert curve["law"]["c"]["value"] == pytest.approx(0.5, rel=1e-2)
    assert (to / "scaling.png").is_file()
