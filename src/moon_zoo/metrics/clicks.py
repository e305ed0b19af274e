"""Figures of click prediction over a whole set: AUC, GAUC, logloss, calibration; of all rows, and of cold and warm items.

AUC and GAUC count ties as half (`moon_zoo.metrics.auc`). GAUC is of the whole set: the mean of the users' AUC weighted by
their rows, over users with both classes, not a mean over batches. Under ``cold/`` and ``warm/`` a user's rows are those of cold
(warm) items alone. ECE: `moon_zoo.metrics.calibration`.

A row is two integers (16 bytes). Ranks join rows only part by part, in parts of ``memory_rows`` rows: by score for what needs
the order of scores, by user for GAUC. Parts depend on the rows of all ranks together, and each is sorted before anything is
summed, so figures are equal to the last bit for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from moon_zoo.errors import DataError, RecipeError
from moon_zoo.metrics.auc import (
    COLD,
    PACKED_BITS,
    GroupedAuc,
    Ties,
    grouped,
    pack,
    run_starts,
    sort_by_group,
    sums_from,
)
from moon_zoo.metrics.bank import over_ranks
from moon_zoo.metrics.calibration import Calibration, CalibrationBins
from moon_zoo.metrics.row_store import RowFile, RowStore

GROUPS = ("", "warm/", "cold/")
"""Prefixes of figures: all rows, rows of items seen in training, rows of items that were not."""

ECE_BINS = 15
"""Bins of equally many rows, unless a caller wants others."""

MEMORY_ROWS = 1 << 22
"""Rows in memory, per rank while collecting, of all ranks while computing: 64 MiB, and 400 MiB more while they are sorted."""

_BUCKET_BITS = 16


class ClickFigures:
    """Collects scored rows; `compute` gives the figures of those of all ranks.

    Args:
        num_bins: Bins of ECE and of the calibration, of equally many rows.
        memory_rows: Rows kept in memory; beyond, they are put aside in temporary files (``TMPDIR``), and figures stay exact.
            The rows of a single user must fit.

    Example:
        >>> figures = ClickFigures()
        >>> figures.update(torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1, 0, 0]), torch.tensor([7, 7, 7]))
        >>> figures.compute()["auc"]
        1.0
    """

    def __init__(self, num_bins: int = ECE_BINS, memory_rows: int = MEMORY_ROWS) -> None:
        if num_bins < 1 or memory_rows < 1:
            raise ValueError(f"num_bins and memory_rows must be at least 1, not {num_bins} and {memory_rows}")
        self.num_bins = num_bins
        self.memory_rows = memory_rows
        self.calibration: dict[str, Calibration] = {}
        self._rows = RowStore(width=2, memory_rows=memory_rows)
        self._cold_rows = 0

    def update(
        self,
        logits: Tensor,
        labels: Tensor,
        users: Tensor,
        cold: Tensor | None = None,
        index: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> None:
        """Take in a batch.

        Args:
            logits: Of a click, any float type, taken as float32: ``(batch,)``. Give them in float32, bfloat16 makes ties.
            labels: 0 or 1, ``(batch,)``.
            users: Which user each row is of, int64 ``(batch,)``: ids of the set, not of a model that knows only some of them,
                for all that it does not know would be one user.
            cold: True on rows whose item training never saw, bool ``(batch,)``; None: none is.
            index: Position in the set, for messages, int64 ``(batch,)``; figures do not depend on the order of rows.
            valid: True on rows that count, bool ``(batch,)``; None for all.

        Raises:
            RecipeError: A logit is not a finite number.
            DataError: A label is neither 0 nor 1.
        """
        kept = slice(None) if valid is None else valid.detach().cpu().numpy().astype(bool)
        scores = logits.detach().float().cpu().numpy()[kept]
        clicked = labels.detach().cpu().numpy()[kept]
        places = None if index is None else index.detach().cpu().numpy()[kept]
        _check(scores, clicked, places)
        is_cold = np.zeros(len(scores), bool) if cold is None else cold.detach().cpu().numpy().astype(bool)[kept]
        rows = np.empty((len(scores), 2), np.int64)
        rows[:, 0] = users.detach().cpu().numpy()[kept]
        rows[:, 1] = pack(scores, clicked, is_cold)
        self._rows.append(rows)
        self._cold_rows += int(is_cold.sum())

    def compute(self) -> dict[str, float]:
        """The figures, equal on all ranks; `calibration` then has the bins of each group (``all``, ``warm``, ``cold``).

        Returns:
            ``auc``, ``gauc``, ``logloss``, ``ece``, ``predicted_over_actual``, ``click_rate``, ``num_rows``, ``num_users``
            (those that GAUC is of), and the same under ``warm/`` and ``cold/``. What is not defined is left out: all of a
            group without rows, AUC where all rows are of one class, GAUC where no user has both, predicted over actual without
            clicks. An empty set has ``num_rows`` alone, 0.
        """
        counts = _joined(np.array([[len(self._rows), self._cold_rows]])).sum(0)
        total, cold = int(counts[0]), int(counts[1])
        sizes = {"": total, "warm/": total - cold, "cold/": cold}
        parts = max(1, -(-total // self.memory_rows))
        # A group that is all rows is computed once, as such.
        source = {name: "" if size == total else name for name, size in sizes.items() if size > 0}
        sums = {name: _Sums(sizes[name], self.num_bins) for name in source.values()}
        users = {name: GroupedAuc() for name in sums}
        self._by_score(parts, total, sums)
        self._by_user(parts, users)
        bins = {name: of.bins.finish() for name, of in sums.items()}
        self.calibration = {name.strip("/") or "all": bins[same] for name, same in source.items()}
        if not sums:
            return {"num_rows": 0.0}
        figures = {name: of.figures(users[name]) for name, of in sums.items()}
        return {f"{name}{key}": value for name, same in source.items() for key, value in figures[same].items()}

    def report(self) -> dict[str, Any]:
        """The calibration of the last `compute` as plain values, for `moon_zoo.reports.calibration`."""
        return {name: bins.to_json() for name, bins in self.calibration.items()}

    def reset(self) -> None:
        """Forget all rows, and remove their temporary files; the last calibration is kept."""
        self._rows.clear()
        self._cold_rows = 0

    def _by_score(self, parts: int, total: int, sums: Mapping[str, _Sums]) -> None:
        """Fill ``sums`` from rows in rising order of their scores."""
        with self._rows.split(parts, self._part_by_score(parts, total)) as stores:
            for store in stores:
                values, counts = self._distinct_scores(store)
                for name, of in sums.items():
                    chosen = _of_group(values, name)
                    of.add(Ties.of(values[chosen], counts[chosen]))

    def _part_by_score(self, parts: int, total: int) -> Callable[[np.ndarray], np.ndarray]:
        """Ranges of scores of about equally many rows, found by the scores' upper bits; the same on all ranks."""
        shift = PACKED_BITS - _BUCKET_BITS
        buckets = np.zeros(1 << _BUCKET_BITS, np.int64)
        if parts > 1:
            for chunk in self._rows.chunks():
                buckets += np.bincount(chunk[:, 1] >> shift, minlength=len(buckets))
            buckets = _joined(buckets[None]).sum(0)
        below = np.cumsum(buckets) - buckets
        part_of_bucket = below * parts // max(total, 1)
        return lambda rows: part_of_bucket[rows[:, 1] >> shift]

    def _distinct_scores(self, store: RowFile | RowStore) -> tuple[np.ndarray, np.ndarray]:
        """Distinct packed rows of all ranks, rising, and how often each occurs.

        However many rows have one score (those of a model that predicts a constant, say), they are few here.
        """
        found: list[np.ndarray] = []
        for chunk in store.chunks():
            values = np.sort(chunk[:, 1])
            starts = run_starts(values)
            found.append(np.stack([values[starts], np.diff(starts, append=len(values))], 1))
            if sum(map(len, found)) > self.memory_rows:
                found = [_merged(found)]
        both = _merged([_joined(_merged(found))])
        return both[:, 0], both[:, 1]

    def _by_user(self, parts: int, users: dict[str, GroupedAuc]) -> None:
        """Add up the users' AUC, a part of the users at a time."""
        with self._rows.split(parts, lambda rows: _part_of_user(rows[:, 0], parts)) as stores:
            for store in stores:
                rows = _joined(np.concatenate([np.zeros((0, 2), np.int64), *store.chunks()]))
                ordered = sort_by_group(rows[:, 0], rows[:, 1])
                for name in users:
                    users[name] += grouped(ordered[_of_group(ordered, name)])


