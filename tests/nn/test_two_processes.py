"""Two processes give the loss, the gradients and the queue of one process with the whole batch."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.nn import two_processes
from tests.ranks import run_two


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What each of two gloo processes found; all cases in one start."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two("tests.nn.two_processes", folder)
    return [load_file(folder / f"rank{rank}.safetensors") for rank in range(2)]


@pytest.mark.parametrize("case", list(two_processes.CASES))
def test_gradients_equal_one_process_with_the_whole_batch(ranks: list[dict[str, Tensor]], case: str) -> None:
    assert_ranks_found(ranks, two_processes.run_case(case), case)


@pytest.mark.parametrize("case", list(two_processes.LOCAL))
def test_without_gathering_each_rank_compares_its_own_rows_and_all_are_averaged(
    ranks: list[dict[str, Tensor]], case: str
) -> None:
    assert_ranks_found(ranks, two_processes.run_local(case), case)


def test_negatives_of_two_ranks_add_up_to_those_of_one_process(ranks: list[dict[str, Tensor]]) -> None:
    expected = two_processes.run_counts()
    assert expected["counts/other_ranks"] == 0 and expected["counts/all"] > 1
    for found in ranks:
        torch.testing.assert_close(found["counts/all"], expected["counts/all"])
        torch.testing.assert_close(found["counts/in_batch"] + found["counts/other_ranks"], expected["counts/in_batch"])
        assert found["counts/other_ranks"] > 0


def assert_ranks_found(ranks: list[dict[str, Tensor]], expected: dict[str, Tensor], case: str) -> None:
    assert any(value.abs().max() > 1e-3 for key, value in expected.items() if "queries.weight" in key)
    for rank, found in enumerate(ranks):
        mine = {key for key in found if key.startswith(f"{case}/")}
        assert mine == set(expected)
        for key in mine:
            message = f"rank {rank}: {key}"
            torch.testing.assert_close(
                found[key], expected[key], rtol=1e-5, atol=1e-5, msg=lambda text, m=message: f"{m}\n{text}"
            )


def test_micro_batches_replay_dropout_under_ddp(ranks: list[dict[str, Tensor]]) -> None:
    names = [key.removeprefix("dropout/cached/") for key in ranks[0] if key.startswith("dropout/cached/")]
    assert "queries.weight" in names
    for name in names:
        for found in ranks:
            ours, theirs = found[f"dropout/cached/{name}"], found[f"dropout/in_one_graph/{name}"]
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ranks[0][f"dropout/cached/{name}"], ranks[1][f"dropout/cached/{name}"])


def test_constants_of_every_type_are_gathered_in_rank_order(ranks: list[dict[str, Tensor]]) -> None:
    for found in ranks:
        assert found["gathering/bools"].tolist() == [1, 1, 0, 1]
        assert found["gathering/ids"].tolist() == [[0, 1 << 40], [1, 1 << 40]]


def test_log_sums_join_over_ranks_with_gradient(ranks: list[dict[str, Tensor]]) -> None:
    """Columns: log(e^0 + e^1); one rank's 2 alone; nothing; log(2 e^100). Every rank's loss adds weights 1, 2, 0, 3."""
    for rank, found in enumerate(ranks):
        joined = found["gathering/joined"]
        torch.testing.assert_close(joined[[0, 1, 3]], torch.tensor([1.31326169, 2.0, 100.69314718]))
        assert joined[2] == float("-inf")
        share = [0.26894142, 0.73105858][rank]
        expected = torch.tensor([2 * share, 2 * 2.0 * rank, 0.0, 2 * 3.0 * 0.5])
        torch.testing.assert_close(found["gathering/gradient"], expected)
