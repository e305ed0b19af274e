"""A polite client of a public API: says who asks, keeps what it was told, waits when asked to, and works without a network.

Wikimedia wants every client to name a contact (https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy) and limits those
that do not; it asks for requests one after another, and answers 429 with Retry-After to who is too quick.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from moon_zoo.data.cache import cache_root
from moon_zoo.data.fetch import PATIENCE, Patience
from moon_zoo.errors import DataError, UsageError, gist

MOST_ANSWER_BYTES: Final = 8 << 20
PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which it is asked again."""


class PoliteClient:
    """Asks an API for JSON, one request at a time, and keeps every answer.

    Args:
        url: The API, such as ``https://en.wikipedia.org/w/api.php``.
        contact: A mail address or a page about who asks; sent along with every request.
        cache: Folder of answers; ``cache_root() / "knowledge"`` when None.
        offline: Use what is kept, and ask nothing.
        patience: How often a failing request is tried.
        gap_seconds: Least time between the beginnings of two requests.
        timeout_seconds: For an answer to begin.

    Raises:
        UsageError: The contact is missing, or the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        contact: str,
        cache: str | os.PathLike[str] | None = None,
        offline: bool = False,
        patience: Patience = PATIENCE,
        gap_seconds: float = 0.1,
        timeout_seconds: float = 20.0,
    ) -> None:
        contact = contact.strip()
        if not offline and not _reaches(contact):
            raise UsageError(
                f"{contact!r} is no contact: a mail address or a web page is wanted by those who run {urlsplit(url).netloc}",
                change="the contact, such as you@example.org",
            )
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UsageError(f"{url!r} is no API's URL", change="the URL, such as https://en.wikipedia.org/w/api.php")
        self.url = url
        self.agent = f"moon-zoo/{version('moon-zoo')} ({contact})"
        self.offline = offline
        self._folder = Path(cache) if cache is not None else cache_root() / "knowledge"
        self._patience, self._gap, self._timeout = patience, gap_seconds, timeout_seconds
        self._next = 0.0
        self._lock = threading.Lock()
        self._client: Any = None

    def get(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a request, from the cache or from the server.

        Args:
            parameters: Of the query; the same ones have the same answer.

        Raises:
            DataError: The server is down, refuses, or answers nonsense; or nothing is kept and it may not be asked.
        """
        query = urlencode(sorted(parameters.items()))
        path = self._path(query)
        kept = _kept(path)
        if kept is not None:
            return kept
        if self.offline:
            raise DataError(
                f"nothing is kept of {self.url} for this question, and it may not be asked",
                where=str(self._folder),
                change="offline, to ask it once while there is a network",
            )
        with self._lock:  # one after another
            kept = _kept(path)
            answer = kept if kept is not None else self._asked(query)
        if kept is None:
            _keep(path, answer)
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_client")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock(), "_client": None}

    def _path(self, query: str) -> Path:
        name = hashlib.sha256(f"{self.url}?{query}".encode()).hexdigest()
        return self._folder / (urlsplit(self.url).hostname or "") / name[:2] / f"{name}.json"

    def _asked(self, query: str) -> dict[str, Any]:
        failures = 0
        while True:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + self._gap
            try:
                return self._once(query)
            except _Passing as error:
                failures += 1
                if failures >= self._patience.attempts:
                    raise DataError(
                        f"{urlsplit(self.url).netloc} is not to be reached: {error}, {failures} times in a row",
                        where=self.url,
                        change="nothing but the time: what was answered is kept, and the same command goes on from there",
                    ) from error
                time.sleep(self._patience.wait(failures, error.wait_seconds))

    def _once(self, query: str) -> dict[str, Any]:
        import httpx2

        if self._client is None:
            self._client = httpx2.Client(timeout=self._timeout, follow_redirects=False)
        try:
            with self._client.stream("GET", f"{self.url}?{query}", headers={"User-Agent": self.agent}) as answer:
                data = bytearray()
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MOST_ANSWER_BYTES:
                        raise _Passing(f"its answer is larger than {MOST_ANSWER_BYTES:,} bytes")
                status, wait = answer.status_code, _wait_seconds(answer.headers.get("Retry-After", ""))
        except httpx2.TimeoutException as error:
            raise _Passing(f"nothing came within {self._timeout:g} s") from error
        except httpx2.RequestError as error:
            raise _Passing(gist(error)) from error
        if status in PASSING:
            raise _Passing(f"it answered {status}", wait)
        if status != 200:
            raise DataError(
                f"{urlsplit(self.url).netloc} refuses: it answered {status}",
                where=self.url,
                change="the contact, where it answers 403; else the URL of the API",
            )
        return self._read(bytes(data), wait)

    def _read(self, data: bytes, wait: float) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _Passing(f"its answer is no JSON: {data[:60]!r}") from error
        if not isinstance(found, dict):
            raise _Passing(f"its answer is no object: {data[:60]!r}")
        fault = found.get("error")
        if fault is not None:
            code = str(fault.get("code", "")) if isinstance(fault, dict) else ""
            if code in ("maxlag", "ratelimited", "readonly"):
                raise _Passing(f"it answered {code}", wait)
            raise DataError(f"{urlsplit(self.url).netloc} refuses: {str(fault)[:200]}", where=self.url)
        return found


class _Passing(Exception):
    """It may go well next time."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def _reaches(contact: str) -> bool:
    return bool(contact) and contact.isprintable() and ("@" in contact or contact.startswith(("http://", "https://")))


def _wait_seconds(retry_after: str) -> float:
    """Seconds that a server asks to wait: a number, or a date."""
    if retry_after.isdigit():
        return float(retry_after)
    try:
        then = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return 0.0
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _keep(path: Path, answer: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        work.write_text(json.dumps(answer), "utf-8")
        work.replace(path)
    except OSError as error:
        raise DataError(
            f"answers cannot be kept: {error.strerror or error}",
            where=str(path.parent),
            change="the cache, to a folder that can be written",
        ) from error
