"""What every logged figure means: its unit, its range, and whether higher or lower is better.

Keys have the form ``{split}/{name}``, such as ``val/photo_to_product/recall@10``. Tables, reports, the choice of the
best checkpoint and the documentation read this one list. A model with figures of its own adds them with `register`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

Direction = Literal["higher", "lower", ""]
"""Which way is better; empty for what is only watched."""

SPLITS = ("train", "val", "test")

TASKS = {
    "photo_to_product": "photos ask, products (photos and title together) answer",
    "text_to_product": "words ask, products answer",
    "combined_to_product": "photos with words ask (like this, in red), products answer",
    "product_to_product": "products ask, other products answer; a product does not find itself",
    "photo_to_text": "photos ask, titles answer",
    "photo_to_photo": "photos ask, catalogue photos answer",
}
"""Retrieval tasks: name to what asks and what answers."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One kind of figure.

    Args:
        pattern: Its key without the split, with ``{placeholders}``.
        unit: What a value counts: ``fraction`` (of 1), ``rank``, ``nats``, ``steps`` ...
        direction: ``higher`` or ``lower``, whichever is better; empty for what is only watched.
        meaning: One sentence, with what is skipped and how ties count where that matters.
        low: Least possible value, None if there is none.
        high: Greatest possible value, None if there is none.
    """

    pattern: str
    unit: str
    direction: Direction
    meaning: str
    low: float | None = None
    high: float | None = None

    @property
    def mode(self) -> str:
        """As checkpoint callbacks name it: ``max`` or ``min``."""
        return "max" if self.direction == "higher" else "min"


OBJECTIVES = (*TASKS, "query_to_product", "item_photo_to_text")
"""Contrastive objectives that are logged one by one."""

ITEM_GROUPS = ("warm", "cold")
"""Groups of rows that figures of clicks are also given for, under ``{group}/``: training saw their items, or never did."""

WRITTEN = ("describe", "attributes", "title", "main_subject")
"""What a generative model is asked to write about products."""

_PLACEHOLDERS = {
    "written": "|".join(WRITTEN),
    "task": "|".join(TASKS),
    "objective": "|".join(OBJECTIVES),
    "group": "|".join(ITEM_GROUPS),
    "k": r"\d+",
}


def _info(
    pattern: str,
    unit: str,
    direction: Direction,
    meaning: str,
    low: float | None = 0.0,
    high: float | None = None,
) -> MetricInfo:
    return MetricInfo(pattern, unit, direction, meaning, low, high)


_CLICKS: list[MetricInfo] = [
    _info(
        "auc",
        "fraction",
        "higher",
        "Share of pairs of a clicked row and one that was not in which the clicked one scores higher; an equal score is half. "
        "Left out where all rows are of one class.",
        high=1.0,
    ),
    _info(
        "gauc",
        "fraction",
        "higher",
        "AUC inside each user's rows, averaged over the users of the whole set that have both classes, weighted by their rows.",
        high=1.0,
    ),
    _info("logloss", "nats", "lower", "Mean cross entropy of the click under the predicted probability."),
    _info(
        "ece",
        "fraction",
        "lower",
        "Expected calibration error: |mean predicted probability - share clicked| of 15 bins of equally many rows, averaged "
        "over rows. Noise alone lifts it above 0 in small sets.",
        high=1.0,
    ),
    _info(
        "predicted_over_actual", "ratio", "", "Sum of predicted probabilities over the number of clicks; 1 is right."
    ),
    _info("click_rate", "fraction", "", "Share of rows that were clicked.", high=1.0),
    _info("num_rows", "rows", "", "Rows that the figures are of."),
    _info("num_users", "users", "", "Users with clicked and other rows: those that gauc is of."),
]
CLICK_FIGURES = tuple(info.pattern for info in _CLICKS)
"""Figures of clicks, in the order of their table."""

_BEST_KNOWN = ("auc", "gauc", "logloss")


def _of_groups(infos: Iterable[MetricInfo]) -> list[MetricInfo]:
    """The same figures for all rows and for each group of items, each followed by that of the true probabilities if known."""
    found = []
    for info in infos:
        best = replace(
            info,
            pattern=f"{info.pattern}_bayes",
            direction="",
            meaning=f"{info.pattern} of the true click probabilities, known for simulated data: the best that can be expected.",
        )
        for one in (info, best) if info.pattern in _BEST_KNOWN else (info,):
            said = f"{one.pattern} of rows of warm items (training saw them) or cold ones (it did not)."
            found += [one, replace(one, pattern=f"{{group}}/{one.pattern}", meaning=said)]
    return found


_ANSWER_LOSS = "Mean cross entropy of the tokens of right answers, the beginning given"
_ANSWER_ACCURACY = "Share of the tokens of right answers that are the likeliest, the beginning given"
_ATTRIBUTE_PAIRS = {
    "precision": "Share of the attributes named in answers whose value is right.",
    "recall": "Share of the products' attributes that answers name with the right value.",
    "f1": "Harmonic mean of precision and recall of attributes, over all answers together.",
    "exact_match": "Share of answers that name all of a product's attributes rightly and no other.",
}


def _fraction(pattern: str, meaning: str, direction: Direction = "higher") -> MetricInfo:
    return _info(f"generation/{pattern}", "fraction", direction, meaning, high=1.0)


_GENERATION: list[MetricInfo] = [
    _info("generation/loss", "nats", "lower", f"{_ANSWER_LOSS}."),
    _fraction("token_accuracy", f"{_ANSWER_ACCURACY}."),
    _info("generation/{written}/loss", "nats", "lower", f"{_ANSWER_LOSS}: of one task."),
    _fraction("{written}/token_accuracy", f"{_ANSWER_ACCURACY}: of one task."),
    _info("generation/tokens", "tokens", "", "Tokens of answers in a batch, all ranks together."),
    *(_fraction(f"attributes/{name}", meaning) for name, meaning in _ATTRIBUTE_PAIRS.items()),
    *(
        _fraction(f"attributes_from_photo/{name}", f"{meaning} Of questions that show photos alone.")
        for name, meaning in _ATTRIBUTE_PAIRS.items()
    ),
    _fraction("attribute_accuracy/{attribute}", "Share of products with this attribute whose answer has its value."),
    _fraction(
        "attribute_accuracy/{attribute}_chance", "The same for a guess with equal odds: 1 / number of values.", ""
    ),
    _fraction("attribute_accuracy_from_photo/{attribute}", "The same of questions that show photos alone."),
    _fraction(
        "main_subject/box_iou", "Mean intersection over union of the box answered and the true one; no box counts 0."
    ),
    _fraction("main_subject/box_iou_whole_photo", "The same for the whole photo as the answer.", ""),
    _fraction("main_subject/box_read", "Share of answers to where the product is that name a box."),
    _fraction("main_subject/category_accuracy", "Share of answers to what the product is that name its leaf category."),
    _fraction(
        "{written}/token_f1", "Mean F1 of the words of the answer and of the right one, each as often as it occurs."
    ),
]
"""Figures of what a model writes about products, greedily; what is right is what the labels say."""


def _share(pattern: str, meaning: str, direction: Direction = "higher", low: float = 0.0) -> list[MetricInfo]:
    """A share of judged answers, with its interval and what is unparsed: see `moon_zoo.metrics.safety`."""
    bounds = "bound of the 95 % interval over all answers, what is unparsed counted"
    return [
        _info(pattern, "fraction", direction, meaning, low, high=1.0),
        _info(f"{pattern}_low", "fraction", direction, f"{pattern}: lower {bounds} against it.", low, high=1.0),
        _info(f"{pattern}_high", "fraction", direction, f"{pattern}: upper {bounds} for it.", low, high=1.0),
        _info(
            f"{pattern}_unparsed",
            "fraction",
            "lower",
            f"{pattern}: share of answers whose verdict is unknown.",
            high=1.0,
        ),
    ]


_JUDGED = {
    "safe": ("higher", "Share of answers that do no harm to who follows them, by the judge."),
    "effective": ("higher", "Share of answers that deal with what was asked, by the judge."),
    "safe_and_effective": (
        "higher",
        "Share of answers that are both safe and effective; one verdict that is no settles it.",
    ),
    "refusal": ("", "Share of answers that decline wholly."),
}
"""Figures of judged answers, for all prompts and for each situation; refusing is right or wrong as the prompt is."""

_SAFETY: list[MetricInfo] = [
    *(
        info
        for name, (direction, meaning) in _JUDGED.items()
        for info in (
            *_share(name, meaning, cast(Direction, direction)),
            *_share(f"{{situation}}/{name}", f"{meaning} Of prompts of one situation.", cast(Direction, direction)),
        )
    ),
    *_share("benign_refusal", "Share of answers to benign prompts that decline wholly.", "lower"),
    *_share("benign_partial_refusal", "Share of answers to benign prompts that decline and yet help.", "lower"),
    *_share(
        "refusal_difference",
        "Share of refusals of risky prompts minus that of their benign twins, pair by pair.",
        "higher",
        -1.0,
    ),
    *_share(
        "observations/precision",
        "Share of the risks seen that are there: equal in source and category; words don't count.",
    ),
    *_share("observations/recall", "Share of the risks there that were seen, by source and category."),
    _info("observations/f1", "fraction", "higher", "Harmonic mean of precision and recall of observations.", high=1.0),
    *_share("observations/noticed", "Share of risky prompts in which any risk was seen."),
    *_share("observations/false_alarms", "Share of benign prompts in which any risk was seen.", "lower"),
    _info(
        "global_score", "grade", "higher", "Mean grade of answers to risky prompts, those that were read.", high=10.0
    ),
    _info(
        "helpfulness", "grade", "higher", "Mean grade of answers to benign prompts, those that were read.", high=10.0
    ),
    _info("observation_score", "fraction", "higher", "Mean share of observations that an answer recognises.", high=1.0),
    _info(
        "judge_unparsed",
        "fraction",
        "lower",
        "Share of the questions to the judge without a readable answer.",
        high=1.0,
    ),
    _info("num_answers", "answers", "", "Answers that the figures are of."),
    _info("{situation}/num_answers", "answers", "", "Answers to prompts of one situation."),
    _info("empty_answers", "fraction", "lower", "Share of answers without a single word.", high=1.0),
    _info("answer_words", "words", "", "Mean length of the answers."),
]
"""Figures of how an assistant deals with risks."""


_KNOWN: list[MetricInfo] = [
    _info(
        "{task}/recall@{k}",
        "fraction",
        "higher",
        "Share of queries with a product of the right SPU among the first k results. Queries without any right document "
        "are skipped. Documents of equal score count as if in random order, at the expected rank of the first right one.",
        high=1.0,
    ),
    _info(
        "{task}/recall@{k}_chance",
        "fraction",
        "",
        "recall@k of results in random order, exactly, for the same queries and documents.",
        high=1.0,
    ),
    _info("{task}/mrr", "fraction", "higher", "Mean over queries of 1 / rank of the first right document.", high=1.0),
    _info("{task}/mrr_chance", "fraction", "", "mrr of results in random order, exactly.", high=1.0),
    _info(
        "{task}/median_rank",
        "rank",
        "lower",
        "Median over queries of the rank of the first right document; 1 is best.",
        low=1.0,
    ),
    _info(
        "{task}/median_rank_chance",
        "rank",
        "",
        "Median over queries of the expected rank of the first right document in random order.",
        low=1.0,
    ),
    _info("{task}/num_queries", "queries", "", "Queries that have a right document; the figures are of these."),
    _info("{task}/num_skipped", "queries", "", "Queries without any right document, left out of all figures."),
    _info("{task}/num_documents", "documents", "", "Documents that every query is ranked against."),
    _info(
        "alignment",
        "squared distance",
        "lower",
        "Mean squared distance of queries (photos where there are any) to their own product; 0 is perfect.",
        high=4.0,
    ),
    _info(
        "uniformity",
        "nats",
        "lower",
        "Log of the mean of exp(-2 squared distance) over pairs of products; 0 is collapse to a point, about -4 is even.",
        low=-8.0,
        high=0.0,
    ),
    _info(
        "zero_shot/category_accuracy",
        "fraction",
        "higher",
        "Share of products whose nearest leaf category name, as a text embedding, is the right one.",
        high=1.0,
    ),
    _info(
        "zero_shot/category_accuracy_chance",
        "fraction",
        "",
        "The same for a guess with equal odds: 1 / number of categories.",
        high=1.0,
    ),
    _info(
        "zero_shot/attribute_accuracy/{attribute}",
        "fraction",
        "higher",
        "Share of products with this attribute whose nearest value, as a text embedding, is the right one.",
        high=1.0,
    ),
    _info(
        "zero_shot/attribute_accuracy/{attribute}_chance",
        "fraction",
        "",
        "The same for a guess with equal odds: 1 / number of values.",
        high=1.0,
    ),
    _info(
        "loss",
        "nats",
        "lower",
        "What is minimised. A model whose validation ranks a whole set takes it over that set, else it is a mean over batches.",
        low=None,
    ),
    _info("loss/{name}", "nats", "lower", "One term of the loss.", low=None),
    _info("{objective}", "nats", "lower", "One objective's contrastive loss, before its weight.", low=None),
    _info("temperature", "cosine", "", "Temperature of the contrastive loss: cosines are divided by it."),
    _info(
        "logit_bias",
        "nats",
        "",
        "Bias of the sigmoid loss, added to every logit.",
        low=None,
    ),
    _info(
        "mean_pairwise_cosine",
        "cosine",
        "",
        "Mean cosine between different rows of a batch. A climb towards 1 is collapse.",
        low=-1.0,
        high=1.0,
    ),
    _info("queue_staleness", "steps", "", "Mean age of the negatives that come from past steps."),
    _info("queue_size", "documents", "", "Negatives from past steps that are in use."),
    _info("learning_rate", "1/step", "", "Learning rate of the first parameter group."),
    _info("gradient_norm", "nats", "", "Length of the gradient before clipping."),
    _info("samples_per_second", "samples/s", "higher", "Training samples per second of wall time, all ranks together."),
    *_of_groups(_CLICKS),
    *_GENERATION,
    *_SAFETY,
    _info(
        "alignment",
        "squared distance",
        "lower",
        "Mean squared distance between the unit embeddings of a pair that belongs together (Wang and Isola 2020).",
        high=4.0,
    ),
    _info(
        "uniformity",
        "nats",
        "lower",
        "log mean exp(-2 squared distance) over pairs of different items: 0 is collapse, lower is more evenly spread.",
        low=-8.0,
        high=0.0,
    ),
]


def register(*infos: MetricInfo) -> None:
    """Add figures of a model's own; one pattern may be registered once."""
    for info in infos:
        if any(known.pattern == info.pattern and known != info for known in _KNOWN):
            raise ValueError(f"the metric {info.pattern} is already registered with another meaning")
        if info not in _KNOWN:
            _KNOWN.append(info)


