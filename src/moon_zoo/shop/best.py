"""What nobody can beat: the figures that the true probability of a click reaches (Bayes), stored beside the clicks.

Nothing else knows the luck of the draw: a model above these figures has seen the labels. Plain numpy, because the shop
is written without torch.
"""

from __future__ import annotations

import numpy as np

from moon_zoo.data.impressions.grouped_auc import grouped_auc

TRAIN = "train"


class Best:
    """Figures of the true probability, per split.

    Takes 17 bytes per impression, because a rank needs all of them.

    Args:
        num_items: Number of items, which count from 0.
    """

    def __init__(self, num_items: int) -> None:
        self._trained = np.zeros(num_items, dtype=np.int64)
        self._parts: dict[str, list[tuple[np.ndarray, ...]]] = {}

    def add(self, split: str, probability: np.ndarray, click: np.ndarray, user: np.ndarray, item: np.ndarray) -> None:
        """Take in impressions: probability, click (bool), number of the user and of the item, each ``(rows,)``."""
        if split == TRAIN:
            self._trained += np.bincount(item, minlength=len(self._trained))
        part = (probability, click.astype(bool), user.astype(np.int32), item.astype(np.int32))
        self._parts.setdefault(split, []).append(part)

    def figures(self) -> dict[str, dict[str, float]]:
        """Split to ``auc``, ``gauc`` and ``logloss``, with ``warm/`` and ``cold/`` before those of a part.

        Cold are impressions of items that training never showed. A figure that is not defined is left out.
        """
        out = {}
        for split, parts in self._parts.items():
            probability, click, user, item = (np.concatenate(some) for some in zip(*parts))
            warm = self._trained[item] > 0
            found = {}
            for prefix, rows in (("", slice(None)), ("warm/", warm), ("cold/", ~warm)):
                some = figures(probability[rows], click[rows], user[rows])
                found.update({prefix + name: round(value, 6) for name, value in some.items()})
            out[split] = found
        return out


def figures(probability: np.ndarray, click: np.ndarray, user: np.ndarray) -> dict[str, float]:
    """AUC, AUC within users (weighted by their impressions; those of one class left out) and mean log loss.

    Args:
        probability: In ``(0, 1)``, ``(rows,)``.
        click: Bool ``(rows,)``.
        user: Numbers of users ``(rows,)``.

    Returns:
        Those that are defined: no AUC where all were clicked or none.
    """
    if not len(click):
        return {}
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    out = {"logloss": float(-np.where(click, np.log(p), np.log1p(-p)).mean())}
    auc, _ = grouped_auc(probability, click, np.zeros(len(click), dtype=np.int64))
    if len(auc):
        out["auc"] = float(auc[0])
    auc, weight = grouped_auc(probability, click, user)
    if len(auc):
        out["gauc"] = float((auc * weight).sum() / weight.sum())
    return out
