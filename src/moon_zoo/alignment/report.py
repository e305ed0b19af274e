"""What an alignment did, as rows of a table and curves over its rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moon_zoo.alignment.plan import Plan
from moon_zoo.studies.running import Record

SHARES = ("safe_and_effective", "safe", "effective", "benign_refusal")
"""Figures of every evaluated model, each with ``_low`` and ``_high``."""

OF_ROUNDS = (
    "preference/margin",
    "preference/accuracy",
    "preference/chosen_log_probability",
    "preference/kl",
    "preference/chosen_reward",
    "preference/chosen_tokens",
    "preference/rejected_tokens",
)
"""Figures of a round's training on its validating pairs."""

SUNK = -0.5
"""Chosen answers' mean reward (beta times the log ratio to the reference) under which a round is said to unlearn them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model that was measured.

    Args:
        name: ``base``, a stage's, or ``round 1`` ...
        split: Of the conversations.
        figures: Names of `SHARES` with their bounds to numbers in [0, 1].
    """

    name: str
    split: str
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Round:
    """What happened in a round.

    Args:
        number: From 1.
        sampled: Counts of `moon_zoo.alignment.stages.sample`.
        judged: Counts of judging.
        pairs: Counts of pairing.
        training: `OF_ROUNDS` that the training logged, without ``val/``.
        promoted: Whether its policy was kept.
        alarms: What to look at, in words.
    """

    number: int
    sampled: dict[str, float]
    judged: dict[str, float]
    pairs: dict[str, float]
    training: dict[str, float]
    promoted: bool
    alarms: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Args:
        rows: The base first.
        rounds: In order.
        seconds: Step to how long it took.
    """

    rows: list[Row]
    rounds: list[Round]
    seconds: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def collect(plan: Plan, records: Mapping[str, Record]) -> Report:
    """The report of a finished alignment.

    Args:
        plan: What was done.
        records: Of all steps.
    """
    rows = []
    for one in plan.measured:
        figures = records[one.step.replace(" ", "-")].result["figures"]
        wanted = [f"{name}{end}" for name in SHARES for end in ("", "_low", "_high", "_unparsed")]
        found = {name: float(figures[f"{one.split}/{name}"]) for name in wanted if f"{one.split}/{name}" in figures}
        rows.append(Row(one.name, one.split, found))
    rounds: list[Round] = []
    while f"round-{len(rounds) + 1}/policy" in records:
        rounds.append(_round(len(rounds) + 1, records))
    return Report(rows, rounds, {name: record.seconds for name, record in records.items()})


def _round(number: int, records: Mapping[str, Record]) -> Round:
    def numbers(stage: str) -> dict[str, float]:
        result = records[f"round-{number}/{stage}"].result
        return {name: value for name, value in result.items() if isinstance(value, (int, float))}

    fitted = numbers("fit")
    training = {name: fitted[f"val/{name}"] for name in OF_ROUNDS if f"val/{name}" in fitted}
    judged, pairs = numbers("judged"), numbers("pairs")
    alarms = []
    reward = training.get("preference/chosen_reward", 0.0)  # on the same pairs, unlike another round's log-probability
    if reward < SUNK:
        alarms.append(f"chosen answers sank under the reference (reward {reward:.2f}): a larger nll_anchor holds them")
    if judged.get("unparsed_rate", 0.0) > 0.1:
        alarms.append(f"the judge left {judged['unparsed_rate']:.0%} of its questions unparsed")
    if pairs.get("pairs", 0) < 0.1 * max(1.0, numbers("samples").get("conversations", 1.0)):
        alarms.append("fewer than one prompt in ten made a pair: draw more samples, or at a higher temperature")
    promoted = bool(records[f"round-{number}/policy"].result["promoted"])
    if not promoted:
        alarms.append("its policy was not kept: safe & effective fell on val")
    return Round(number, numbers("samples"), judged, pairs, training, promoted, alarms)


def draw(report: Report, path: Path) -> None:
    """Three panels over stages and rounds: what judges count; how trainings on pairs went; how likely and long answers became.

    Args:
        report: Of an alignment.
        path: A PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    _draw_shares(left, report)
    _draw_rounds(
        middle,
        report,
        {
            "accuracy": (lambda one: one.training.get("preference/accuracy"), "o-"),
            "margin (nats)": (lambda one: one.training.get("preference/margin"), "s-"),
            "KL (nats)": (lambda one: one.training.get("preference/kl"), "^-"),
            "chosen reward": (lambda one: one.training.get("preference/chosen_reward"), "v-"),
            "judge's unparsed rate": (lambda one: one.judged.get("unparsed_rate"), "x:"),
        },
    )
    middle.set(title="trainings on pairs, validating pairs of each round")
    _draw_rounds(
        right,
        report,
        {
            "chosen log-probability (nats)": (lambda one: one.training.get("preference/chosen_log_probability"), "o-"),
            "chosen length (tokens)": (lambda one: one.training.get("preference/chosen_tokens"), "s-"),
            "rejected length (tokens)": (lambda one: one.training.get("preference/rejected_tokens"), "^-"),
        },
    )
    right.set(title="answers of the pairs")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _draw_shares(axes: Any, report: Report) -> None:
    rows = [row for row in report.rows if row.split == "val"]
    places = range(len(rows))
    for name, colour in zip(SHARES, ("#1b7837", "#2166ac", "#e08214", "#b2182b"), strict=True):
        there = [place for place in places if name in rows[place].figures]
        middle = [100 * rows[place].figures[name] for place in there]
        low = [100 * rows[place].figures.get(f"{name}_low", rows[place].figures[name]) for place in there]
        high = [100 * rows[place].figures.get(f"{name}_high", rows[place].figures[name]) for place in there]
        axes.plot(there, middle, marker="o", color=colour, label=name.replace("_", " ").replace(" and ", " & "))
        axes.fill_between(there, low, high, color=colour, alpha=0.15, linewidth=0)
    refused = {f"round {one.number}" for one in report.rounds if not one.promoted}
    axes.set_xticks(list(places), [row.name + ("\nnot kept" if row.name in refused else "") for row in rows])
    axes.set(ylabel="% of val's conversations, 95 % bounds", ylim=(-2, 102), title="what judges count")
    _explain_lines(axes)


def _draw_rounds(axes: Any, report: Report, curves: Mapping[str, tuple[Callable[[Round], float | None], str]]) -> None:
    names = [f"round {one.number}" for one in report.rounds]
    for label, (value, style) in curves.items():
        values = [value(one) for one in report.rounds]
        if any(found is not None for found in values):
            axes.plot(
                range(len(names)), [float("nan") if found is None else found for found in values], style, label=label
            )
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, max(len(names) - 0.5, 0.5))
    _explain_lines(axes)


def _explain_lines(axes: Any) -> None:
    """A legend below the panel: inside it there is no place that some run's lines do not cross."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
