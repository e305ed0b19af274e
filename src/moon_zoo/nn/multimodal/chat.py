"""The places of a conversation's tokens: turns, photos' blocks, and pads where something is shorter than its room.

The layout is Qwen's chat (ChatML, arXiv:2409.12191, section 2.1): ``<|im_start|>role``, what is said, ``<|im_end|>``. Parts of
fixed length make all shapes static: an answer can stand in the last places of every sequence, and pads change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from moon_zoo.nn.multimodal.token_types import IMAGE, PAD, TEXT
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

IGNORED: Final = -100
"""Label of places that are no answer."""


class Places:
    """A sequence in the making.

    Args:
        pad_id: Id that fills what is not there.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id
        self.ids: list[int] = []
        self.types: list[int] = []

    def add(self, ids: Sequence[int], length: int | None = None, token_type: int = TEXT) -> None:
        """Tokens of one type, padded to ``length`` places."""
        end = len(self.ids) + (len(ids) if length is None else length)
        self.ids += ids
        self.types += [token_type] * len(ids)
        self.pad(end)

    def pad(self, end: int) -> None:
        """Pads up to the place ``end``."""
        missing = end - len(self.ids)
        self.ids += [self.pad_id] * missing
        self.types += [PAD] * missing

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Ids, mask (True on real tokens) and types, ``(length,)`` each: ``{prefix}token_ids``, ``_mask``, ``_type``."""
        types = torch.tensor(self.types, dtype=torch.int64)
        return {
            f"{prefix}token_ids": torch.tensor(self.ids, dtype=torch.int64),
            f"{prefix}token_mask": types != PAD,
            f"{prefix}token_type": types,
        }


def turn_begins(tokenizer: MultimodalTokenizer, role: str, words: str = "") -> list[int]:
    """The beginning of a turn: who speaks, and perhaps the first words."""
    return [tokenizer.special.im_start, *tokenizer.ids(f"{role}\n{words}")]


def turn_ends(tokenizer: MultimodalTokenizer) -> list[int]:
    """What stands after the words of a turn that another follows."""
    return [tokenizer.special.im_end, *tokenizer.ids("\n")]


def photo_block(tokenizer: MultimodalTokenizer, photo_tokens: int) -> list[int]:
    """The places of a photo, with its brackets."""
    special = tokenizer.special
    return [special.vision_start, *[special.image] * photo_tokens, special.vision_end]


def add_photos(places: Places, tokenizer: MultimodalTokenizer, photo_tokens: int, photos: int, most: int) -> None:
    """Blocks of ``photos`` photos, and pads in the place of those that are missing to ``most``."""
    block = photo_block(tokenizer, photo_tokens)
    for number in range(most):
        places.add(block if number < photos else [], len(block), IMAGE)


def answer_ids(tokenizer: MultimodalTokenizer, answer: str, most: int) -> list[int]:
    """Tokens of an answer and its end; of one longer than ``most`` the beginning, which then has no end to learn."""
    return [*tokenizer.ids(answer), tokenizer.special.im_end][:most] if answer else []


def answer_labels(ids: Sequence[int], length: int) -> Tensor:
    """What is to be predicted at an answer's places: int64 ``(length,)``, `IGNORED` behind its end."""
    labels = torch.full((length,), IGNORED)
    labels[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return labels
