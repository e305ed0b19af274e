"""What an alignment did, as rows of a table and curves over its rounds."""

from __future__ import annotations

from collections.abc import Mapping
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
    "preference/chosen_tokens",
    "preference/rejected_tokens",
)
"""Figures of a round's training on its validating pairs."""


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
        rounds.append(_round(len(rounds) + 1, records, rounds[-1] if rounds else None))
    return Report(rows, rounds, {name: record.seconds for name, record in records.items()})


def _round(number: int, records: Mapping[str, Record], before: Round | None) -> Round:
    def numbers(stage: str) -> dict[str, float]:
        result = records[f"round-{number}/{stage}"].result
        return {name: value for name, value in result.items() if isinstance(value, (int, float))}

    fitted = numbers("fit")
    training = {name: fitted[f"val/{name}"] for name in OF_ROUNDS if f"val/{name}" in fitted}
    judged, pairs = numbers("judged"), numbers("pairs")
    alarms = []
    chosen = "preference/chosen_log_probability"
    if before is not None and training.get(chosen, 0.0) < before.training.get(chosen, 0.0) - 5:
        alarms.append("chosen answers became much less likely than in the round before: a larger nll_anchor holds them")
    if judged.get("unparsed_rate", 0.0) > 0.1:
        alarms.append(f"the judge left {judged['unparsed_rate']:.0%} of its questions unparsed")
    if pairs.get("pairs", 0) < 0.1 * max(1.0, numbers("samples").get("conversations", 1.0)):
        alarms.append("fewer than one prompt in ten made a pair: draw more samples, or at a higher temperature")
    promoted = bool(records[f"round-{number}/policy"].result["promoted"])
    if not promoted:
        alarms.append("its policy was not kept: safe & effective fell on val")
    return Round(number, numbers("samples"), judged, pairs, training, promoted, alarms)


def draw(report: Report, path: Path) -> None:
    """Curves over stages and rounds: safe, effective, both, benign refusals; and how the rounds' trainings went.

    Args:
        report: Of an alignment.
        path: A PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    rows = [row for row in report.rows if row.split == "val"]
    places = range(len(rows))
    for name, colour in zip(SHARES, ("#1b7837", "#2166ac", "#e08214", "#b2182b"), strict=True):
        there = [place for place in places if name in rows[place].figures]
        middle = [100 * rows[place].figures[name] for place in there]
        low = [100 * rows[place].figures.get(f"{name}_low", rows[place].figures[name]) for place in there]
        high = [100 * rows[place].figures.get(f"{name}_high", rows[place].figures[name]) for place in there]
        left.plot(there, middle, marker="o", color=colour, label=name.replace("_", " ").replace(" and ", " & "))
        left.fill_between(there, low, high, color=colour, alpha=0.15, linewidth=0)
    left.set_xticks(list(places), [row.name for row in rows])
    left.set(ylabel="% of val's conversations, 95 % bounds", ylim=(-2, 102), title="what judges count")
    left.legend(frameon=False)
    names = [f"round {one.number}" for one in report.rounds]
    for name, style in (("preference/accuracy", "o-"), ("preference/margin", "s--"), ("preference/kl", "^:")):
        values = [one.training.get(name, float("nan")) for one in report.rounds]
        right.plot(range(len(names)), values, style, label=name.removeprefix("preference/"))
    right.set_xticks(range(len(names)), names)
    right.set(title="trainings on pairs: accuracy, margin and KL in nats")
    right.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
