"""A product's text fields, or a query's words, to the text block of a sequence: ids, token types, and which are the title's.

Source: MOON, arXiv:2508.11999, section 3.3: title, category and attributes follow the photos, and every token carries the
field that it comes from. Which fields are cut first when a product says more than fits is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from moon_zoo.data.product_text import TEXT_FIELDS
from moon_zoo.nn.multimodal import token_types

FIELD_TYPES: dict[str, int] = {
    "title": token_types.TEXT,
    "category": token_types.CATEGORY,
    "attributes": token_types.ATTRIBUTE,
    "description": token_types.TEXT,
}
"""Text field to the type of its tokens."""


class Encodes(Protocol):
    """What is needed of a tokenizer."""

    pad_id: int

    def ids(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""
        ...


class TextTensors(NamedTuple):
    """A text block of fixed length.

    Args:
        ids: int64 ``(length,)``; padding at the end.
        mask: True on tokens, ``(length,)``.
        type: int8 token types, ``(length,)``.
        title: True on tokens of the title, ``(length,)``.
        num_cut: Tokens that the budget left no room for.
    """

    ids: Tensor
    mask: Tensor
    type: Tensor
    title: Tensor
    num_cut: int


class TextBlock:
    """Texts to a block of ``length`` tokens.

    Args:
        length: Budget in tokens.
        fields: Fields of a product, in the order in which they are written; of `TEXT_FIELDS`.
        priority: Fields in the order in which they are given room: what is last is cut first. Fields that are not named come
            after those that are.
        separator: What stands before every field but the first, a token of the field that it opens. Empty for a tokenizer
            that sets texts apart by itself.
    """

    def __init__(self, length: int, fields: Sequence[str], priority: Sequence[str], separator: str = "") -> None:
        self.length = length
        self.separator = separator
        self.fields = tuple(fields)
        ranks = {field: place for place, field in enumerate([*priority, *TEXT_FIELDS][::-1])}
        self._first = sorted(self.fields, key=lambda field: -ranks[field])

    def product(self, texts: Mapping[str, str], tokenizer: Encodes) -> TextTensors:
        """The block of a product's `moon_zoo.data.product_text.field_texts`."""
        written = [field for field in self.fields if texts[field]]
        ids = {
            field: tokenizer.ids(texts[field] if place == 0 else self.separator + texts[field])
            for place, field in enumerate(written)
        }
        room, kept = self.length, dict.fromkeys(written, 0)
        for field in self._first:
            if field in ids:
                kept[field] = min(len(ids[field]), room)
                room -= kept[field]
        parts = [(field, ids[field][: kept[field]]) for field in written]
        return self._block(parts, tokenizer.pad_id, sum(map(len, ids.values())) - self.length + room)

    def words(self, text: str, tokenizer: Encodes) -> TextTensors:
        """The block of a query's words, which have no fields; the end is cut."""
        ids = tokenizer.ids(text) if text else []
        return self._block([("title", ids[: self.length])], tokenizer.pad_id, max(len(ids) - self.length, 0))

    def _block(self, parts: Sequence[tuple[str, list[int]]], pad_id: int, num_cut: int) -> TextTensors:
        ids = torch.full((self.length,), pad_id, dtype=torch.int64)
        types = torch.full((self.length,), token_types.PAD, dtype=torch.int8)
        title = torch.zeros(self.length, dtype=torch.bool)
        start = 0
        for field, tokens in parts:
            stop = start + len(tokens)
            ids[start:stop] = torch.tensor(tokens, dtype=torch.int64)
            types[start:stop] = FIELD_TYPES[field]
            title[start:stop] = field == "title"
            start = stop
        return TextTensors(ids, torch.arange(self.length) < start, types, title, num_cut)
