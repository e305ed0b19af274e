"""One request to a server of chat completions and its answer: patient within bounds, at a bounded rate, never trusting.

What goes wrong is sorted by what helps. `Unavailable`: the server is down, slow or overloaded, also after trying again.
`Refused`: it does not want this one request (too long, an image it cannot read). A `UsageError`: nothing it is asked would
go well (no such model, a wrong key, another kind of server).

The key comes from an environment variable, goes into one header, and is neither kept nor shown. Redirects are not followed,
so that it does not travel to another host.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from moon_zoo.data.conversations import Prompt
from moon_zoo.data.fetch import Patience
from moon_zoo.data.members import image_extension
from moon_zoo.errors import UsageError, gist
from moon_zoo.safety.serving.answer_cache import AnswerCache

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

KEY_VARIABLE = "MOON_ZOO_JUDGE_KEY"
"""Where the server's key is looked for; none is sent where it is not set."""

MOST_ANSWER_BYTES = 4 << 20
_MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Unavailable(Exception):
    """The server did not answer within the bounds."""


class Refused(Exception):
    """The server does not take this request, whatever it says to others."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server answered.

    Args:
        text: The answer.
        alternatives: For each token its likeliest alternatives as text to log probability; empty where none were offered.
    """

    text: str
    alternatives: tuple[Mapping[str, float], ...] = ()


