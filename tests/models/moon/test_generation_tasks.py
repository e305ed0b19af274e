"""What is asked about a product, what answers it, and how answers are read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_zoo.data.kinds import Product
from moon_zoo.models.moon import prompts, tasks
from moon_zoo.models.moon.tasks import TASKS, ask, possible
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, TEXT

MUG = Product(
    item_id="mug-1",
    title="Blue  mug",
    category=("home", "mug"),
    attributes={"size": "250 ml", "colour": "blue"},
    photos=[b"photo"],
    core_boxes=[(0.1, 0.2, 0.504, 1.0)],
)


def said(question: tasks.Question) -> str:
    return "".join(text for text, _ in question.prompt)


def test_attributes_are_answered_in_alphabetical_order() -> None:
    assert ask("attributes", MUG, words=False).answer == "colour: blue; size: 250 ml"


def test_one_attribute_can_be_asked_for() -> None:
    question = ask("attributes", MUG, words=False, only="colour")
    assert said(question) == "What is the colour of the product?"
    assert question.answer == "colour: blue"
    assert not question.shows_words
    assert "Blue mug" in said(ask("attributes", MUG, words=True, only="colour"))


def test_a_separator_inside_of_a_value_does_not_make_another_attribute() -> None:
    text = tasks.attribute_text({"material": "wood; steel", "ratio": "16:9", "empty": ""})
    assert text == "material: wood, steel; ratio: 16,9"
    assert tasks.read_attributes(text) == {"material": "wood,steel", "ratio": "16,9"}


def test_a_description_of_its_own_comes_before_a_made_one() -> None:
    described = Product("a", title="Mug", description="A mug\nfor  tea.", attributes={"colour": "red"})
    assert ask("describe", described, words=True).answer == "A mug for tea."


def test_a_description_is_made_of_category_attributes_and_title() -> None:
    answer = ask("describe", MUG, words=False).answer
    assert answer == "This mug has colour blue and size 250 ml. It is sold as: Blue mug"
    assert tasks.description(Product("a", attributes={"colour": "red"})) == "This product has colour red."
    assert tasks.description(Product("a", title="Cup")) == "Cup"
    assert tasks.description(Product("a")) == ""


def test_the_main_subject_is_a_box_in_thousandths_with_the_leaf_category() -> None:
    answer = ask("main_subject", MUG, words=False, box=MUG.core_boxes[0]).answer
    assert json.loads(answer) == {"bbox_2d": [100, 200, 500, 1000], "label": "mug"}
    assert tasks.read_box(answer) == pytest.approx((0.1, 0.2, 0.5, 1.0))
    assert tasks.read_category(answer) == "mug"


def test_the_main_subject_is_the_category_where_no_box_is_known() -> None:
    question = ask("main_subject", MUG, words=False, locate=False)
    assert question.answer == "mug"
    assert "Where" not in said(question)
    assert tasks.read_category("Mug") == "mug"
    assert tasks.read_box("mug") is None


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_every_wording_has_its_fields_filled_in(task: str, place: float) -> None:
    for words in (False, True):
        text = said(ask(task, MUG, words=words, wording=place))
        assert "{" not in text
        assert ("Blue mug" in text) == (task == "main_subject" or (words and task in ("describe", "attributes")))


def test_words_of_a_question_carry_the_field_they_come_from() -> None:
    question = ask("title", MUG, words=True)
    types = {text.strip(): kind for text, kind in question.prompt}
    assert types["mug"] == CATEGORY
    assert types["colour: blue; size: 250 ml"] == ATTRIBUTE
    assert {kind for text, kind in question.prompt if "Write" in text} == {TEXT}


def test_the_title_is_not_shown_to_who_should_write_it() -> None:
    for place in (0.0, 0.4, 0.8):
        assert "Blue" not in said(ask("title", MUG, words=True, wording=place))


def test_a_product_without_photos_is_asked_about_with_its_words() -> None:
    bare = Product("a", title="Blue mug", attributes={"colour": "blue"})
    question = ask("attributes", bare, words=False)
    assert "Blue mug" in said(question)
    assert question.shows_words


def test_what_a_product_does_not_tell_is_not_asked() -> None:
    assert [task for task in TASKS if possible(task, MUG)] == list(TASKS)
    assert [task for task in TASKS if possible(task, Product("a", photos=[b"x"]))] == []
    assert [task for task in TASKS if possible(task, Product("a"))] == []
    assert [task for task in TASKS if possible(task, Product("a", title="Mug"))] == ["describe", "title"]


@given(st.text(max_size=300))
def test_no_answer_is_too_strange_to_be_read(answer: str) -> None:
    assert isinstance(tasks.read_attributes(answer), dict)
    assert isinstance(tasks.read_category(answer), str)
    tasks.read_box(answer)
    tasks.words_of(answer)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.from_regex(r"[a-z]{1,5}( [a-z0-9]{1,5})?", fullmatch=True)
    )
)
def test_attributes_are_read_as_they_were_written(attributes: dict[str, str]) -> None:
    assert tasks.read_attributes(tasks.attribute_text(attributes)) == attributes


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("Colour : Red ; style : v - neck", {"colour": "red", "style": "v-neck"}),
        ("colour: red\nsize: m", {"colour": "red", "size": "m"}),
        ("colour: red; colour: blue", {"colour": "red"}),
        ("colour; : red; size:", {}),
    ],
)
def test_attributes_are_read_whatever_the_spaces(answer: str, read: dict[str, str]) -> None:
    assert tasks.read_attributes(answer) == read


def test_a_label_is_read_with_the_spaces_of_a_tokenizer() -> None:
    assert tasks.read_category('{ " bbox_2d " : [ 1 , 2 , 3 , 4 ] , " label " : " t - shirt " }') == "t-shirt"
    assert tasks.read_category('{"bbox_2d": [1, 2') == ""


def test_all_wordings_are_shipped_and_use_known_fields() -> None:
    for name in ("describe", "attributes", "title", "main_subject", "category"):
        assert any("{" not in wording for wording in prompts.wordings(name)), f"{name} has no wording without words"
