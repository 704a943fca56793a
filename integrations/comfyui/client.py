"""Asks lorascope's server, which it starts if none runs and the package is installed beside ComfyUI."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

USUAL = "http://127.0.0.1:8642"
_SECONDS = 60
_STARTING_SECONDS = 120
_HELP = (
    "Start it with `lorascope serve`, or install it into ComfyUI's Python with `pip install lorascope`. For a server"
    " elsewhere set LORASCOPE_URL, and LORASCOPE_TOKEN if it has a token"
)


class LorascopeProblem(RuntimeError):
    """What is wrong and what to do, as the node shows it."""


class Client:
    """One server: that of ``LORASCOPE_URL``, or the usual one of this machine, which is started where need be."""

    def __init__(self, url: str = "", token: str = "") -> None:
        self._named = url or os.environ.get("LORASCOPE_URL", "")
        self._url = (self._named or USUAL).rstrip("/")
        self._token = token or os.environ.get("LORASCOPE_TOKEN", "")
        self.embedder = ""
        """The origin of ComfyUI in the browser: a server that is started here lets its pages show lorascope's."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the server's page."""
        return f"{self._url}/"

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer to a question to the API, under ``/api/v1``."""
        return json.loads(self.fetch(f"/api/v1{path}?{urllib.parse.urlencode(parameters)}")[0])

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a question with a body."""
        return json.loads(self.fetch(f"/api/v1{path}", json.dumps(body).encode())[0])

    def fetch(self, address: str, body: bytes | None = None) -> tuple[bytes, str]:
        """The body and the media type of an answer.

        Raises:
            LorascopeProblem: the server refuses, does not run and cannot be started, or is none of lorascope's.
        """
        try:
            return self._ask(address, body)
        except ConnectionError:
            if self._named:
                raise LorascopeProblem(f"lorascope does not answer at {self._url}. {_HELP}") from None
            self._start()
            try:
                return self._ask(address, body)
            except ConnectionError as error:
                raise LorascopeProblem(f"lorascope was started but does not answer at {self._url} ({error})") from error

    def _ask(self, address: str, body: bytes | None) -> tuple[bytes, str]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._url + address, body, headers)
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                return answer.read(), answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            raise LorascopeProblem(_said(error)) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, OSError):
                raise ConnectionError(str(error.reason)) from error
            raise LorascopeProblem(f"lorascope cannot be asked at {self._url} ({error.reason}). {_HELP}") from error
        except OSError as error:
            raise ConnectionError(str(error)) from error

    def _start(self) -> None:
        """Start a server of its own, if the package is here; only one, however many nodes ask."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            if importlib.util.find_spec("lorascope") is None:
                raise LorascopeProblem(f"lorascope is not running at {self._url}. {_HELP}")
            command = [sys.executable, str(Path(__file__).with_name("serve.py")), "serve", "--no-open"]
            if library := os.environ.get("LORASCOPE_LIBRARY"):
                command += ["--library", library]
            if self.embedder:
                command += ["--embed-in", self.embedder]
            with tempfile.TemporaryFile() as output:
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
                end = time.monotonic() + _STARTING_SECONDS
                while time.monotonic() < end and not self._answers():
                    if self._process.poll() is not None:
                        output.seek(0)
                        said = output.read().decode(errors="replace").strip()
                        raise LorascopeProblem(f"lorascope could not be started: {said[-500:]}")
                    time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            self._ask("/api/v1/health", None)
        except ConnectionError:
            return False
        return True


def _said(error: urllib.error.HTTPError) -> str:
    """What the server says of a request that it refuses."""
    try:
        said = json.load(error)["error"]
        text = ": ".join(filter(None, (said["message"], said["remedy"])))
    except (ValueError, KeyError, TypeError):
        return f"what answers at {error.url} is no lorascope (status {error.code}). {_HELP}"
    return f"{text}. Set LORASCOPE_TOKEN for ComfyUI" if error.code == 401 else text


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Without the proxies of the environment: the server is on this machine or near."""
CLIENT = Client()
