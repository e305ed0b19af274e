"""A logger that writes ``metrics.csv``: one row per logged step, kept across a resume.

Lightning's CSVLogger deletes the file when a run resumes and rewrites all of it at every flush; here rows are appended, the
file is rewritten only when a new column appears, and a resumed run drops the rows it is about to log again.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsLog(Logger):
    """Appends metrics to ``<folder>/metrics.csv``.

    Args:
        folder: The run's folder.
        training: Whether a fit logs. Other verbs have figures of one moment, which go to metrics.json: written here, they
            would count as those of step 0, and take the place of the run's curves.
    """

    def __init__(self, folder: Path, training: bool = True) -> None:
        super().__init__()
        self.folder = folder
        self.training = training
        self.path = folder / "metrics.csv"
        self._columns: list[str] = []
        self._row: dict[str, Any] = {}
        self._opened = False

    @property
    def name(self) -> str:
        """Unused: the folder is given."""
        return ""

    @property
    def version(self) -> str:
        """Unused: the folder is given."""
        return ""

    @property
    def save_dir(self) -> str:
        """Where Lightning puts what it saves beside the log."""
        return str(self.folder)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self.folder)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add figures to the row of ``step``; the row before it is written."""
        if not self.training:
            return
        step = step if step is not None else int(self._row.get("step", 0))
        if not self._opened:
            self._open(step)
        if self._row and self._row["step"] != step:
            self._write()
        self._row.setdefault("step", step)
        for name, value in metrics.items():
            self._row[name] = int(value) if name == "epoch" else float(value)

    @rank_zero_only
    def save(self) -> None:
        """Nothing: rows are written as steps pass."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last row."""
        if self._row:
            self._write()

    def _open(self, step: int) -> None:
        """Take over the rows before ``step``: those from it on are logged again by the resumed run."""
        self._opened = True
        if not self.path.is_file():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            self._columns = list(reader.fieldnames or ())
            rows = [row for row in reader if row.get("step", "").isdigit() and int(row["step"]) < step]
        self._rewrite(rows)

    def _write(self) -> None:
        row, self._row = self._row, {}
        unknown = [name for name in row if name not in self._columns]
        if unknown:
            rows = []
            if self.path.is_file():
                with self.path.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
            self._columns = [*self._columns, *unknown]
            self._rewrite([*rows, row])
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".csv.partial")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path)
