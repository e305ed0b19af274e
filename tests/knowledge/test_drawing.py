"""Pictures of graphs: ordinary ones, one node, and titles that would break a page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moon_zoo.errors import UsageError
from moon_zoo.knowledge.drawing import as_html, as_svg, draw_graph, places
from moon_zoo.knowledge.selection import KnowledgeGraph, Link, Node, Selected, expand, select
from moon_zoo.knowledge.source import Page

from .toy import TEXTS, ToySource


def selected() -> Selected:
    return select(expand(ToySource(), Page("mug", "mug", TEXTS["mug"])), "hot ceramic", mode="deterministic")


def test_a_picture_and_a_page_are_written(tmp_path: Path) -> None:
    picture = draw_graph(selected(), tmp_path / "new" / "graph.png")
    with Image.open(picture) as image:
        assert image.size[0] > 500
    page = draw_graph(selected(), tmp_path / "graph.html").read_text("utf-8")
    assert "stoneware" in page and "<script" not in page
    assert list(tmp_path.rglob("*.partial")) == []


def test_svg_is_well_formed_and_has_all_nodes_and_links() -> None:
    root = ElementTree.fromstring(as_svg(selected()))
    names = [element.tag.rpartition("}")[2] for element in root]
    assert names.count("circle") == names.count("text") == 6 and names.count("line") == 5


def test_titles_that_look_like_markup_or_formulas_are_only_text(tmp_path: Path) -> None:
    nodes = (Node("a", "<script>alert(1)</script>"), Node("b", "costs $5 & $x_2$ \x00 🙂 木", "<b>", 1))
    odd = select(KnowledgeGraph(nodes, (Link("a", "b", 1.0, '"><i>'),)), "")
    ElementTree.fromstring(as_svg(odd))
    assert "<script" not in as_html(odd)
    draw_graph(odd, tmp_path / "odd.png")


def test_one_node_is_drawn_and_no_two_nodes_stand_on_each_other(tmp_path: Path) -> None:
    draw_graph(select(KnowledgeGraph((Node("a", "a"),)), ""), tmp_path / "one.png")
    graph = selected().graph
    assert graph is not None
    at = places(graph)
    apart = np.linalg.norm(at[:, None] - at[None], axis=2) + np.eye(len(at))
    assert apart.min() > 0.1


def test_other_endings_and_no_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.gif"):
        draw_graph(selected(), tmp_path / "graph.gif")
    with pytest.raises(UsageError, match="no page"):
        draw_graph(Selected(None, None, {}), tmp_path / "graph.png")
