"""What a model wrote, drawn from the file that a run keeps; refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moon_zoo.data.kinds import Product
from moon_zoo.errors import DataError
from moon_zoo.reports.calibration import save_data
from moon_zoo.reports.generation import draw_answers, draw_generations, read_written
from moon_zoo.reports.style import RIGHT, WRONG
from tests.conftest import make_product, make_search


def example(task: str, answer: str, right: str, index: int = 0, photo: int = 0) -> dict[str, Any]:
    return {"index": index, "task": task, "photo": photo, "shows_words": False, "answer": answer, "right": right}


BOX = '{"bbox_2d": [250, 250, 750, 750], "label": "mug"}'
EXAMPLES = [
    example("attributes", "colour: red; $x$: " + "long " * 50, "colour: red; size: large"),
    example("main_subject", BOX, BOX),
    example("main_subject", "nonsense " * 40, BOX, index=1),
    example("title", "", "Red mug, $5"),
    example("describe", "word " * 300, "a mug", photo=-1, index=2),
]
SAMPLES = [make_product(0), make_search(0), Product("bare", title="red mug")]


def test_answers_of_each_task_are_drawn_beside_their_photos(tmp_path: Path) -> None:
    save_data({"generation_val": EXAMPLES, "generation_test": [], "other": 1}, tmp_path)
    asked: list[str] = []

    def shards(split: str) -> list[Any]:
        asked.append(split)
        return SAMPLES

    pictures = draw_generations(tmp_path, shards, ["generation_val", "generation_test", "other"])
    assert pictures == [tmp_path / "generation_val.png"]
    assert asked == ["val", "test"]
    picture = Image.open(pictures[0]).convert("RGB")
    assert min(picture.size) > 300
    colours = {colour for _, colour in picture.getcolors(1 << 24) or []}
    for wanted in (RIGHT, WRONG):  # right and wrong attributes are both there
        assert tuple(bytes.fromhex(wanted[1:])) in colours


def test_streamed_samples_have_no_photo_to_show(tmp_path: Path) -> None:
    assert draw_answers([example("title", "a", "b", index=-1)], SAMPLES, tmp_path / "x.png") is None


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"index": 0}]', '[{"index": "0", "photo": 0, "task": "title"}]'])
def test_a_file_that_holds_no_answers_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "generation_val.json"
    path.write_text(text)
    with pytest.raises(DataError, match="no answers of a run") as refused:
        read_written(path)
    assert refused.value.where == str(path)
