"""What a study leaves to read: study.json, study.csv, and the rows of its tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moon_zoo.studies.exchange_rate import CHOSEN_BY_THE_PAPER, ExchangeRate
from moon_zoo.studies.running import Folder, Record, write_json
from moon_zoo.studies.scaling import Curve
from moon_zoo.studies.statistics import Exchange, Interval, mean_interval
from moon_zoo.studies.steps import Step

SHOWN_METRICS = 8


def write_outcome(
    folder: Folder, steps: Sequence[Step], records: Mapping[str, Record], found: Mapping[str, Any]
) -> dict[str, Any]:
    """Complete study.json.

    Args:
        folder: The study's.
        steps: All of them.
        records: Theirs.
        found: What the study found.

    Returns:
        What was written.
    """
    commands = [{"name": step.name, "command": step.command, "seconds": records[step.name].seconds} for step in steps]
    about = {name: value for name, value in folder.read().items() if name not in ("found", "steps", "seconds")}
    seconds = round(sum(records[step.name].seconds for step in steps), 1)
    whole = _finite({**about, "seconds": seconds, "found": found, "steps": commands})
    write_json(folder.study, whole)
    return whole


def exchange_csv(found: ExchangeRate, path: Path) -> Path:
    """A row per checkpoint and seed, controls too: metrics of the tower, then figures of the click model."""
    metrics = list(dict.fromkeys(name for one in found.checkpoints for name in one.metrics))
    figures = list(dict.fromkeys(name for one in found.checkpoints for each in one.downstream for name in each))
    heading = [
        "checkpoint",
        "axis",
        "value",
        "seed",
        *(f"tower/{name}" for name in metrics),
        *(f"click/{name}" for name in figures),
    ]
    rows: list[list[Any]] = []
    for one in found.checkpoints:
        for seed, each in enumerate(one.downstream):
            tower = [one.metrics.get(name, "") for name in metrics]
            rows.append([one.name, one.axis, one.value, seed, *tower, *(each.get(name, "") for name in figures)])
    for control in found.controls:
        for seed, each in enumerate(control.downstream):
            nothing = [""] * len(metrics)
            rows.append([control.name, "control", "", seed, *nothing, *(each.get(name, "") for name in figures)])
    return write_csv(path, heading, rows)


def scaling_csv(curves: Sequence[Curve], path: Path) -> Path:
    """A row per axis, measure, size and seed."""
    rows = [
        [curve.axis, curve.measure, size, seed, error]
        for curve in curves
        for size, errors in zip(curve.sizes, curve.errors)
        for seed, error in enumerate(errors)
    ]
    return write_csv(path, ["axis", "measure", "size", "seed", "error"], rows)


def rate_rows(rates: Sequence[Exchange]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table of metrics: the most telling ones, and that which the paper chose."""
    shown = list(rates[:SHOWN_METRICS])
    shown += [rate for rate in rates[SHOWN_METRICS:] if rate.metric == CHOSEN_BY_THE_PAPER]
    heading = ["metric", "pearson", "95 %", "spearman", "slope", "95 %", "per", "leads in"]
    rows = []
    for rate in shown:
        step = 0.01 if rate.low >= 0 and rate.high <= 1 else 1.0
        rows.append(
            [
                rate.metric,
                f"{rate.pearson.value:+.2f}",
                _range(rate.pearson, "+.2f"),
                f"{rate.spearman:+.2f}",
                f"{rate.slope.value * step:+.5f}",
                _range(rate.slope, "+.5f", step),
                f"+{step:g}",
                f"{rate.best_share:.0%}",
            ]
        )
    return heading, rows


def checkpoint_rows(found: ExchangeRate, metric: str, figures: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table of checkpoints, the best last, then the controls."""
    named = [name for name in figures if all(name in each for one in found.checkpoints for each in one.downstream)]
    heading = ["checkpoint", metric, *(f"{name} (95 %)" for name in named)]
    rows = [
        [one.name, f"{one.metrics[metric]:.4f}", *(_mean(one.downstream, name) for name in named)]
        for one in sorted(found.checkpoints, key=lambda one: one.metrics[metric])
    ]
    rows += [
        [f"control: {control.name}", "", *(_mean(control.downstream, name) for name in named)]
        for control in found.controls
    ]
    return heading, rows


def gain_lines(found: ExchangeRate, figures: Sequence[str]) -> list[str]:
    """What the best checkpoint gains over each control, seed by seed."""
    lines = []
    for control in found.controls:
        parts = [
            f"{name} {control.gain[name].value:+.4f} {_range(control.gain[name], '+.4f')}".rstrip()
            for name in figures
            if name in control.gain
        ]
        if parts:
            lines.append(f"{found.best} over {control.name}: {', '.join(parts)}")
    return lines


def law_rows(curves: Sequence[Curve]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table of laws."""
    heading = [
        "axis",
        "error",
        "at the least",
        "at the most",
        "c",
        "95 %",
        "stays (a)",
        "95 %",
        "best possible",
        "note",
    ]
    rows = []
    for curve in curves:
        ends = [f"{np.mean(curve.errors[place]):.4f}" for place in (0, -1)]
        floor = "" if curve.floor is None else f"{curve.floor:.4f}"
        if curve.law is None:
            rows.append([curve.axis, curve.measure, *ends, "", "", "", "", floor, "too few sizes for a law"])
            continue
        law = curve.law
        numbers = [f"{law.c.value:.2f}", _range(law.c, ".2f"), f"{law.a.value:.4f}", _range(law.a, ".4f")]
        rows.append([curve.axis, curve.measure, *ends, *numbers, floor, law.notes[0] if law.notes else ""])
    return heading, rows


def _mean(figures: Sequence[Mapping[str, float]], name: str) -> str:
    found = mean_interval(np.array([each[name] for each in figures if name in each]))
    half = (found.high - found.low) / 2
    return f"{found.value:.4f}" + (f" ± {half:.4f}" if math.isfinite(half) else "")


def _range(interval: Interval, form: str, scale: float = 1.0) -> str:
    if not math.isfinite(interval.low):
        return ""
    return f"[{interval.low * scale:{form}}, {interval.high * scale:{form}}]"


def write_csv(path: Path, heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write a table in one rename."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        writer.writerows(rows)
    return temporary.replace(path)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
