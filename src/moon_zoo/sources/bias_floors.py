"""What a click log gives away without any model: the AUC of item bias, user bias and both, as floors for models.

An item's bias is its click rate in training above the average, shrunk towards zero by a few rows (unseen items have
none); a user's is what then remains of theirs. Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for
Recommender Systems", equation 3, fitted in two steps instead of jointly.
"""

from __future__ import annotations

import numpy as np

from moon_zoo.data.impressions.grouped_auc import grouped_auc

SHRINKAGE = 5.0
"""Rows of the average that are added to each user's and item's own."""


def floors(
    users: np.ndarray, items: np.ndarray, labels: np.ndarray, train: np.ndarray, rows: np.ndarray
) -> dict[str, float]:
    """AUC of the three biases, learned on some rows, on others.

    Args:
        users: Integers from 0 that tell users apart, ``(n,)``.
        items: The same for items.
        labels: 1 for a click, ``(n,)``.
        train: True where a bias may look, bool ``(n,)``.
        rows: True where it is measured.

    Returns:
        ``item bias``, ``user bias`` and ``user + item bias``; empty where the measured rows are all clicks or none.
    """
    if len(np.unique(labels[rows])) < 2 or not train.any():
        return {}
    above = labels[train] - labels[train].mean()
    user_alone = _shrunk(users[train], above, users.max() + 1)
    item = _shrunk(items[train], above, items.max() + 1)
    user = _shrunk(users[train], above - item[items[train]], users.max() + 1)
    scores = {
        "item bias": item[items[rows]],
        "user bias": user_alone[users[rows]],
        "user + item bias": user[users[rows]] + item[items[rows]],
    }
    one = np.zeros(len(labels[rows]), dtype=np.int64)
    return {name: float(grouped_auc(score, labels[rows] == 1, one)[0][0]) for name, score in scores.items()}


def _shrunk(groups: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    totals = np.bincount(groups, weights=values, minlength=count)
    return np.asarray(totals / (np.bincount(groups, minlength=count) + SHRINKAGE))
