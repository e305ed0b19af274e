"""What models that read texts share in their inputs: a tokenizer learnt from the training shards, restored, or read by name."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from moon_zoo.data.text import TextTokenizer

MOST_TRAINING_SAMPLES: Final = 100_000
"""Samples that a tokenizer learns from, at most."""

AnyTokenizer = TypeVar("AnyTokenizer", bound=TextTokenizer)


class TokenizedInputs(ABC, Generic[AnyTokenizer]):
    """The tokenizer of a model's inputs (`moon_zoo.data.inputs.Inputs`); a subclass names its class and says its texts.

    Args:
        tokenizer: Hub name or folder, read when it is first needed; None trains one on the training shards' own text.
        vocab_size: Largest vocabulary of a trained tokenizer.
    """

    tokenizer_class: type[AnyTokenizer]

    def __init__(self, tokenizer: str | None, vocab_size: int) -> None:
        self.tokenizer_name = tokenizer
        self.vocab_size = vocab_size
        self._tokenizer: AnyTokenizer | None = None

    @abstractmethod
    def _texts(self, sample: Any) -> Iterable[str]:
        """What a tokenizer should have seen of a sample."""

    def fit(self, samples: Iterable[Any], manifest: Any) -> None:
        """Train the tokenizer when none was given; a given one is read now, not by every loader worker."""
        if self._tokenizer is None and self.tokenizer_name is None:
            texts = (text for sample in islice(samples, MOST_TRAINING_SAMPLES) for text in self._texts(sample))
            self._use(self.tokenizer_class.train(texts, self.vocab_size))
        elif self._tokenizer is None:
            _ = self.tokenizer

    @property
    def tokenizer(self) -> AnyTokenizer:
        """The tokenizer: trained, restored, or now read by its name.

        Raises:
            CheckpointError: The named one cannot be loaded, or lacks what the model needs of it.
            RuntimeError: The inputs were neither fitted nor loaded: a fault of the calling code.
        """
        if self._tokenizer is None:
            if self.tokenizer_name is None:
                raise RuntimeError("the inputs have no tokenizer yet: call fit or load_state_dict first")
            self._use(self.tokenizer_class.from_pretrained(self.tokenizer_name))
        assert self._tokenizer is not None
        return self._tokenizer

    @property
    def has_tokenizer(self) -> bool:
        """Whether there is one already."""
        return self._tokenizer is not None

    @property
    def knows_tokenizer(self) -> bool:
        """Whether there is one, or the name of one."""
        return self.has_tokenizer or self.tokenizer_name is not None

    def _use(self, tokenizer: AnyTokenizer) -> None:
        """From now on this one; subclasses forget what they made with another."""
        self._tokenizer = tokenizer

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, as plain values."""
        return {"tokenizer": self.tokenizer.state_dict() if self.knows_tokenizer else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        if state["tokenizer"] is not None:
            self._use(self.tokenizer_class.from_state(state["tokenizer"]))

    def tokenizer_fingerprint(self) -> str:
        """sha256 of the tokenizer."""
        return hashlib.sha256(json.dumps(self.tokenizer.state_dict(), sort_keys=True).encode()).hexdigest()


class CatalogueInputs(TokenizedInputs[AnyTokenizer]):
    """Of models that read products: they also note which attributes the training shards know.

    Args:
        tokenizer: See `TokenizedInputs`.
        vocab_size: See `TokenizedInputs`.
    """

    def __init__(self, tokenizer: str | None, vocab_size: int) -> None:
        super().__init__(tokenizer, vocab_size)
        self.attribute_names: tuple[str, ...] = ()

    def fit(self, samples: Iterable[Any], manifest: Any) -> None:
        """Train the tokenizer when none was given, and note which attributes the training shards know."""
        self.attribute_names = tuple(sorted(manifest.vocabularies.get("attributes", {})))
        super().fit(samples, manifest)

    def state_dict(self) -> dict[str, Any]:
        """Tokenizer and attribute names, as plain values."""
        return {**super().state_dict(), "attribute_names": list(self.attribute_names)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.attribute_names = tuple(state["attribute_names"])
        super().load_state_dict(state)
