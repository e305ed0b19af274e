"""list, show and copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo import recipe_yaml, recipes
from moon_zoo.cli.main import main


def test_list_in_a_pipe_is_tab_separated_with_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["kind", "name", "summary"]
    assert all(len(line) == 3 for line in lines)
    assert ["models", "dual_flow"] in [line[:2] for line in lines]
    assert ["recipes", "accelerators/gpu"] in [line[:2] for line in lines]
    assert ["sources", "table"] in [line[:2] for line in lines]


def test_list_json_holds_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["recipes"]
    assert {row["name"] for row in found["recipes"]} == set(recipes.shipped())
    assert all(row["summary"] != "no description" for row in found["recipes"])


def test_show_prints_a_recipe_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "accelerators/ddp"]) == 0
    assert capsys.readouterr().out == recipes.find("accelerators/ddp").read_text()


def test_show_merged_has_full_class_paths(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dual_flow/quickstart", "--merged"]) == 0
    shown = recipe_yaml.parse(capsys.readouterr().out, "shown").plain()
    assert shown == recipes.load_recipe("dual_flow/quickstart")


@pytest.mark.parametrize("name", ["dual_flow", "shop", "table"])
def test_show_knows_models_data_and_sources(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    assert capsys.readouterr().out.startswith("#")


def test_copy_writes_the_recipe_and_refuses_to_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["copy", "accelerators/ddp", "mine"]) == 0
    assert capsys.readouterr().out.splitlines() == ["mine.yaml", "next: moon-zoo check --config mine.yaml"]
    (tmp_path / "mine.yaml").write_text("# edited")
    assert main(["copy", "accelerators/ddp", "mine.yaml"]) == 2
    assert "mine.yaml is there already" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == "# edited"
    assert main(["copy", "accelerators/ddp", "mine.yaml", "--force"]) == 0
    assert recipes.load_recipe("mine.yaml") == recipes.load_recipe("accelerators/ddp")


def test_copy_keeps_relative_bases_reachable_and_comments_in_place(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.yaml").write_text("seed_everything: 4\n")
    source = tmp_path / "from" / "b.yaml"
    source.write_text("# Header.\nbase:\n- a.yaml  # ours\n- accelerators/cpu\ntrainer: {max_epochs: 1}  # short\n")
    target = tmp_path / "to" / "b.yaml"
    assert main(["copy", str(source), str(target)]) == 0
    text = target.read_text()
    assert text == (
        f"# Header.\nbase:\n- {tmp_path}/from/a.yaml  # ours\n- accelerators/cpu\ntrainer: {{max_epochs: 1}}  # short\n"
    )
    assert recipes.load_recipe(str(target)) == recipes.load_recipe(str(source))


def test_copy_merged_writes_out_what_is_inherited(tmp_path: Path) -> None:
    target = tmp_path / "q.yaml"
    assert main(["copy", "dual_flow/quickstart", str(target), "--merged"]) == 0
    assert "base:" not in target.read_text()
    assert target.read_text().startswith("# ")
    assert recipes.load_recipe(str(target)) == recipes.load_recipe("dual_flow/quickstart")
