"""Figures of clicks by their definitions, pair by pair: the twin that the fast ones are compared with."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean over (clicked, not clicked) pairs of 1, 1/2 for an equal score, or 0."""
    clicked, other = scores[labels == 1], scores[labels == 0]
    if len(clicked) == 0 or len(other) == 0:
        return None
    above = clicked[:, None] > other
    same = clicked[:, None] == other
    return float((above + 0.5 * same).mean())


def gauc(scores: np.ndarray, labels: np.ndarray, users: np.ndarray) -> tuple[float | None, int]:
    """Weighted by rows, over users with both classes; and how many users those are."""
    found = [(auc(scores[users == user], labels[users == user]), (users == user).sum()) for user in np.unique(users)]
    known = [(value, rows) for value, rows in found if value is not None]
    if not known:
        return None, 0
    return sum(value * rows for value, rows in known) / sum(rows for _, rows in known), len(known)


def ece(scores: np.ndarray, labels: np.ndarray, num_bins: int) -> float:
    """Bins of equally many rows; rows of one score get the mean label of all rows of that score."""
    num_bins = min(num_bins, len(scores))
    order = np.argsort(scores, kind="stable")
    scores, labels = scores[order], labels[order]
    shared = np.array([labels[scores == score].mean() for score in scores])
    probabilities = 1 / (1 + np.exp(-scores.astype(np.float64)))
    edges = [number * len(scores) // num_bins for number in range(num_bins + 1)]
    gaps = [abs((shared[low:high] - probabilities[low:high]).sum()) for low, high in pairwise(edges)]
    return sum(gaps) / len(scores)


def figures(scores: np.ndarray, labels: np.ndarray, users: np.ndarray, num_bins: int = 15) -> dict[str, float]:
    """All figures of one group of rows, as `moon_zoo.metrics.clicks` names them."""
    probabilities = 1 / (1 + np.exp(-scores.astype(np.float64)))
    grouped, num_users = gauc(scores, labels, users)
    found = {
        "auc": auc(scores, labels),
        "gauc": grouped,
        "logloss": float(-np.log(np.where(labels == 1, probabilities, 1 - probabilities)).mean()),
        "ece": ece(scores, labels, num_bins),
        "predicted_over_actual": probabilities.sum() / labels.sum() if labels.any() else None,
        "click_rate": float(labels.mean()),
        "num_rows": float(len(labels)),
        "num_users": float(num_users),
    }
    return {name: value for name, value in found.items() if value is not None}
