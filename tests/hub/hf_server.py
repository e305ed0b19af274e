"""The part of Hugging Face's server that publishing and reading use: one repository, its commits, small files inline."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class FakeHuggingFace:
    """A server with one model repository.

    Args:
        repo: ``owner/name``.

    Attributes:
        commits: Every state of the repository, oldest first: path to content. Commit ``n`` is called ``{n:040x}``.
        tokens: What came as Authorization.
        refuse: A status that every commit is answered with.
        before_commit: Called once before the next commit is looked at.
    """

    def __init__(self, repo: str) -> None:
        self.repo = repo
        self.commits: list[dict[str, bytes]] = [{}]
        self.tokens: set[str] = set()
        self.refuse = 0
        self.before_commit: Callable[[], object] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.get(self)

            def do_POST(self) -> None:
                outer.post(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def files(self) -> dict[str, bytes]:
        """What the main branch holds."""
        return self.commits[-1]

    @property
    def head(self) -> str:
        """Name of the last commit."""
        return f"{len(self.commits) - 1:040x}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path.partition("?")[0]).strip("/")
        if path == f"api/models/{self.repo}/revision/main":
            _answer(request, 200, {"id": self.repo, "sha": self.head, "siblings": [], "tags": []})
        elif path.startswith(f"{self.repo}/resolve/"):
            revision, _, file = path.removeprefix(f"{self.repo}/resolve/").partition("/")
            files = self.commits[-1 if revision == "main" else int(revision, 16)]
            _answer(request, 200 if file in files else 404, files.get(file, b""))
        else:
            _answer(request, 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.tokens.add(request.headers.get("Authorization", ""))
        path = unquote(request.path.partition("?")[0]).strip("/")
        if path == f"api/models/{self.repo}/preupload/main":
            asked = [file["path"] for file in json.loads(body)["files"]]
            told = [{"path": file, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for file in asked]
            _answer(request, 200, {"files": told})
        elif path == f"api/models/{self.repo}/commit/main":
            before, self.before_commit = self.before_commit, None
            if before is not None:
                before()
            self._commit(request, [json.loads(line) for line in body.splitlines()])
        else:
            _answer(request, 404, {"error": "not found"})

    def _commit(self, request: BaseHTTPRequestHandler, lines: list[dict[str, Any]]) -> None:
        header = next(line["value"] for line in lines if line["key"] == "header")
        if self.refuse:
            return _answer(request, self.refuse, {"error": "no"})
        if header.get("parentCommit") != self.head:
            return _answer(request, 412, {"error": "A commit has happened since. Please refresh and try again."})
        files = dict(self.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.commits.append(files)
        return _answer(
            request, 200, {"commitUrl": f"{self.url}/{self.repo}/commit/{self.head}", "commitOid": self.head}
        )


def _answer(request: BaseHTTPRequestHandler, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    request.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)
