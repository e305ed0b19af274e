"""Recipes: found by name, inherited, merged, and every value's place remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moon_zoo import recipe_yaml, recipes
from moon_zoo.errors import RecipeError, UsageError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def values(text: str) -> object:
    return recipe_yaml.parse(text, "r.yaml").plain()


def test_numbers_in_exponent_form_are_numbers_and_dates_stay_text() -> None:
    assert values("a: 1e-3\nb: 2.5e4\nc: -1E+2\nd: 2024-01-02\ne: 1e\nf: 12") == {
        "a": 0.001, "b": 25000.0, "c": -100.0, "d": "2024-01-02", "e": "1e", "f": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    "value", ["1e3", "2024-01-02", "yes", "null", "", "a: b", 1e-5, 1.0, True, None, [1, "1"], {"a": {}}]
)
def test_dumped_values_are_read_back_as_they_were(value: object) -> None:
    assert values(recipe_yaml.dump({"key": value})) == {"key": value}


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice in one place, on lines 1 and 3", 3),
        ("a:\n  - [1, 2\nb: 3", "no YAML", 3),
        ("a:\n  b: !!python/object/apply:os.system [ls]", "not allowed in recipes", 2),
        ("a: !!python/name:os.system", "no YAML", 1),
        ("a: 1\n2: 3", "the key 2 is not a text", 2),
        ("a: &x [*x]", "aliases", 1),
        ("a: {b: 1}}", "no YAML", 1),
        ("a:\n  b: !replace [1]", "!replace stands before something that is no dictionary", 2),
        ("a: !replace", "!replace stands before something that is no dictionary", 1),
        ("a: !other {b: 1}", "the tag '!other' is not allowed in recipes", 1),
    ],
)
def test_bad_yaml_is_refused_with_its_line(text: str, said: str, line: int) -> None:
    with pytest.raises(RecipeError, match=said.replace("(", r"\(")) as caught:
        recipe_yaml.parse(text, "r.yaml")
    assert caught.value.where == f"r.yaml, line {line}"


def test_nested_aliases_cannot_fill_the_memory() -> None:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
    )
    with pytest.raises(RecipeError, match="100,000 values"):
        recipe_yaml.parse(bomb, "r.yaml")


def test_merge_keys_of_yaml_are_followed() -> None:
    assert values("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}") == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}


def test_text_that_is_not_utf8_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes("a: Käse".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8: byte 0xe4 at position 4"):
        recipes.load(str(path))


def test_base_by_relative_path_and_by_name_later_keys_win(tmp_path: Path) -> None:
    write(tmp_path / "common" / "a.yaml", "trainer: {max_epochs: 1, precision: 16}\nseed_everything: 1")
    top = write(tmp_path / "top.yaml", "base: [accelerators/cpu, common/a.yaml]\ntrainer: {max_epochs: 9}")
    loaded = recipes.load(str(top))
    assert loaded.values["trainer"]["max_epochs"] == 9
    assert loaded.values["trainer"]["precision"] == 16
    assert loaded.values["trainer"]["accelerator"] == "cpu"
    assert "base" not in loaded.values
    assert loaded.name == "top"
    assert [path.name for path in loaded.files] == ["cpu.yaml", "a.yaml", "top.yaml"]


def test_origins_name_the_file_and_line_of_the_winning_value(tmp_path: Path) -> None:
    a = write(tmp_path / "a.yaml", "trainer:\n  max_epochs: 1\n  precision: 16\n")
    b = write(tmp_path / "b.yaml", "base: a.yaml\n\ntrainer:\n  max_epochs: 2\n")
    loaded = recipes.load(str(b))
    assert loaded.origin("trainer", "max_epochs") == f"{b}, line 4"
    assert loaded.origin("trainer", "precision") == f"{a}, line 3"
    assert loaded.origin("trainer", "precision", "nowhere") == f"{a}, line 3"
    assert loaded.origin("model") is None


def test_shipped_recipes_are_shown_by_a_short_path() -> None:
    assert recipes.load("accelerators/gpu").origin("trainer", "devices") == "recipes/accelerators/gpu.yaml, line 6"


def test_another_class_drops_the_inherited_arguments_and_keeps_the_rest(tmp_path: Path) -> None:
    write(
        tmp_path / "a.yaml",
        "model: {class_path: one.A, init_args: {x: 1, opt: {class_path: o.P, init_args: {lr: 1, z: 2}}}}\ndata: {q: 1}",
    )
    other = write(tmp_path / "b.yaml", "base: a.yaml\nmodel: {class_path: one.B, init_args: {y: 2}}")
    assert recipes.load(str(other)).values == {
        "model": {"class_path": "one.B", "init_args": {"y": 2}},
        "data": {"q": 1},
    }
    same = write(tmp_path / "c.yaml", "base: a.yaml\nmodel: {class_path: one.A, init_args: {opt: {class_path: o.Q}}}")
    assert recipes.load(str(same)).values["model"] == {
        "class_path": "one.A",
        "init_args": {"x": 1, "opt": {"class_path": "o.Q"}},
    }


def test_lists_are_replaced_not_joined(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "trainer: {devices: [0, 1]}")
    assert recipes.load(str(write(tmp_path / "b.yaml", "base: a.yaml\ntrainer: {devices: [2]}"))).values == {
        "trainer": {"devices": [2]}
    }


def test_dictionaries_merge_key_by_key_unless_written_as_replace(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "model: {class_path: one.A, init_args: {ratios: {x: 1, y: 2}, z: 3}}")
    adds = write(tmp_path / "b.yaml", "base: a.yaml\nmodel: {init_args: {ratios: {x: 5}}}")
    replaces = write(tmp_path / "c.yaml", "base: a.yaml\nmodel: {init_args: {ratios: !replace {w: 9}}}")
    further = write(tmp_path / "d.yaml", "base: c.yaml\nmodel: {init_args: {ratios: {v: 8}}}")
    nothing = write(tmp_path / "e.yaml", "base: a.yaml\nmodel: {init_args: {ratios: !replace {}}}")

    def init_args(*paths: Path) -> Any:
        return recipes.load([str(path) for path in paths]).values["model"]["init_args"]

    assert init_args(adds) == {"ratios": {"x": 5, "y": 2}, "z": 3}
    assert init_args(replaces) == {"ratios": {"w": 9}, "z": 3}
    assert init_args(further) == {"ratios": {"w": 9, "v": 8}, "z": 3}
    assert init_args(adds, further) == {"ratios": {"w": 9, "v": 8}, "z": 3}  # what c replaced stays replaced
    assert init_args(nothing) == {"ratios": {}, "z": 3}


def test_an_option_of_the_command_line_can_replace_a_dictionary(tmp_path: Path) -> None:
    tree = recipes.load(str(write(tmp_path / "a.yaml", "model: {class_path: one.A, init_args: {r: {x: 1}}}"))).tree
    assert recipes.override(tree, "model.r", "{y: 2}").plain()["model"]["init_args"]["r"] == {"x": 1, "y": 2}
    assert recipes.override(tree, "model.r", "!replace {y: 2}").plain()["model"]["init_args"]["r"] == {"y": 2}


def test_several_configs_later_wins() -> None:
    assert recipes.load_recipe("accelerators/gpu", "accelerators/cpu")["trainer"]["accelerator"] == "cpu"
    assert recipes.load(["accelerators/gpu", "accelerators/cpu"]).name == "accelerators/gpu"


def test_recipes_that_are_each_others_base_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "base: b.yaml")
    write(tmp_path / "b.yaml", "base: a.yaml")
    with pytest.raises(RecipeError, match=r"each other's base: .*a.yaml -> .*b.yaml -> .*a.yaml"):
        recipes.load(str(tmp_path / "a.yaml"))


def test_unknown_base_says_who_named_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "seed_everything: 1\nbase: accelerators/gpo")
    with pytest.raises(UsageError) as caught:
        recipes.load(str(path))
    assert caught.value.where == f"{path}, line 2"
    assert "accelerators/gpu" in caught.value.suggestions


@pytest.mark.parametrize(
    "text", ["model: dual_flow\ndata: shop", "model: {class_path: dual_flow}\ndata: {class_path: shop}"]
)
def test_registry_names_become_class_paths(tmp_path: Path, text: str) -> None:
    loaded = recipes.load(str(write(tmp_path / "a.yaml", text))).values
    assert loaded["model"]["class_path"] == "moon_zoo.models.dual_flow.module.DualFlow"
    assert loaded["data"]["class_path"] == "moon_zoo.shop.datamodule.ShopDataModule"


def test_overrides_reach_through_objects_and_lists() -> None:
    tree = recipe_yaml.parse(
        "model: {class_path: a.M, init_args: {x: 1, opt: {class_path: o.P, init_args: {lr: 1}}}}\n"
        "trainer: {callbacks: [{class_path: c.A, init_args: {p: 1}}, {class_path: c.B}]}",
        "r.yaml",
    )
    for option, text in [
        ("model.x", "2"),
        ("model.opt.lr", "1e-4"),
        ("model.init_args.name", "seven"),
        ("trainer.callbacks.0.p", "5"),
        ("trainer.max_epochs", "3"),
        ("data.batch_size", "8"),
    ]:
        tree = recipes.override(tree, option, text)
    assert tree.plain() == {
        "model": {
            "class_path": "a.M",
            "init_args": {"x": 2, "opt": {"class_path": "o.P", "init_args": {"lr": 1e-4}}, "name": "seven"},
        },
        "trainer": {
            "callbacks": [{"class_path": "c.A", "init_args": {"p": 5}}, {"class_path": "c.B"}],
            "max_epochs": 3,
        },
        "data": {"init_args": {"batch_size": 8}},
    }
    assert str(tree.get("model", "init_args", "x").origin) == "--model.x on the command line"
    assert str(tree.get("trainer", "callbacks", 0, "class_path").origin) == "r.yaml, line 2"


def test_override_of_an_entry_that_is_not_there_is_refused() -> None:
    tree = recipe_yaml.parse("trainer: {callbacks: [{class_path: c.A}]}", "r.yaml")
    with pytest.raises(UsageError, match="there are 1 entries, none numbered 3"):
        recipes.override(tree, "trainer.callbacks.3.p", "1")


def test_override_of_the_model_by_name() -> None:
    tree = recipe_yaml.parse("model: {class_path: a.M, init_args: {x: 1}}", "r.yaml")
    assert recipes.override(tree, "model", "dual_flow").plain() == {
        "model": {"class_path": "moon_zoo.models.dual_flow.module.DualFlow"}
    }


def test_other_packages_ship_recipes_under_their_own_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "acme_zoo" / "__init__.py", "")
    write(tmp_path / "acme_zoo" / "recipes" / "shoes.yaml", "base: accelerators/cpu\nseed_everything: 5")
    write(tmp_path / "acme_zoo-1.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: acme-zoo\nVersion: 1\n")
    write(tmp_path / "acme_zoo-1.dist-info" / "entry_points.txt", "[moon_zoo.recipes]\nacme = acme_zoo:recipes\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "acme/shoes" in recipes.shipped()
    loaded = recipes.load("acme/shoes")
    assert loaded.values["seed_everything"] == 5
    assert loaded.name == "acme/shoes"


@pytest.mark.parametrize("name", sorted(recipes.shipped()))
def test_every_shipped_recipe_loads_and_opens_with_a_header(name: str) -> None:
    recipes.load(name)
    assert recipes.header(recipes.find(name))


def test_overlays_choose_hardware_and_nothing_else() -> None:
    for name in recipes.shipped():
        if name.startswith("accelerators/"):
            loaded = recipes.load(name).values
            assert set(loaded) == {"trainer"}
            assert set(loaded["trainer"]) == {"accelerator", "devices", "strategy", "precision"}
