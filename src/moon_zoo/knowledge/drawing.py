"""The graph of one example with its scores: a picture (PNG), or a page that stands alone (HTML, without scripts or network)."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Final

import numpy as np

from moon_zoo.errors import UsageError
from moon_zoo.knowledge.selection import KnowledgeGraph, Selected

FORMATS: Final = (".png", ".html", ".svg")
CHOSEN, TOPIC, OTHER = "#b8433a", "#2f5d8a", "#9aa3ab"
_RING: Final = (0.0, 1.0, 1.9)
_LONGEST: Final = 22


def draw_graph(selected: Selected, path: Path) -> Path:
    """Draw the concepts around a topic: the topic in the middle, a ring for each level, the chosen one marked.

    Args:
        selected: With its graph.
        path: Ends in one of `FORMATS`.

    Raises:
        UsageError: Another ending, or there is no graph.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"a graph cannot be drawn as {path.suffix or 'a file without ending'}",
            change=f"{path.name} to end in {', '.join(FORMATS)}",
        )
    if selected.graph is None:
        raise UsageError("no page was found, so there is no graph", change="the question, or the source of knowledge")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".html":
        path.write_text(as_html(selected), "utf-8")
    elif path.suffix.lower() == ".svg":
        path.write_text(as_svg(selected), "utf-8")
    else:
        _png(selected, path)
    return path


def places(graph: KnowledgeGraph) -> np.ndarray:
    """Where nodes stand: children near their parents, float64 ``(nodes, 2)``, the topic at the origin."""
    parent: dict[str, str] = {}
    for link in graph.links:
        parent.setdefault(link.end, link.start)
    level = {node.key: node.level for node in graph.nodes}
    first = [node.key for node in graph.nodes if level[node.key] == 1]
    angle = {key: 2 * math.pi * number / max(len(first), 1) for number, key in enumerate(first)}
    found = np.zeros((len(graph.nodes), 2))
    sisters: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.level > 1:
            sisters.setdefault(parent.get(node.key, ""), []).append(node.key)
    width = 2 * math.pi / max(len(first), 1) * 0.85
    for near, keys in sisters.items():
        for number, key in enumerate(keys):
            angle[key] = angle.get(near, 0.0) + width * ((number + 0.5) / len(keys) - 0.5)
    for place, node in enumerate(graph.nodes):
        if node.level > 0:
            radius = _RING[min(node.level, len(_RING) - 1)] + max(node.level - len(_RING) + 1, 0) * 0.8
            found[place] = radius * np.array([math.cos(angle.get(node.key, 0.0)), math.sin(angle.get(node.key, 0.0))])
    return found


def _colour(selected: Selected, place: int, key: str) -> str:
    return TOPIC if place == 0 else CHOSEN if selected.node is not None and key == selected.node.key else OTHER


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"


def _png(selected: Selected, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    graph = selected.graph
    assert graph is not None
    at = places(graph)
    number = {node.key: place for place, node in enumerate(graph.nodes)}
    drawn = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.add_subplot()
    for link in graph.links:
        ends = at[[number[link.start], number[link.end]]]
        axes.plot(ends[:, 0], ends[:, 1], color="#d5dade", linewidth=0.8, zorder=1)
    for place, node in enumerate(graph.nodes):
        score = selected.scores[node.key]
        size = 60 + 340 * max(score.importance, 0.0)
        axes.scatter(*at[place], s=size, color=_colour(selected, place, node.key), zorder=2)
        text = _short(node.title) + ("" if place == 0 else f"\n{score.total:.2f}")
        axes.annotate(
            text.replace("$", r"\$"),
            at[place],
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            zorder=3,
        )
    axes.set_aspect("equal")
    axes.axis("off")
    axes.margins(0.15)
    temporary = path.with_name(f".{path.name}.partial")
    drawn.savefig(temporary, dpi=150, format="png")
    temporary.replace(path)


def as_svg(selected: Selected) -> str:
    """The picture as SVG text; pointing at a node or link tells its definition, scores or reason."""
    graph = selected.graph
    assert graph is not None
    at = places(graph) * 190
    number = {node.key: place for place, node in enumerate(graph.nodes)}
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-460 -440 920 880" font-family="sans-serif" font-size="12">'
    ]
    for link in graph.links:
        one, other = at[number[link.start]], at[number[link.end]]
        lines.append(
            f'<line x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}" stroke="#d5dade" '
            f'stroke-width="2"><title>{_safe(link.reason)} ({link.weight:.2f})</title></line>'
        )
    for place, node in enumerate(graph.nodes):
        score, (x, y) = selected.scores[node.key], at[place]
        radius = 6 + 12 * max(score.importance, 0.0)
        about = f"{node.definition}\nimportance {score.importance:.2f}, similarity {score.similarity:.2f}"
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_colour(selected, place, node.key)}">'
            f"<title>{_safe(about)}</title></circle>"
        )
        text = _short(node.title) + ("" if place == 0 else f" {score.total:.2f}")
        lines.append(f'<text x="{x:.1f}" y="{y - radius - 4:.1f}" text-anchor="middle">{_safe(text)}</text>')
    return "\n".join([*lines, "</svg>"])


def as_html(selected: Selected) -> str:
    """A page with the picture and a table of all nodes, the best first."""
    graph = selected.graph
    assert graph is not None
    ranked = sorted(graph.nodes[1:], key=lambda node: -selected.scores[node.key].total)
    rows = []
    for node in ranked:
        score = selected.scores[node.key]
        mark = ' class="chosen"' if selected.node is not None and node.key == selected.node.key else ""
        why = "; ".join(graph.reasons(node.key)[:2])
        rows.append(
            f"<tr{mark}><td>{_safe(node.title)}</td><td>{score.total:.3f}</td><td>{score.importance:.3f}</td>"
            f"<td>{score.similarity:.3f}</td><td>{_safe(why)}</td><td>{_safe(node.definition)}</td></tr>"
        )
    title = _safe(graph.nodes[0].title)
    style = (
        "body{font-family:sans-serif;max-width:60rem;margin:2rem auto}td,th{text-align:left;padding:.2rem .6rem}"
        f".chosen{{color:{CHOSEN};font-weight:bold}}"
    )
    heading = (
        "<tr><th>concept</th><th>score</th><th>importance</th><th>similarity</th><th>why</th><th>definition</th></tr>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>\n'
        f"<body><h1>{title}</h1>\n{as_svg(selected)}\n<table>{heading}\n"
        + "\n".join(rows)
        + "\n</table></body></html>\n"
    )


def _safe(text: str) -> str:
    return html.escape("".join(sign for sign in text if sign.isprintable() or sign == "\n"))
