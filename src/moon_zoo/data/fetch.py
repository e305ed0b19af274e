"""One file from elsewhere onto this disk: resumed after a break, hashed before it has its name.

What has arrived stands in a ``.part`` file named by the hash that the whole must have, so any later process can go on with
it and a file that changed at its source is never mixed with what came before. The one downloader of shards and checkpoints.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_zoo.data.streams import CHUNK_BYTES, Interrupted, RangeIgnored, Reader

log = logging.getLogger(__name__)

_MOST_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try again.

    Args:
        attempts: Failures in a row, without a new byte between them, after which it ends.
        backoff_seconds: Before the second attempt; doubled before each further one, at most 10.
    """

    attempts: int = 5
    backoff_seconds: float = 0.5

    def wait(self, failures: int, asked_seconds: float = 0.0) -> float:
        """Seconds before the next attempt; spread, so that many who failed together do not come back together."""
        own = min(10.0, self.backoff_seconds * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)
        return min(max(own, asked_seconds), _MOST_WAIT_SECONDS)


PATIENCE = Patience()


class WrongContent(Exception):
    """What arrived is not what was announced. Callers make it an error of theirs, with the place and the remedy.

    Args:
        reason: In which way, without the file's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def fetch(
    read: Reader,
    path: Path,
    *,
    sha256: str,
    size: int | None = None,
    progress: Callable[[int], None] | None = None,
    patience: Patience | None = None,
) -> Path:
    """Bring one file here. The caller holds a lock on ``path``.

    Args:
        read: The file's bytes from an offset on; see `moon_zoo.data.streams`.
        path: Where it will be. Beside it stands the ``.part`` file until it is whole; that stays after a break.
        sha256: What the content must hash to.
        size: Its size, where known; not a byte more is written.
        progress: Told how many bytes of the file are here, now and then.
        patience: How often to try again; `PATIENCE` when None.

    Returns:
        ``path``.

    Raises:
        WrongContent: It is of another size, or hashes to something else, also when fetched from its start.
        Interrupted: It broke off too often.
        OSError: It cannot be read there, or not written here.
    """
    transfer = _Transfer(read, part_of(path, sha256), size, progress, patience or PATIENCE)
    found = transfer.run()
    if found != sha256 and transfer.resumed:
        # What an earlier process left may have been damaged; the source gets a fair chance.
        transfer.part.unlink()
        found = transfer.run()
    if found != sha256:
        length = transfer.part.stat().st_size
        transfer.part.unlink()
        cut = f" ({length:,} bytes instead of {size:,})" if size is not None and length != size else ""
        raise WrongContent(f"sha256 {found[:12]} instead of {sha256[:12]}{cut}")
    transfer.part.replace(path)
    return path


def part_of(path: Path, sha256: str) -> Path:
    """Where an unfinished ``path`` stands."""
    return path.with_name(f".{sha256[:32]}.part")


def read_small(read: Reader, most_bytes: int, patience: Patience | None = None) -> bytes:
    """A file that fits into memory, such as an index.

    Raises:
        WrongContent: It is larger than ``most_bytes``.
        Interrupted: It broke off too often.
        OSError: It cannot be read there.
    """
    patience = patience or PATIENCE
    failures = 0
    while True:
        data = bytearray()
        try:
            with closing(read(0)) as chunks:
                for chunk in chunks:
                    data += chunk
                    if len(data) > most_bytes:
                        raise WrongContent(f"it is larger than {most_bytes:,} bytes")
            return bytes(data)
        except Interrupted as error:
            failures += 1
            _wait_or_give_up(error, failures, patience)


class _Transfer:
    """The state of one file's way here: what has arrived, and its hash so far."""

    def __init__(
        self, read: Reader, part: Path, size: int | None, progress: Callable[[int], None] | None, patience: Patience
    ) -> None:
        self.read = read
        self.part = part
        self.size = size
        self.patience = patience
        self.resumed = False
        self._report = progress or (lambda done: None)
        self._hash: Any = hashlib.sha256()
        self._done = 0

    def run(self) -> str:
        """Read until the end; returns the sha256 of what is in the part file then."""
        try:
            return self._run()
        except WrongContent:
            self.part.unlink()
            raise
        except OSError:
            if not self._done:
                self.part.unlink(missing_ok=True)
            raise

    def _run(self) -> str:
        with self.part.open("ab") as file:
            self._take_up(file)
            self.resumed = self._done > 0
            failures, ended, furthest = 0, -1, self._done
            while self.size is None or self._done < self.size:
                try:
                    self._receive(file)
                except RangeIgnored:
                    self._start_again(file)
                    continue
                except Interrupted as error:
                    failures = 1 if self._done > furthest else failures + 1
                    furthest = max(furthest, self._done)
                    _wait_or_give_up(error, failures, self.patience)
                    continue
                if self.size is None or self._done == self.size:
                    break
                # It ended without a complaint, yet too early. Once may be a proxy's doing, twice is the file.
                if ended == self._done:
                    break
                ended = self._done
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave a whole name on half a file
            if file.tell() != self._done:
                raise WrongContent("someone else wrote into its part file")
        return str(self._hash.hexdigest())

    def _receive(self, file: Any) -> None:
        with closing(self.read(self._done)) as chunks:
            while True:
                chunk = next(chunks, b"")  # writing stays outside of what may raise `Interrupted`
                if not chunk:
                    return
                if self.size is not None and self._done + len(chunk) > self.size:
                    raise WrongContent(f"it is longer than {self.size:,} bytes")
                file.write(chunk)
                self._hash.update(chunk)
                self._done += len(chunk)
                self._report(self._done)

    def _take_up(self, file: Any) -> None:
        """Hash what an earlier attempt left."""
        self._hash, self._done = hashlib.sha256(), 0
        if self.size is not None and self.part.stat().st_size > self.size:
            self._start_again(file)
        with self.part.open("rb") as earlier:
            while chunk := earlier.read(CHUNK_BYTES):
                self._hash.update(chunk)
                self._done += len(chunk)
        self._report(self._done)

    def _start_again(self, file: Any) -> None:
        file.flush()  # else bytes still in the buffer would land in front of the new ones
        file.truncate(0)
        self._hash, self._done = hashlib.sha256(), 0
        self._report(0)


def _wait_or_give_up(error: Interrupted, failures: int, patience: Patience) -> None:
    if failures >= patience.attempts:
        raise Interrupted(f"{error}; tried {failures} times" if failures > 1 else str(error)) from error
    seconds = patience.wait(failures, error.wait_seconds)
    log.warning("%s; trying again in %.1f s", error, seconds)
    time.sleep(seconds)
