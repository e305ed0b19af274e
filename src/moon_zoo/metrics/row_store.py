"""Rows of integers kept until a whole set is in: in memory up to a limit, beyond it in temporary files.

Figures that need a whole set in order (AUC needs it by score, GAUC by user) are computed a part at a time: `split` deals the
rows into files by whatever they are to be ordered by, and each part is then small enough for memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from moon_zoo.errors import DataError

CHUNK_ROWS = 1 << 19
"""Rows read from a file at a time."""


class RowFile:
    """A file of int64 rows, written at its end and read from its beginning.

    Args:
        path: Where it is, or will be.
        width: Numbers per row.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path = path
        self.width = width

    def append(self, rows: np.ndarray) -> None:
        """Write rows, int64 ``(rows, width)``.

        Raises:
            DataError: The disk is full, or the folder is gone.
        """
        try:
            with self.path.open("ab") as file:
                np.ascontiguousarray(rows, np.int64).tofile(file)
        except OSError as error:
            raise DataError(
                f"rows of the evaluation cannot be put aside: {error}",
                where=str(self.path.parent),
                change="the environment variable TMPDIR, to a folder with more space",
            ) from error

    def chunks(self) -> Iterator[np.ndarray]:
        """Its rows in the order of writing, int64 ``(at most CHUNK_ROWS, width)`` at a time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            while len(numbers := np.fromfile(file, np.int64, CHUNK_ROWS * self.width)):
                yield numbers.reshape(-1, self.width)


class RowStore:
    """Collects int64 rows.

    Args:
        width: Numbers per row.
        memory_rows: How many rows are kept in memory; beyond, they go to a temporary file, which is removed with the store.
    """

    def __init__(self, width: int, memory_rows: int) -> None:
        self.width = width
        self.memory_rows = memory_rows
        self._kept: list[np.ndarray] = []
        self._kept_rows = 0
        self._put_aside = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return self._kept_rows + self._put_aside

    def append(self, rows: np.ndarray) -> None:
        """Take in rows, int64 ``(rows, width)``.

        Raises:
            DataError: They have to go to a file, and cannot.
        """
        self._kept.append(rows)
        self._kept_rows += len(rows)
        if self._kept_rows > self.memory_rows:
            self._put_away()

    def chunks(self) -> Iterator[np.ndarray]:
        """All rows, a part at a time, int64 ``(some, width)``."""
        if self._folder is not None:
            yield from self._file().chunks()
        if self._kept:
            self._kept = [np.concatenate(self._kept)]
            yield self._kept[0]

    @contextmanager
    def split(
        self, parts: int, part_of: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[list[RowFile] | list[RowStore]]:
        """The rows in parts, while the context lasts.

        Args:
            parts: How many; one is the store itself.
            part_of: Rows to the number of the part that each belongs to, int64 ``(rows,)``.
        """
        if parts == 1:
            yield [self]
            return
        with tempfile.TemporaryDirectory(prefix="moon_zoo_rows_") as folder:
            files = [RowFile(Path(folder, str(number)), self.width) for number in range(parts)]
            for chunk in self.chunks():
                for start in range(0, len(chunk), CHUNK_ROWS):
                    _deal(chunk[start : start + CHUNK_ROWS], files, part_of)
            yield files

    def clear(self) -> None:
        """Forget all rows."""
        self._kept, self._kept_rows, self._put_aside = [], 0, 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _file(self) -> RowFile:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="moon_zoo_rows_")
        return RowFile(Path(self._folder.name, "rows"), self.width)

    def _put_away(self) -> None:
        self._file().append(np.concatenate(self._kept))
        self._put_aside += self._kept_rows
        self._kept, self._kept_rows = [], 0


def _deal(rows: np.ndarray, files: list[RowFile], part_of: Callable[[np.ndarray], np.ndarray]) -> None:
    numbers = part_of(rows)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(files)))
    for file, rows_of_it in zip(files, np.split(rows[order], ends[:-1])):
        if len(rows_of_it):
            file.append(rows_of_it)
