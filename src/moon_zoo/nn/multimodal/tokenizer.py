"""Texts to token ids and back, for models that also write: a small tokenizer learnt from the shards, or a model's own.

Byte pairs over bytes, as Qwen and GPT-2 have them (Radford et al. 2019, section 2.2), so that every text can be written back.
Digits stand alone: boxes are numbers. Words of customers and sellers never become special tokens, whatever they spell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from moon_zoo.data.text import TextTokenizer
from moon_zoo.errors import CheckpointError, RecipeError
from moon_zoo.nn.multimodal.special_tokens import NAMES, SpecialTokens

PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+"
"""What a token never reaches across: words with the sign before them, single digits, runs of signs, line ends, spaces."""


_MEDIA = re.compile(r"<\|(vision|image|video|audio)[a-z_]*\|>")
"""Names of tokens for what is no text."""


class MultimodalTokenizer(TextTokenizer):
    """A tokenizer with special tokens that can also write texts back.

    Args:
        tokenizer: A fast tokenizer of the ``tokenizers`` library.
        pad_id: Id that fills short texts.

    Raises:
        CheckpointError: It lacks special tokens.

    Example:
        >>> tokenizer = MultimodalTokenizer.train(["red shirt", "blue shirt"], vocab_size=300)
        >>> tokenizer.decode(tokenizer.ids("blue shirt"))
        'blue shirt'
    """

    def __init__(self, tokenizer: Any, pad_id: int = 0) -> None:
        super().__init__(tokenizer, pad_id)
        # a title that spells <|image_pad|> is a title
        self._tokenizer.encode_special_tokens = True
        self.special = SpecialTokens.found(self._tokenizer.token_to_id, "the tokenizer's vocabulary")

    @classmethod
    def from_pretrained(cls, name: str) -> Self:
        """The tokenizer of a transformers model, by hub name or local folder.

        Raises:
            CheckpointError: There is none, it has no fast form, or it lacks special tokens.
        """
        try:
            return super().from_pretrained(name)
        except CheckpointError as error:
            raise CheckpointError(error.what, where=name, change=error.change) from error

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> Self:
        """Learn a vocabulary of byte pairs, at most ``vocab_size`` entries; equal texts give equal ones.

        Args:
            texts: What to learn from.
            vocab_size: Entries, special tokens and the 256 bytes included.
            lowercase: Whether upper and lower case are one; texts are then written back in lower case.

        Raises:
            RecipeError: ``vocab_size`` has no room for bytes and special tokens.
        """
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        least = 256 + len(NAMES)
        if vocab_size < least:
            raise RecipeError(
                f"a vocabulary of {vocab_size} has no room for the 256 bytes and {len(NAMES)} special tokens",
                where="model.init_args.vocab_size",
                change=f"it to {least} or more; a few thousand make texts short",
            )
        tokenizer = Tokenizer(models.BPE())
        steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
        # a space in front, of every line: the first word is like any other
        steps += [normalizers.Prepend(" "), normalizers.Replace(Regex(r"\s*[\r\n]+\s*"), "\n ")]
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("\n ", "\n")])
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[names[0] for names in NAMES.values()],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer, pad_id=0)

    def ids(self, text: str) -> list[int]:
        """All ids of a text, without special ones. An empty text has none."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids if text else []

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special ones are left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def unwritable(self, rows: int) -> list[int]:
        """Ids that no text holds: what brackets or stands for photos and videos, the opening of a turn, and rows of a token
        table that this tokenizer has no word for.

        Args:
            rows: Of the token table.
        """
        names = {name for name in self._tokenizer.get_vocab() if _MEDIA.fullmatch(name)}
        ids = {self._tokenizer.token_to_id(name) for name in names}
        special = self.special
        ids |= {special.vision_start, special.vision_end, special.image, special.im_start}
        return sorted(ids | set(range(self.vocab_size, rows)))

    def save_plain(self, folder: Path) -> None:
        """Write it as transformers reads it (``tokenizer.json`` and ``tokenizer_config.json``)."""
        from transformers import PreTrainedTokenizerFast

        end = NAMES["end"][0]
        PreTrainedTokenizerFast(
            tokenizer_object=self._tokenizer,
            pad_token=end,
            eos_token=NAMES["im_end"][0],
            additional_special_tokens=[names[0] for names in NAMES.values() if names[0] != end],
        ).save_pretrained(folder)
