from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_zoo.data.order import EpochOrder
from moon_zoo.data.sampler import EpochSampler, Start, read_ticket

sizes = st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(lambda some: sum(some) > 0)


@pytest.mark.parametrize(
    ("shards", "seed", "epoch", "window", "expected"),
    [
        ([5, 3, 4], 0, 0, 2, [7, 5, 6, 11, 9, 8, 10, 1, 0, 4, 2, 3]),
        ([5, 3, 4], 0, 1, 2, [7, 6, 9, 11, 5, 8, 10, 3, 4, 1, 2, 0]),
        ([5, 3, 4], 7, 0, 1, [1, 2, 4, 0, 3, 8, 11, 9, 10, 5, 7, 6]),
        ([1] * 10, 1, 2, 4, [6, 3, 9, 5, 8, 1, 2, 0, 7, 4]),
    ],
)
def test_order_is_the_same_on_every_machine(
    shards: list[int], seed: int, epoch: int, window: int, expected: list[int]
) -> None:
    """Written down once. If these change, every checkpoint made in mid-epoch would go on with the wrong samples."""
    order = EpochOrder(shards, seed, epoch, window_shards=window)
    assert order.positions(0, len(order)).tolist() == expected


def test_order_of_a_hundred_million_samples_is_computed_in_windows() -> None:
    """Golden values in the middle of an epoch; the whole order would be 800 MB."""
    order = EpochOrder([100_000] * 1000, seed=3, epoch=9)
    middle = order.positions(12_345_678, 12_345_684)
    assert middle.tolist() == [67291305, 37865885, 52653913, 8471801, 52674783, 52609059]
    assert sum(window.nbytes for window in order._windows.values()) < 10e6


def test_window_mixes_only_its_own_shards() -> None:
    """By hand: two shards per window, so the first ten samples come from two shards, the next ten from two others."""
    order = EpochOrder([5] * 6, seed=4, epoch=0, window_shards=2).positions(0, 30)
    shards = order.reshape(3, 10) // 5
    assert all(len(set(window)) == 2 for window in shards.tolist())
    assert sorted(order.tolist()) == list(range(30))
    assert any(window[:5].tolist() != sorted(window[:5]) for window in shards)  # not one shard after the other


@given(sizes, st.integers(0, 5), st.integers(0, 3), st.integers(1, 5), st.data())
@settings(max_examples=150, deadline=None)
def test_any_stretch_is_a_slice_of_the_whole_order(
    shards: list[int], seed: int, epoch: int, window: int, data: st.DataObject
) -> None:
    whole = EpochOrder(shards, seed, epoch, window_shards=window).positions(0, sum(shards))
    assert sorted(whole.tolist()) == list(range(sum(shards)))
    start = data.draw(st.integers(0, sum(shards)))
    stop = data.draw(st.integers(start, sum(shards)))
    part = EpochOrder(shards, seed, epoch, window_shards=window).positions(start, stop)
    assert np.array_equal(part, whole[start:stop])


def test_order_rejects_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="got -1"):
        EpochOrder([1], -1, 0)
    with pytest.raises(ValueError, match="window_shards must be at least 1, got 0"):
        EpochOrder([1], 0, 0, window_shards=0)
    with pytest.raises(IndexError, match="0 to 4 of an epoch of 3"):
        EpochOrder([1, 2], 0, 0).positions(0, 4)


def samplers(shards: list[int], world: int, batch: int, **more: object) -> list[EpochSampler]:
    array = np.array(shards)
    return [EpochSampler(array, batch_size=batch, rank=rank, world=world, **more) for rank in range(world)]  # type: ignore[arg-type]


@given(sizes, st.integers(1, 4), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_evaluation_counts_every_sample_once_in_equal_batches(shards: list[int], world: int, batch: int) -> None:
    ranks = [[read_ticket(code) for code in sampler] for sampler in samplers(shards, world, batch)]
    assert len({len(rank) for rank in ranks}) == 1 and len(ranks[0]) % batch == 0
    assert len(ranks[0]) == len(samplers(shards, world, batch)[0])
    counted = [ticket.position for rank in ranks for ticket in rank if ticket.valid]
    assert sorted(counted) == list(range(sum(shards)))
    assert all(0 <= ticket.position < sum(shards) for rank in ranks for ticket in rank)


@given(sizes, st.integers(1, 4), st.integers(1, 7), st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_training_takes_a_prefix_of_the_epoch_whatever_the_ranks(
    shards: list[int], world: int, batch: int, epoch: int
) -> None:
    order = EpochOrder(shards, 3, epoch).positions(0, sum(shards)).tolist()
    ranks = []
    for sampler in samplers(shards, world, batch, training=True, seed=3):
        sampler.set_epoch(epoch)
        ranks.append([read_ticket(code) for code in sampler])
    steps = sum(shards) // (world * batch)
    assert all(len(rank) == steps * batch for rank in ranks)
    assert all(ticket.valid and ticket.epoch == epoch for rank in ranks for ticket in rank)
    joined = [
        ticket.position for step in range(steps) for rank in ranks for ticket in rank[step * batch : (step + 1) * batch]
    ]
    assert joined == order[: steps * world * batch]


@given(sizes, st.integers(1, 3), st.integers(1, 5), st.data())
@settings(max_examples=150, deadline=None)
def test_epoch_begun_in_the_middle_takes_what_is_left(
    shards: list[int], world: int, batch: int, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, sum(shards)))
    order = EpochOrder(shards, 0, 2).positions(0, sum(shards)).tolist()
    made = samplers(shards, world, batch, training=True, start=Start(2, offset))
    positions = [sorted(read_ticket(code).position for code in sampler) for sampler in made]
    steps = (sum(shards) - offset) // (world * batch)
    assert sorted(position for rank in positions for position in rank) == sorted(
        order[offset : offset + steps * world * batch]
    )


def test_padding_repeats_samples_marked_as_not_valid() -> None:
    """By hand: 5 samples, 2 ranks, batches of 2: the second global batch holds one sample and three repetitions."""
    ranks = [[read_ticket(code) for code in sampler] for sampler in samplers([3, 2], 2, 2)]
    assert [ticket.position for ticket in ranks[0]] == [0, 1, 4, 0]
    assert [ticket.valid for ticket in ranks[0]] == [True, True, True, False]
    assert [ticket.position for ticket in ranks[1]] == [2, 3, 1, 2]
    assert [ticket.valid for ticket in ranks[1]] == [True, True, False, False]


def test_fewer_samples_than_ranks_still_evaluate() -> None:
    ranks = [[read_ticket(code) for code in sampler] for sampler in samplers([1], 3, 2)]
    assert [len(rank) for rank in ranks] == [2, 2, 2]
    assert sum(ticket.valid for rank in ranks for ticket in rank) == 1


def test_iteration_nothing_was_taken_from_begins_again() -> None:
    """Lightning asks for an iterator a second time after some resumes, before the first batch."""
    sampler = samplers([10], 1, 2, training=True, start=Start(1, 4))[0]
    first = list(iter(sampler))
    sampler.set_epoch(1)
    assert list(iter(sampler)) == first and len(first) == 6
    sampler.taken = 3
    sampler.set_epoch(2)
    assert len(list(iter(sampler))) == 10
