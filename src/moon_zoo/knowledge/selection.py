"""Selection: concepts around a topic, and the one that is central among them and close to what was talked about.

Source: "Follow-up question generation enhanced by external knowledge", arXiv:2504.05801: two levels of five related concepts
around the topic's page; importance I(n) = minmax(visits of a random walk of 100 steps x PageRank); S(n) = I(n) + beta Sim(n)
with Sim(n) the cosine of a node's definition with topic and keywords. Ours: links are walked both ways, because concepts of the
second level have none of their own; and a mode without chance, personalised PageRank over the links' weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from moon_zoo.errors import UsageError
from moon_zoo.knowledge.source import KnowledgeSource, Page
from moon_zoo.metrics.text_similarity import Similarity, WordSimilarity

Mode = Literal["paper", "deterministic"]
MODES: Final[tuple[Mode, ...]] = ("paper", "deterministic")
Choice = Literal["best", "random"]

LEVELS: Final = 2
BREADTH: Final = 5
STEPS: Final = 100
DAMPING: Final = 0.85
_SWEEPS: Final = 200
_TOLERANCE: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Node:
    """A concept.

    Args:
        key: Of its page.
        title: What it is called.
        definition: A short text about it; may be empty.
        level: Steps from the topic; 0 is the topic.
    """

    key: str
    title: str
    definition: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """Two concepts that have to do with one another.

    Args:
        start: Key of the node it was found at.
        end: Key of the other.
        weight: How close they are, above 0; others count as none.
        reason: In words.
    """

    start: str
    end: str
    weight: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KnowledgeGraph:
    """Concepts around a topic; the first node is the topic.

    Args:
        nodes: With different keys.
        links: Between them.
    """

    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        keys = [node.key for node in self.nodes]
        if len(set(keys)) < len(keys):
            raise ValueError(f"a node is there twice: {sorted(key for key in set(keys) if keys.count(key) > 1)[0]}")
        lost = [key for link in self.links for key in (link.start, link.end) if key not in set(keys)]
        if lost:
            raise ValueError(f"a link names {lost[0]!r}, which is no node")

    def weights(self) -> np.ndarray:
        """How strongly nodes are tied, both ways alike, float64 ``(nodes, nodes)``; a link to itself is none."""
        place = {node.key: number for number, node in enumerate(self.nodes)}
        found = np.zeros((len(self.nodes), len(self.nodes)))
        for link in self.links:
            start, end = place[link.start], place[link.end]
            if start != end and np.isfinite(link.weight) and link.weight > 0:
                found[start, end] = found[end, start] = max(found[start, end], link.weight)
        return found

    def reasons(self, key: str) -> list[str]:
        """Why a node is there, in words: the reasons of its links, those nearer to the topic first."""
        level = {node.key: node.level for node in self.nodes}
        own = [link for link in self.links if key in (link.start, link.end)]
        own.sort(key=lambda link: (level[link.start] + level[link.end], -link.weight))
        return [link.reason for link in own if link.reason]


@dataclass(frozen=True, slots=True)
class Score:
    """What speaks for a node.

    Args:
        importance: I(n), in ``[0, 1]``: how central it is.
        similarity: Sim(n), in ``[-1, 1]``: how close its definition is to topic and keywords.
        total: I(n) + beta Sim(n).
    """

    importance: float
    similarity: float
    total: float


@dataclass(frozen=True, slots=True)
class Selected:
    """The chosen concept.

    Args:
        node: The best node that is not the topic; None where there is none.
        graph: What it was chosen from; None without a page.
        scores: Key of every node to its score.
        seed: Of the walk, or of the random choice.
        mode: How importance was reckoned.
    """

    node: Node | None
    graph: KnowledgeGraph | None
    scores: Mapping[str, Score]
    mode: Mode = "paper"
    seed: int = 0


def expand(source: KnowledgeSource, page: Page, *, levels: int = LEVELS, breadth: int = BREADTH) -> KnowledgeGraph:
    """The concepts around a page.

    Args:
        source: Knows neighbours.
        page: The topic.
        levels: How many steps from it.
        breadth: Related concepts of each node, at most: with two levels of five there are at most 31 nodes.
    """
    nodes = {page.key: Node(page.key, page.title, page.summary or source.describe(page.key), 0)}
    links: dict[tuple[str, str], Link] = {}
    front = [page]
    for level in range(1, levels + 1):
        behind, front = front, []
        for near in behind:
            for edge in source.neighbours(near, breadth)[:breadth]:
                if edge.target == near.key:
                    continue
                if edge.target not in nodes:
                    found = _page(source, edge.target)
                    nodes[edge.target] = Node(found.key, found.title, found.summary, level)
                    front.append(found)
                pair = (min(near.key, edge.target), max(near.key, edge.target))
                links.setdefault(pair, Link(near.key, edge.target, edge.weight, edge.reason))
    return KnowledgeGraph(tuple(nodes.values()), tuple(links.values()))


def _page(source: KnowledgeSource, key: str) -> Page:
    """A neighbour's page; a source that only knows its text calls it by its key."""
    look_up = getattr(source, "page", None)
    found = look_up(key) if look_up is not None else None
    if found is not None:
        return found if found.summary else Page(found.key, found.title, source.describe(key))
    return Page(key, key.rpartition("/")[2].replace("_", " "), source.describe(key))


