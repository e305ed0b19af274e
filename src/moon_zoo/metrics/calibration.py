"""Calibration of predicted click probabilities: whether of rows predicted at 3 % three in a hundred are clicked.

Rows are ordered by prediction and cut into bins of equally many rows (equal mass), so that each bin is as certain as the
others; click rates are far from evenly spread, and bins of equal width would be mostly empty. ECE, the expected calibration
error, is the mean over rows of ``|mean prediction - share clicked|`` of the row's bin (Naeini et al. 2015, with equal-mass
bins as in Nixon et al. 2019, arXiv:1904.01685). Rows of equal prediction at the edge of two bins are dealt out as if in random
order: each bin gets its share of their clicks, so a constant prediction has an ECE of exactly its distance from the click rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from moon_zoo.metrics.auc import Ties


@dataclass(frozen=True, slots=True)
class Calibration:
    """Bins of rows by rising prediction.

    Args:
        predicted: Mean predicted probability of each bin.
        clicked: Share of its rows that were clicked.
        rows: How many rows it has.
    """

    predicted: tuple[float, ...]
    clicked: tuple[float, ...]
    rows: tuple[int, ...]

    @property
    def error(self) -> float:
        """ECE, in ``[0, 1]``; 0 for no rows."""
        gaps = sum(
            rows * abs(predicted - clicked)
            for predicted, clicked, rows in zip(self.predicted, self.clicked, self.rows, strict=True)
        )
        return gaps / max(sum(self.rows), 1)

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: These are no bins.
        """
        try:
            made = cls(
                tuple(float(one) for one in values["predicted"]),
                tuple(float(one) for one in values["clicked"]),
                tuple(int(one) for one in values["rows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"these are no bins of a calibration: {type(error).__name__} {error}") from None
        if not len(made.predicted) == len(made.clicked) == len(made.rows):
            raise ValueError("the bins' predictions, clicks and rows are not equally many")
        return made


class CalibrationBins:
    """Fills the bins from rows that come by rising score, a part at a time.

    Args:
        num_rows: Of all parts together.
        num_bins: At most; no more than there are rows.
    """

    def __init__(self, num_rows: int, num_bins: int) -> None:
        num_bins = max(1, min(num_bins, num_rows))
        self._edges = np.arange(num_bins + 1) * num_rows // num_bins
        self._clicks = np.zeros(num_bins + 1)
        self._predicted = np.zeros(num_bins + 1)
        self._seen = (0, 0.0, 0.0)

    def add(self, ties: Ties, probabilities: np.ndarray) -> None:
        """Take in rows that score above all before.

        Args:
            ties: The rows.
            probabilities: Of each block, float64 ``(blocks,)``.
        """
        rows, clicks, predicted = self._seen
        row_ends = np.cumsum(np.concatenate([[rows], ties.rows]))
        click_ends = np.cumsum(np.concatenate([[clicks], ties.clicks]))
        predicted_ends = np.cumsum(np.concatenate([[predicted], ties.rows * probabilities]))
        inside = (self._edges > row_ends[0]) & (self._edges <= row_ends[-1])
        # Inside a block of equal scores both sums rise evenly: that is dealing its rows out as if in random order.
        self._clicks[inside] = np.interp(self._edges[inside], row_ends, click_ends)
        self._predicted[inside] = np.interp(self._edges[inside], row_ends, predicted_ends)
        self._seen = int(row_ends[-1]), float(click_ends[-1]), float(predicted_ends[-1])

    def finish(self) -> Calibration:
        """The bins, once all rows are in."""
        rows = np.diff(self._edges)
        return Calibration(
            tuple((np.diff(self._predicted) / rows).tolist()),
            tuple((np.diff(self._clicks) / rows).tolist()),
            tuple(rows.tolist()),
        )
