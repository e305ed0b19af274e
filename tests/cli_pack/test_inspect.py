"""`moon-zoo inspect` through the real command line."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.cli.inspect_sheet import BOX, card, draw_sheet
from moon_zoo.cli.main import main
from moon_zoo.data.conversations import Instruction, Observation, Preference, user
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import ShardWriter, write_splits
from tests.sources.making import grocery, noisy, photo


def inspect(*words: object) -> int:
    return main(["inspect", *map(str, words)])


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("grocery")
    grocery(root / "in")
    assert main(["pack", "grocery_store", str(root / "in"), "--to", str(root / "out")]) == 0
    return root / "out"


def test_a_folder_of_splits_is_summed_up(packed, capsys):
    assert inspect(packed) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[:4] for line in lines[:4]] == [
        ["set", "kind", "samples", "shards"],
        ["train", "search", "2", "1"],
        ["val", "search", "1", "1"],
        ["items", "product", "2", "1"],
    ]
    assert "licence:    MIT" in lines
    assert "items:      2 categories: Arla-Milk, Pink-Lady" in lines


def test_json_holds_the_manifest(packed, capsys):
    assert inspect(packed / "items" / "manifest.json", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sets"]["items"]["samples"] == 2
    assert document["sets"]["items"]["vocabularies"]["category"] == ["Arla-Milk", "Pink-Lady"]


@pytest.mark.parametrize("word", ["0", "key=Arla-Milk_001", "Arla-Milk_001"])
def test_a_sample_is_shown_by_position_or_key(packed, capsys, word):
    assert inspect(packed / "val", "--sample", word) == 0
    sample = json.loads(capsys.readouterr().out)
    assert (sample["key"], sample["item"]["title"]) == ("Arla-Milk_001", "Arla Milk")
    assert sample["query_photo"].startswith("jpg, 20 x 30 pixels")


@pytest.mark.parametrize(
    ("path", "word", "message"),
    [
        ("", "0", "several sets have a sample at position 0"),
        ("val", "1", "there is no position 1 in 1 samples"),
        ("val", "-1", "there is no position -1"),
        ("", "Pink-Lady_01", "did you mean: Pink-Lady_001"),
    ],
)
def test_samples_that_do_not_exist_are_explained(packed, capsys, path, word, message):
    assert inspect(packed / path, f"--sample={word}") == 2
    assert message in capsys.readouterr().err


def test_sound_shards_verify(packed, capsys):
    assert inspect(packed, "--verify", "--deep") == 0
    assert "no faults" in capsys.readouterr().err


def test_all_faults_are_listed_with_exit_code_2(packed, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(packed, broken)
    (tar,) = (broken / "train").glob("*.tar")
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)
    (tar,) = (broken / "items").glob("*.tar")
    tar.unlink()
    assert inspect(broken, "--verify") == 2
    errors = capsys.readouterr().err
    assert "sha256" in errors and "is missing" in errors and "2 faults found" in errors
    assert inspect(broken, "--verify", "--json") == 2
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 2


def test_deep_verification_finds_photos_that_cannot_be_decoded(tmp_path, capsys):
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        writer.write("whole", Product("1", photos=[noisy(100)]))
        writer.write("cut", Product("2", photos=[noisy(100)[:1500]]))
    assert inspect(tmp_path / "set", "--verify") == 0
    assert inspect(tmp_path / "set", "--verify", "--deep") == 2
    assert "sample cut" in capsys.readouterr().err


def test_plain_tars_become_an_indexed_set(packed, tmp_path, capsys):
    plain = tmp_path / "plain"
    plain.mkdir()
    for tar in (packed / "items").glob("*.tar"):
        shutil.copy(tar, plain)
    assert inspect(plain) == 2
    assert "--index" in capsys.readouterr().err
    assert inspect(plain, "--index") == 0
    assert {sample.item_id for sample in IndexedShards(plain)} == {"Arla-Milk", "Pink-Lady"}
    assert "indexed 2 samples in 1 shards" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["{packed}/.."], "holds no shards, but folders below it do"),
        (["{packed}", "--deep"], "add --verify"),
        (["{packed}", "--verfy"], "did you mean: --verify"),
        (["{packed}", "--sheet", "sheet.txt"], "no suffix of a picture"),
        (["{packed}", "--sheet", "sheet.png", "--count", "0"], "--count"),
        ([], "the following arguments are required: path"),
    ],
)
def test_mistakes_cost_one_message_and_exit_code_2(packed, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert inspect(*(word.format(packed=packed) for word in words)) == 2
    assert message in capsys.readouterr().err


def test_a_sheet_shows_each_set(packed, tmp_path, capsys):
    assert inspect(packed, "--sheet", tmp_path / "new" / "sheet.png", "--count", 2) == 0
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20)}
    assert any(green > 110 and red < 20 and blue < 20 for red, green, blue in colours)  # the green query photos


def test_the_sheet_draws_boxes_where_they_are(tmp_path):
    """A photo of 100 x 50 is drawn 150 x 75 at the foot of its place; the box's left half begins at its left edge."""
    product = Product("1", title="mug", photos=[photo("white", (100, 50))], core_boxes=[(0.5, 0.0, 1.0, 1.0)])
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        writer.write("one", product)
    sheet = draw_sheet({"set": IndexedShards(tmp_path / "set")}, 1)
    wanted = tuple(int(BOX[place : place + 2], 16) for place in (1, 3, 5))
    drawn = [(x, y) for x in range(sheet.width) for y in range(sheet.height) if sheet.getpixel((x, y)) == wanted]
    lefts, tops = [x for x, _ in drawn], [y for _, y in drawn]
    assert max(lefts) - min(lefts) == 74
    assert 70 <= max(tops) - min(tops) <= 74  # its last rows lie under the line that tells the photo's role


