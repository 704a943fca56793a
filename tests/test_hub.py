"""--download against a hub on this machine: what is fetched, resumed, and said where something cannot be had."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "a" * 40
WEIGHTS = bytes(range(256)) * 400
REPOSITORIES = {
    "owner/complete": {
        "config.json": b"{}", "model.safetensors": WEIGHTS, "model.fp16.safetensors": b"", "flax_model.msgpack": b"",
    },
    "owner/large": {"config.json": b"{}", "model.safetensors": WEIGHTS},
}  # fmt: skip


class Hub(ThreadingHTTPServer):
    """The part of the Hugging Face hub that downloads use. ``cut`` is how many bytes of weights it sends at once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[tuple[str, str]] = []
        self.cut: int | None = None


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
        files = REPOSITORIES.get(f"{owner}/{name}")
        if name == "gated":
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif files is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("/api/") and "tree" in rest:
            self._send_json([{"type": "file", "path": n, "size": len(b), "oid": n} for n, b in files.items()])
        elif path.startswith("/api/"):
            self._send_json({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]})
        else:
            self._send_file(files[rest[-1]])

    def _send_json(self, data: Any) -> None:
        self._send(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _send_file(self, data: bytes) -> None:
        given = self.headers.get("Range", "")
        start = int(given.removeprefix("bytes=").partition("-")[0] or 0)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        if self.command == "GET":
            self.server.asked.append((self.path.rsplit("/", 1)[1], given))
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
            self.wfile.write(body if cut is None or len(body) < 1000 else body[:cut])
            self.close_connection = cut is not None


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on loopback."""
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


FETCH = """
import sys
from lorascope.errors import ModelError
from lorascope.models import find_model
try:
    print(*sorted(path.name for path in find_model(sys.argv[1], download=sys.argv[2] == "yes").iterdir()))
except ModelError as error:
    print("refused:", error)
"""


def fetched(hub: Hub, cache: Path, name: str, *, download: bool = True) -> str:
    """What a process of its own finds: the client reads its settings when it is imported."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    settings = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "5"}
    arguments = [sys.executable, "-c", FETCH, name, "yes" if download else "no"]
    done = subprocess.run(arguments, env=kept | settings, capture_output=True, text=True, timeout=300)
    return done.stdout.strip() or done.stderr


def test_only_what_is_used_is_fetched_and_then_found_offline(hub: Hub, tmp_path: Path) -> None:
    refused = fetched(hub, tmp_path, "owner/complete", download=False)
    assert refused.startswith("refused: the model owner/complete is not on this disk: run once with --download")
    assert hub.asked == []
    assert fetched(hub, tmp_path, "owner/complete") == "config.json model.safetensors"
    assert sorted(name for name, _ in hub.asked) == ["config.json", "model.safetensors"]
    asked = len(hub.asked)
    assert fetched(hub, tmp_path, "owner/complete", download=False) == "config.json model.safetensors"
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/gated", "is gated: accept its terms on its page, log in with `hf auth login`, and run again"),
        ("owner/none", "is not on the hub, or is private: check its name, or log in with `hf auth login`"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(name: str, message: str, hub: Hub, tmp_path: Path) -> None:
    assert fetched(hub, tmp_path, name) == f"refused: the model {name} {message}"


def test_a_download_that_is_cut_off_goes_on_with_the_files_that_are_missing(hub: Hub, tmp_path: Path) -> None:
    hub.cut = 60_000
    refused = fetched(hub, tmp_path, "owner/large")
    assert refused.startswith("refused: the model owner/large could not be fetched (")
    assert refused.endswith("and run again: the files that have arrived are kept")
    hub.cut = None
    hub.asked.clear()
    assert fetched(hub, tmp_path, "owner/large") == "config.json model.safetensors"
    assert {name for name, _ in hub.asked} == {"model.safetensors"}
    (weights,) = tmp_path.rglob("snapshots/*/model.safetensors")
    assert weights.read_bytes() == WEIGHTS