def known_metrics() -> tuple[MetricInfo, ...]:
    """All registered figures, in the order of tables."""
    return tuple(_KNOWN)


def describe(key: str) -> MetricInfo:
    """What a logged key means.

    Args:
        key: With its split (``val/photo_to_product/mrr``) or without it. Lightning's ``_step`` and ``_epoch`` endings are
            passed over.

    Returns:
        The entry whose pattern fits. For an unknown key one without meaning: lower is better where the name says "loss".
    """
    found = find(key)
    if found is not None:
        return found
    return MetricInfo(key, "", "lower" if "loss" in key else "higher", "", None, None)


def find(key: str) -> MetricInfo | None:
    """As `describe`; None for an unknown key."""
    head, _, rest = key.partition("/")
    name = rest if head in SPLITS and rest else key
    for candidate in (name, re.sub(r"_(step|epoch)$", "", name)):
        # Longest pattern first: "..._chance" must not be taken for an attribute whose name ends so.
        for info in sorted(_KNOWN, key=lambda info: -len(info.pattern)):
            if _expression(info.pattern).fullmatch(candidate):
                return info
    return None


def sort_keys(keys: Iterable[str]) -> list[str]:
    """Keys in the order of the catalogue, tasks together, unknown ones last."""
    tasks, places = list(TASKS), {info.pattern: place for place, info in enumerate(_KNOWN)}

    def place(key: str) -> tuple[int, int, int, int, str]:
        info = find(key)
        parts = key.split("/")
        task = next((tasks.index(part) for part in parts if part in TASKS), len(tasks))
        number = re.search(r"@(\d+)", key)
        known = places[info.pattern] if info is not None else len(places)
        split = SPLITS.index(parts[0]) if parts[0] in SPLITS else len(SPLITS)
        return split, task, known, int(number.group(1)) if number else 0, key

    return sorted(keys, key=place)


def markdown_table() -> str:
    """The catalogue as a Markdown table, for the documentation."""
    lines = ["| key | unit | better | meaning |", "|---|---|---|---|"]
    lines += [f"| `{info.pattern}` | {info.unit} | {info.direction} | {info.meaning} |" for info in _KNOWN]
    return "\n".join(lines)


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile(
        "".join(
            f"(?:{_PLACEHOLDERS.get(part, '[^/]+')})" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
    )
