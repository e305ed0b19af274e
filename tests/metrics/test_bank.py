"""Banks join, deduplicate and rank rows alike for any number of processes."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
import torch

from moon_zoo.metrics.bank import EmbeddingBank, Rows, retrieval_figures, top_results
from tests.metrics import two_processes
from tests.ranks import run_two


def rows(embeddings: list[list[float]], items: list[int], spus: list[int]) -> Rows:
    unknown = torch.full((len(items),), -1)
    return Rows(
        torch.tensor(embeddings),
        torch.tensor(items),
        torch.tensor(spus),
        unknown,
        torch.arange(len(items)),
    )


def test_figures_of_four_queries_by_hand() -> None:
    """Documents at 0, 90 and 180 degrees, of SPUs 1, 2, 3.

    Queries: at 0 of SPU 1 (rank 1), at 0 of SPU 2 (rank 2), at 0 of SPU 3 (rank 3), one of an SPU that is not there.
    """
    documents = rows([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [10, 20, 30], [1, 2, 3])
    queries = rows([[1.0, 0.0]] * 4, [1, 2, 3, 4], [1, 2, 3, 9])
    found = retrieval_figures("photo_to_product", queries, documents, ks=(1, 2))
    assert found == {
        "photo_to_product/recall@1": pytest.approx(1 / 3),
        "photo_to_product/recall@1_chance": pytest.approx(1 / 3),
        "photo_to_product/recall@2": pytest.approx(2 / 3),
        "photo_to_product/recall@2_chance": pytest.approx(2 / 3),
        "photo_to_product/mrr": pytest.approx((1 + 1 / 2 + 1 / 3) / 3),
        "photo_to_product/mrr_chance": pytest.approx((1 + 1 / 2 + 1 / 3) / 3),
        "photo_to_product/median_rank": 2.0,
        "photo_to_product/median_rank_chance": 2.0,
        "photo_to_product/num_queries": 3.0,
        "photo_to_product/num_skipped": 1.0,
        "photo_to_product/num_documents": 3.0,
    }


def test_chance_mrr_equals_the_mean_over_all_orders() -> None:
    """Two right documents of five, then three of four: all orders tried out."""
    documents = rows([[1.0]] * 9, list(range(9)), [1, 1, 2, 2, 2, 3, 3, 3, 4])
    found = retrieval_figures("photo_to_product", rows([[1.0], [1.0]], [90, 91], [1, 3]), documents)
    expected = [
        sum(1 / (1 + min(order.index(place) for place in right)) for order in itertools.permutations(range(9)))
        / math.factorial(9)
        for right in ((0, 1),)
    ]
    by_three = sum(1 / (1 + min(draw)) for draw in itertools.combinations(range(9), 3)) / math.comb(9, 3)
    assert found["photo_to_product/mrr_chance"] == pytest.approx((expected[0] + by_three) / 2)


def test_a_set_without_an_answerable_query_has_counts_alone() -> None:
    found = retrieval_figures("photo_to_text", rows([[1.0]], [1], [1]), rows([[1.0]], [2], [2]))
    assert found == {
        "photo_to_text/num_queries": 0.0,
        "photo_to_text/num_skipped": 1.0,
        "photo_to_text/num_documents": 1.0,
    }


def test_an_item_stands_in_the_gallery_once_at_its_first_position() -> None:
    gallery = rows([[1.0], [2.0], [3.0], [4.0]], [7, 5, 7, 5], [1, 2, 1, 2]).unique_items()
    assert gallery.items.tolist() == [7, 5] and gallery.positions.tolist() == [0, 1]
    assert gallery.embeddings.tolist() == [[1.0], [2.0]]


def test_results_to_show_pass_over_the_query_itself_and_mark_the_right_ones() -> None:
    products = rows([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]], [1, 2, 3, 4], [1, 1, 2, 3])
    shown = top_results(products, products, num_queries=9, k=2, pass_over_own_item=True)
    assert shown.queries.tolist() == [0, 1, 2, 3]  # all SPUs are there, if only as themselves
    assert shown.documents.tolist() == [[1, 3], [3, 0], [3, 1], [1, 2]]
    assert shown.relevant.tolist() == [[True, False], [False, True], [False, False], [False, False]]


def test_invalid_rows_are_dropped_and_missing_ids_are_filled_in() -> None:
    bank = EmbeddingBank()
    bank.update(torch.eye(3), torch.tensor([5, 6, 7]), valid=torch.tensor([True, False, True]))
    found = bank.compute()
    assert found.items.tolist() == found.spus.tolist() == [5, 7]
    assert found.categories.tolist() == [-1, -1]


def test_a_bank_of_one_row_keeps_its_axes() -> None:
    bank = EmbeddingBank()
    bank.update(torch.ones(1, 1), torch.tensor([5]))
    assert bank.compute().embeddings.shape == (1, 1) and len(bank.compute()) == 1


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_an_empty_bank_and_an_unknown_storage_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing was collected"):
        EmbeddingBank().compute()
    with pytest.raises(ValueError, match="float32, float16, not 'int8'"):
        EmbeddingBank("int8")  # type: ignore[arg-type]


def test_half_precision_storage_moves_cosines_by_less_than_a_thousandth() -> None:
    full, half = EmbeddingBank(), EmbeddingBank("float16")
    for bank in (full, half):
        two_processes.collect(bank, 0, 1)
    first, second = full.compute().embeddings, half.compute().embeddings
    assert second.dtype == torch.float16
    assert (first @ first.T - second.float() @ second.float().T).abs().max() < 1e-3


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two gloo processes computed."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two("tests.metrics.two_processes", folder)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_two_processes_compute_exactly_what_one_does(ranks: list[dict[str, Any]], storage: Any) -> None:
    """43 samples in batches of 5 on two ranks: the last global batch is padded by 7 rows."""
    bank = EmbeddingBank(storage)
    two_processes.collect(bank, 0, 1)
    expected = json.loads(json.dumps(two_processes.figures(bank.compute())))
    assert expected["positions"] == list(range(two_processes.SAMPLES))
    for found in ranks:
        assert found[storage] == expected
        assert found[f"{storage}_twice"] == 2 * two_processes.SAMPLES


def test_a_rank_without_rows_does_not_disturb(ranks: list[dict[str, Any]]) -> None:
    assert [found["one_rank_only"] for found in ranks] == [[0, 1, 2]] * 2
