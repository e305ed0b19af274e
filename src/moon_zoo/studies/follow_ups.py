"""What knowledge does for follow-ups: a recipe with its knowledge, without, and with other samples' knowledge; and baselines.

Every seed trains the recipe twice, with ``knowledge: given`` and ``none``; the first is also asked with ``shuffled`` knowledge,
a control that must fall to the second. Beside them, without training: the question copied, and the follow-up of the training
question that is nearest. All are measured on the same samples. Differences are per sample, averaged over seeds, and their
intervals come from a paired bootstrap over samples: what is luck of the samples is told, what is luck of seeds is averaged out.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from moon_zoo.data.words import content_words, tokens
from moon_zoo.errors import DataError
from moon_zoo.metrics.text import Written, bert_score, bleu, coherence, distinct, per_text
from moon_zoo.studies.running import Record
from moon_zoo.studies.statistics import Interval
from moon_zoo.studies.steps import Step

NAME = "followup"
FULL, WITHOUT, SHUFFLED = "knowledge", "no_knowledge", "shuffled_knowledge"
ZERO_SHOT, COPY, NEAREST = "zero_shot", "copied_question", "nearest_training"
FILE = "questions.parquet"

TRAINED: Final[Mapping[str, str]] = {FULL: "given", WITHOUT: "none"}
"""Methods that are trained, with what the recipe's ``knowledge`` is set to."""

SHOWN: Final = (
    "knowledge_use",
    "new_knowledge_use",
    "relevance",
    "knowledge_relevance",
    "bleu",
    "sentence_bleu",
    "rouge_l",
    "bert_score",
    "distinct_1",
    "distinct_2",
    "consistency",
    "asks",
    "num_tokens",
)
"""Figures of the table, as far as they were measured; ``bleu`` and ``distinct`` are of the whole set and have no interval."""

DRAWS: Final = 2000
FIT, PREDICT = 1.0, 0.1
"""Rough shares of a study's time."""


@dataclass(frozen=True, slots=True)
class Method:
    """What was measured of one way to ask.

    Args:
        name: Of the method.
        figures: Figure to its mean over samples and seeds.
        intervals: Of those that are means over samples, by bootstrap.
        differences: Figure to the full method minus this one, sample by sample; empty for the full method itself.
        seeds: How many there were.
    """

    name: str
    figures: dict[str, float]
    intervals: dict[str, Interval]
    differences: dict[str, Interval] = field(default_factory=dict)
    seeds: int = 1


@dataclass(frozen=True, slots=True)
class Study:
    """What the study found.

    Args:
        methods: The full one first.
        samples: How many samples all were measured on.
        notes: What the reader must know.
    """

    methods: list[Method]
    samples: int
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(
    recipe: Sequence[str],
    folder: Path,
    *,
    seeds: int,
    settings: Sequence[str] = (),
    reads: Sequence[str] = (),
    zero_shot: bool = False,
) -> tuple[list[Step], dict[tuple[str, int], Path]]:
    """All steps: seed by seed, so that a study stopped early has whole comparisons.

    Args:
        recipe: Names or paths, later ones over earlier ones.
        folder: The study's.
        seeds: How many, from 0.
        settings: Words that every command gets.
        reads: What the recipe depends on.
        zero_shot: Whether the model is also asked as it is, before any training.

    Returns:
        The steps; and method and seed to the file of its questions.
    """
    config = [word for one in recipe for word in ("--config", one)]
    steps: list[Step] = []
    files: dict[tuple[str, int], Path] = {}

    def predict(method: str, seed: int, source: Sequence[str], knowledge: str, needs: tuple[str, ...]) -> None:
        out = folder / "questions" / method / f"seed-{seed}"
        files[method, seed] = out / FILE
        command = ("predict", *source, "--model.knowledge", knowledge, "--output", str(out / FILE), "--quiet")
        steps.append(Step(f"{method}/seed-{seed}/predict", command, out, needs, tuple(reads), PREDICT))

    for seed in range(seeds):
        for method, knowledge in TRAINED.items():
            run = folder / "runs" / method / f"seed-{seed}"
            seeded = ("--seed_everything", str(seed), "--run", str(run))
            fit = ("fit", *config, *settings, "--model.knowledge", knowledge, *seeded)
            steps.append(Step(f"{method}/seed-{seed}/fit", fit, run, (), tuple(reads), FIT))
            predict(method, seed, ("--run", str(run)), knowledge, (steps[-1].name,))
            if method == FULL:
                predict(SHUFFLED, seed, ("--run", str(run)), "shuffled", (f"{FULL}/seed-{seed}/fit",))
    if zero_shot:
        predict(ZERO_SHOT, 0, (*config, *settings), "given", ())
    return steps, files