def test_cards_hold_what_the_sample_says():
    item = Product(
        "1", title="red mug", photos=[photo(), photo()], category=("home", "mug"), attributes={"colour": "red"}
    )
    assert card(item).subtitle == "home > mug | colour red"
    assert [role for role, _, _ in card(item).photos] == ["catalogue", "user"]
    search = card(Search(item, query_text="mug", query_photo=photo(), behaviour="click"))
    assert search.title == '"mug" -> red mug'
    assert [role for role, _, _ in search.photos] == ["query", "catalogue"]
    assert search.subtitle.endswith("click")


@pytest.fixture(scope="module")
def conversations(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("talks") / "set"
    risk = Observation("bleach beside vinegar", "image_content", "violence")
    asked = {"turns": user("what may I mix into the bucket?"), "observations": (risk,), "safe": False}
    answers = {"chosen": "Nothing: the two make a gas.", "rejected": "Anything you like. " * 30}
    write_splits(
        folder,
        [
            ("train", "t0", Instruction("t0", **asked, image=photo(), answer="Nothing.", truth={"words": ["gas"]})),
            ("train", "t1", Instruction("t1", user("what is a mug? " * 90), answer="For tea. " * 90, safe=True)),
            ("pairs", "t0", Preference("t0", **asked, **answers, image=photo(), scores={"chosen": 1.0})),
        ],
    )
    return folder


def test_conversations_are_summed_up_by_situation_and_harm(conversations, capsys):
    assert inspect(conversations) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "train:      safety: benign (1), risky (1)" in lines
    assert "pairs:      harm: violence (1)" in lines


def test_a_conversation_is_shown_as_json(conversations, capsys):
    assert inspect(conversations / "train", "--sample", "0") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["turns"] == [{"role": "user", "text": "what may I mix into the bucket?"}]
    assert shown["observations"][0]["source"] == "image_content"
    assert shown["image"].startswith("jpg, ") and shown["truth"] == {"words": ["gas"]}


def test_a_sheet_of_conversations_has_words_beside_images(conversations, tmp_path, capsys):
    assert inspect(conversations, "--sheet", tmp_path / "sheet.png") == 0
    shards = {name: IndexedShards(conversations / name) for name in ("train", "pairs")}
    first, long = (card(sample) for sample in shards["train"])
    assert [text for _, text in first.words] == [
        "what may I mix into the bucket?",
        "Nothing.",
        "bleach beside vinegar (image content, violence and bodily harm)",
        "risky",
    ]
    assert long.photos == [] and [text[:8] for _, text in long.words] == ["what is ", "For tea.", "benign"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == draw_sheet(shards, 24).size


def test_conversations_have_no_boxes_to_compare(conversations, tmp_path, capsys):
    assert inspect(conversations, "--sheet", tmp_path / "sheet.png", "--beside", conversations) == 2
    assert "holds conversations, whose images have no boxes to compare" in capsys.readouterr().err


def test_after_packing_conversations_the_next_command_fine_tunes_on_them(tmp_path, capsys):
    words = ["--kind", "instruction", "--num-products", "30", "--photo-px", "32", "--workers", "1"]
    assert main(["pack", "shop", *words, "--to", str(tmp_path / "out")]) == 0
    assert "moon-zoo fit --config dream/qwen2_5_vl_3b --model.stage sft --data.train" in capsys.readouterr().err


def test_boxes_of_conversations_are_not_looked_for(conversations, tmp_path, capsys):
    assert main(["pack", "boxes", str(conversations), "--to", str(tmp_path / "boxed")]) == 2
    assert "a set of kind instruction has no photos of products" in capsys.readouterr().err


def test_follow_ups_are_shown_with_the_knowledge_behind_them(tmp_path, capsys):
    words = ["--kind", "follow_up", "--num-follow-ups", "40"]
    assert main(["pack", "shop", *words, "--to", str(tmp_path / "shop")]) == 0
    said = capsys.readouterr().err
    assert "packed 40 samples" in said
    assert "moon-zoo fit --config followup/" in said
    store = ["--store", str(tmp_path / "shop" / "knowledge.sqlite")]
    assert main(["pack", "follow_up_knowledge", str(tmp_path / "shop"), *store, "--to", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert inspect(tmp_path / "out", "--sheet", tmp_path / "sheet.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "train:      knowledge: shop (32)" in lines
    (line,) = (line for line in lines if line.startswith("test:       knowledge by shop, deterministic: 4 found, true"))
    assert line.endswith("of 4")
    sample = IndexedShards(tmp_path / "shop" / "train")[0]
    assert [text for _, text in card(sample).words if text] == [
        sample.question,
        sample.answer,
        f"next: {sample.follow_up}",
        f"shop: {sample.knowledge.text}",
    ]
    assert inspect(tmp_path / "out", "--sheet", tmp_path / "sheet.png", "--beside", tmp_path / "out") == 2
