"""What must be put into an exported network, as plain values: a photo, a text. Models name these in their `export_parts`.

A reader without the zoo has to do what the model's inputs do, so every step that matters to the last digit is said in
words and numbers. ``kind`` is what programs go by; see `moon_zoo.export.example` for one that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moon_zoo.data.text import TextTokenizer
from moon_zoo.data.transforms import PhotoTransform

TOKENIZER = "tokenizer.json"
"""File of the tokenizer beside an exported network, in the format of the ``tokenizers`` library."""

RESIZE = {
    "squash": "the whole photo stretched to the size, antialiased bilinear",
    "crop": "the largest centred part of the wanted shape, cut out first, then scaled to the size, antialiased bilinear",
    "letterbox": "the whole photo scaled to fit, antialiased bilinear, centred, white (255) beside it",
}
"""The resize modes of `moon_zoo.data.images.decode_photo`, for readers who have only the exported folder."""


def photo_contract(transform: PhotoTransform) -> dict[str, Any]:
    """Of a uint8 photo ``(3, height, width)`` as the model's inputs make it outside training."""
    return {
        "kind": "photo",
        "size": [transform.size, transform.size],
        "range": [0, 255],
        "colour_order": "RGB",
        "layout": "channels first",
        "resize": transform.resize,
        "resize_means": RESIZE[transform.resize],
        "decoding": "upright (EXIF orientation applied), transparent parts on white, grey as three equal channels",
        "normalisation": "inside the network; give the bytes as they are",
    }


def text_contracts(
    tokenizer: TextTokenizer, max_tokens: int, text_fields: Sequence[str], *, empty_gives_zeros: bool = True
) -> dict[str, dict[str, Any]]:
    """Of ``token_ids`` int64 and ``token_mask`` bool, ``(max_tokens,)`` each.

    Args:
        tokenizer: The model's.
        max_tokens: Longest text, in tokens.
        text_fields: What a product's text is made of.
        empty_gives_zeros: Whether an empty text may be given, and gives zeros.
    """
    return {
        "token_ids": {
            "kind": "token_ids",
            "tokenizer": TOKENIZER,
            "max_tokens": max_tokens,
            "padding_id": tokenizer.pad_id,
            "range": [0, tokenizer.vocab_size - 1],
            "too_long": "the first max_tokens - 1 ids, then the text's last",
            "empty_text": "padding only, the mask all False; the embedding is zeros"
            if empty_gives_zeros
            else "must not be given: what comes out differs between runtimes and means nothing",
            "product_text": _product_text(text_fields),
        },
        "token_mask": {
            "kind": "token_mask",
            "of": "token_ids",
            "meaning": "True on the text's tokens, False on padding",
        },
    }


def _product_text(fields: Sequence[str]) -> str:
    """How `DualFlowInputs.product_text` makes a product's text."""
    if len(fields) == 1:
        return f"its {fields[0]}"
    return f"its {', '.join(fields)} in this order, those that are not empty, joined by ' . '"


def tokenizer_json(tokenizer: TextTokenizer) -> str:
    """The text of `TOKENIZER`."""
    text: str = tokenizer.state_dict()["tokenizer"]
    return text