def read_questions(path: Path) -> dict[str, Written]:
    """What a method asked: key of each sample to it.

    Raises:
        DataError: The file is not what `predict` of followup writes.
    """
    import pyarrow.parquet as pq

    names = ("key", "follow_up", "reference", "question", "answer", "knowledge", "concept")
    try:
        table = pq.read_table(path, columns=list(names)).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"the questions of a method cannot be read: {error}", where=str(path), change="--overwrite"
        ) from None
    return {row["key"]: Written(**{name: row[name] for name in names[1:]}) for row in table}


def copied(samples: Mapping[str, Written]) -> dict[str, Written]:
    """The question once more: what costs nothing and is relevant."""
    return {key: replace(one, follow_up=one.question) for key, one in samples.items()}


def nearest(samples: Mapping[str, Written], training: Sequence[tuple[str, str, str]]) -> dict[str, Written]:
    """The follow-up of the training sample whose question and answer are nearest, by tf-idf of content words.

    Args:
        samples: What is asked about.
        training: Question, answer and follow-up of each training sample.
    """
    bags = [Counter(content_words(f"{question} {answer}")) for question, answer, _ in training]
    documents = Counter(word for bag in bags for word in bag)
    place = {word: number for number, word in enumerate(documents)}
    weight = {word: np.log((1 + len(bags)) / (1 + count)) + 1 for word, count in documents.items()}
    where: dict[int, list[tuple[int, float]]] = {}
    for row, bag in enumerate(bags):
        length = sum((count * weight[word]) ** 2 for word, count in bag.items()) ** 0.5
        for word, count in bag.items():
            where.setdefault(place[word], []).append((row, count * weight[word] / length))
    found: dict[str, Written] = {}
    for key, one in samples.items():
        scores = np.zeros(max(len(bags), 1))
        for word, count in Counter(content_words(f"{one.question} {one.answer}")).items():
            for row, value in where.get(place.get(word, -1), ()):
                scores[row] += count * weight[word] * value
        found[key] = replace(one, follow_up=training[int(scores.argmax())][2] if bags else "")
    return found


