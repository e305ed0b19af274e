"""Figures of texts against hand-derived numbers and brute-force twins."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from moon_zoo.metrics import text
from moon_zoo.metrics.text import Written
from moon_zoo.metrics.text_similarity import EmbeddingSimilarity, WordSimilarity


def test_bleu_counts_tokens_and_not_characters() -> None:
    # 5 tokens, 4 alike: 4/5 * 3/4 * 2/3 * 1/2 = 0.2, to the fourth root
    found = text.bleu([["is", "the", "mug", "old", "?"]], [["is", "the", "mug", "old", "!"]])
    assert found == pytest.approx(0.2**0.25)
    assert text.bleu([], []) == text.bleu([[]], [["a"]]) == 0.0


def test_bleu_joins_counts_of_all_texts_before_it_divides() -> None:
    one, other = ["a", "b", "c", "d", "e"], ["f", "g", "h", "i"]
    whole = text.bleu([one, other], [one, ["x"] * 4])
    precisions = [5 / 9, 4 / 7, 3 / 5, 2 / 3]
    assert whole == pytest.approx(math.prod(precisions) ** 0.25)


def _longest_common(one: list[str], other: list[str]) -> int:
    runs = (list(some) for size in range(len(one), 0, -1) for some in itertools.combinations(one, size))
    return next((len(run) for run in runs if _is_inside(run, other)), 0)


def _is_inside(run: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in run)


def test_rouge_l_equals_a_search_through_all_subsequences() -> None:
    draws = np.random.default_rng(0)
    for _ in range(20):
        one, other = (list(draws.choice(list("abcd"), size)) for size in draws.integers(1, 8, 2))
        common = _longest_common(one, other)
        wanted = 2 * common / (len(one) + len(other))
        assert text.rouge_l(one, other) == pytest.approx(wanted, abs=1e-6)


def test_distinct_is_over_all_texts_together() -> None:
    assert text.distinct([["a", "b"], ["a", "b"]], 1) == 0.5
    assert text.distinct([["a", "b"], ["a", "b"]], 2) == 0.5
    assert text.distinct([["a"]], 2) == text.distinct([], 1) == 0.0


def test_knowledge_use_is_the_share_of_the_concepts_content_words() -> None:
    assert text.knowledge_use("is the glaze safe?", "lead glaze") == 0.5
    assert text.knowledge_use("are the glazes safe?", "the glaze") == 1.0
    assert text.knowledge_use("anything", "of the") is None


def test_new_knowledge_leaves_out_what_was_said_before() -> None:
    one = Written(
        "is the stoneware glaze safe?", question="is it stoneware?", knowledge="a glaze on stoneware", concept="glaze"
    )
    assert text.new_knowledge_use(one) == pytest.approx(1 / 3)  # stoneware, glaze, safe: only glaze is new and known
    assert text.new_knowledge_use(Written("is it?", knowledge="glaze")) is None


def test_figures_of_a_set_leave_out_what_no_text_has() -> None:
    found = text.figures([Written("is it oak?", question="what wood?"), Written("", question="what wood?")])
    assert "bleu" not in found and "knowledge_use" not in found
    assert found["asks"] == 0.5
    assert text.figures([]) == {}


def test_figures_survive_emoji_other_scripts_and_enormous_texts() -> None:
    long = "clay " * 50_000
    for said in ("🙂", "木の器は何ですか\uff1f", long, "", "\x00?"):
        found = text.per_text(
            [Written(said, reference=said, question=long, answer="", knowledge="clay", concept="clay")]
        )
        assert set(found) == set(text.PER_TEXT)
        assert all(np.isfinite(values) | np.isnan(values) for row in found.values() for values in row)


@pytest.mark.parametrize("asked", ["Really?", "真的吗\uff1f", 'he said "why?"', "لماذا؟"])
def test_questions_of_other_scripts_are_questions(asked: str) -> None:
    assert text.is_question(asked)
    assert not text.is_question(asked + " yes.")


def test_word_similarity_is_a_cosine_that_sees_kindred_words() -> None:
    close = WordSimilarity()("glaze", ["glaze", "glazed", "cotton", ""])
    assert close[0] == pytest.approx(1.0)
    assert 0 < close[1] < 1
    assert close[2] == close[3] == 0.0


def test_embedding_similarity_is_zero_for_a_vector_of_zeros() -> None:
    def embed(texts: object) -> np.ndarray:
        return np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])

    assert EmbeddingSimilarity(embed)("a", ["b", "c"]).tolist() == [1.0, 0.0]
    assert EmbeddingSimilarity(embed)("a", []).shape == (0,)


def test_coherence_is_high_for_words_that_go_together_and_low_for_those_that_do_not() -> None:
    texts = [["clay", "glaze"], ["clay", "glaze"], ["wool", "loom"], ["wool", "loom"]]
    found = text.coherence([["clay", "glaze"], ["clay", "wool"], ["clay"], ["unknown", "words"]], texts)
    assert found[0] == pytest.approx(1.0)
    assert found[1] < 0.5
    assert np.isnan(found[2:]).all()


def test_coherence_windows_slide_word_by_word() -> None:
    # windows of 2: (a b), (b c), (c d): a and d never meet, b and c meet once of three
    found = text.coherence([["b", "c"]], [["a", "b", "c", "d"]], window=2)
    joint, alone = 1 / 3, 2 / 3
    npmi = math.log(joint / alone**2) / -math.log(joint)
    own = math.log(alone / alone**2) / -math.log(alone)
    vector = np.array([own, npmi])
    whole = vector + vector[::-1]
    assert found[0] == pytest.approx(vector @ whole / np.linalg.norm(vector) / np.linalg.norm(whole), abs=1e-6)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that knows a few words, with random weights."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "is", "the", "mug", "safe", "old", "?"]
    BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained(folder)
    torch.manual_seed(0)
    numbers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), initializer_range=0.5, **numbers)).save_pretrained(folder)
    return folder


def test_bert_score_is_the_greedy_matching_of_the_encoders_states(bert: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()

    def states(words: str) -> torch.Tensor:
        with torch.no_grad():
            found = model(**tokenizer(words, return_tensors="pt")).last_hidden_state[0, 1:-1]
        return torch.nn.functional.normalize(found, dim=-1)

    said, right = ["is the mug safe?", "mug?", "", "old mug"], ["is the mug old?", "is the mug old?", "mug?", "old mug"]
    found = text.bert_score(said, right, str(bert))
    for place in (0, 1):
        close = states(said[place]) @ states(right[place]).T
        precision, recall = close.max(1).values.mean(), close.max(0).values.mean()
        assert found[place] == pytest.approx(float(2 * precision * recall / (precision + recall)), abs=1e-5)
    assert found[2] == 0.0
    assert found[3] == pytest.approx(1.0, abs=1e-5)
