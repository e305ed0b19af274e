"""From a CSV of products with photos to a search page: the five commands of README's section, as they stand there."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.cli.main import main
from tests.conftest import COLOURS, draw_photo

README = Path(__file__).parents[1] / "README.md"
NUM_PRODUCTS = 90

SMALLER = (
    "--model.image_tower resnet10t --model.image_tower_options '{channels: [8, 16, 32, 64], stem_width: 8}' "
    "--model.text_tower_options '{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}' "
    "--model.image_size 32 --model.warmup_steps 2 --data.num_workers 0 --trainer.max_epochs 3 --trainer.accelerator cpu"
)
"""What makes the training fit into seconds; the other four commands run to the letter."""


def section_commands() -> list[str]:
    section = README.read_text("utf-8").split("### From a table to a search page\n")[1].split("\n## ")[0]
    block = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)[0]
    return [line.split("  #")[0].strip() for line in block.splitlines()]


@pytest.fixture
def shop_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with the columns that the section names, and photos: mugs, in three colours one can see."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with (tmp_path / "products.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "title", "category", "photo"])
        for number in range(NUM_PRODUCTS):
            (tmp_path / "photos" / f"{number}.jpg").write_bytes(draw_photo(number))
            colour = list(COLOURS)[number % len(COLOURS)]
            table.writerow([f"{number:05d}", f"{colour} mug number {number}", "home > mug", f"{number}.jpg"])
    return tmp_path


def test_the_five_commands_lead_from_a_table_to_a_search_page(
    shop_owner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = section_commands()
    assert [command.split()[:2] for command in commands] == [
        ["moon-zoo", verb] for verb in ("pack", "inspect", "fit", "embed", "search")
    ]
    for command in commands:
        words = shlex.split(command)[1:]
        assert main([*words, *(shlex.split(SMALLER) if words[0] == "fit" else [])]) == 0, capsys.readouterr().err
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert_sheet_shows_photos(shop_owner / "sheet.png")
    assert_every_product_has_a_vector(shop_owner / "embeddings/mine")
    assert_page_stands_alone(shop_owner / "found.html")
    found = [row for row in rows if any(re.fullmatch(r"\w+ mug number \d+", cell) for cell in row)][-10:]
    colours = Counter(word for row in found for word in " ".join(row).split() if word in COLOURS)
    assert len(found) == 10
    assert colours.most_common(1)[0][0] == "green"  # photos/1.jpg shows a green one


def assert_sheet_shows_photos(sheet: Path) -> None:
    with Image.open(sheet) as image:
        assert min(image.size) > 200
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 100


def assert_every_product_has_a_vector(embeddings: Path) -> None:
    described = json.loads((embeddings / "embeddings.json").read_text())
    assert described["complete"] is True
    assert described["rows"] == 3 * NUM_PRODUCTS  # product, photo and text of each


def assert_page_stands_alone(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.count("data:image/") == 11  # what was asked and ten answers
    assert len(re.findall(r"\w+ mug number \d+", text)) >= 10
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