def collect(
    asked: Mapping[tuple[str, int], Mapping[str, Written]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    bert: str | None = None,
) -> Study:
    """Measure all methods on the samples that all of them have.

    Args:
        asked: Method and seed to what was asked, by key of the sample. The full method must be there.
        draws: Bootstrap draws.
        seed: Of the bootstrap.
        bert: Encoder of BERTScore, by hub name or folder; None for no such column.

    Raises:
        DataError: The methods have no sample in common.
    """
    keys = sorted(set.intersection(*(set(each) for each in asked.values())))
    if not keys:
        raise DataError("the methods have no samples in common", change="--overwrite, to ask again")
    measured: dict[str, list[tuple[dict[str, np.ndarray], dict[str, float]]]] = {}
    for (method, _), each in asked.items():
        measured.setdefault(method, []).append(_measured([each[key] for key in keys], bert))
    drawn = np.random.default_rng(seed).integers(len(keys), size=(draws, len(keys)))
    means = {method: _over_seeds([values for values, _ in runs]) for method, runs in measured.items()}
    methods = []
    for method, runs in measured.items():
        figures = {name: _mean(values) for name, values in means[method].items() if not np.isnan(values).all()}
        figures |= {name: float(np.mean([whole[name] for _, whole in runs])) for name in runs[0][1]}
        intervals = {name: bootstrap(means[method][name], drawn) for name in means[method] if name in figures}
        differences = {
            name: bootstrap(means[FULL][name] - means[method][name], drawn)
            for name in intervals
            if method != FULL and not np.isnan(means[FULL][name] - means[method][name]).all()
        }
        methods.append(Method(method, figures, intervals, differences, len(runs)))
    notes = _notes(methods) + ([] if bert is None else [f"bert_score by {bert}"])
    return Study(methods, len(keys), notes)


def bootstrap(values: np.ndarray, drawn: np.ndarray) -> Interval:
    """A mean with its 95 % interval by bootstrap over samples.

    Args:
        values: Of each sample, NaN where it has none, ``(samples,)``.
        drawn: Samples of each draw, int64 ``(draws, samples)``; the same for all figures and methods.
    """
    known = ~np.isnan(values)
    if known.sum() < 2:
        return Interval(_mean(values), float("nan"), float("nan"))
    sums, counts = np.where(known, values, 0.0)[drawn].sum(1), known[drawn].sum(1)
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(_mean(values), float(low), float(high))


def verdict(difference: Interval) -> str:
    """``+`` or ``-`` where the interval of the full method minus another leaves out 0."""
    return "+" if difference.low > 0 else "-" if difference.high < 0 else ""


def rows(found: Study) -> tuple[list[str], list[list[str]]]:
    """The table: a row per method, a figure per column; marks tell where the full method differs by more than luck."""
    shown = [name for name in SHOWN if any(name in method.figures for method in found.methods)]
    table = []
    for method in found.methods:
        cells = [method.name]
        for name in shown:
            if name not in method.figures:
                cells.append("")
                continue
            interval = method.intervals.get(name)
            cell = f"{method.figures[name]:.3f}"
            if interval is not None and np.isfinite(interval.low):
                cell += f" [{interval.low:.3f}, {interval.high:.3f}]"
            mark = verdict(method.differences[name]) if name in method.differences else ""
            cells.append(cell + (f" {mark}" if mark else ""))
        table.append(cells)
    return ["method", *shown], table


def markdown(found: Study) -> str:
    """The table for a card."""
    heading, table = rows(found)
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join([*lines, "", *(f"- {note}" for note in [*found.notes, f"{found.samples} samples"])]) + "\n"


def write_csv(found: Study, path: Path) -> Path:
    """A row per method and figure."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["method", "figure", "mean", "low", "high", "full_minus_this", "difference_low", "difference_high"]
        )
        for method in found.methods:
            for name, value in method.figures.items():
                own, gap = method.intervals.get(name), method.differences.get(name)
                writer.writerow(
                    [method.name, name, value, *(("", "") if own is None else (own.low, own.high))]
                    + (["", "", ""] if gap is None else [gap.value, gap.low, gap.high])
                )
    return path


def _measured(written: Sequence[Written], bert: str | None) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Figures of each sample, and of the whole set."""
    each = per_text(written)
    said = [tokens(one.follow_up) for one in written]
    texts = [content_words(f"{one.question} {one.answer} {one.follow_up}") for one in written]
    topics = [list(dict.fromkeys(content_words(f"{one.question} {one.follow_up}")))[:10] for one in written]
    each["consistency"] = coherence(topics, texts)
    whole = {"distinct_1": distinct(said, 1), "distinct_2": distinct(said, 2)}
    if all(one.reference for one in written):
        if bert is not None:
            each["bert_score"] = bert_score(
                [one.follow_up for one in written], [one.reference for one in written], bert
            )
        whole["bleu"] = bleu(said, [tokens(one.reference) for one in written])
    return each, whole


def _over_seeds(runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Mean over seeds of each sample's figures; NaN where a sample has none in any."""
    return {name: np.array([_mean(column) for column in np.stack([one[name] for one in runs]).T]) for name in runs[0]}


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _notes(methods: Sequence[Method]) -> list[str]:
    notes = ["+ and -: the full method is higher or lower, and the 95 % interval of the paired difference leaves out 0"]
    by_name = {method.name: method for method in methods}
    own = by_name[FULL].figures.get("knowledge_use")
    other = by_name[WITHOUT].figures.get("knowledge_use") if WITHOUT in by_name else None
    if own is not None and other:
        notes.append(f"knowledge use is {own / other:.1f} times that of the model without knowledge")
    if any(method.seeds < 2 for method in methods if method.name == FULL):
        notes.append(
            "one seed: intervals tell of the luck of samples, not of that of training; --seeds 3 averages it out"
        )
    return notes


def questions_of(
    files: Mapping[tuple[str, int], Path], records: Mapping[str, Record], training: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, int], Mapping[str, Written]]:
    """What all methods asked, those without training included.

    Args:
        files: As `plan` gives them.
        records: Of all steps.
        training: Question, answer and follow-up of each training sample; none leaves the nearest out.
    """
    asked: dict[tuple[str, int], Mapping[str, Written]] = {place: read_questions(path) for place, path in files.items()}
    samples = asked[FULL, 0]
    asked[COPY, 0] = copied(samples)
    if training:
        asked[NEAREST, 0] = nearest(samples, training)
    return asked
