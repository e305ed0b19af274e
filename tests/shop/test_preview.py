"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moon_zoo.errors import UsageError
from moon_zoo.shop.catalogue import spu
from moon_zoo.shop.conversations.things import PLACES, THINGS
from moon_zoo.shop.drawing.photos import photo
from moon_zoo.shop.preview import contact_sheet, things_sheet
from moon_zoo.shop.vocabulary import LEAVES


def test_a_sheet_shows_every_category_and_is_saved(tmp_path: Path):
    sheet = contact_sheet(tmp_path / "sheet.png", photo_px=32, products_per_category=1, photos_per_product=2, columns=4)
    stored = Image.open(tmp_path / "sheet.png")
    assert stored.size == sheet.size
    assert sheet.width >= 4 * 2 * 32
    assert sheet.height >= len(LEAVES) // 4 * 32


def test_a_sheet_of_things_shows_each_of_them_and_is_saved(tmp_path: Path):
    sheet = things_sheet(tmp_path / "things.png", photo_px=48, columns=6)
    assert Image.open(tmp_path / "things.png").size == sheet.size
    assert sheet.height // (48 + 16) == -(-(len(THINGS) + 2 * len(PLACES)) // 6)
    rows = np.asarray(sheet)[14:62, :48]
    assert rows.std() > 8


def test_a_sheet_holds_the_photos_themselves():
    sheet = contact_sheet(categories=["mug"], photo_px=48, products_per_category=1, photos_per_product=2, columns=1)
    number = [leaf.name for leaf in LEAVES].index("mug")
    expected = np.asarray(photo(spu(0, number), spu(0, number).items[0], 1, 48).image)
    assert (np.asarray(sheet)[14:62, 50:98] == expected).all()


def test_boxes_can_be_framed():
    plain = contact_sheet(categories=["mug"], photo_px=48, products_per_category=1)
    framed = contact_sheet(categories=["mug"], photo_px=48, products_per_category=1, boxes=True)
    assert plain.tobytes() != framed.tobytes()


def test_an_unknown_category_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean: teapot"):
        contact_sheet(categories=["teapt"])
