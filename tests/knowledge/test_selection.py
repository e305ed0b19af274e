"""Importance against brute-force twins and networkx, and graphs that have nothing to choose from."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networkx.algorithms.link_analysis.pagerank_alg import _pagerank_python

from moon_zoo.errors import UsageError
from moon_zoo.knowledge.selection import (
    KnowledgeGraph,
    Link,
    Node,
    expand,
    importance,
    minmax,
    page_rank,
    select,
    walk,
)
from moon_zoo.knowledge.source import Page

from .toy import TEXTS, ToySource


def graph_of(ties: list[tuple[int, int, float]], nodes: int) -> KnowledgeGraph:
    made = tuple(Node(str(number), f"node {number}", TEXTS["tea"], min(number, 2)) for number in range(nodes))
    return KnowledgeGraph(made, tuple(Link(str(one), str(other), weight) for one, other, weight in ties))


def toy_graph() -> KnowledgeGraph:
    return expand(ToySource(), Page("mug", "mug", TEXTS["mug"]))


ties = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.floats(0.1, 5.0)), max_size=20)


@settings(deadline=None, max_examples=50)
@given(ties)
def test_page_rank_equals_that_of_networkx(given_ties: list[tuple[int, int, float]]) -> None:
    graph = graph_of(given_ties, 8)
    weights = graph.weights()
    twin = nx.DiGraph()
    twin.add_nodes_from(range(8))
    twin.add_weighted_edges_from(
        (one, other, weights[one, other]) for one, other in zip(*np.nonzero(weights), strict=True)
    )
    for start in (None, {0: 1.0}):
        wanted = _pagerank_python(twin, personalization=start, dangling=start, tol=1e-12, max_iter=1000)
        jump = None if start is None else np.eye(8)[0]
        np.testing.assert_allclose(page_rank(weights, start=jump), [wanted[node] for node in range(8)], atol=1e-7)


def test_page_rank_of_a_star_is_what_a_linear_system_says() -> None:
    weights = graph_of([(0, 1, 1.0), (0, 2, 1.0), (0, 3, 1.0)], 4).weights()
    steps = weights / weights.sum(1, keepdims=True)
    wanted = np.linalg.solve(np.eye(4) - 0.85 * steps.T, np.full(4, 0.15 / 4))
    np.testing.assert_allclose(page_rank(weights), wanted, atol=1e-8)


def _walked(weights: np.ndarray, steps: int, seed: int) -> list[int]:
    """The same walk, link by link."""
    draws, at, visits = np.random.default_rng(seed), 0, [0] * len(weights)
    for _ in range(steps):
        draw, whole, chosen = draws.random(), weights[at].sum(), 0
        if whole > 0:
            left = draw * whole
            for chosen in np.flatnonzero(weights[at]):
                left -= weights[at, chosen]
                if left < 0:
                    break
        at = int(chosen)
        visits[at] += 1
    return visits


@pytest.mark.parametrize("seed", range(5))
def test_walk_equals_one_that_is_walked_link_by_link(seed: int) -> None:
    weights = toy_graph().weights()
    assert walk(weights, steps=100, seed=seed).tolist() == _walked(weights, 100, seed)


def test_walk_never_leaves_what_is_tied_to_the_topic() -> None:
    visits = walk(graph_of([(0, 1, 1.0), (2, 3, 9.0)], 4).weights(), steps=200, seed=3)
    assert visits[2] == visits[3] == 0 and visits.sum() == 200
    assert walk(np.zeros((0, 0))).shape == (0,)


def test_paper_importance_is_visits_times_page_rank_and_follows_the_seed() -> None:
    graph = toy_graph()
    alike = (graph.weights() > 0).astype(float)
    raw = walk(alike, seed=5) * page_rank(alike)
    np.testing.assert_allclose(importance(graph, seed=5), (raw - raw.min()) / (raw.max() - raw.min()))
    assert not np.array_equal(importance(graph, seed=5), importance(graph, seed=6))


def test_deterministic_importance_ignores_the_seed_and_minds_the_weights() -> None:
    graph = toy_graph()
    found = importance(graph, mode="deterministic", seed=1)
    assert np.array_equal(found, importance(graph, mode="deterministic", seed=2))
    by_name = dict(zip((node.key for node in graph.nodes), found))
    assert by_name["glaze"] > by_name["kiln"]  # tied three times as strongly to stoneware


def test_minmax_of_equal_values_is_zero_and_never_a_division_by_zero() -> None:
    with np.errstate(all="raise"):
        assert minmax(np.array([0.3, 0.3, 0.3])).tolist() == [0, 0, 0]
        assert minmax(np.array([])).tolist() == []
        assert minmax(np.array([1.0, 3.0, 2.0])).tolist() == [0, 1, 0.5]


def test_graph_has_two_levels_of_at_most_five_and_at_most_31_nodes() -> None:
    from moon_zoo.knowledge.source import Edge

    class Endless(ToySource):
        def neighbours(self, page: Page, k: int) -> list[Edge]:
            return [Edge(f"{page.key}-{number}", 1.0, "") for number in range(50)][: k + 3]

        def describe(self, page_key: str) -> str:
            return ""

    graph = expand(Endless(), Page("t", "t"))
    assert len(graph.nodes) == 31 and max(node.level for node in graph.nodes) == 2
    assert len(graph.links) == 30


def test_expanding_keeps_reasons_and_takes_a_pair_once() -> None:
    graph = toy_graph()
    assert [node.key for node in graph.nodes] == ["mug", "stoneware", "tea", "travel mug", "glaze", "kiln"]
    assert graph.reasons("glaze") == ["is covered with"]
    assert len(graph.links) == 5


@pytest.mark.parametrize("mode", ["paper", "deterministic"])
def test_the_best_node_is_that_of_the_highest_sum_and_never_the_topic(mode: Any) -> None:
    found = select(toy_graph(), "ceramic coat stains", mode=mode, beta=2.0)
    others = {key: score.total for key, score in found.scores.items() if key != "mug"}
    assert found.node is not None and found.node.key == max(others, key=lambda key: others[key])
    for score in found.scores.values():
        assert score.total == pytest.approx(score.importance + 2.0 * score.similarity)


def test_beta_decides_between_what_is_central_and_what_is_close() -> None:
    graph = toy_graph()
    central = select(graph, "land with water", mode="deterministic", beta=0.0)
    assert central.node is not None and central.node.key == "stoneware"
    close = select(graph, "coat stains glassy", mode="deterministic", beta=10.0)
    assert close.node is not None and close.node.key == "glaze"


def test_random_choice_follows_the_seed_and_is_never_the_topic() -> None:
    chosen = [select(toy_graph(), "tea", choice="random", seed=seed).node for seed in range(40)]
    keys = {node.key for node in chosen if node is not None}
    assert len(keys) == 5 and "mug" not in keys
    assert chosen[3] == select(toy_graph(), "tea", choice="random", seed=3).node


@pytest.mark.parametrize("mode", ["paper", "deterministic"])
@pytest.mark.parametrize("context", ["", "🙂", "木の器", "tea " * 30_000])
def test_graphs_with_little_in_them_and_odd_contexts_are_no_errors(mode: Any, context: str) -> None:
    alone = select(graph_of([], 1), context, mode=mode)
    assert alone.node is None and set(alone.scores) == {"0"}
    apart = select(graph_of([(2, 3, 1.0)], 4), context, mode=mode)
    assert apart.node is not None and apart.node.key == "1"  # all alike: the nearest, and first
    assert all(np.isfinite(score.total) for score in apart.scores.values())


def test_weights_that_are_no_weights_and_links_to_itself_count_as_none() -> None:
    weights = graph_of([(0, 0, 1.0), (0, 1, float("nan")), (0, 2, -1.0), (1, 2, 0.0)], 3).weights()
    assert not weights.any()


def test_wrong_graphs_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="'9', which is no node"):
        graph_of([(0, 9, 1.0)], 2)
    with pytest.raises(ValueError, match="twice: a"):
        KnowledgeGraph((Node("a", "a"), Node("a", "a")))
    with pytest.raises(UsageError, match="'exact'"):
        select(toy_graph(), "", mode="exact")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'worst'"):
        select(toy_graph(), "", choice="worst")  # type: ignore[arg-type]
