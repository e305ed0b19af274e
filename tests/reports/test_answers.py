"""The picture of an assistant's answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import DataError
from moon_zoo.reports.answers import draw_conversations, read_answers
from moon_zoo.reports.calibration import save_data

EXAMPLES = [
    {"index": 0, "answer": "costs $5 and $6, \x00 strange", "right": "better not"},
    {"index": 3, "answer": "", "right": "it is red " * 60},
    {"index": -1, "answer": "streamed", "right": "streamed"},
]


def test_answers_are_drawn_with_and_without_images(instruction_set: Path, tmp_path: Path) -> None:
    save_data({"answers_val": EXAMPLES, "answers_test": [], "other": 1}, tmp_path)
    pictures = draw_conversations(
        tmp_path, lambda split: IndexedShards(instruction_set), ["answers_val", "answers_test", "other"]
    )
    assert pictures == [tmp_path / "answers_val.png"]
    with Image.open(pictures[0]) as image:
        assert image.width > 1000 and len(set(image.convert("L").getdata())) > 50


def test_a_file_that_holds_no_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answers_val.json").write_text('[{"index": "0"}]')
    with pytest.raises(DataError, match="these are no answers of a run: index is '0'") as refused:
        read_answers(tmp_path / "answers_val.json")
    assert "moon-zoo test --run" in str(refused.value)
