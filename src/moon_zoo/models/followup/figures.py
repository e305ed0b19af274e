"""What the figures of follow-ups mean, for tables and reports."""

from __future__ import annotations

from moon_zoo.metrics.catalogue import Direction, MetricInfo, register


def _info(name: str, unit: str, direction: Direction, meaning: str, high: float | None = 1.0) -> MetricInfo:
    return MetricInfo(name, unit, direction, meaning, 0.0, high)


register(
    _info("perplexity", "", "lower", "exp of the mean loss of the tokens of follow-ups, the beginning given.", None),
    _info(
        "token_accuracy",
        "fraction",
        "higher",
        "Share of tokens of follow-ups that are the likeliest, the beginning given.",
    ),
    _info("follow_up/bleu", "fraction", "higher", "Corpus BLEU-4 of tokens, unsmoothed, against the one reference."),
    _info("follow_up/sentence_bleu", "fraction", "higher", "Mean BLEU-4 of single texts, smoothed."),
    _info("follow_up/rouge_l", "fraction", "higher", "Mean F-measure of the longest common subsequence of tokens."),
    _info("follow_up/distinct_1", "fraction", "higher", "Share of tokens that are different, over all texts together."),
    _info("follow_up/distinct_2", "fraction", "higher", "The same of pairs of tokens."),
    _info("follow_up/type_token_ratio", "fraction", "", "Mean share of a text's tokens that are different."),
    _info(
        "follow_up/relevance",
        "cosine",
        "higher",
        "Mean cosine of follow-up to question and answer, by words in common.",
    ),
    _info("follow_up/knowledge_relevance", "cosine", "higher", "The same of follow-up to its sample's knowledge."),
    _info(
        "follow_up/knowledge_use",
        "fraction",
        "higher",
        "Mean share of the content words of the chosen concept that the follow-up says.",
    ),
    _info(
        "follow_up/new_knowledge_use",
        "fraction",
        "higher",
        "Mean share of the follow-up's content words that are the knowledge's, and neither question's nor answer's.",
    ),
    _info("follow_up/asks", "fraction", "higher", "Share of texts that end as a question."),
    _info("follow_up/num_tokens", "tokens", "", "Mean length of texts, in words and signs.", None),
)
