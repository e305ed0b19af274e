"""What one answer adds to the figures, by hand; and that every figure is in the catalogue."""

import pytest
import torch

from moon_zoo.metrics.catalogue import WRITTEN, find
from moon_zoo.models.moon.generation_evaluation import GenerationEvaluation, ratios
from moon_zoo.models.moon.tasks import TASKS


def figures(task: str, said: str, right: str, shows_words: bool = True) -> dict[str, float]:
    return {
        name.removeprefix("generation/"): above / below
        for name, above, below in ratios(task, said, right, shows_words)
        if below
    }


def test_attributes_are_counted_by_pairs() -> None:
    """Said 3 pairs, 1 right; 2 were to be said: precision 1/3, recall 1/2, f1 2/5."""
    found = figures("attributes", "colour: red; size: m; brand: x", "colour: red; size: l")
    assert found == {
        "attributes/precision": pytest.approx(1 / 3),
        "attributes/recall": 0.5,
        "attributes/f1": pytest.approx(2 / 5),
        "attributes/exact_match": 0,
        "attribute_accuracy/colour": 1,
        "attribute_accuracy/size": 0,
    }


def test_answers_from_photos_alone_are_also_counted_by_themselves() -> None:
    found = figures("attributes", "Colour : Red", "colour: red", shows_words=False)
    assert found["attributes/exact_match"] == found["attributes_from_photo/exact_match"] == 1
    assert found["attribute_accuracy_from_photo/colour"] == 1


def test_nothing_said_is_no_precision_and_no_recall() -> None:
    found = figures("attributes", "", "colour: red")
    assert "attributes/precision" not in found
    assert found["attributes/recall"] == 0


def test_a_box_counts_by_its_overlap_and_no_box_is_zero() -> None:
    """Left half against the whole's left three quarters: 0.5 / 0.75."""
    right = '{"bbox_2d": [0, 0, 750, 1000], "label": "mug"}'
    found = figures("main_subject", '{"bbox_2d": [0, 0, 500, 1000], "label": "cup"}', right)
    assert found["main_subject/box_iou"] == pytest.approx(2 / 3)
    assert found["main_subject/box_iou_whole_photo"] == pytest.approx(0.75)
    assert found["main_subject/category_accuracy"] == 0
    nothing = figures("main_subject", "mug", right)
    assert nothing["main_subject/box_iou"] == nothing["main_subject/box_read"] == 0
    assert nothing["main_subject/category_accuracy"] == 1


def test_titles_count_by_their_words() -> None:
    """Two of three said are right, of four: F1 = 2 * 2 / 7."""
    assert figures("title", "red mug mug", "Red mug, 250 ml")["title/token_f1"] == pytest.approx(4 / 7)
    assert figures("describe", "", "a mug")["describe/token_f1"] == 0


def test_every_figure_is_explained_in_the_catalogue() -> None:
    evaluation = GenerationEvaluation()
    evaluation.start({"colour": ["red"]}, torch.device("cpu"))
    names = [*evaluation._places, "generation/attribute_accuracy/colour_chance", "generation/tokens"]
    for name in names:
        info = find(f"val/{name}")
        assert info is not None and info.pattern.startswith("generation/"), name
    assert WRITTEN == TASKS
    loss = find("val/generation/attributes/loss")
    assert loss is not None and loss.direction == "lower"
