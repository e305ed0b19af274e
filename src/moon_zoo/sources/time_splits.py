"""Which rows of a click log are for training, validation and test: by time, so that nobody learns from the future.

Shares are cut from the newest end of each user's rows (a model is asked about people it knows), or of the whole log (it
is asked about tomorrow). Rows of equal time keep their order in the table, so a split is a function of the table alone.
"""

from __future__ import annotations

import numpy as np

from moon_zoo.errors import UsageError

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
"""Numbers of `SPLITS`, as the functions below give them per row."""


def check_shares(test_share: float, val_share: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises:
        UsageError: A share is not in [0, 1), or the two add up to 1 or more.
    """
    for option, share in (("--test-share", test_share), ("--val-share", val_share)):
        if not 0 <= share < 1:
            raise UsageError(f"a share of {share:g} is not in 0 to 1 (1 left out)", change=option)
    if test_share + val_share >= 1:
        raise UsageError(
            f"shares of {test_share:g} for test and {val_share:g} for validation leave no rows to train on",
            change="--test-share or --val-share",
        )


def by_user(users: np.ndarray, times: np.ndarray, test_share: float, val_share: float) -> np.ndarray:
    """Of each user's rows the newest ``test_share`` for test, those before it for validation, the rest for training.

    Args:
        users: Integers that tell users apart, ``(rows,)``.
        times: Of each row, ``(rows,)``.
        test_share: Share of each user's rows, rounded to whole rows (halves up).
        val_share: The same.

    Returns:
        `TRAIN`, `VAL` or `TEST` per row, uint8 ``(rows,)``.
    """
    order = np.lexsort((times, users))  # stable, so equal times keep the table's order
    grouped = users[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(order) else np.empty(0, dtype=np.int64)
    counts = np.diff(np.r_[starts, len(order)])
    place = np.arange(len(order)) - np.repeat(starts, counts)
    sides = np.empty(len(order), dtype=np.uint8)
    sides[order] = _sides(place, np.repeat(counts, counts), test_share, val_share)
    return sides


def by_time(times: np.ndarray, test_share: float, val_share: float) -> np.ndarray:
    """The newest ``test_share`` of all rows for test, those before it for validation, the rest for training."""
    sides = np.empty(len(times), dtype=np.uint8)
    sides[np.argsort(times, kind="stable")] = _sides(
        np.arange(len(times)), np.full(len(times), len(times)), test_share, val_share
    )
    return sides


def at_random(rows: np.ndarray, seed: int, test_share: float, val_share: float) -> np.ndarray:
    """Each row by itself, by a hash of seed and row number: needs no look at other rows, so tables can be streamed.

    Args:
        rows: Numbers of the rows in the table, ``(rows,)``.
        seed: Another seed gives another split.
        test_share: Expected share.
        val_share: The same.
    """
    drawn = _hash(rows.astype(np.uint64), seed) / 2.0**64
    return np.select([drawn < test_share, drawn < test_share + val_share], [TEST, VAL], TRAIN).astype(np.uint8)


def _sides(place: np.ndarray, count: np.ndarray, test_share: float, val_share: float) -> np.ndarray:
    test = np.floor(count * test_share + 0.5)
    # Rounded together, so that two halves do not become two rows more.
    held_out = np.maximum(np.floor(count * (test_share + val_share) + 0.5), test)
    return np.select([place >= count - test, place >= count - held_out], [TEST, VAL], TRAIN).astype(np.uint8)


def _hash(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Steele, Lea and Flood's SplitMix64: 64 well mixed bits of each number."""
    mixed = numbers + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
