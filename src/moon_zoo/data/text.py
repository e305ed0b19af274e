"""Texts to token ids: a tokenizer trained on the shards' own words, or one of the transformers library.

Either way the whole tokenizer travels as one JSON string, so a checkpoint needs no other file and no hub to read text the
way it was trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor

from moon_zoo.errors import CheckpointError

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"


class TextTokenizer:
    """Fixed-length token ids of texts.

    Args:
        tokenizer: A fast tokenizer of the ``tokenizers`` library.
        pad_id: Id that fills short texts.

    Example:
        >>> tokenizer = TextTokenizer.train(["red shirt", "blue shirt"], vocab_size=100)
        >>> ids, mask = tokenizer.encode("red shirt", max_tokens=6)
        >>> mask.tolist()
        [True, True, True, True, False, False]
    """

    def __init__(self, tokenizer: Any, pad_id: int = 0) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.pad_id = pad_id

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learn a lower-casing vocabulary of byte pairs, at most ``vocab_size`` entries; equal texts give equal ones.

        Not WordPiece, nor byte pairs with a mark of continuation: the library's trainers for those break ties by the order
        of a hash map, so every process would learn another vocabulary.
        """
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = [PAD, UNKNOWN, START, END]
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}",
            special_tokens=[(START, special.index(START)), (END, special.index(END))],
        )
        return cls(tokenizer, pad_id=0)

    @classmethod
    def from_pretrained(cls, name: str) -> Self:
        """The tokenizer of a transformers model, by hub name or local folder.

        Raises:
            CheckpointError: There is none, or it has no fast form.
        """
        from transformers import AutoTokenizer

        try:
            found = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"the tokenizer {name} cannot be loaded: {error}",
                change="model.init_args.tokenizer to a folder that holds tokenizer.json",
            ) from error
        if not getattr(found, "is_fast", False):
            raise CheckpointError(
                f"the tokenizer {name} has no tokenizer.json (fast form)", change="model.init_args.tokenizer"
            )
        return cls(found.backend_tokenizer, pad_id=found.pad_token_id or 0)

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str, max_tokens: int) -> tuple[Tensor, Tensor]:
        """Ids and mask of one text, cut to ``max_tokens`` with its closing token kept.

        Returns:
            int64 ids ``(max_tokens,)`` and a bool mask, True on real tokens, ``(max_tokens,)``. An empty text is all
            padding.
        """
        ids = self._tokenizer.encode(text).ids if text else []
        if len(ids) > max_tokens:
            ids = [*ids[: max_tokens - 1], ids[-1]]
        token_ids = torch.full((max_tokens,), self.pad_id, dtype=torch.int64)
        token_ids[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return token_ids, torch.arange(max_tokens) < len(ids)

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `from_state` makes an equal tokenizer."""
        return {"tokenizer": self._tokenizer.to_str(), "pad_id": self.pad_id}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The inverse of `state_dict`."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(state["tokenizer"]), pad_id=state["pad_id"])

    def __getstate__(self) -> dict[str, Any]:
        return self.state_dict()  # loader workers receive it by value

    def __setstate__(self, state: dict[str, Any]) -> None:
        twin = type(self).from_state(state)
        self.__dict__.update(twin.__dict__)
