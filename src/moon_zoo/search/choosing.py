"""Which index for how many vectors, and how hard it has to look: measured on a sample, not assumed.

Up to `FLAT_UP_TO` vectors exact search answers in milliseconds, and nothing has to be tuned. Beyond, IVF: vectors in lists
around centroids, of which a query visits the nearest few. HNSW, a graph, is there for those who ask for it: at equal recall
it answers about as fast, but takes several times as long to build and half as much memory again, and unlike lists, which can
all be visited, it cannot reach any recall that is asked. On vectors without clusters neither beats looking at everything.
`benchmarks/search.py` has the figures. So size decides between flat and IVF, and recall decides how many lists are visited.

Source: faiss, "Guidelines to choose an index" (lists of about 4 to 16 sqrt(n)); Malkov and Yashunin 2018, "Efficient and
robust approximate nearest neighbor search using HNSW graphs", arXiv:1603.09320 (M, efConstruction, efSearch).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from moon_zoo.errors import UsageError, did_you_mean

Kind = Literal["flat", "ivf", "hnsw"]
KINDS: tuple[str, ...] = get_args(Kind)
CHOICES = ("auto", *KINDS)

FLAT_UP_TO = 200_000
RECALL_AT = 10
SAMPLE = 1000
"""Queries that recall is measured on: its standard error at .99 is .001 or so."""
HELD_OUT_SHARE = 10
"""Of few rows only a tenth is held out."""

LISTS_PER_ROOT = 4
TRAINED_PER_LIST = 64
"""Vectors per list that k-means sees; faiss asks for 39 at least, and more than 64 change recall by nothing we could
measure."""

GRAPH_LINKS = 32
GRAPH_BUILD_EFFORT = 80
MOST_GRAPH_EFFORT = 4096

TIE = 1e-6
"""A result this close to the exact tenth score counts as found: equal photos have equal vectors, and any of them will do."""


@dataclass(frozen=True)
class Recall:
    """What recall was asked for, and what a sample showed.

    Args:
        target: Recall@`RECALL_AT` wanted, in ``(0, 1]``.
        measured: Name of a group of sample queries (``items``, or another modality) to recall@`RECALL_AT` against exact
            search; empty where search is exact.
        sample: Number of sample queries per group, before groups smaller than that.
        seed: Of the sample.
    """

    target: float = 0.99
    measured: dict[str, float] = field(default_factory=dict)
    sample: int = 0
    seed: int = 0

    @property
    def lowest(self) -> float:
        """The recall of the group that fares worst; 1 where search is exact."""
        return min(self.measured.values(), default=1.0)

    @property
    def reached(self) -> bool:
        """Whether every group reached the target."""
        return self.lowest >= self.target

    def __str__(self) -> str:
        if not self.measured:
            return f"recall@{RECALL_AT} 1 (exact)"
        groups = ", ".join(f"{value:.3f} ({name})" for name, value in self.measured.items())
        return f"recall@{RECALL_AT} {groups}, {self.target:g} asked, {self.sample:,} sample queries"


@dataclass(frozen=True)
class Probe:
    """A group of sample queries with the answers of exact search.

    Args:
        queries: Unit vectors ``(num, dim)``; none of them is in the index.
        bounds: Score of the exact result number ``k``, ``(num,)``.
        k: How many results recall looks at.
    """

    queries: np.ndarray
    bounds: np.ndarray
    k: int

    def recalls(self, scores: np.ndarray) -> np.ndarray:
        """Recall per query ``(num,)`` from the scores of ``k`` results ``(num, k)``, -inf where there are none."""
        return (scores >= self.bounds[:, None] - TIE).sum(1) / self.k


def choose_kind(kind: str, rows: int) -> Kind:
    """The index to build for ``rows`` vectors.

    Raises:
        UsageError: There is no such kind.
    """
    if kind not in CHOICES:
        raise UsageError(
            f"there is no index {kind!r}; there are {', '.join(CHOICES)}",
            suggestions=did_you_mean(kind, CHOICES),
            change="--index",
        )
    if kind == "auto":
        return "flat" if rows <= FLAT_UP_TO else "ivf"
    return kind  # type: ignore[return-value]


def check_recall(recall: float) -> float:
    """``recall`` if it is a target in ``(0, 1]``, else `UsageError`."""
    if not 0 < recall <= 1:  # also refuses NaN
        raise UsageError(f"a recall of {recall:g} cannot be reached; it is above 0 and at most 1", change="--recall")
    return recall


def num_lists(rows: int) -> int:
    """Lists of an IVF index: the power of two nearest to ``4 sqrt(rows)``, with enough vectors each to be trained on."""
    wanted = 2 ** round(math.log2(max(1.0, LISTS_PER_ROOT * math.sqrt(rows))))
    return max(1, min(wanted, rows // 39))


def draw_sample(rows: int, seed: int, size: int = SAMPLE) -> np.ndarray:
    """Row numbers drawn without replacement, sorted, int64 ``(min(size, rows),)``."""
    return np.sort(np.random.default_rng(seed).choice(rows, min(size, rows), replace=False))


def least_effort(recalls: Callable[[int], Iterable[np.ndarray]], target: float, most: int) -> tuple[int, list[float]]:
    """The least effort (lists visited, or candidates kept) at which every group of queries reaches the target.

    Doubles until it does, then halves the last interval. So that another sample reaches it too, the mean minus its
    standard error must: a target of 1 is reached by perfect answers alone.

    Args:
        recalls: Effort to recalls per query of each group.
        target: Mean recall wanted of each group.
        most: Largest effort worth trying.

    Returns:
        The effort and the mean recalls there. ``most`` where none reaches the target.
    """
    means: dict[int, list[float]] = {}

    def enough(effort: int) -> bool:
        groups = [np.asarray(group, np.float64) for group in recalls(effort)]
        means[effort] = [float(group.mean()) for group in groups]
        return all(group.mean() - group.std() / math.sqrt(len(group)) >= target for group in groups)

    low, high = 0, 1
    while not enough(high):
        if high >= most:
            return most, means[most]
        low, high = high, min(2 * high, most)
    while high - low > max(1, low // 8):  # an effort found to an eighth is near enough
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high, means[high]
