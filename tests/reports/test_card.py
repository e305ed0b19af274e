"""Cards, and the paths in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moon_zoo.reports.card import CardFacts, SplitFacts, card, gist, section
from moon_zoo.reports.public_paths import PublicPaths

SET = SplitFacts("train", "product", 40, "A set; by somebody", "MIT", "a" * 64, command="moon-zoo pack x --to shards/x")
FACTS = CardFacts(
    name="m/n",
    summary="a model",
    about="It learns.",
    class_path="pkg.Model",
    parameters=1_500_000,
    dtype="float32",
    fingerprint="f" * 64,
    modalities=("photo",),
    licence="",
    moon_zoo="0.1.0",
    command="moon-zoo fit --config x",
    recipe="seed_everything: 1\n",
    chosen="The best.",
    data=(SET, replace(SET, role="val", samples=5, fingerprint="b" * 64)),
    figures={"val/photo_to_text/recall@1": 0.25, "val/photo_to_text/recall@1_chance": 0.01, "val/loss": 2.0},
    measure="moon-zoo validate --ckpt_path m/n",
    files={"model.safetensors": 1000, "config.yaml": 10},
)


def test_a_card_tells_each_thing_once_and_where_the_figures_are_from() -> None:
    text = card(FACTS)
    assert "1.50 M parameters" in text
    assert "licence: the publisher states none" in text
    assert text.count("A set; by somebody") == 1 and "- source: A set; by somebody\n" in text
    assert "| train | 40 | product | `aaaaaaaaaaaaaaaa` |" in text
    assert "| photo → text | .250 (.010) |" in text
    assert "moon-zoo embed m/n shards/mine" in section(text, "Use it")
    assert "learned from 40 samples of A set and from nothing else" in section(text, "Limits")
    assert "| together, without this card | 1,010 |" in section(text, "Files")


def test_weights_that_training_began_with_are_told() -> None:
    limits = section(card(replace(FACTS, began_with=("dual_flow/shop",))), "Limits")
    assert "A set and from whatever `dual_flow/shop` had learned from, where training began" in limits
    assert "nothing else" not in limits


def test_figures_of_the_set_that_chose_the_checkpoint_are_called_so_under_any_name() -> None:
    warning = "the very set by which the checkpoint was chosen"
    assert warning in card(FACTS)
    test = replace(SET, role="test", fingerprint="c" * 64)
    figures = {"test/loss": 1.0}
    assert warning not in card(replace(FACTS, data=(*FACTS.data, test), figures=figures))
    same = replace(FACTS.data[1], role="test")
    text = card(replace(FACTS, data=(*FACTS.data, same), figures=figures))
    assert warning in text and "| val, test | 5 |" in text


def test_what_is_not_known_is_said() -> None:
    bare = replace(FACTS, data=(), figures={}, measure="", command="", environment=None, limits="", modalities=())
    text = card(bare)
    assert "could not be read when this was published" in section(text, "Data")
    assert "without being measured" in section(text, "Results")
    assert "The command was not recorded." in section(text, "Recipe")
    assert "the run has no environment.json" in section(text, "Environment")
    assert section(text, "Limits") == "None are stated."
    assert "moon-zoo predict --ckpt_path m/n" in section(text, "Use it")
    lost = card(replace(FACTS, unread={"train": "shards/x does not exist"}))
    assert "- train: unknown when this was published: shards/x does not exist" in lost


def test_sections_and_gists_of_other_texts() -> None:
    assert section("# a\n\n## One\n\nfirst\n\n## Two\nsecond\n", "Two") == "second"
    assert section("# a\n\n## One\nfirst\n", "Other") == ""
    assert gist("GroceryStoreDataset; Klasson 2019, a paper") == "GroceryStoreDataset"


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("/home/me/sets/grocery/val", "shards/grocery/val"),
        ("/home/me/sets/grocery", "shards/grocery"),
        ("/home/me/sets/grocery2/val", "val"),
        ("/data/mine", "shards/mine"),
        ("/home/me/x.yaml", "x.yaml"),
        ("../x/y.tar", "y.tar"),
        ("~/photos", "photos"),
        ("shards/x", "shards/x"),
        ("local-dir:/home/me/tower", "local-dir:tower"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("https://me:secret@host/x", "https://host/x"),
        ("red / blue", "red / blue"),
    ],
)
def test_paths_of_this_machine_get_public_names(path: str, public: str) -> None:
    paths = PublicPaths(["/home/me/sets/grocery/train", "/home/me/sets/grocery/val/manifest.json", "/data/mine", None])
    assert paths.path(path) == public


def test_commands_lose_the_runs_folder_and_agree_on_the_sets() -> None:
    paths = PublicPaths(["/tmp/sets/grocery/train"])
    line = "moon-zoo fit --config /a/g.yaml --run /tmp/runs/1 --data.train=/tmp/sets/grocery/train --run=/x -q"
    assert paths.command(line, leave_out=("--run",)) == (
        "moon-zoo fit --config g.yaml --data.train=shards/grocery/train -q"
    )
    assert paths.values({"a": ["/tmp/sets/grocery/train", 1, None]}) == {"a": ["shards/grocery/train", 1, None]}
