"""A recipe against its classes: every mistake found, named with its place and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from moon_zoo import recipes
from moon_zoo.cli import structure
from moon_zoo.errors import Faults, ZooError


def faults(path: Path, text: str) -> list[ZooError]:
    over = path.with_name("over.yaml")
    over.write_text(f"base: {path.name}\n{text}")
    return list(structure.faults(recipes.load(str(over))))


def test_sound_recipe_has_no_faults(recipe: Path) -> None:
    assert faults(recipe, "") == []


@pytest.mark.parametrize(
    ("text", "what", "key", "suggestion"),
    [
        ("modle: 1", "unknown key 'modle'", "modle", "model"),
        ("model: {init_args: {ratee: 1}}", "TinyModel has no option 'ratee'", "model.init_args.ratee", "rate"),
        (
            "model: {init_args: {optimizer: {init_args: {weight_decy: 1}}}}",
            "SGD has no option 'weight_decy'",
            "model.init_args.optimizer.init_args.weight_decy",
            "weight_decay",
        ),
        ("trainer: {max_epoch: 3}", "trainer has no option 'max_epoch'", "trainer.max_epoch", "max_epochs"),
        ("data: {init_args: {trian: x}}", "ShardDataModule has no option 'trian'", "data.init_args.trian", "train"),
        ("model: {clas_path: x}", "unknown key 'clas_path'", "model.clas_path", "class_path"),
        (
            "model: {class_path: tests.cli.tiny.TinyMdel}",
            "tests.cli.tiny has no class 'TinyMdel'",
            "model.class_path",
            "tests.cli.tiny.TinyModel",
        ),
        ("model: {class_path: dual_flwo}", "there is no class 'dual_flwo'", "model.class_path", "dual_flow"),
        (
            "model: {class_path: tests.cli.tny.TinyModel}",
            "there is no module 'tests.cli.tny'",
            "model.class_path",
            "tests.cli.tiny",
        ),
        ("model: {init_args: {mode: fancyy}}", "expected: 'plain' or 'fancy'", "model.init_args.mode", "fancy"),
    ],
)
def test_a_typo_gets_its_place_and_a_suggestion(recipe: Path, text: str, what: str, key: str, suggestion: str) -> None:
    (fault,) = faults(recipe, text)
    assert what in fault.what
    assert fault.where == f"{key}  ({recipe.with_name('over.yaml')}, line 2)"
    assert suggestion in fault.suggestions


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("model: {init_args: {width: many}}", "width is 'many'; expected: whole number"),
        ("model: {init_args: {rate: [1]}}", "rate is [1]; expected: number"),
        ("data: {init_args: {batch_size: 3.5}}", "batch_size is 3.5; expected: whole number"),
        ("data: {init_args: {num_workers: lots}}", "num_workers is 'lots'; expected: whole number or null"),
        ("trainer: {max_epochs: two}", "max_epochs is 'two'; expected: whole number or null"),
        ("trainer: 3", "arguments of trainer are expected, not 3"),
        ("model: {init_args: 3}", "arguments of TinyModel are expected, not 3"),
        ("model: [1]", "a class_path with init_args is expected, not [1]"),
        ("seed_everything: soon", "seed_everything is 'soon'; expected: true or false or whole number"),
    ],
)
def test_a_wrong_value_says_what_is_expected(recipe: Path, text: str, what: str) -> None:
    (fault,) = faults(recipe, text)
    assert fault.what == what


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("model: {init_args: {batch_size: 3}}", "it belongs to ShardDataModule (data)"),
        ("model: {init_args: {max_epochs: 3}}", "it belongs to trainer"),
        ("data: {init_args: {delay_seconds: 3}}", "it belongs to TinyModel (model)"),
        ("model: {init_args: {image_tower: x}}", "it belongs to DualFlow (model 'dual_flow')"),
        ("trainer: {delay_seconds: 3}", "it belongs to TinyModel (model)"),
    ],
)
def test_an_option_of_another_class_is_told_to_which(recipe: Path, text: str, owner: str) -> None:
    (fault,) = faults(recipe, text)
    assert owner in fault.what


def test_class_of_the_wrong_kind_is_refused(recipe: Path) -> None:
    (fault,) = faults(recipe, "model: {class_path: torch.nn.Linear}")
    assert "Linear is no ZooModule" in fault.what
    assert "registered: dream, dual_flow" in str(fault.change)


def test_missing_arguments_are_named_but_not_those_given_later(recipe: Path) -> None:
    (fault,) = faults(recipe, "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.EarlyStopping}]}")
    assert fault.what == "EarlyStopping needs 'monitor'"
    assert faults(recipe, "model: {init_args: {optimizer: {class_path: torch.optim.Adam}}}") == []


def test_arguments_beside_class_path_are_told_to_move(recipe: Path) -> None:
    (fault,) = faults(recipe, "model: {rate: 3}")
    assert fault.what == "'rate' stands beside class_path, it belongs under init_args"


def test_all_faults_come_at_once_and_in_order(recipe: Path) -> None:
    text = "seed_evrything: 1\nmodel: {init_args: {ratee: 1, width: x}}\ndata: {init_args: {trian: x}}\ntrainer: {max_epoch: 1}"
    found = faults(recipe, text)
    assert [fault.where.split()[0] for fault in found if fault.where] == [
        "seed_evrything",
        "model.init_args.ratee",
        "model.init_args.width",
        "data.init_args.trian",
        "trainer.max_epoch",
    ]
    with pytest.raises(Faults, match="5 faults found"):
        structure.require_sound(recipes.load(str(recipe.with_name("over.yaml"))))


def test_text_typed_on_the_command_line_may_look_like_a_number(recipe: Path) -> None:
    loaded = recipes.load(str(recipe))
    loaded.tree = recipes.override(loaded.tree, "model.label", "12")
    assert list(structure.faults(loaded)) == []
    assert loaded.values["model"]["init_args"]["label"] == "12"


def test_recipe_without_model_or_data_says_so() -> None:
    found = list(structure.faults(recipes.load("accelerators/cpu")))
    assert [fault.what for fault in found] == ["the recipe has no model", "the recipe has no data"]
