"""Boxes in answers: every form that models are known to give, and what none can be read from."""

import random
import time

import pytest

from moon_zoo.regions.parsing import LONGEST_ANSWER, parse_box

TENTHS = (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "size 42 shirt"}]\n```',
        '{"label": "shirt 7", "bbox_2d": [100.0, 200, 300, 4e2]}',
        "[100, 200, 300, 400]",
        "[[100, 200, 300, 400], [1, 2, 3, 4]]",
        "100 200 300 400",
        "The shirt is at (100,200),(300,400).",
        "One of 3 shirts, the first: [100, 200, 300, 400], the second: [500, 600, 700, 800]",
        "<box>100 200 300 400</box>",
        "<ref>shirt</ref><box>(100,200),(300,400)</box>",
        "<|box_start|>(100,200),(300,400)<|box_end|>",
        '{"x1": 100, "y1": 200, "x2": 300, "y2": 400}',
        '{"bbox": {"left": "100", "top": "200", "right": "300", "bottom": "400"}}',
        "xmin=100, ymin=200, xmax=300, ymax=400",
        "x: 100, y: 200, width: 200, height: 200",
        '[{"bbox_2d": [100, 200, 300, 400], "lab',
    ],
)
def test_every_form_of_answer_gives_its_box(text):
    assert parse_box(text, scale="thousandths").box == pytest.approx(TENTHS)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[300, 400, 100, 200]", TENTHS),
        ("[300, 200, 100, 400]", TENTHS),
        ("[-50, 200, 300, 1400]", (0.0, 0.2, 0.3, 1.0)),
        ("[-10, -10, 1010, 1010]", (0.0, 0.0, 1.0, 1.0)),
    ],
)
def test_swapped_corners_are_put_in_order_and_boxes_cut_to_the_photo(text, box):
    assert parse_box(text, scale="thousandths").box == pytest.approx(box)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("I see no product here.", "no four corners"),
        ("There are 3 shirts of size 42.", "no four corners"),
        ("10%, 20%, 30%, 40%", "no four corners"),
        ("[NaN, 200, 300, 400]", "no four corners"),
        ("[1e999, 200, 300, 400]", "no finite number"),
        ("[100, 200, 100, 400]", "no area"),
        ("[1100, 1200, 1300, 1400]", "outside of the photo"),
        ("[-300, -400, -100, -200]", "outside of the photo"),
    ],
)
def test_nonsense_is_no_box_and_says_why(text, reason):
    parsed = parse_box(text, scale="thousandths")
    assert parsed.box is None
    assert reason in parsed.reason


@pytest.mark.parametrize(
    "text",
    [
        '[{"bbox_2d": [100, 200, 300, 4',
        '[{"bbox_2d": [100, 200',
        '{"x1": 1, "y1": 2, "x2": 3, "y2": 4',
        "<box>1 2 3 4",
        "(1,2),(3,4",
    ],
)
def test_an_answer_cut_off_within_its_box_is_not_trusted(text):
    """The last number may be half a number: 4 of 400."""
    assert parse_box(text, scale="thousandths").box is None


def test_numbers_are_read_in_the_scale_that_is_said():
    text = "[10, 20, 30, 40]"
    assert parse_box(text, scale="thousandths").box == pytest.approx((0.01, 0.02, 0.03, 0.04))
    assert parse_box(text, scale="pixels", shown_size=(200, 100)).box == pytest.approx((0.1, 0.1, 0.3, 0.2))
    assert parse_box("[0.1, 0.2, 0.3, 0.4]", scale="fractions").box == pytest.approx(TENTHS)
    assert "size of the picture" in parse_box(text, scale="pixels").reason


@pytest.mark.parametrize(
    ("text", "shown_size", "box"),
    [
        ("[0.1, 0.2, 0.3, 0.4]", (448, 448), TENTHS),
        ("[100, 200, 300, 400]", None, TENTHS),
        ("[100, 200, 300, 400]", (1000, 500), (0.2, 0.2, 0.6, 0.4)),
        ("[100, 200, 300, 400]", (300, 300), TENTHS),
        ("[100, 200, 1500, 400]", (400, 1000), (0.1, 0.5, 1.0, 1.0)),
        ("<|box_start|>(100,200),(300,400)<|box_end|>", (1000, 1000), TENTHS),
    ],
)
def test_auto_takes_fractions_then_pixels_where_they_fit_else_thousandths(text, shown_size, box):
    assert parse_box(text, shown_size=shown_size).box == pytest.approx(box)


@pytest.mark.parametrize(
    "text", ["1 " * 9000, "1" * 9000, "(" * 9000, "[" * 9000, "<box>" * 3000, "1" + " " * 9000, "x=" * 9000]
)
def test_babble_costs_no_time(text):
    began = time.process_time()
    parse_box(text)
    assert time.process_time() - began < 0.5
    assert parse_box("." * LONGEST_ANSWER + "[100, 200, 300, 400]").box is None


def test_whatever_is_said_gives_a_valid_box_or_a_reason():
    draw = random.Random(0)
    signs = [
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "<box>",
        "</box>",
        "<|box_start|>",
        "x1=",
        "left:",
        "w=",
        '"',
        "mug",
        "\n",
        "-",
    ]
    numbers = ["7", "42.5", "1e3", "1e400", "0", "1000", "-3", ".5", "0.25", "nan", "\u0663", "640"]
    boxes = 0
    for _ in range(3000):
        words = [draw.choice(signs if draw.random() < 0.3 else numbers) for _ in range(draw.randrange(1, 12))]
        text = draw.choice((", ", " ", ",", "")).join(words)
        for scale, size in (("auto", None), ("pixels", (480, 640)), ("thousandths", None), ("fractions", (0, 0))):
            parsed = parse_box(text, scale=scale, shown_size=size)
            assert (parsed.box is None) == bool(parsed.reason), text
            if parsed.box is not None:
                boxes += 1
                left, top, right, bottom = parsed.box
                assert 0 <= left < right <= 1, text
                assert 0 <= top < bottom <= 1, text
    assert boxes > 20