class _Sums:
    """What the figures of one group of rows are made of, taken in by rising score."""

    def __init__(self, num_rows: int, num_bins: int) -> None:
        self.num_rows = num_rows
        self.bins = CalibrationBins(num_rows, num_bins)
        self._clicks = 0
        self._negatives = 0
        self._doubled_wins = 0
        self._loss = 0.0
        self._predicted = 0.0

    def add(self, ties: Ties) -> None:
        clicks, rows = int(ties.clicks.sum()), int(ties.rows.sum())
        self._doubled_wins += ties.doubled_wins(self._negatives)
        self._clicks += clicks
        self._negatives += rows - clicks
        loss_if_clicked = np.logaddexp(0.0, -ties.scores)
        loss_if_not = loss_if_clicked + ties.scores
        self._loss += float((ties.clicks * loss_if_clicked + (ties.rows - ties.clicks) * loss_if_not).sum())
        probabilities = np.exp(-loss_if_clicked)
        self._predicted += float((ties.rows * probabilities).sum())
        self.bins.add(ties, probabilities)

    def figures(self, users: GroupedAuc) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._clicks and self._negatives:
            found["auc"] = self._doubled_wins / (2 * self._clicks * self._negatives)
        if users.value is not None:
            found["gauc"] = users.value
        found["logloss"] = self._loss / self.num_rows
        found["ece"] = self.bins.finish().error
        if self._clicks:
            found["predicted_over_actual"] = self._predicted / self._clicks
        return found | {
            "click_rate": self._clicks / self.num_rows,
            "num_rows": float(self.num_rows),
            "num_users": float(users.groups),
        }


