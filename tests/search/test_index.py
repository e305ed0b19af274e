"""The index beside a brute-force twin: nearest rows, exact filters, a recall that is reached, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from moon_zoo.errors import DataError, UsageError
from moon_zoo.search import choosing
from moon_zoo.search.choosing import FLAT_UP_TO, Probe, choose_kind, least_effort, num_lists
from moon_zoo.search.index import ABOUT, INDEX, SearchIndex

KINDS = ("flat", "ivf", "hnsw")
DIM = 24


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows: int, seed: int = 0, spread: float = 0.12) -> np.ndarray:
    """Vectors around a hundred directions."""
    rng = np.random.default_rng(seed)
    centres = unit(np.random.default_rng(99).standard_normal((100, DIM)))
    return unit(centres[rng.integers(0, 100, rows)] + spread * rng.standard_normal((rows, DIM)))


def brute(queries: np.ndarray, vectors: np.ndarray, k: int, mask: np.ndarray | None = None) -> np.ndarray:
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    if mask is not None:
        scores[:, ~mask] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), expected.tolist())]))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(6000)


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest, vectors: np.ndarray) -> Iterator[SearchIndex]:
    yield SearchIndex.build(vectors, request.param)


def test_finds_what_brute_force_finds(index: SearchIndex, vectors: np.ndarray) -> None:
    queries = clustered(300, seed=5)
    scores, rows = index.search(queries, 10)
    expected = brute(queries, vectors, 10)
    if index.kind == "flat":
        np.testing.assert_array_equal(rows, expected)
    assert recall(rows, expected) >= 0.98  # other queries than the sample that .99 was reached on
    np.testing.assert_allclose(scores, (queries[:, None] * vectors[rows]).sum(-1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("share", [0.5, 0.002])
def test_results_within_chosen_rows_are_exact(index: SearchIndex, vectors: np.ndarray, share: float) -> None:
    queries, mask = clustered(40, seed=6), np.random.default_rng(1).random(len(vectors)) < share
    found = min(10, int(mask.sum()))
    for among in (mask, np.flatnonzero(mask)):
        np.testing.assert_array_equal(
            index.search(queries, 10, among)[1][:, :found], brute(queries, vectors, found, mask)
        )


def test_fewer_rows_than_asked_leave_the_rest_empty(index: SearchIndex, vectors: np.ndarray) -> None:
    scores, rows = index.search(vectors[:2], 5, among=np.array([7, 9]))
    assert sorted(rows[0, :2].tolist()) == [7, 9]
    assert (rows[:, 2:] == -1).all()
    assert np.isneginf(scores[:, 2:]).all()
    assert (index.search(vectors[:2], 3, among=np.zeros(len(vectors), bool))[1] == -1).all()


def test_more_results_than_rows(index: SearchIndex) -> None:
    few = SearchIndex.build(clustered(3), index.kind)
    scores, rows = few.search(clustered(1), 5)
    assert sorted(rows[0].tolist()) == [-1, -1, 0, 1, 2]
    assert np.isneginf(scores[0, 3:]).all()


@pytest.mark.parametrize("k", [500, 6000])
def test_many_results_are_all_there(index: SearchIndex, vectors: np.ndarray, k: int) -> None:
    scores, rows = index.search(clustered(3, seed=11), k)
    assert (rows >= 0).all()
    assert [len(set(line)) for line in rows.tolist()] == [k] * 3
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_vector_is_found(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    index = SearchIndex.build(clustered(1), kind)
    assert index.search(clustered(4, seed=2), 1)[1].tolist() == [[0]] * 4
    assert index.recall.reached
    assert capfd.readouterr() == ("", "")  # faiss warns about small sets on its own


def test_equal_scores_come_in_the_order_of_rows() -> None:
    index = SearchIndex.build(np.repeat(clustered(2), 3, axis=0), "flat")
    assert index.search(clustered(2)[:1], 3)[1].tolist() == [[0, 1, 2]]


def test_half_precision_vectors_are_indexed(vectors: np.ndarray) -> None:
    index = SearchIndex.build(vectors[:500].astype(np.float16), "flat")
    assert index.search(vectors[3:4], 1)[1].tolist() == [[3]]


def test_saved_index_answers_alike(index: SearchIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "kept", model={"source": "a model"})
    again = SearchIndex.load(tmp_path / "kept")
    queries = clustered(50, seed=8)
    for before, after in zip(index.search(queries, 7), again.search(queries, 7)):
        np.testing.assert_array_equal(before, after)
    assert again.about() == index.about()
    said = json.loads((tmp_path / "kept" / ABOUT).read_text())
    assert said["model"] == {"source": "a model"}
    assert said["bytes"] == (tmp_path / "kept" / INDEX).stat().st_size
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [INDEX, ABOUT]


# Recall ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_effort_is_raised_until_the_recall_is_reached(kind: str) -> None:
    vectors, queries = clustered(4000, spread=0.5), clustered(400, seed=4, spread=0.5)
    expected, effort = brute(queries, vectors, 10), {"ivf": "visited", "hnsw": "effort"}[kind]
    low, high = (SearchIndex.build(vectors, kind, target) for target in (0.6, 0.999))
    assert low.parameters[effort] < high.parameters[effort]
    for index in (low, high):
        assert index.recall.reached
        assert recall(index.search(queries, 10)[1], expected) >= index.recall.target - 0.02


def test_recall_one_is_exact() -> None:
    vectors, queries = clustered(3000, spread=0.5), clustered(50, seed=3, spread=0.5)
    index = SearchIndex.build(vectors, "ivf", 1.0)
    assert index.recall.measured == {"items": 1.0}
    assert recall(index.search(queries, 10)[1], brute(queries, vectors, 10)) > 0.999


def test_every_group_of_sample_queries_reaches_the_recall() -> None:
    vectors = clustered(4000)
    elsewhere = unit(np.random.default_rng(0).standard_normal((500, DIM)))  # far from all clusters: harder
    alone = SearchIndex.build(vectors, "ivf")
    both = SearchIndex.build(vectors, "ivf", queries={"text": elsewhere, "nothing": elsewhere[:0]})
    assert list(both.recall.measured) == ["items", "text"]
    assert both.recall.lowest >= 0.99
    assert both.parameters["visited"] > alone.parameters["visited"]
    assert recall(alone.search(elsewhere, 10)[1], brute(elsewhere, vectors, 10)) < 0.99


def test_recall_counts_what_scores_as_well_as_the_exact_last() -> None:
    # The exact two best score .9 and .8. A row of the same score will do, an empty place will not.
    probe = Probe(np.zeros((3, 2)), np.full(3, 0.8), k=2)
    assert probe.recalls(np.array([[0.9, 0.8], [0.9, 0.1], [0.9, -np.inf]])).tolist() == [1.0, 0.5, 0.5]


def test_recall_is_measured_on_vectors_that_the_index_does_not_hold_yet() -> None:
    # Pairs of equal vectors, all pairs at right angles. Asking with a vector that is in the index finds itself and its
    # twin; held out, it finds its twin alone, and the nine others score 0: any of them is as good as the exact ones.
    vectors = np.repeat(np.eye(60, dtype=np.float32), 2, axis=0)
    index = SearchIndex.build(vectors, "hnsw")
    assert index.recall.sample == 12
    assert len(index) == 120
    for row in range(120):
        assert sorted(index.search(vectors[[row]], 2)[1][0].tolist()) == [row // 2 * 2, row // 2 * 2 + 1]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_measured_recall_is_that_of_fresh_queries(kind: str) -> None:
    rng = np.random.default_rng(3)
    lift = rng.standard_normal((12, DIM))
    vectors, queries = (unit(rng.standard_normal((rows, 12)) @ lift) for rows in (6_000, 400))
    index = SearchIndex.build(vectors, kind, 0.9)
    fresh = recall(index.search(queries, 10)[1], brute(queries, vectors, 10))
    assert fresh == pytest.approx(index.recall.lowest, abs=0.025)


@pytest.mark.parametrize("enough", [1, 2, 3, 37, 200])
def test_least_effort_is_found_to_an_eighth(enough: int) -> None:
    tried = []

    def recalls(effort: int) -> list[np.ndarray]:
        tried.append(effort)
        return [np.full(9, 1.0 if effort >= enough else 0.5)]

    effort, means = least_effort(recalls, 0.9, 200)
    assert enough <= effort <= max(enough * 9 // 8, enough)
    assert means == [1.0]
    assert len(tried) <= 14


def test_unreachable_recall_ends_at_the_most_and_says_what_was_reached() -> None:
    assert least_effort(lambda effort: [np.full(4, 0.7)], 0.9, 64) == (64, [0.7])
    index = SearchIndex.build(clustered(300), "hnsw")
    index.recall = choosing.Recall(0.99, {"items": 0.97, "text": 0.9}, 300)
    assert not index.recall.reached
    assert str(index.recall) == "recall@10 0.970 (items), 0.900 (text), 0.99 asked, 300 sample queries"


# Choosing -------------------------------------------------------------------------------------------------------------


def test_size_chooses_between_exact_search_and_lists() -> None:
    assert choose_kind("auto", 1) == "flat"
    assert choose_kind("auto", FLAT_UP_TO) == "flat"
    assert choose_kind("auto", FLAT_UP_TO + 1) == "ivf"
    assert choose_kind("hnsw", 10) == "hnsw"


def test_auto_beyond_the_limit_builds_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "FLAT_UP_TO", 500)
    assert SearchIndex.build(clustered(500)).kind == "flat"
    assert SearchIndex.build(clustered(501)).kind == "ivf"


@pytest.mark.parametrize(("rows", "lists"), [(1, 1), (100, 2), (6000, 153), (250_000, 2048), (1_000_000, 4096)])
def test_number_of_lists(rows: int, lists: int) -> None:
    assert num_lists(rows) == lists


# Bad input ------------------------------------------------------------------------------------------------------------


def test_unknown_kind_suggests() -> None:
    with pytest.raises(UsageError, match=r"there is no index 'hnws'; there are auto, flat, ivf, hnsw") as caught:
        SearchIndex.build(clustered(3), "hnws")
    assert caught.value.suggestions == ("hnsw",)


@pytest.mark.parametrize("target", [0.0, -1.0, 1.01, float("nan")])
def test_impossible_recall_is_refused(target: float) -> None:
    with pytest.raises(UsageError, match="cannot be reached; it is above 0 and at most 1"):
        SearchIndex.build(clustered(3), recall=target)


def test_no_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="there are no vectors to search in"):
        SearchIndex.build(np.zeros((0, 4), np.float32))


def test_vectors_that_are_not_finite_are_counted() -> None:
    vectors = clustered(5)
    vectors[1, 0] = np.nan
    vectors[4, 2] = np.inf
    with pytest.raises(DataError, match="2 of 5 vectors are not finite"):
        SearchIndex.build(vectors)


def test_queries_of_another_dimension_are_refused(index: SearchIndex) -> None:
    with pytest.raises(DataError, match=f"the queries have 7 dimensions, the indexed vectors {DIM}"):
        index.search(np.ones((1, 7), np.float32))


def test_no_results_wanted_is_refused(index: SearchIndex) -> None:
    with pytest.raises(UsageError, match="0 results cannot be shown"):
        index.search(clustered(1), 0)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return SearchIndex.build(clustered(50), "flat").save(tmp_path / "kept")


def test_altered_index_is_refused(kept: Path) -> None:
    content = bytearray((kept / INDEX).read_bytes())
    content[200] ^= 1
    (kept / INDEX).write_bytes(content)
    with pytest.raises(DataError, match="altered or cut since it was written"):
        SearchIndex.load(kept)


def test_cut_index_is_refused(kept: Path) -> None:
    (kept / INDEX).write_bytes((kept / INDEX).read_bytes()[:-9])
    with pytest.raises(DataError, match="altered or cut since it was written"):
        SearchIndex.load(kept)


def test_missing_files_are_told_apart(kept: Path, tmp_path: Path) -> None:
    (kept / INDEX).unlink()
    with pytest.raises(DataError, match=r"index\.faiss cannot be read: No such file"):
        SearchIndex.load(kept)
    with pytest.raises(DataError, match="no index is kept here"):
        SearchIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "not of format 1"),
        ('{"format": 2}', "not of format 1"),
        ('{"format": 1, "kind": "pq"}', "incomplete"),
    ],
)
def test_broken_description_is_refused(kept: Path, text: str, said: str) -> None:
    (kept / ABOUT).write_text(text)
    with pytest.raises(DataError, match=said):
        SearchIndex.load(kept)
