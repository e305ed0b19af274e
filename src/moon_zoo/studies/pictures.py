"""The pictures of studies: what a metric buys, and how errors fall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

from moon_zoo.reports.style import COLOURS, FAINT, INK, WRONG, figure, save, tidy
from moon_zoo.studies.exchange_rate import Checkpoint, ExchangeRate, direction
from moon_zoo.studies.scaling import Curve
from moon_zoo.studies.sizes import AXES
from moon_zoo.studies.statistics import Exchange, line_band

MOST_METRICS = 14
"""Bars of the correlation panel; further metrics are in the table and in study.json."""

AXIS_COLOURS = {
    "steps": COLOURS[0],
    "negatives": COLOURS[1],
    "data": COLOURS[2],
    "modality": COLOURS[3],
    "given": COLOURS[5],
}


def draw_exchange_rate(found: ExchangeRate, target: Path, *, figures: Sequence[str] = ("auc", "cold/auc")) -> Path:
    """Scatter of the click model's figures over the best metric, with line and band, and all correlations.

    Args:
        found: What the study found.
        target: The PNG.
        figures: Downstream figures with a panel of their own, as far as they were measured.
    """
    shown = [name for name in figures if found.rates.get(name)]
    shown = shown or list(found.rates)[:1]
    picture = figure(4.9 * len(shown) + 5.6, 4.7)
    picture.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    for number, name in enumerate(shown, 1):
        axes = picture.add_subplot(1, len(shown) + 1, number)
        _scatter(axes, found, name, found.rates[name][0], legend=number == 1)
    _correlations(picture.add_subplot(1, len(shown) + 1, len(shown) + 1), shown[0], found.rates[shown[0]])
    return save(picture, target)


def _scatter(axes: Axes, found: ExchangeRate, name: str, rate: Exchange, *, legend: bool) -> None:
    point = 0.01 if rate.high <= 1 and rate.low >= 0 else 1.0
    slope = [value * point for value in (rate.slope.value, rate.slope.low, rate.slope.high)]
    title = f"+{point:g} of {rate.metric}\nbuys {slope[0]:+.4f} {name}  [{slope[1]:+.4f}, {slope[2]:+.4f}]"
    tidy(axes, title)
    x = np.array([one.metrics[rate.metric] for one in found.checkpoints])
    y = np.array([[figures[name] for figures in one.downstream] for one in found.checkpoints])
    at = np.linspace(x.min(), x.max(), 50)
    low, high = line_band(x, y, at)
    axes.fill_between(at, low, high, color=FAINT, alpha=0.18, linewidth=0, label="95 % of the line")
    axes.plot(at, rate.intercept + rate.slope.value * at, color=INK, linewidth=1.3)
    for axis in dict.fromkeys(one.axis for one in found.checkpoints):
        own = [place for place, one in enumerate(found.checkpoints) if one.axis == axis]
        colour = AXIS_COLOURS.get(axis, COLOURS[6])
        axes.plot(x[own], y[own].mean(1), "o", color=colour, markersize=6.5, label=axis, zorder=3)
        axes.plot(
            np.repeat(x[own], y.shape[1]), y[own].reshape(-1), ".", color=colour, markersize=4, alpha=0.55, zorder=3
        )
    _label(axes, found.checkpoints, x, y.mean(1))
    for control, style in zip(found.controls, ((0, (4, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))):
        values = [figures[name] for figures in control.downstream if name in figures]
        if values:
            axes.axhline(
                float(np.mean(values)), color=WRONG, linewidth=1.1, linestyle=style, label=f"control: {control.name}"
            )
    axes.set_xlabel(rate.metric, fontsize=9, color=INK)
    axes.set_ylabel(f"test {name}", fontsize=9, color=INK)
    axes.margins(0.12, 0.1)
    if direction(rate.metric) == "lower":
        axes.invert_xaxis()  # better is to the right
    if legend:
        axes.legend(fontsize=7.5, framealpha=0.85, edgecolor="none", labelcolor=INK, loc="best")


def _label(axes: Axes, checkpoints: Sequence[Checkpoint], x: np.ndarray, y: np.ndarray) -> None:
    """Names beside points, above and below by turns along the metric so that neighbours do not cover each other."""
    for turn, place in enumerate(np.argsort(x)):
        up = turn % 2 == 0
        axes.annotate(
            checkpoints[place].name,
            (float(x[place]), float(y[place])),
            xytext=(0, 8 if up else -8),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=7,
            color=FAINT,
        )


def _correlations(axes: Axes, name: str, rates: Sequence[Exchange]) -> None:
    tidy(axes, f"Pearson correlation with {name}\nover checkpoints, 95 % intervals")
    shown = list(rates[:MOST_METRICS])[::-1]
    for place, rate in enumerate(shown):
        turn = 1 if rate.oriented == rate.pearson.value else -1
        ends = sorted((turn * rate.pearson.low, turn * rate.pearson.high))
        colour = COLOURS[0] if rate is rates[0] else FAINT
        axes.plot(ends, (place, place), color=colour, linewidth=1.6)
        axes.plot([rate.oriented], [place], "o", color=colour, markersize=5)
    axes.set_yticks(range(len(shown)), [rate.metric for rate in shown], fontsize=7)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(-1.05, 1.05)
    more = len(rates) - len(shown)
    below = "sign turned where lower is better" + (f"; {more} more in study.json" if more > 0 else "")
    axes.set_xlabel(below, fontsize=8, color=FAINT)


def draw_scaling(curves: Sequence[Curve], target: Path) -> Path:
    """Errors over sizes on logarithmic axes, with their laws: a panel per axis and measure.

    Args:
        curves: What the study found.
        target: The PNG.
    """
    axes_names = list(dict.fromkeys(curve.axis for curve in curves))
    by_axis = [[curve for curve in curves if curve.axis == axis] for axis in axes_names]
    columns = max(map(len, by_axis))
    picture = figure(4.4 * columns, 3.7 * len(by_axis))
    for row, own in enumerate(by_axis):
        for column, curve in enumerate(own):
            axes = picture.add_subplot(len(by_axis), columns, row * columns + column + 1)
            _law(axes, curve, COLOURS[row % len(COLOURS)], legend=column == 0)
    picture.tight_layout(h_pad=2.0, w_pad=2.0)
    return save(picture, target)


def _law(axes: Axes, curve: Curve, colour: str, *, legend: bool) -> None:
    sizes, errors = np.array(curve.sizes, float), np.array(curve.errors)
    law = curve.law
    title = curve.measure
    if law is not None:
        title += (
            f"\n{law.a.value:.3g} + {law.b.value:.3g} x^-{law.c.value:.2f}   c in [{law.c.low:.2f}, {law.c.high:.2f}]"
        )
    tidy(axes, title)
    axes.plot(np.repeat(sizes, errors.shape[1]), errors.reshape(-1), ".", color=colour, markersize=5, alpha=0.5)
    axes.plot(sizes, errors.mean(1), "o", color=colour, markersize=6, label="mean of seeds")
    if law is not None:
        at = np.geomspace(sizes.min(), sizes.max() * 4, 80)
        inside = at <= sizes.max()
        axes.plot(at[inside], law.at(at[inside]), color=INK, linewidth=1.3, label="law")
        axes.plot(at[~inside], law.at(at[~inside]), color=INK, linewidth=1.1, linestyle=(0, (3, 2)), label="continued")
    if curve.floor is not None and curve.floor > 0:
        axes.axhline(curve.floor, color=WRONG, linewidth=1, linestyle=(0, (1, 1.5)), label="best possible")
    axes.set_xscale("log")
    _error_axis(axes, errors)
    axes.set_xticks(curve.sizes, [_short(size) for size in curve.sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(AXES[curve.axis], fontsize=9, color=INK)
    if legend:
        axes.legend(fontsize=7.5, framealpha=0.85, edgecolor="none", labelcolor=INK, loc="best")
    if law is not None and law.notes:
        axes.text(
            0.03,
            0.03,
            "\n".join(_wrapped(law.notes[0])),
            transform=axes.transAxes,
            fontsize=7,
            color=WRONG,
            va="bottom",
        )


def _error_axis(axes: Axes, errors: np.ndarray) -> None:
    """A logarithmic axis with plain numbers; a linear one where errors span so little that the two look alike, or reach 0."""
    if errors.min() <= 0 or errors.max() / errors.min() < 1.4:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _short(size: int) -> str:
    return f"{size / 1000:g}k" if size >= 1000 else str(size)


def _wrapped(text: str, width: int = 52) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)
