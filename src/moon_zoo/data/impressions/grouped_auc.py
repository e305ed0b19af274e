"""AUC of rows in memory, group by group: what is known of a set when it is written (best possible figures, floors).

Models are measured by `moon_zoo.metrics.clicks`, which is as exact in bounded memory and over ranks.
"""

from __future__ import annotations

import numpy as np


def grouped_auc(score: np.ndarray, click: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC of each group that has both classes, ties counting half, and the group's rows.

    Args:
        score: ``(rows,)``.
        click: Whether it was clicked, bool ``(rows,)``.
        group: Integers, ``(rows,)``.

    Returns:
        Two arrays ``(groups with both classes,)``, groups in rising order.
    """
    if not len(score):
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    order = np.lexsort((score, group))
    score, click, group = score[order], click[order], group[order]
    new_group = np.concatenate([[True], group[1:] != group[:-1]])
    new_tie = new_group | np.concatenate([[True], score[1:] != score[:-1]])
    tie_starts, ties = np.flatnonzero(new_tie), np.cumsum(new_tie) - 1
    tie_sizes = np.diff(tie_starts, append=len(score))
    group_starts = np.flatnonzero(new_group)
    begin = group_starts[np.cumsum(new_group) - 1]
    rank = tie_starts[ties] + (tie_sizes[ties] - 1) / 2 - begin + 1  # from 1 within the group, ties share theirs
    sizes = np.diff(group_starts, append=len(score))
    clicked = np.add.reduceat(click.astype(np.float64), group_starts)
    ranks = np.add.reduceat(np.where(click, rank, 0.0), group_starts)
    both = (clicked > 0) & (clicked < sizes)
    clicked, ranks, sizes = clicked[both], ranks[both], sizes[both]
    return (ranks - clicked * (clicked + 1) / 2) / (clicked * (sizes - clicked)), sizes
