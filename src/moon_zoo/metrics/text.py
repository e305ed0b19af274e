"""Figures of written texts, on lists of tokens: overlap with a reference, variety, relevance, and use of knowledge.

Libraries are given token lists, never raw strings: of strings some of them silently count characters. BLEU and ROUGE-L are
torchmetrics'. Source of the figures: arXiv:2504.05801; its "mutual information" aligns characters and is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from moon_zoo.data.words import QUESTION_MARKS, content_words, tokens
from moon_zoo.metrics.text_similarity import Similarity, WordSimilarity

BLEU_ORDER: Final = 4
_CLOSING: Final = "\"'\u201d\u2019)"
MOST_TOKENS: Final = 1000
"""Of a text that is compared with a reference, what is beyond is passed over: ROUGE-L takes the product of two lengths."""
COHERENCE_WINDOW: Final = 110
"""Words of a sliding window in c_v (Roeder et al. 2015, "Exploring the space of topic coherence measures")."""


@dataclass(frozen=True, slots=True)
class Written:
    """A follow-up question that was written, beside what it was written from.

    Args:
        follow_up: What was written; may be empty.
        reference: What was asked by a person; empty where that is not known.
        question: What had been asked.
        answer: What had been answered.
        knowledge: What the follow-up should draw on; empty for none.
        concept: The title of it; empty for none.
    """

    follow_up: str
    reference: str = ""
    question: str = ""
    answer: str = ""
    knowledge: str = ""
    concept: str = ""


def bleu(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *, order: int = BLEU_ORDER
) -> float:
    """Corpus BLEU, unsmoothed, in ``[0, 1]``; 0 for an empty set.

    Args:
        predictions: Tokens of each text.
        references: Tokens of its one reference.
        order: Longest run of tokens that counts.
    """
    _same_length(predictions, references)
    if not any(len(one) for one in predictions):
        return 0.0
    from torchmetrics.functional.text import bleu_score

    found = bleu_score([_joined(one) for one in predictions], [[_joined(one)] for one in references], n_gram=order)
    return float(found)


def sentence_bleu(prediction: Sequence[str], reference: Sequence[str], *, order: int = BLEU_ORDER) -> float:
    """BLEU of one text, with one added to the counts of runs of two and more (Lin and Och 2004), in ``[0, 1]``."""
    if not prediction or not reference:
        return 0.0
    from torchmetrics.functional.text import bleu_score

    return float(bleu_score([_joined(prediction)], [[_joined(reference)]], n_gram=order, smooth=True))


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """F-measure of the longest common subsequence of tokens, in ``[0, 1]``."""
    if not prediction or not reference:
        return 0.0
    from torchmetrics.functional.text import rouge_score

    found = rouge_score(
        _joined(prediction), _joined(reference), rouge_keys="rougeL", normalizer=str, tokenizer=str.split
    )
    return float(found["rougeL_fmeasure"])


def bert_score(predictions: Sequence[str], references: Sequence[str], model: str) -> np.ndarray:
    """BERTScore's F1 of each text beside its reference, float64 ``(texts,)``; 0 of an empty one.

    Args:
        predictions: What was written.
        references: What was right.
        model: An encoder of transformers, by hub name or folder. Figures of different encoders are not comparable.

    Source: Zhang et al. 2020, arXiv:1904.09675, by torchmetrics, from the last layer, without weights by rarity.
    """
    _same_length(predictions, references)
    from torchmetrics.text.bert import BERTScore

    metric = BERTScore(model_name_or_path=model, truncation=True)
    found = np.zeros(len(predictions))
    for place, (said, right) in enumerate(zip(predictions, references, strict=True)):
        if said.strip() and right.strip():
            # Pair by pair: of several, torchmetrics 1.9 mixes up which text belongs to which (it sorts them by length).
            metric.reset()
            metric.update([said], [right])
            found[place] = float(np.asarray(metric.compute()["f1"]).item())
    return found


def distinct(texts: Sequence[Sequence[str]], order: int) -> float:
    """Share of runs of ``order`` tokens that are different, over all texts together, in ``[0, 1]``; 0 for none.

    Falls with the size of the set: compare sets of one size.
    """
    runs = Counter(
        tuple(text[start : start + order]) for text in texts for start in range(max(len(text) - order + 1, 0))
    )
    return len(runs) / runs.total() if runs else 0.0


def type_token_ratio(text: Sequence[str]) -> float:
    """Share of a text's tokens that are different, in ``[0, 1]``; 0 for an empty one."""
    return len(set(text)) / len(text) if text else 0.0


def knowledge_use(follow_up: str, concept: str) -> float | None:
    """Share of a concept's content words that a follow-up says, in ``[0, 1]``; None for a concept without any.

    Args:
        follow_up: The question.
        concept: What it should be about: a title, or a title with its definition.
    """
    wanted = set(content_words(concept))
    return len(wanted & set(content_words(follow_up))) / len(wanted) if wanted else None


def new_knowledge_use(one: Written) -> float | None:
    """Share of a follow-up's content words that are the knowledge's, and neither the question's nor the answer's.

    None for a follow-up without content words, or where there is no knowledge.
    """
    said = content_words(one.follow_up)
    brought = set(content_words(f"{one.concept} {one.knowledge}")) - set(content_words(f"{one.question} {one.answer}"))
    if not said or not (one.concept or one.knowledge):
        return None
    return sum(word in brought for word in said) / len(said)


