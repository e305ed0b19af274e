"""A checkpoint downloaded over loopback, hashed, written and named: MB per second.

The hub is a folder behind a small HTTP server in a process of its own (sendfile, so that it costs little of what is
measured). Every round downloads into an empty cache. Beside it: fsspec's `get_file` followed by hashing the file, and what
the same machine does when it reads the same bytes from the same server into memory and neither hashes nor writes them
(bare socket), or hashes them where they lie (bare sha256).

Run `python benchmarks/download.py --quick` for a look, `python benchmarks/run.py download` for the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import logging
import multiprocessing
import os
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _harness import OURS, Row, compare, warn_if_busy, write_rows

NAME = "bench/noise"
GOAL_MB_PER_SECOND = 200.0
FSSPEC, SOCKET, SHA256 = "fsspec get_file, then sha256", "bare socket", "bare sha256"


class Handler(http.server.BaseHTTPRequestHandler):
    """Whole files by sendfile."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(os.environ["BENCH_HUB"]) / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        with path.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)

    def log_message(self, *arguments: object) -> None:
        pass


def serve(folder: str, port: Any) -> None:
    os.environ["BENCH_HUB"] = folder
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def write_hub(folder: Path, megabytes: int) -> Path:
    """A hub with one checkpoint of noise; returns its weights."""
    from moon_zoo.hub.index import HubEntry, HubFile, Index

    files = {}
    target = folder / NAME
    target.mkdir(parents=True)
    (target / "config.yaml").write_text("format: 1\n")
    with (target / "model.safetensors").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    for path in target.iterdir():
        with path.open("rb") as file:
            files[path.name] = HubFile(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    entry = HubEntry(NAME, NAME, "noise", "none", "0", "CC0-1.0", files)
    (folder / "index.yaml").write_text(Index({NAME: entry}).to_yaml())
    return target / "model.safetensors"


# the contenders --------------------------------------------------------------------------------------------------------


def ours(hub: str) -> None:
    from moon_zoo.hub.download import download

    download(NAME, hub=hub, progress=False)


def theirs(hub: str, target: Path) -> None:
    import fsspec

    fsspec.filesystem("http").get_file(f"{hub}/{NAME}/model.safetensors", str(target))
    with target.open("rb") as file:
        hashlib.file_digest(file, "sha256").hexdigest()


def bare_socket(port: int) -> None:
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        request = f"GET /{NAME}/model.safetensors HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        while connection.recv_into(buffer):
            pass


def bare_sha256(data: bytes) -> None:
    hashlib.sha256(data).hexdigest()


def measure(runs: dict[str, Callable[[], None]], rounds: int, megabytes: int, scratch: Path) -> dict[str, list[float]]:
    """MB per second of each contender, in turns; what a run leaves is removed outside of its time."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-1, rounds):
        names = list(runs)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            os.sync()  # what others wrote must not reach the disk in our time
            start = time.perf_counter()
            runs[name]()
            seconds = time.perf_counter() - start
            if number >= 0:  # the first round imports and fills the page cache
                rates[name].append(megabytes / seconds)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="32 MB, two rounds, no CSV")
    arguments = parser.parse_args()
    megabytes, rounds = (32, 2) if arguments.quick else (arguments.megabytes, arguments.rounds)
    warn_if_busy()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as work:
        weights = write_hub(Path(work, "hub"), megabytes)
        scratch = Path(work, "scratch")
        os.environ["MOON_ZOO_CACHE"] = str(scratch / "cache")
        receive, send = multiprocessing.Pipe(False)
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(str(Path(work, "hub")), send))
        server.start()
        try:
            port = receive.recv()
            hub = f"http://127.0.0.1:{port}"
            rates = measure(
                {
                    OURS: partial(ours, hub),
                    FSSPEC: partial(theirs, hub, scratch / "file"),
                    SOCKET: partial(bare_socket, port),
                    SHA256: partial(bare_sha256, weights.read_bytes()),
                },
                rounds,
                megabytes,
                scratch,
            )
        finally:
            server.terminate()
            server.join()
    rows = rows_of(rates, megabytes)
    if arguments.quick:
        for row in rows:
            print(f"{row.peer}: {row.median} {row.unit}")
    else:
        write_rows("download", rows)
    median = statistics.median(rates[OURS])
    verdict = "met" if median >= GOAL_MB_PER_SECOND else "missed"
    print(f"goal of {GOAL_MB_PER_SECOND:.0f} MB/s: {verdict}, {median:.0f} MB/s")


def rows_of(rates: dict[str, list[float]], megabytes: int) -> list[Row]:
    """The result; a ratio above 1 is ours being quicker."""
    bare = 1 / (1 / statistics.median(rates[SOCKET]) + 1 / statistics.median(rates[SHA256]))
    return compare(
        f"{megabytes} MB over loopback, hashed and written",
        rates,
        unit="MB/s",
        targets={OURS: f">= {GOAL_MB_PER_SECOND:.0f}"},
        floor=f"{bare:.0f} MB/s: bare socket and bare sha256 one after the other",
        packages=("fsspec", "httpx2"),
    )


if __name__ == "__main__":
    main()
