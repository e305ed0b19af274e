"""The tokenizer that models share in their inputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moon_zoo.data.text import TextTokenizer
from moon_zoo.data.tokenized_inputs import CatalogueInputs
from moon_zoo.errors import CheckpointError

MANIFEST = SimpleNamespace(vocabularies={"attributes": {"colour": [], "brand": []}})


class Words(CatalogueInputs[TextTokenizer]):
    tokenizer_class = TextTokenizer

    def _texts(self, sample: Any) -> Iterable[str]:
        return [sample]


def test_what_was_learned_comes_back_from_plain_values() -> None:
    learned = Words(None, vocab_size=60)
    assert not learned.knows_tokenizer and learned.state_dict()["tokenizer"] is None
    learned.fit(["red mug", "blue mug"], MANIFEST)
    restored = Words(None, vocab_size=60)
    restored.load_state_dict(learned.state_dict())
    assert restored.attribute_names == ("brand", "colour")
    assert restored.tokenizer_fingerprint() == learned.tokenizer_fingerprint()
    restored.fit(["quite other words"], MANIFEST)  # nothing is missing
    assert restored.tokenizer_fingerprint() == learned.tokenizer_fingerprint()


def test_a_named_tokenizer_that_is_not_there_is_told_when_training_starts(tmp_path: Path) -> None:
    named = Words(str(tmp_path), vocab_size=60)  # building a model reads nothing
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        named.fit(["red mug"], MANIFEST)


def test_inputs_that_learned_nothing_have_no_tokenizer() -> None:
    with pytest.raises(RuntimeError, match="fit or load_state_dict"):
        _ = Words(None, vocab_size=60).tokenizer
