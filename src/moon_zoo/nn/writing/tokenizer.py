"""Texts to ids and back for language models that write: a small tokenizer learnt from the shards, or a model's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from moon_zoo.data.text import TextTokenizer
from moon_zoo.data.words import QUESTION_MARKS
from moon_zoo.errors import CheckpointError
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

PROBE = "a"


class WritingTokenizer(TextTokenizer):
    """A tokenizer that can also write texts back, and knows what opens and ends one.

    Args:
        tokenizer: A fast tokenizer of the ``tokenizers`` library.
        pad_id: Id that fills short texts.
        end_id: Id that ends a text.
        opening: Ids that a text begins with (BART's ``<s>``).

    Example:
        >>> tokenizer = WritingTokenizer.train(["is it oak?", "is it red?"], vocab_size=300)
        >>> tokenizer.decode(tokenizer.ids("is it red?"))
        'is it red?'
    """

    def __init__(self, tokenizer: Any, pad_id: int = 0, end_id: int = 0, opening: tuple[int, ...] = ()) -> None:
        super().__init__(tokenizer, pad_id)
        # words of a question that spell <|im_end|> are words
        self._tokenizer.encode_special_tokens = True
        self.end_id = end_id
        self.opening = tuple(opening)
        self._asking: list[int] | None = None

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learn a lower-casing vocabulary of byte pairs, at most ``vocab_size`` entries; equal texts give equal ones.

        Raises:
            RecipeError: ``vocab_size`` has no room for bytes and special tokens.
        """
        trained = MultimodalTokenizer.train(texts, vocab_size)
        return cls(trained._tokenizer, trained.special.end, trained.special.im_end)

    @classmethod
    def from_pretrained(cls, name: str) -> Self:
        """The tokenizer of a transformers model, by hub name or local folder.

        Raises:
            CheckpointError: There is none, it has no fast form, or nothing that ends a text.
        """
        from transformers import AutoTokenizer

        try:
            found = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"the tokenizer {name} cannot be loaded: {error}",
                change="model.init_args.tokenizer to a folder that holds tokenizer.json",
            ) from error
        if not getattr(found, "is_fast", False) or found.eos_token_id is None:
            lacks = "no token that ends a text" if getattr(found, "is_fast", False) else "no tokenizer.json (fast form)"
            raise CheckpointError(f"the tokenizer {name} has {lacks}", change="model.init_args.tokenizer")
        pad = found.pad_token_id if found.pad_token_id is not None else found.eos_token_id
        whole = found(PROBE)["input_ids"]
        bare = found(PROBE, add_special_tokens=False)["input_ids"]
        opening = whole[: whole.index(bare[0])] if bare and bare[0] in whole else []
        return cls(found.backend_tokenizer, pad, found.eos_token_id, tuple(opening))

    def ids(self, text: str) -> list[int]:
        """All ids of a text, without special ones. An empty text has none."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids if text else []

    def markup_ids(self, text: str) -> list[int]:
        """As `ids`, but names of special tokens are taken for them: for templates, never for what people wrote."""
        self._tokenizer.encode_special_tokens = False
        try:
            return self.ids(text)
        finally:
            self._tokenizer.encode_special_tokens = True

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special ones are left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def asking_ids(self) -> list[int]:
        """Ids whose text ends with a question mark: with them a question is complete."""
        if self._asking is None:
            marked = {
                number
                for token, number in self._tokenizer.get_vocab().items()
                if token.endswith(("?", *QUESTION_MARKS)) or len(token) < 8
            }
            self._asking = sorted(
                number for number in marked if self._tokenizer.decode([number]).rstrip().endswith(QUESTION_MARKS)
            )
        return self._asking

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `from_state` makes an equal tokenizer."""
        return {**super().state_dict(), "end_id": self.end_id, "opening": list(self.opening)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The inverse of `state_dict`."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(state["tokenizer"]), state["pad_id"], state["end_id"], tuple(state["opening"]))
