"""Layout of sequences and their positions: by hand, and against transformers."""

from __future__ import annotations

import torch

from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.positions import rotary_positions
from moon_zoo.nn.multimodal.sequence import assemble
from tests.nn.multimodal import tiny


def test_photos_stand_between_brackets_before_the_text_and_missing_ones_are_padding() -> None:
    photos = torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8)
    made = assemble(
        photos,
        torch.tensor([[False, True]]),
        torch.tensor([[7, 8, 9]]),
        torch.tensor([[True, True, False]]),
        torch.tensor([[token_types.TEXT, token_types.CATEGORY, token_types.TEXT]]),
        tiny.SPECIAL,
        photo_tokens=2,
    )
    assert made.token_ids.tolist() == [[0, 0, 0, 0, 3, 5, 5, 4, 7, 8, 0]]
    assert made.mask.tolist() == [[False] * 4 + [True] * 6 + [False]]
    image, text, category = token_types.IMAGE, token_types.TEXT, token_types.CATEGORY
    assert made.token_type.tolist() == [[0, 0, 0, 0, image, image, image, image, text, category, 0]]


def test_a_sequence_may_have_no_photos_and_no_text() -> None:
    backbone = tiny.model()
    words = tiny.sequence(backbone, [[], []], [3, 1])
    assert words.photos.shape == (2, 0, 3, tiny.PHOTO, tiny.PHOTO) and words.token_ids.shape == (2, 7)
    photo = tiny.sequence(backbone, [[True]], [0], text_tokens=0)
    assert photo.token_ids.shape == (1, backbone.photo_tokens + 2) and bool(photo.mask.all())


def test_rows_of_a_sequence_are_sequences() -> None:
    rows = tiny.sequence(tiny.model(), [[True], [False], [True]], [1, 2, 3])
    assert len(rows[1:]) == 2
    assert torch.equal(rows[torch.tensor([2, 0])].mask, rows.mask[[2, 0]])


def test_positions_of_a_photo_of_two_by_two_tokens_by_hand() -> None:
    """Bracket 0; the photo starts at 1 and advances by its side, 2; bracket 3; text 4, a pad, text 5."""
    image = torch.tensor([[False, True, True, True, True, False, False, False, False]])
    mask = torch.tensor([[True] * 7 + [False, True]])
    positions, continues = rotary_positions(image, mask, side=2)
    assert positions[0, 0].tolist() == [0, 1, 1, 1, 1, 3, 4, 5, 5]
    assert positions[1, 0].tolist() == [0, 1, 1, 2, 2, 3, 4, 5, 5]
    assert positions[2, 0].tolist() == [0, 1, 2, 1, 2, 3, 4, 5, 5]
    assert continues.tolist() == [6]


def test_positions_equal_those_of_transformers_also_around_pads() -> None:
    backbone = tiny.model()
    given = tiny.sequence(backbone, [[True, True], [False, True], [True, False]], [7, 3, 5])
    for padded in (given[:1], tiny.with_pads(given, [0, 3, 8, 8, 20])):
        inputs = tiny.transformers_inputs(backbone, padded)
        theirs, deltas = backbone.lm.model.get_rope_index(
            inputs["input_ids"],
            inputs["mm_token_type_ids"],
            image_grid_thw=inputs["image_grid_thw"],
            attention_mask=inputs["attention_mask"],
        )
        ours, continues = rotary_positions(backbone.image_places(padded), padded.mask, backbone.photo_side)
        assert torch.equal(ours * padded.mask, theirs * padded.mask)
        assert torch.equal(continues, padded.mask.sum(1) + deltas[:, 0])