class ChatServer:
    """A server at a URL, and one of its models.

    Args:
        url: The API's root, such as ``http://localhost:8000/v1``.
        model: The model's name there.
        key_variable: The environment variable that holds the key.
        timeout_seconds: Without a byte, and three times that for a whole answer.
        patience: How often to try again what may go well next time.
        requests_per_second: At most; None for as many as go.
        cache: Answers that were given before; None asks each time.

    Raises:
        UsageError: The URL or the model is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_variable: str = KEY_VARIABLE,
        timeout_seconds: float = 60.0,
        patience: Patience | None = None,
        requests_per_second: float | None = None,
        cache: AnswerCache | None = None,
    ) -> None:
        self.url = _checked_url(url)
        self.model = model
        if not model:
            raise UsageError("a server needs the name of a model", where=self.url, change="the judge's model")
        if requests_per_second is not None and requests_per_second <= 0:
            raise UsageError(
                f"{requests_per_second:g} requests per second", change="requests_per_second, to more than 0"
            )
        self._key_variable = key_variable
        self._timeout_seconds = timeout_seconds
        self._patience = patience or Patience()
        self._pace = _Pace(requests_per_second)
        self._cache = cache
        self._client: Any = None
        self._lock = threading.Lock()
        self._answered = False
        self._given_up = threading.Event()

    def __repr__(self) -> str:
        return f"ChatServer({self.url!r}, {self.model!r})"

    def complete(self, prompt: Prompt, **settings: Any) -> Completion:
        """One answer.

        Args:
            prompt: What is asked.
            settings: Of the API, such as ``max_tokens``, ``temperature``, ``seed``.

        Raises:
            Unavailable: It is down, or answered nothing that is a completion.
            Refused: It does not take this request.
            UsageError: It takes none.
        """
        body = {"model": self.model, "messages": _messages(prompt), **settings}
        payload = json.dumps(body, sort_keys=True).encode()
        key = hashlib.sha256(self.url.encode() + b"\n" + payload).hexdigest()
        kept = self._cache.get(key) if self._cache is not None else None
        if kept is not None:
            self._answered = True
            return Completion(str(kept.get("text", "")), tuple(kept.get("alternatives", ())))
        found = self._ask(payload)
        self._answered = True
        if self._cache is not None:
            self._cache.put(key, {"text": found.text, "alternatives": [dict(one) for one in found.alternatives]})
        return found

    def each(self, work: Callable[[Item], Result], items: Sequence[Item], *, concurrency: int) -> list[Result]:
        """What ``work``, which asks this server, makes of each item, in their order, several at once.

        The first error ends it: items that wait are not begun, and those under way do not try again.
        """
        with ThreadPoolExecutor(concurrency, thread_name_prefix="server") as pool:
            under_way = [pool.submit(work, item) for item in items]
            try:
                ended, _ = wait(under_way, return_when=FIRST_EXCEPTION)
                for one in ended:
                    one.result()  # raises the error of whichever failed, though others before it may hang
                return [one.result() for one in under_way]
            except BaseException:
                self._given_up.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            finally:
                self._given_up.clear()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _ask(self, payload: bytes) -> Completion:
        failures = 0
        while True:
            self._pace.wait()
            try:
                return self._once(payload)
            except _Passing as error:
                failures += 1
                if failures >= self._patience.attempts or self._given_up.is_set():
                    tried = f"; tried {failures} times" if failures > 1 else ""
                    raise Unavailable(f"{self.url}: {error}{tried}") from error
                seconds = self._patience.wait(failures, error.wait_seconds)
                log.info("%s: %s; trying again in %.1f s", self.url, error, seconds)
                self._given_up.wait(seconds)

    def _once(self, payload: bytes) -> Completion:
        import httpx2

        headers = {"Content-Type": "application/json", "User-Agent": "moon-zoo"}
        key = os.environ.get(self._key_variable, "")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        began = time.monotonic()
        try:
            with self._connected().stream(
                "POST", f"{self.url}/chat/completions", content=payload, headers=headers
            ) as answer:
                data = bytearray()
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MOST_ANSWER_BYTES:
                        raise _Passing(f"its answer is larger than {MOST_ANSWER_BYTES:,} bytes")
                    if time.monotonic() - began > 3 * self._timeout_seconds:
                        raise _Passing(f"its answer took more than {3 * self._timeout_seconds:g} s")
                self._check(answer, bytes(data), key)
        except httpx2.TimeoutException as error:
            raise _Passing(f"nothing came within {self._timeout_seconds:g} s") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise UsageError(f"{self.url} cannot be asked: {gist(error)}", change="the server's URL") from error
        except httpx2.RequestError as error:
            raise _Passing(gist(error)) from error
        return _completion(bytes(data))

    def _connected(self) -> Any:
        import httpx2

        with self._lock:
            if self._client is None:
                self._client = httpx2.Client(timeout=self._timeout_seconds, follow_redirects=False)
            return self._client

    def _check(self, answer: Any, data: bytes, key: str) -> None:
        status = answer.status_code
        if status == 200:
            return
        said = _error_text(data)
        said = said.replace(key, "***") if key else said  # some servers repeat the key they were given
        what = f"it answered {status}{f': {said}' if said else ''}"
        if status in (408, 409, 425, 429) or status >= 500:
            retry_after = answer.headers.get("Retry-After", "")
            raise _Passing(what, float(retry_after) if retry_after.isdigit() else 0.0)
        if status in (400, 413, 422) and self._answered:
            raise Refused(what)
        remedies = {
            401: f"the environment variable {self._key_variable}",
            403: f"the environment variable {self._key_variable}",
        }
        raise UsageError(
            f"the server does not answer for the model {self.model!r}: {what}",
            where=f"{self.url}/chat/completions",
            change=remedies.get(status, "the server's URL (it usually ends with /v1) or the model's name"),
        )


class _Passing(Exception):
    """It may go well next time."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _Pace:
    """Lets requests of all threads begin at most so often."""

    def __init__(self, per_second: float | None) -> None:
        self._gap = 0.0 if per_second is None else 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        time.sleep(max(0.0, start - now))


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is no server's URL", change="the server, to its API's root such as http://localhost:8000/v1"
        )
    if parts.username or parts.password:
        raise UsageError(
            "a server's URL holds a name or password, which would be written down with its answers",
            where=parts.hostname,
            change=f"the URL; the server's key belongs into the environment variable {KEY_VARIABLE}",
        )
    return url.rstrip("/").removesuffix("/chat/completions")


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Turns as the API has them, the image before the text of the user's first."""
    messages: list[dict[str, Any]] = []
    image = prompt.image
    for turn in prompt.turns:
        content: Any = turn.text
        if turn.role == "user" and image is not None:
            mime = _MIME[image_extension(image)]
            encoded = base64.b64encode(image).decode()
            content = [
                {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{encoded}"}},
                {"type": "text", "text": turn.text},
            ]
            image = None
        messages.append({"role": turn.role, "content": content})
    return messages


def _completion(data: bytes) -> Completion:
    try:
        choice = json.loads(data)["choices"][0]
        text = choice["message"]["content"]
        alternatives = _alternatives(choice.get("logprobs"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _Passing(f"its answer is no chat completion: {_shown(data)}") from error
    if not isinstance(text, str):
        raise _Passing(f"its answer holds no text: {_shown(data)}")
    return Completion(text, alternatives)


def _alternatives(given: Any) -> tuple[Mapping[str, float], ...]:
    tokens = given.get("content") if isinstance(given, dict) else None
    return tuple(
        {str(one["token"]): float(one["logprob"]) for one in token.get("top_logprobs") or [token]}
        for token in cast(Sequence[Any], tokens if isinstance(tokens, list) else [])
    )


def _error_text(data: bytes) -> str:
    try:
        value = json.loads(data)
        error = value.get("error", value) if isinstance(value, dict) else value
        said = error.get("message", "") if isinstance(error, dict) else error
    except (ValueError, RecursionError):
        return ""
    return " ".join(str(said).split())[:200]


def _shown(data: bytes) -> str:
    return repr(data[:60].decode("utf-8", "replace"))
