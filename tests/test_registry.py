"""Names that other packages register, also when those packages are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from moon_zoo import recipes, registry
from moon_zoo.cli.main import main
from moon_zoo.errors import UsageError

GOOD = '''
"""A package."""


class Tower:
    """Leans to the left. And a little further.

    Args:
        angle: In degrees.
    """
'''


def install(folder: Path, package: str, code: str, entry_points: str) -> None:
    """A package and its metadata, as pip leaves them."""
    (folder / package / "recipes").mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)
    (folder / package / "recipes" / "small.yaml").write_text("# Trains little. Quickly.\nseed_everything: 1\n")
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_entry_of_another_package_is_listed_with_its_docstring_and_origin(site: Path) -> None:
    install(site, "leaning_zoo", GOOD, "[moon_zoo.models]\nleaning = leaning_zoo:Tower\n")
    entry = registry.entries("models")["leaning"]
    assert entry.summary == "Leans to the left. And a little further; from leaning-zoo"
    assert entry.class_path == "leaning_zoo.Tower"
    assert entry.load().__name__ == "Tower"


def test_a_package_whose_import_fails_is_listed_and_breaks_no_listing(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = "[moon_zoo.models]\nsad = sad_zoo:Tower\n[moon_zoo.sources]\nsad = sad_zoo.gone:Feed\n[moon_zoo.recipes]\n"
    install(site, "sad_zoo", "import no_such_module_anywhere\n" + GOOD, points + "sad = sad_zoo.recipes\n")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "models\tsad\tLeans to the left. And a little further; from sad-zoo" in lines
    assert "sources\tsad\tmodule sad_zoo.gone is missing; from sad-zoo" in lines
    assert "recipes\tsad/small\tTrains little" in lines
    assert main(["show", "sad"]) == 0
    assert main(["pack", "--help"]) == 0


def test_a_broken_package_is_named_with_the_line_that_fails_once_it_is_used(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "sad_feeds", "\nimport no_such_module_anywhere\n", "[moon_zoo.sources]\nsad = sad_feeds:Feed\n")
    with pytest.raises(UsageError) as caught:
        registry.entry("sources", "sad").load()
    assert "'sad' of the package sad-feeds cannot be imported: ModuleNotFoundError" in caught.value.what
    assert f"{site}/sad_feeds/__init__.py, line 2" in str(caught.value.where)
    assert "pip uninstall sad-feeds" in str(caught.value.change)
    assert main(["pack", "sad", "feed.txt", "--to", "out"]) == 2
    assert "no_such_module_anywhere" in capsys.readouterr().err


def test_a_class_that_the_package_lacks_is_named(site: Path) -> None:
    install(site, "lean_zoo", GOOD, "[moon_zoo.models]\nlean = lean_zoo:Towel\n")
    with pytest.raises(UsageError, match="has no attribute 'Towel'"):
        registry.entry("models", "lean").load()


def test_an_entry_point_that_names_no_class_says_so_in_the_listing(site: Path) -> None:
    install(site, "odd_zoo", GOOD, "[moon_zoo.models]\nodd = odd_zoo\n")
    assert "names no module:Class" in registry.entries("models")["odd"].summary


def test_a_name_that_is_taken_is_reached_with_its_package(site: Path) -> None:
    install(site, "twin_zoo", GOOD, "[moon_zoo.models]\ndual_flow = twin_zoo:Tower\n")
    found = registry.entries("models")
    assert found["dual_flow"].origin == "moon-zoo"
    assert found["twin-zoo:dual_flow"].class_path == "twin_zoo.Tower"


def test_recipes_of_another_package_have_its_prefix(site: Path) -> None:
    install(site, "recipe_zoo", GOOD, "[moon_zoo.recipes]\nacme_test = recipe_zoo:recipes\n")
    assert recipes.shipped()["acme_test/small"] == site / "recipe_zoo" / "recipes" / "small.yaml"
    assert recipes.load_recipe("acme_test/small") == {"seed_everything": 1}


def test_locate_imports_nothing(site: Path) -> None:
    install(site, "lazy_zoo", "raise SystemExit('imported')\n", "")
    assert registry.locate("lazy_zoo.recipes") == site / "lazy_zoo" / "recipes"
    assert registry.locate("lazy_zoo.absent") is None
    assert registry.locate("absent_zoo.recipes") is None


def test_check_and_fit_name_the_broken_package_of_a_recipe(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "cracked_zoo", "import no_such_module_anywhere\n", "[moon_zoo.models]\ncracked = cracked_zoo:Tower\n")
    recipe = site / "cracked.yaml"
    recipe.write_text("model: cracked\ndata: shop\ntrainer: {max_epochs: 1}\n")
    for verb in ("check", "fit"):
        assert main([verb, "--config", str(recipe)]) == 2
        said = capsys.readouterr().err
        assert "'cracked' of the package cracked-zoo cannot be imported: ModuleNotFoundError" in said
        assert f"{site}/cracked_zoo/__init__.py, line 1" in said
        assert "pip uninstall cracked-zoo" in said
