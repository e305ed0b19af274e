"""Questions and answers about products as tensors."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import Box, Product, Search
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import RecipeError
from moon_zoo.models.moon.generation_inputs import GenerationInputs
from moon_zoo.models.moon.tasks import TASKS, read_box
from moon_zoo.nn.multimodal.chat import IGNORED
from moon_zoo.nn.multimodal.special_tokens import NAMES
from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, IMAGE, PAD
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer
from tests.conftest import draw_photo, make_product

PHOTO_TOKENS = 4


@pytest.fixture(scope="module")
def tokenizer() -> MultimodalTokenizer:
    source = GenerationInputs(PhotoTransform(16), photo_tokens=PHOTO_TOKENS)
    texts = [text for number in range(37) for text in source.training_texts(make_product(number))]
    return MultimodalTokenizer.train(texts, vocab_size=600)


def inputs_of(tokenizer: MultimodalTokenizer, *tasks: str, **settings: object) -> GenerationInputs:
    chosen = dict.fromkeys(tasks or TASKS, 1.0)
    made = GenerationInputs(PhotoTransform(16), chosen, photo_tokens=PHOTO_TOKENS, **settings)  # type: ignore[arg-type]
    made.tokenizer = tokenizer
    return made


def training(seed: int) -> Draw:
    return Draw(True, torch.Generator().manual_seed(seed))


def test_a_sequence_is_one_turn_of_a_chat(tokenizer: MultimodalTokenizer) -> None:
    product = make_product(0)
    tensors = inputs_of(tokenizer, "title", words_share=0.0).sample(product, Draw())
    ids = tensors["generation_token_ids"][tensors["generation_token_mask"]].tolist()
    special = tokenizer.special
    marks = [token for token in ids if token in (special.im_start, special.im_end, special.vision_start, special.image)]
    assert marks == [
        special.im_start,
        special.vision_start,
        *[special.image] * PHOTO_TOKENS,
        special.im_end,
        special.im_start,
        special.im_end,
    ]
    assert ids[0] == special.im_start and ids[-1] == special.im_end
    assert tokenizer.decode(ids).split() == [
        "user",
        *["write", "a", "title", "for", "the", "product."],
        "assistant",
        *product.title.lower().split(),
    ]


def test_labels_are_the_answer_and_its_end_at_the_last_places(tokenizer: MultimodalTokenizer) -> None:
    tensors = inputs_of(tokenizer, "title").sample(make_product(0), Draw())
    labels = tensors["generation_labels"]
    wanted = labels != IGNORED
    places = tensors["generation_token_ids"][-len(labels) :]
    assert torch.equal(labels[wanted], places[wanted])
    assert torch.equal(wanted, tensors["generation_token_mask"][-len(labels) :])
    assert labels[wanted][-1] == tokenizer.special.im_end
    assert inputs_of(tokenizer).answers(labels[None]) == [make_product(0).title.lower()]


def test_all_samples_have_the_same_shapes_whatever_they_lack(tokenizer: MultimodalTokenizer) -> None:
    inputs = inputs_of(tokenizer, max_photos=3)
    full = make_product(0)
    without_photos = Product("bare", title="red mug", attributes={"colour": "red"})
    many = replace(full, photos=[draw_photo(0)] * 30, photo_roles=[], core_boxes=[])
    mute = Product("mute", photos=[draw_photo(1)])
    empty = Product("empty")
    search = Search(item=full, query_text="mug")
    for draw in (Draw(), training(0)):
        batch = stack([inputs.sample(one, draw) for one in (full, without_photos, many, mute, empty, search)])
        assert batch["generation_photo_mask"].sum(1)[1] == 0
        assert batch["generation_task"].tolist()[3:5] == [-1, -1]
        assert (batch["generation_labels"][3:5] == IGNORED).all()
    assert batch["generation_photos"].shape == (6, 3, 3, 16, 16)


def test_missing_photos_leave_no_block_and_no_mark(tokenizer: MultimodalTokenizer) -> None:
    tensors = inputs_of(tokenizer, "title", max_photos=3).sample(make_product(0, photos=1), Draw())
    assert (tensors["generation_token_type"] == IMAGE).sum() == PHOTO_TOKENS + 2
    assert torch.equal(tensors["generation_token_mask"], tensors["generation_token_type"] != PAD)


def test_fields_in_a_question_keep_their_type(tokenizer: MultimodalTokenizer) -> None:
    tensors = inputs_of(tokenizer, "title", words_share=1.0).sample(make_product(0), Draw())
    kinds = tensors["generation_token_type"]
    ids = tensors["generation_token_ids"]
    product = make_product(0)
    assert tokenizer.decode(ids[kinds == CATEGORY].tolist()) == product.category[-1]
    assert tokenizer.decode(ids[kinds == ATTRIBUTE].tolist()).startswith("colour:")


def test_a_long_title_is_cut_and_the_question_is_not(tokenizer: MultimodalTokenizer) -> None:
    product = replace(make_product(0), title="red mug " * 300)
    tensors = inputs_of(tokenizer, "attributes", words_share=1.0, max_tokens=30, max_photos=1).sample(product, Draw())
    text = tokenizer.decode(tensors["generation_token_ids"][tensors["generation_token_mask"]].tolist())
    assert "list its attributes." in text
    assert 3 < text.count("red mug") < 30
    assert (tensors["generation_token_ids"] == tokenizer.special.image).sum() == PHOTO_TOKENS


def test_an_answer_that_does_not_fit_is_cut_and_does_not_end(tokenizer: MultimodalTokenizer) -> None:
    product = replace(make_product(0), title="red mug " * 300)
    labels = inputs_of(tokenizer, "title", max_answer_tokens=10).sample(product, Draw())["generation_labels"]
    assert (labels != IGNORED).all()
    assert tokenizer.special.im_end not in labels


def test_evaluation_asks_the_same_every_time_and_all_tasks(tokenizer: MultimodalTokenizer) -> None:
    inputs = inputs_of(tokenizer)
    first, again = ([inputs.sample(make_product(n), Draw()) for n in range(37)] for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert {int(one["generation_task"]) for one in first} == set(range(len(TASKS)))


def test_training_draws_follow_the_generator_and_the_weights(tokenizer: MultimodalTokenizer) -> None:
    inputs = inputs_of(tokenizer)
    inputs.tasks = {"title": 3.0, "attributes": 1.0, "describe": 0.0}
    product = make_product(0)
    assert torch.equal(
        inputs.sample(product, training(5))["generation_token_ids"],
        inputs.sample(product, training(5))["generation_token_ids"],
    )
    drawn = [TASKS[int(inputs.sample(product, training(seed))["generation_task"])] for seed in range(200)]
    assert set(drawn) == {"title", "attributes"}
    assert 120 < drawn.count("title") < 180  # 150 expected, sigma 6


def test_training_asks_for_one_attribute_in_half_of_the_questions_and_evaluation_for_all(
    tokenizer: MultimodalTokenizer,
) -> None:
    inputs = inputs_of(tokenizer, "attributes")
    drawn = [inputs.sample(make_product(0), training(seed))["generation_labels"] for seed in range(60)]
    answers = inputs.answers(torch.stack(drawn))
    assert set(answers) == {"colour: red", "size: large", "colour: red; size: large"}
    assert 15 <= answers.count("colour: red; size: large") <= 45  # 30 expected, sigma 4
    asked = [inputs.sample(make_product(number), Draw())["generation_labels"] for number in range(9)]
    assert all(answer.count(":") == 2 for answer in inputs.answers(torch.stack(asked)))


def boxed(box: Box) -> Product:
    """A white photo whose box is black."""
    pixels = np.full((60, 80, 3), 255, np.uint8)
    left, top, right, bottom = round(box[0] * 80), round(box[1] * 60), round(box[2] * 80), round(box[3] * 60)
    pixels[top:bottom, left:right] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return Product("boxed", title="thing", category=("thing",), photos=[stream.getvalue()], core_boxes=[box])


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_crop_keeps_the_product_and_moves_its_box_along(tokenizer: MultimodalTokenizer, seed: int) -> None:
    inputs = inputs_of(tokenizer, "main_subject")
    inputs.photo = PhotoTransform(64, crop_scale=(0.1, 0.9))
    tensors = inputs.sample(boxed((0.2, 0.5, 0.6, 0.9)), training(seed))
    box = read_box(inputs.answers(tensors["generation_labels"][None])[0])
    assert box is not None
    dark = (tensors["generation_photos"][0].float().mean(0) < 128).nonzero()  # rows, columns
    top, left = (dark.min(0).values / 64).tolist()
    bottom, right = ((dark.max(0).values + 1) / 64).tolist()
    assert box == pytest.approx(
        (left, top, right, bottom), abs=0.035
    )  # two pixels of 64, and 5 thousandths of rounding


def test_the_main_subject_is_sought_in_the_photo_with_a_box(tokenizer: MultimodalTokenizer) -> None:
    product = boxed((0.25, 0.25, 0.75, 0.75))
    two = replace(
        product, photos=[draw_photo(0), *product.photos], core_boxes=[None, *product.core_boxes], photo_roles=[]
    )
    tensors = inputs_of(tokenizer, "main_subject").sample(two, Draw())
    assert int(tensors["generation_photo"]) == 1
    assert read_box(inputs_of(tokenizer).answers(tensors["generation_labels"][None])[0]) == (0.25, 0.25, 0.75, 0.75)


def test_questions_of_prediction_are_those_of_prompt(tokenizer: MultimodalTokenizer) -> None:
    inputs = inputs_of(tokenizer, "title", predict_tasks=("attributes", "main_subject"), max_photos=2)
    product = make_product(0)
    tensors = inputs.sample(product, Draw())
    for task in ("attributes", "main_subject"):
        alone = inputs.prompt(product, task)
        for name in ("token_ids", "token_mask", "token_type", "photo_mask"):
            assert torch.equal(tensors[f"generation_{task}_{name}"], alone[f"generation_{name}"])
    assert tensors["generation_attributes_photo_mask"].tolist() == [True, True]
    assert tensors["generation_main_subject_photo_mask"].tolist() == [True, False]
    assert not any(name.startswith("generation_attributes") for name in inputs.sample(product, training(0)))


def test_a_system_turn_comes_first(tokenizer: MultimodalTokenizer) -> None:
    tensors = inputs_of(tokenizer, "title", system="You help.").sample(make_product(0), Draw())
    text = tokenizer.decode(tensors["generation_token_ids"][tensors["generation_token_mask"]].tolist())
    assert text.split()[:4] == ["system", "you", "help.", "user"]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"atributes": 1.0}, "no generation task 'atributes'"),
        ({"title": -1.0}, "weight -1.0"),
        ({"title": float("nan")}, "weight nan"),
        ({"title": 0.0}, "above 0"),
        ({}, "above 0"),
    ],
)
def test_tasks_that_cannot_be_drawn_are_refused(tasks: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        GenerationInputs(PhotoTransform(16), tasks, photo_tokens=4)


def test_an_unknown_task_of_prediction_comes_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="did you mean: attributes") as caught:
        GenerationInputs(PhotoTransform(16), photo_tokens=4, predict_tasks=("attribute",))
    assert caught.value.change == "model.init_args.predict_tasks"


def test_pieces_join_without_a_double_space_whatever_the_tokenizer(tokenizer: MultimodalTokenizer) -> None:
    """Ours begins every text with a space; those of published models do not, and join a word with the space before it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=[names[0] for names in NAMES.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(["Write a title for the home mug with colour: red; size: large"] * 3, trainer)
    product = make_product(0)
    for one, expected in (
        (tokenizer, "write a title for this product. category: mug. attributes: colour: red; size: large"),
        (
            MultimodalTokenizer(plain),
            "Write a title for this product. Category: mug. Attributes: colour: red; size: large",
        ),
    ):
        inputs = inputs_of(one, "title", words_share=1.0, max_tokens=90)
        tensors = inputs.sample(product, Draw())
        types = tensors["generation_token_type"]
        question = tensors["generation_token_ids"][(types != PAD) & (types != IMAGE)].tolist()
        assert expected in one.decode(question).replace(" .", ".")  # a mark after a field is a piece of its own
        mug = tensors["generation_token_ids"][types == CATEGORY].tolist()
        assert mug == one.ids(" mug" if one is not tokenizer else "mug")
