"""A hub on this machine, and a process that fetches from it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """The part of the Hugging Face hub that downloads use.

    ``cut`` is how many bytes of weights it sends before it hangs up, ``pause`` how many seconds it takes for a fifth.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.cut: int | None = None
        self.pause = 0.0


class Answers(BaseHTTPRequestHandler):
    """Answers as the hub's: a repository's files, its tree, and each file from any byte on."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        owner, name, *rest = path.removeprefix("/api/models").strip("/").split("/")
        files = self.server.repositories.get(f"{owner}/{name}")
        if name == "gated":
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif files is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("/api/") and "tree" in rest:
            self._send_json([{"type": "file", "path": n, "size": len(b), "oid": n} for n, b in files.items()])
        elif path.startswith("/api/"):
            self._send_json({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]})
        else:
            self._send_file("/".join(rest[2:]), files)

    def _send_json(self, data: Any) -> None:
        self._send(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _send_file(self, name: str, files: dict[str, bytes]) -> None:
        if name not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data = files[name]
        given = self.headers.get("Range", "")
        start = int(given.removeprefix("bytes=").partition("-")[0] or 0)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        if self.command == "GET":
            self.server.asked.append((name, given))
        if given:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if given else 200, data[start:], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            cut = self.server.cut
            whole = cut is None or len(body) < 1000
            piece = max(1, len(body) // 5)
            for start in range(0, len(body) if cut is None else cut, piece):
                time.sleep(self.server.pause if len(body) > 1000 else 0)
                self.wfile.write(body[: None if whole else cut][start : start + piece])
            self.close_connection = not whole


@contextmanager
def served() -> Iterator[Hub]:
    """A hub on loopback."""
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


FETCH = """
import sys
from lorascope.errors import ModelError
from lorascope.models import find_file, find_model
for name in sys.argv[2:]:
    find = find_file if name.count("/") > 1 else find_model
    try:
        found = find(name, download=sys.argv[1] == "yes")
        print(*sorted(path.name for path in found.iterdir()) if found.is_dir() else [found.name])
    except ModelError as error:
        print("refused:", error)
"""


def fetched(hub: Hub, cache: Path, *names: str, download: bool = True, script: str = FETCH, patience: int = 5) -> str:
    """What a process of its own finds: the client reads its settings when it is imported."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    settings = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": str(patience)}
    settings |= {"LORASCOPE_CACHE": str(cache / "lorascope")}
    arguments = [sys.executable, "-c", script, "yes" if download else "no", *names]
    done = subprocess.run(arguments, env=kept | settings, capture_output=True, text=True, timeout=300)
    return done.stdout.strip() or done.stderr
