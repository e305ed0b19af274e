"""A web server that serves a folder, and misbehaves as it is told."""

from __future__ import annotations

import contextlib
import http.server
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class HubServer:
    """A server over ``folder``; its faults may be changed while it runs.

    Attributes:
        asked: Path to the number of requests for it.
        ranges: Path and first byte asked for, in order.
        headers: Of every request, in order.
        bytes_sent: Of all bodies.
        ignore_ranges: Answer 200 with the whole file.
        drop_after: Close the connection after this many bytes of a weights file.
        drops: How many answers are dropped; None for all.
        hang_after: Send this many bytes of a weights file, then nothing for `hang_seconds`.
        failures: Answer this many requests with `status`.
        redirect_to: Send every request on to this root.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.ranges: list[tuple[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.bytes_sent = 0
        self.ignore_ranges = False
        self.drop_after: int | None = None
        self.drops: int | None = None
        self.hang_after: int | None = None
        self.hang_seconds = 3.0
        self.failures = 0
        self.status = 500
        self.retry_after: str | None = None
        self.redirect_to: str | None = None
        self.no_length = False
        self.wrong_range = False
        self.slow_seconds = 0.0
        self.only = "model.safetensors"

    def start(self) -> None:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    outer.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                if not isinstance(sys.exception(), ConnectionError):  # a client that left is no news
                    super().handle_error(request, client_address)

        self._http = Server(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request: Any) -> None:
        path = request.path.lstrip("/")
        self.asked[path] += 1
        self.headers.append(dict(request.headers))
        troubled = path.endswith(self.only)
        if self.redirect_to is not None:
            self._empty(request, 302, {"Location": f"{self.redirect_to}/{path}"})
        elif troubled and self.failures > 0:
            self.failures -= 1
            self._empty(request, self.status, {"Retry-After": self.retry_after} if self.retry_after else {})
        elif not (self.folder / path).is_file():
            self._empty(request, 404, {})
        else:
            self._send(request, (self.folder / path).read_bytes(), path, troubled)

    def _empty(self, request: Any, status: int, headers: dict[str, str]) -> None:
        request.send_response(status)
        for key, value in {**headers, "Content-Length": "0"}.items():
            request.send_header(key, value)
        request.end_headers()

    def _send(self, request: Any, data: bytes, path: str, troubled: bool) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        self.ranges.append((path, first))
        whole = match is None or (troubled and self.ignore_ranges)
        if not whole and first >= len(data):
            return self._empty(request, 416, {"Content-Range": f"bytes */{len(data)}"})
        body = data if whole else data[first:]
        request.send_response(200 if whole else 206)
        if not whole:
            told = 0 if troubled and self.wrong_range else first
            request.send_header("Content-Range", f"bytes {told}-{len(data) - 1}/{len(data)}")
        if troubled and self.no_length:
            request.send_header("Connection", "close")
            request.close_connection = True
        else:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        self._body(request, body, troubled)
        return None

    def _body(self, request: Any, body: bytes, troubled: bool) -> None:
        if troubled and self.drop_after is not None and self.drops != 0:
            self.drops = None if self.drops is None else self.drops - 1
            self._write(request, body[: self.drop_after])
            request.close_connection = True
        elif troubled and self.hang_after is not None:
            self._write(request, body[: self.hang_after])
            request.wfile.flush()
            time.sleep(self.hang_seconds)
            request.close_connection = True
        elif troubled and self.slow_seconds:
            for start in range(0, len(body), 50_000):
                self._write(request, body[start : start + 50_000])
                request.wfile.flush()
                time.sleep(self.slow_seconds)
        else:
            self._write(request, body)

    def _write(self, request: Any, data: bytes) -> None:
        request.wfile.write(data)
        self.bytes_sent += len(data)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[HubServer]:
    """A running server over ``folder``."""
    server = HubServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
