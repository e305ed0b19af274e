"""The scripts of `examples`, run as a reader would; they need the checkpoint dual_flow/shop."""

from __future__ import annotations

import ast
import re

import pytest

from moon_zoo.errors import ZooError
from moon_zoo.hub.resolve import resolve
from tests.examples.sessions import ROOT, session

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))

RUN = """
import runpy, sys, tempfile
tempfile.tempdir = "."
sys.path.insert(0, {folder!r})
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each script printed."""
    try:
        resolve("dual_flow/shop", progress=False)
    except ZooError as error:
        pytest.skip(f"no hub has the checkpoint that the examples start from: {error.what}")
    steps = [RUN.format(folder=str(EXAMPLES), path=str(EXAMPLES / f"{name}.py")) for name in SCRIPTS]
    return dict(zip(SCRIPTS, (ran.out for ran in session(steps, tmp_path_factory.mktemp("examples")))))


def cells(name: str) -> list[str]:
    return re.split(r"^# %%", (EXAMPLES / f"{name}.py").read_text("utf-8"), flags=re.MULTILINE)[1:]


def test_every_script_is_in_the_readme_and_in_cells() -> None:
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    assert SCRIPTS == ["custom_metric", "embeddings_with_pandas", "your_own_catalogue"]
    for name in SCRIPTS:
        assert f"({name}.py)" in readme
        assert len(cells(name)) >= 4


def test_links_of_the_examples_readmes_lead_somewhere() -> None:
    for page in [EXAMPLES / "README.md", *EXAMPLES.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page}: {target}"


def test_the_ten_lines_are_ten() -> None:
    ten = next(cell for cell in cells("your_own_catalogue") if cell.startswith(" The ten lines"))
    statements = ast.parse("#" + ten).body
    assert len(statements) == 10
    assert all(statement.lineno == statement.end_lineno for statement in statements)


def test_your_own_catalogue_answers_a_photo_and_words(told: dict[str, str]) -> None:
    by_photo, by_words = told["your_own_catalogue"].split("\nproducts ")[1:]
    for answer in (by_photo, by_words):
        assert len(re.findall(r"^ +\d+ +-?\d\.\d\d +spu-\d+-\d +\S", answer, re.MULTILINE)) == 5
    within = re.findall(r"for 'red', within (\w+)", by_words)
    assert len(within) == 1


def test_the_custom_metric_agrees_with_its_sum_by_hand_and_is_above_chance(told: dict[str, str]) -> None:
    said = told["custom_metric"]
    assert "by hand: 0.75 where the formula says 0.75" in said
    value, chance = re.findall(r"category_precision@5 +([\d.]+)  by chance ([\d.]+)  \(higher is better\)", said)[0]
    assert float(value) > 1.5 * float(chance) > 0


def test_pandas_finds_the_product_that_is_listed_twice_and_colours_among_neighbours(told: dict[str, str]) -> None:
    said = told["embeddings_with_pandas"]
    twins = said.split("listed twice\n")[1].split("\n\n")[0].splitlines()[1:]
    assert len(twins) == 1
    assert "BRAND NEW!!! best price" in twins[0]
    shared, chance = re.findall(r"^colour +([\d.]+) +([\d.]+)$", said, re.MULTILINE)[0]
    assert float(shared) > 2 * float(chance)


def test_scripts_write_nothing_into_the_tree(told: dict[str, str]) -> None:
    assert not [
        path for path in EXAMPLES.iterdir() if path.is_dir() and path.name not in ("downstream_project", "__pycache__")
    ]
