"""What each user clicked before each impression, from the impressions themselves.

Only strictly earlier clicks count: what happened at the same time was not known yet. Clicks of one time stand in the order of
the rows. All histories are ranges of one pool (`moon_zoo.data.impressions.pools`): a user's clicks, oldest first.
"""

from __future__ import annotations

import numpy as np


def histories_of_events(
    users: np.ndarray, items: np.ndarray, times: np.ndarray, labels: np.ndarray, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every row's history of clicked items.

    Args:
        users: Who, any dtype that can be ordered, ``(rows,)``.
        items: What, any dtype, ``(rows,)``.
        times: When, numbers ``(rows,)``; rows need not be sorted.
        labels: 1 or True where it was clicked, ``(rows,)``.
        limit: Longest history, of which the newest are kept; None keeps all.

    Returns:
        ``start`` and ``length`` int64 ``(rows,)`` into ``pool`` ``(clicks,)``, the clicked items by user and time; and the
        row that each element of the pool came from, int64 ``(clicks,)``, by which other columns become pools too.

    Example:
        >>> histories_of_events(np.array(["a", "a", "a"]), np.array([7, 8, 9]), np.array([1, 2, 3]), np.array([1, 0, 1]))
        (array([0, 0, 0]), array([0, 1, 1]), array([7, 9]), array([0, 2]))
    """
    clicked = np.flatnonzero(labels)
    start, length, order = earlier(users[clicked], times[clicked], users, times, limit)
    rows = clicked[order]
    return start, length, items[rows], rows


def earlier(
    event_users: np.ndarray, event_times: np.ndarray, users: np.ndarray, times: np.ndarray, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The events of each row's user before the row's time.

    Args:
        event_users: Who, ``(events,)``.
        event_times: When, numbers ``(events,)``.
        users: Of the rows, of the same dtype as ``event_users``, ``(rows,)``.
        times: Of the rows, ``(rows,)``.
        limit: How many of the newest are kept; None keeps all.

    Returns:
        ``start`` and ``length`` int64 ``(rows,)`` into the events in their order by user and time; and that order, int64
        ``(events,)``.
    """
    _, user_codes = np.unique(np.concatenate([event_users, users]), return_inverse=True)
    moments, time_codes = np.unique(np.concatenate([event_times, times]), return_inverse=True)
    # One number that sorts by user, then time; below every time of a user lies the next number down.
    keys = user_codes.astype(np.int64) * (len(moments) + 1) + time_codes
    event_keys, row_keys = keys[: len(event_users)], keys[len(event_users) :]
    order = np.argsort(event_keys, kind="stable")
    sorted_keys = event_keys[order]
    end = np.searchsorted(sorted_keys, row_keys, side="left")
    start = np.searchsorted(sorted_keys, user_codes[len(event_users) :] * np.int64(len(moments) + 1), side="left")
    if limit is not None:
        start = np.maximum(start, end - limit)
    length = end - start
    return np.where(length > 0, start, 0), length, order
