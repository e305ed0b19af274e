"""The gallery: which rows, what of each sample, and a picture whose frames can be checked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moon_zoo.data.kinds import Product, Search
from moon_zoo.errors import DataError
from moon_zoo.models.base import GalleryRow, Shown
from moon_zoo.reports.gallery import chosen, draw_gallery, load_rows, look_at, save_rows
from moon_zoo.reports.style import RIGHT, WRONG


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "white").save(buffer, "JPEG")
    return buffer.getvalue()


ITEM = Product("1", "a cup for $5 or $6", photos=[photo()])
SPLITS: dict[str, list[Any]] = {
    "val": [Search(ITEM, query_text="cup"), Search(ITEM, query_photo=photo())],
    "gallery": [ITEM, Product("2")],
}


def row(task: str, query: int, relevant: bool = True) -> GalleryRow:
    results = (Shown("gallery", 0, "item", 0.75, relevant), Shown("gallery", 1, "item", 0.5, False))
    return GalleryRow(task, Shown("val", query, "query"), results)


def test_query_and_item_of_a_search_are_told_apart() -> None:
    assert look_at(Shown("val", 0, "query"), SPLITS.__getitem__).text == "cup"
    assert look_at(Shown("val", 0, "query"), SPLITS.__getitem__).photo is None
    assert look_at(Shown("val", 0, "item"), SPLITS.__getitem__).text == ITEM.title
    assert look_at(Shown("gallery", 1), SPLITS.__getitem__).photo is None


def test_rows_are_shared_among_tasks() -> None:
    rows = [row("photo_to_product", 1)] * 9 + [row("text_to_product", 0)] * 2
    assert [one.task for one in chosen(rows, limit=6)] == ["photo_to_product"] * 3 + ["text_to_product"] * 2


def count(picture: Path, colour: str) -> int:
    rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return int((np.abs(pixels - rgb).sum(-1) < 12).sum())


def test_right_results_are_framed_green_and_wrong_ones_red(tmp_path: Path) -> None:
    right = draw_gallery([row("text_to_product", 0, relevant=True)], SPLITS.__getitem__, tmp_path / "right.png")
    wrong = draw_gallery([row("text_to_product", 0, relevant=False)], SPLITS.__getitem__, tmp_path / "wrong.png")
    assert right is not None
    assert wrong is not None
    assert count(right, RIGHT) > 500
    assert count(right, WRONG) > 500  # the second result
    assert count(wrong, RIGHT) == 0
    assert count(wrong, WRONG) > 1.8 * count(right, WRONG)


def test_products_without_photo_and_text_are_drawn_too(tmp_path: Path) -> None:
    rows = [row("photo_to_text", 1), row("photo_to_product", 1)]
    assert draw_gallery(rows, SPLITS.__getitem__, tmp_path / "g.png") is not None
    assert draw_gallery([], SPLITS.__getitem__, tmp_path / "none.png") is None


def test_rows_survive_being_saved(tmp_path: Path) -> None:
    rows = [row("text_to_product", 0), row("photo_to_text", 1)]
    save_rows(rows, tmp_path / "g.json")
    assert load_rows(tmp_path / "g.json") == rows
    (tmp_path / "bad.json").write_text('[{"task": 1}]')
    with pytest.raises(DataError, match="no gallery can be read"):
        load_rows(tmp_path / "bad.json")
