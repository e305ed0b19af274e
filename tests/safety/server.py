"""A real server of chat completions on this machine, which answers, or misbehaves, as a function says."""

from __future__ import annotations

import contextlib
import http.server
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """What the server sends: a completion's text, or raw bytes instead of it."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    delay_seconds: float = 0.0
    logprobs: list[dict[str, float]] | None = None

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": self.text}}
        if self.logprobs is not None:
            tokens = [[{"token": token, "logprob": value} for token, value in one.items()] for one in self.logprobs]
            choice["logprobs"] = {"content": [{**one[0], "top_logprobs": one} for one in tokens]}
        return json.dumps({"choices": [choice]}).encode()


class Server:
    """Counts and keeps what it is asked."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    def question(self, place: int = -1) -> str:
        """The text of the last turn of a request."""
        return text_of(self.bodies[place])

    def handle(self, request: Any) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            self.times.append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            reply = self.answer(body, number)
            time.sleep(reply.delay_seconds)
            data = reply.body()
            request.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(data))}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(data)
        finally:
            with self._lock:
                self._now -= 1


def text_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


@contextlib.contextmanager
def serving(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[Server]:
    """A running server; its ``url`` is the API's root."""
    server = Server(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                server.handle(self)

        def log_message(self, *arguments: object) -> None:
            pass

    class Http(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    running = Http(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    server.url = f"http://127.0.0.1:{running.server_port}/v1"
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()