def relevance(follow_ups: Sequence[str], others: Sequence[str], similarity: Similarity | None = None) -> np.ndarray:
    """Cosine of each follow-up with another text, such as its question or its knowledge, float64 ``(texts,)``.

    Args:
        follow_ups: The questions.
        others: The other text of each.
        similarity: How; by words in common where None.
    """
    _same_length(follow_ups, others)
    close = similarity or WordSimilarity()
    return np.array([float(close(one, [other])[0]) for one, other in zip(follow_ups, others, strict=True)])


def per_text(written: Sequence[Written], similarity: Similarity | None = None) -> dict[str, np.ndarray]:
    """Figures of each text, float64 ``(texts,)`` each, NaN where one has none.

    Returns:
        ``sentence_bleu`` and ``rouge_l`` (where there is a reference), ``type_token_ratio``, ``relevance`` (to question and
        answer), ``knowledge_relevance``, ``knowledge_use``, ``new_knowledge_use``, ``asks`` (whether it ends as a question)
        and ``num_tokens``.
    """
    rows: dict[str, list[float | None]] = {name: [] for name in PER_TEXT}
    close = similarity or WordSimilarity()
    for one in written:
        said, right = tokens(one.follow_up), tokens(one.reference)[:MOST_TOKENS]
        context = f"{one.question} {one.answer}"
        knowledge = f"{one.concept} {one.knowledge}".strip()
        rows["sentence_bleu"].append(sentence_bleu(said[:MOST_TOKENS], right) if right else None)
        rows["rouge_l"].append(rouge_l(said[:MOST_TOKENS], right) if right else None)
        rows["type_token_ratio"].append(type_token_ratio(said))
        rows["relevance"].append(float(close(one.follow_up, [context])[0]) if context.strip() else None)
        rows["knowledge_relevance"].append(float(close(one.follow_up, [knowledge])[0]) if knowledge else None)
        rows["knowledge_use"].append(knowledge_use(one.follow_up, one.concept or one.knowledge))
        rows["new_knowledge_use"].append(new_knowledge_use(one))
        rows["asks"].append(float(is_question(one.follow_up)))
        rows["num_tokens"].append(float(len(said)))
    return {
        name: np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        for name, values in rows.items()
    }


PER_TEXT: Final = (
    "sentence_bleu",
    "rouge_l",
    "type_token_ratio",
    "relevance",
    "knowledge_relevance",
    "knowledge_use",
    "new_knowledge_use",
    "asks",
    "num_tokens",
)
"""Figures that `per_text` gives."""


def figures(written: Sequence[Written], similarity: Similarity | None = None) -> dict[str, float]:
    """Figures of a set: means of `per_text`, corpus ``bleu``, ``distinct_1`` and ``distinct_2``; without what no text has."""
    if not written:
        return {}
    found = {
        name: float(np.nanmean(values))
        for name, values in per_text(written, similarity).items()
        if not np.isnan(values).all()
    }
    said = [tokens(one.follow_up) for one in written]
    known = [place for place, one in enumerate(written) if one.reference]
    if known:
        found["bleu"] = bleu([said[place] for place in known], [tokens(written[place].reference) for place in known])
    return found | {"distinct_1": distinct(said, 1), "distinct_2": distinct(said, 2)}


def is_question(text: str) -> bool:
    """Whether a text ends with one of `QUESTION_MARKS`, closing quotes and brackets aside."""
    return text.rstrip().rstrip(_CLOSING).endswith(QUESTION_MARKS)


def coherence(
    topics: Sequence[Sequence[str]], texts: Sequence[Sequence[str]], window: int = COHERENCE_WINDOW
) -> np.ndarray:
    """c_v coherence of topics: how much their words keep the same company (Roeder et al. 2015, section 3).

    Args:
        topics: The words of each topic; equal ones count once.
        texts: Tokens of the texts that are looked through, with a sliding window.
        window: Its length.

    Returns:
        In ``[-1, 1]``, ``(topics,)``: the mean cosine of each word's vector of normalised pointwise mutual information with
        the sum of all; NaN for a topic of which fewer than two words occur.
    """
    wanted = {word for topic in topics for word in topic}
    alone: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    windows = 0
    for text in texts:
        for start in range(max(len(text) - window, 0) + 1 if text else 0):
            seen = sorted(wanted.intersection(text[start : start + window]))
            windows += 1
            alone.update(seen)
            pairs.update((one, other) for place, one in enumerate(seen) for other in seen[place + 1 :])
    found = np.full(len(topics), np.nan)
    for place, topic in enumerate(topics):
        known = sorted({word for word in topic if alone[word]})
        if len(known) >= 2:
            table = np.array([[_npmi(one, other, alone, pairs, windows) for other in known] for one in known])
            whole = table.sum(0)
            scale = np.linalg.norm(table, axis=1) * np.linalg.norm(whole)
            found[place] = float(np.divide(table @ whole, scale, out=np.zeros(len(known)), where=scale > 0).mean())
    return found


def _npmi(one: str, other: str, alone: Mapping[str, int], pairs: Mapping[tuple[str, str], int], windows: int) -> float:
    both = alone[one] if one == other else pairs.get((min(one, other), max(one, other)), 0)
    joint = both / windows + 1e-12
    if joint >= 1:
        return 1.0
    return float(np.log(joint / (alone[one] / windows * alone[other] / windows)) / -np.log(joint))


def _joined(text: Sequence[str]) -> str:
    return " ".join(text)  # tokens hold no spaces, and libraries split at them


def _same_length(one: Sequence[object], other: Sequence[object]) -> None:
    if len(one) != len(other):
        raise ValueError(f"{len(one)} texts, but {len(other)} beside them")