def _check(scores: np.ndarray, labels: np.ndarray, places: np.ndarray | None) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise RecipeError(
            f"the model's score of row {_place(places, wrong[0])} is {scores[wrong[0]]}, which has no place in an order: "
            f"training has diverged, or a feature holds it ({len(wrong):,} of {len(scores):,} rows of this batch)",
            change="the optimizer's learning rate, to a smaller one",
        )
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise DataError(
            f"the label of row {_place(places, wrong[0])} is {labels[wrong[0]]}, and a click is 0 or 1",
            change="the table's label column; rows without a label can be predicted, not tested",
        )


def _place(places: np.ndarray | None, number: np.integer) -> str:
    return f"{int(number)} of this batch" if places is None else str(int(places[number]))


def _of_group(packed: np.ndarray, name: str) -> slice | np.ndarray:
    if name == "":
        return slice(None)
    return ((packed & COLD) != 0) == (name == "cold/")


def _part_of_user(users: np.ndarray, parts: int) -> np.ndarray:
    """A number below ``parts`` for each user, spread evenly whatever the ids are (Fibonacci hashing)."""
    return ((users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)).astype(np.int64) % parts


def _merged(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Pairs of value and count, values rising and distinct, int64 ``(values, 2)``."""
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *parts])
    if len(pairs) == 0 or bool((pairs[1:, 0] > pairs[:-1, 0]).all()):
        return pairs
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]  # stable: merges sorted runs
    starts = run_starts(pairs[:, 0])
    return np.stack([pairs[starts, 0], sums_from(pairs[:, 1], starts)], 1)


def _joined(rows: np.ndarray) -> np.ndarray:
    """Rows of all ranks, rank 0's first, int64 ``(rows of all, width)``; each rank must call it."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    return over_ranks([torch.from_numpy(rows).to(device)], torch.int64, device).cpu().numpy()