def page_rank(weights: np.ndarray, *, damping: float = DAMPING, start: np.ndarray | None = None) -> np.ndarray:
    """PageRank by power iteration.

    Args:
        weights: How strongly a node (row) points to another (column), at least 0, ``(nodes, nodes)``.
        damping: Share of steps that follow links.
        start: Where the other steps, and those from nodes without links, lead; adds up to 1, ``(nodes,)``. None for anywhere.

    Returns:
        Shares that add up to 1, ``(nodes,)``.
    """
    count = len(weights)
    if count == 0:
        return np.zeros(0)
    jump = np.full(count, 1 / count) if start is None else start
    out = weights.sum(1, keepdims=True)
    lost = out[:, 0] == 0
    steps = weights / np.where(out == 0, 1.0, out)
    rank = jump.copy()  # so that what cannot be reached has exactly 0
    for _ in range(_SWEEPS):
        before, rank = rank, damping * (rank @ steps + rank[lost].sum() * jump) + (1 - damping) * jump
        if np.abs(rank - before).sum() < count * _TOLERANCE:
            break
    return rank


def walk(weights: np.ndarray, *, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    """Visits of a random walk from the first node, its start not counted, int64 ``(nodes,)``.

    Args:
        weights: As for `page_rank`; a link is taken as often as it is strong. Where there is none, the walk begins again.
        steps: How many.
        seed: Of the draws.
    """
    visits = np.zeros(len(weights), dtype=np.int64)
    if len(weights) == 0:
        return visits
    reach = np.cumsum(weights, axis=1)
    at = 0
    for draw in np.random.default_rng(seed).random(steps):
        whole = reach[at, -1]
        # side="right": a draw of 0 must not land on a node without a link
        at = int(np.searchsorted(reach[at], draw * whole, side="right")) if whole > 0 else 0
        visits[at] += 1
    return visits


def importance(graph: KnowledgeGraph, *, mode: Mode = "paper", steps: int = STEPS, seed: int = 0) -> np.ndarray:
    """I(n) of every node, in ``[0, 1]``, float64 ``(nodes,)``; a node that was never visited has 0.

    Args:
        graph: The concepts.
        mode: ``paper``: visits of a walk times PageRank, over links alike; ``deterministic``: personalised PageRank from the
            topic, over the links' weights.
        steps: Of the walk.
        seed: Of the walk.
    """
    weights = graph.weights()
    if mode == "paper":
        alike = (weights > 0).astype(float)
        raw = walk(alike, steps=steps, seed=seed) * page_rank(alike)
    elif mode == "deterministic":
        start = np.zeros(len(weights))
        start[:1] = 1.0
        raw = page_rank(weights, start=start)
    else:
        raise UsageError(f"the mode of selection is {mode!r}", change=f"mode, to one of {', '.join(MODES)}")
    return minmax(raw)


def minmax(values: np.ndarray) -> np.ndarray:
    """Values moved and stretched into ``[0, 1]``; equal ones become 0, for none of them stands out."""
    if len(values) == 0 or np.ptp(values) <= 1e-12 * max(float(np.abs(values).max()), 1e-300):
        return np.zeros(len(values))
    return (values - values.min()) / np.ptp(values)


def select(
    graph: KnowledgeGraph,
    context: str,
    *,
    mode: Mode = "paper",
    beta: float = 1.0,
    steps: int = STEPS,
    seed: int = 0,
    similarity: Similarity | None = None,
    choice: Choice = "best",
    exclude: Sequence[str] = (),
) -> Selected:
    """The concept to ask about.

    Args:
        graph: Concepts around the topic; perhaps the topic alone, perhaps in parts that are not tied to it.
        context: Topic and keywords.
        mode: How importance is reckoned; see `importance`.
        beta: Weight of similarity.
        steps: Of the walk.
        seed: Of the walk, and of a random choice.
        similarity: Of definitions to the context; words in common where None.
        choice: ``best``, or ``random``: any node but the topic, for ablations.
        exclude: Keys that are not chosen.

    Returns:
        The node with the highest S(n), the nearer to the topic and then the earlier of equal ones.
    """
    if choice not in ("best", "random"):
        raise UsageError(f"the choice of a node is {choice!r}", change="choice, to best or random")
    central = importance(graph, mode=mode, steps=steps, seed=seed)
    texts = [f"{node.title}. {node.definition}" for node in graph.nodes]
    close = np.asarray((similarity or WordSimilarity())(context, texts), dtype=np.float64)
    totals = central + beta * close
    scores = {
        node.key: Score(float(central[place]), float(close[place]), float(totals[place]))
        for place, node in enumerate(graph.nodes)
    }
    others = [place for place, node in enumerate(graph.nodes) if place > 0 and node.key not in set(exclude)]
    if not others:
        return Selected(None, graph, scores, mode, seed)
    if choice == "random":
        best = others[int(np.random.default_rng(seed).integers(len(others)))]
    else:
        best = min(others, key=lambda place: (-totals[place], graph.nodes[place].level, place))
    return Selected(graph.nodes[best], graph, scores, mode, seed)
