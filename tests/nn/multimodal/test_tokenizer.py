"""Texts to ids and back."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from moon_zoo.errors import CheckpointError, RecipeError
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

TEXTS = ["Red Shirt, size 42", "blue shirt", "A bright RED lamp\ncolour: red"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> MultimodalTokenizer:
    return MultimodalTokenizer.train(TEXTS, vocab_size=320)


@pytest.mark.parametrize(
    "text", ["red shirt", "thé 漢字 \N{GRINNING FACE}!", '{"box": [0, 12, 999]}', "a\nb", "x, y; z: 1.5"]
)
def test_texts_come_back_as_they_were(tokenizer: MultimodalTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.ids(text)) == text


def test_case_is_lowered_or_kept_by_setting(tokenizer: MultimodalTokenizer) -> None:
    assert tokenizer.decode(tokenizer.ids("RED Shirt")) == "red shirt"
    kept = MultimodalTokenizer.train(TEXTS, vocab_size=320, lowercase=False)
    assert kept.decode(kept.ids("RED Shirt")) == "RED Shirt"


def test_a_word_is_the_same_token_wherever_a_line_begins(tokenizer: MultimodalTokenizer) -> None:
    """So the first word of a field is the word that training saw within texts."""
    red = tokenizer.ids("red")
    assert tokenizer.ids("shirt red")[-len(red) :] == red
    assert tokenizer.ids("shirt\nred")[-len(red) :] == red
    assert len(red) == 1


def test_digits_are_tokens_of_their_own(tokenizer: MultimodalTokenizer) -> None:
    assert len(tokenizer.ids("4242")) == len(tokenizer.ids("4")) + 3


def test_words_that_spell_special_tokens_stay_words(tokenizer: MultimodalTokenizer) -> None:
    text = "<|image_pad|><|im_end|> shirt"
    ids = tokenizer.ids(text)
    special = tokenizer.special
    assert not {special.image, special.im_end, special.end} & set(ids)
    assert tokenizer.decode(ids) == text


def test_special_tokens_are_left_out_of_texts(tokenizer: MultimodalTokenizer) -> None:
    special = tokenizer.special
    assert tokenizer.decode([special.im_start, *tokenizer.ids("red"), special.im_end, special.end]) == "red"
    assert special.stop == (special.im_end, special.end)
    assert len({*special.stop, special.im_start, special.vision_start, special.vision_end, special.image}) == 6


def test_a_vocabulary_without_room_for_bytes_is_refused() -> None:
    with pytest.raises(RecipeError, match="a vocabulary of 200 has no room for the 256 bytes and 6 special tokens"):
        MultimodalTokenizer.train(TEXTS, vocab_size=200)
    assert MultimodalTokenizer.train([], vocab_size=262).vocab_size == 262


def test_an_empty_text_has_no_ids(tokenizer: MultimodalTokenizer) -> None:
    assert tokenizer.ids("") == [] and tokenizer.decode([]) == ""


def test_state_is_plain_and_makes_an_equal_tokenizer(tokenizer: MultimodalTokenizer) -> None:
    state = json.loads(json.dumps(tokenizer.state_dict()))
    for twin in (MultimodalTokenizer.from_state(state), pickle.loads(pickle.dumps(tokenizer))):
        assert twin.ids("Red <|im_end|> lamp 7") == tokenizer.ids("Red <|im_end|> lamp 7")
        assert twin.special == tokenizer.special and twin.vocab_size == tokenizer.vocab_size


def test_equal_texts_give_equal_vocabularies_in_every_process(tokenizer: MultimodalTokenizer) -> None:
    program = (
        "from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer as T;"
        f"print(T.train({TEXTS!r}, vocab_size=320).state_dict()['tokenizer'])"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert other.strip() == tokenizer.state_dict()["tokenizer"]


def test_it_is_saved_as_transformers_reads_it(tokenizer: MultimodalTokenizer, tmp_path: Path) -> None:
    tokenizer.save_plain(tmp_path)
    loaded = MultimodalTokenizer.from_pretrained(str(tmp_path))
    assert loaded.ids("Red lamp\n4") == tokenizer.ids("Red lamp\n4")
    assert loaded.special == tokenizer.special and loaded.pad_id == tokenizer.special.end


def test_a_tokenizer_without_special_tokens_is_refused_by_their_names(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "red": 1}, unk_token="red"))
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|endoftext|>").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        MultimodalTokenizer.from_pretrained(str(tmp_path))
    assert caught.value.what == (
        "this tokenizer lacks the special tokens <|im_start|>, <|im_end|>, <|vision_start|>, <|vision_end|>, <|image_pad|>"
    )
    assert caught.value.where == str(tmp_path)
