"""Boxes as geometry, by hand."""

import math

import pytest
import torch

from moon_zoo.data.kinds import Product, Search
from moon_zoo.errors import DataError
from moon_zoo.regions.photos import photos_of, with_boxes
from moon_zoo.regions.region import Region, area, inside_photo, iou, trusted
from moon_zoo.regions.truth import TruthDetector
from tests.sources.making import photo


def test_overlap_by_hand():
    """Two squares of 0.25 that share a quarter each: 0.0625 / 0.4375."""
    assert iou((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)) == pytest.approx(1 / 7)
    assert iou((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)) == 0.0
    assert iou((0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)) == pytest.approx(1.0)
    assert area((0.1, 0.2, 0.3, 0.7)) == pytest.approx(0.1)


def test_boxes_are_sorted_and_cut_to_the_photo():
    assert inside_photo(0.9, 0.8, 0.1, 0.2) == (0.1, 0.2, 0.9, 0.8)
    assert inside_photo(-1.0, 0.2, 2.0, 0.4) == (0.0, 0.2, 1.0, 0.4)
    assert inside_photo(1.2, 0.2, 1.4, 0.4) is None
    assert inside_photo(0.2, 0.2, 0.2, 0.4) is None
    assert inside_photo(math.nan, 0.2, 0.4, 0.4) is None
    assert inside_photo(0.2, 0.2, math.inf, 0.4) is None


def test_a_box_under_five_percent_is_not_trusted():
    assert trusted(Region((0.0, 0.0, 0.22, 0.22))) is None
    assert trusted(Region((0.0, 0.0, 0.5, 0.11))) == (0.0, 0.0, 0.5, 0.11)
    assert trusted(Region((0.0, 0.0, 1.0, 1.0))) == (0.0, 0.0, 1.0, 1.0)
    assert trusted(Region.none("nothing")) is None
    assert trusted(Region((0.0, 0.0, 0.1, 0.1)), min_area=0.0) is not None


def make_search() -> Search:
    item = Product("1", title="red mug", photos=[photo("red"), photo("blue")], core_boxes=[(0.1, 0.1, 0.5, 0.5), None])
    other = Product("2", title="lamp", photos=[photo("green")])
    return Search(item, query_text="mug", query_photo=photo("white"), hard_negatives=[other])


def test_a_search_is_taken_apart_and_put_together_in_the_same_order():
    search = make_search()
    assert [(one.role, one.title) for one in photos_of(search)] == [
        ("query", "mug"),
        ("catalogue", "red mug"),
        ("user", "red mug"),
        ("catalogue", "lamp"),
    ]
    boxes = [(0.0, 0.0, number / 8, 1.0) for number in range(1, 5)]
    boxed = with_boxes(search, boxes)
    assert [one.box for one in photos_of(boxed)] == boxes
    assert boxed.query_box == boxes[0]
    assert boxed.hard_negatives[0].core_boxes == [boxes[3]]
    assert search.query_box is None  # the old one stays as it was


def test_known_boxes_are_found_by_the_photo():
    detector = TruthDetector([make_search()])
    assert detector.detect(photo("red")).box == (0.1, 0.1, 0.5, 0.5)
    assert detector.detect(photo("blue")).reason == "no box is known"
    assert detector.detect(photo("pink")).reason == "the photo is not among the known ones"
    with pytest.raises(DataError, match="encoded bytes"):
        detector.detect(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(DataError, match="1 photos but 2 titles"):
        detector.detect_all([photo()], ["a", "b"])


@pytest.mark.parametrize(
    "box",
    [
        (0.2, 0.2, 1.4, 0.8),
        (-0.1, 0.2, 0.4, 0.8),
        (0.2, 0.2, 0.2, 0.4),
        (0.4, 0.2, 0.2, 0.4),
        (0.1, math.nan, 0.5, 0.5),
        (0.1, 0.2, 0.3),
        ("a", "b", "c", "d"),
        "abcd",
        {"left": 0.1},
        5,
    ],
)
def test_a_product_refuses_a_box_that_is_none_and_says_what_to_do(box):
    with pytest.raises(DataError, match="is not \\(left, top, right, bottom\\)") as caught:
        Product("1", photos=[photo()], core_boxes=[box])
    assert "moon-zoo pack boxes" in str(caught.value)
