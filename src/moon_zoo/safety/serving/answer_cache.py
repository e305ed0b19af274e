"""Answers of a server on disk, by a hash of what was asked: nothing is paid for or waited for twice.

One SQLite file: thousands of small answers, several threads and processes, and a process that is killed leaves it whole.
Only text is kept, as JSON; keys of the server never are.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from moon_zoo.errors import DataError, gist

BUSY_SECONDS = 30.0
"""How long another process may hold the file."""


class AnswerCache:
    """Answers by key.

    Args:
        path: The file; made with its folder where there is none.

    Raises:
        DataError: There is something else at ``path``, or it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise self._broken(error) from error

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer of that key; None where there is none, or none that can be read."""
        try:
            with self._lock:
                row = self._file.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._broken(error) from error
        if row is None:
            return None
        try:
            found = json.loads(row[0])
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer; the newer one stays."""
        try:
            with self._lock:
                self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def __len__(self) -> int:
        with self._lock:
            return int(self._file.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    def _broken(self, error: Exception) -> DataError:
        return DataError(
            f"the cache of answers cannot be used: {gist(error)}",
            where=str(self.path),
            change="the cache's path, or remove the file: it is made again, and what was asked is asked again",
        )
