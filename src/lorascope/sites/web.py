"""Asks a site for JSON: no more often than it likes, patiently where it asks for that, and never without encryption."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from typing import Any, final
from urllib.parse import urlsplit

import httpx2

from lorascope.errors import SiteError

_TRIES = 4
_LONGEST_WAIT = 120.0
"""Seconds that a site may ask to wait; if it asks for more, the run ends, and resumes from there the next time."""
_SECONDS = 30.0
_MOST_BYTES = 20 * 2**20
_LOCAL = ("127.0.0.1", "localhost", "::1")


def token_of(site: str) -> str:
    """A person's token for a site: ``CIVITAI_TOKEN`` and the like, or the system's keyring; "" if there is none."""
    if found := os.environ.get(f"{site.upper()}_TOKEN", "").strip():
        return found
    try:
        return importlib.import_module("keyring").get_password("lorascope", site) or ""
    except Exception:
        return ""


def client() -> httpx2.Client:
    """A client that follows redirects, but not to where the answer could be read or changed on the way."""
    return httpx2.Client(
        follow_redirects=True, timeout=_SECONDS, headers={"User-Agent": "lorascope"},
        event_hooks={"request": [_check_encrypted]},
    )  # fmt: skip


def _check_encrypted(request: httpx2.Request) -> None:
    if request.url.scheme != "https" and request.url.host not in _LOCAL:
        raise SiteError(
            f"{_shown(str(request.url))} is not encrypted, so it is not asked: the site may have been changed"
        )


@final
class Web:
    """One site's API."""

    def __init__(
        self, name: str, base: str, *, token: str = "", pause: float = 0.5, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Ask nothing yet.

        Args:
            name: what messages call it.
            base: the address that paths are added to.
            token: is sent to this site only, and appears in no message.
            pause: seconds between two requests, at least.
            sleep: waits.
        """
        self.name = name
        self._base = base.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._pause, self._sleep = pause, sleep
        self._last = -pause
        self._client = client()

    def json(self, path: str, body: Any = None) -> Any:
        """The answer to a request; None where the site knows nothing of the kind (404).

        Raises:
            SiteError: it does not answer, wants a token, or answers with something else.
        """
        problem = ""
        for attempt in range(_TRIES):
            self._take_turn()
            try:
                answer = self._client.request(
                    "GET" if body is None else "POST", self._base + path, json=body, headers=self._headers
                )
            except httpx2.TransportError as error:
                problem = f"it cannot be reached ({error or type(error).__name__})"
                self._sleep(2.0**attempt)
                continue
            if answer.status_code not in (429, 502, 503, 504):
                return self._content(answer)
            problem = f"it answered {answer.status_code}"
            self._wait(answer, attempt)
        raise SiteError(f"{self.name}: {problem}, {_TRIES} times: try again later, what was found is kept")

    def _take_turn(self) -> None:
        self._sleep(max(0.0, self._last + self._pause - time.monotonic()))
        self._last = time.monotonic()

    def _wait(self, answer: httpx2.Response, attempt: int) -> None:
        """Wait as long as the site asks for.

        Raises:
            SiteError: that is too long.
        """
        asked = answer.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdecimal() else 2.0 ** (attempt + 1)
        if seconds > _LONGEST_WAIT:
            raise SiteError(
                f"{self.name} asks to wait {seconds:.0f} s: run the command again then, it resumes from here"
            )
        self._sleep(seconds)

    def _content(self, answer: httpx2.Response) -> Any:
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            variable = f"{self.name.upper()}_TOKEN"
            raise SiteError(f"{self.name} refuses ({answer.status_code}): set {variable} to a token of your account")
        if answer.status_code >= 400:
            raise SiteError(f"{self.name} answered {answer.status_code} for {_shown(str(answer.url))}: try again later")
        kind = answer.headers.get("Content-Type", "")
        if len(answer.content) > _MOST_BYTES:
            raise SiteError(f"{self.name}: the answer has {len(answer.content)} bytes, over the limit of {_MOST_BYTES}")
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            raise SiteError(
                f"{self.name} answered with {kind or 'something'} instead of JSON: it may be in maintenance, or a"
                " login page of your network is in the way"
            ) from error


def _shown(address: str) -> str:
    """An address without its query, which may hold a secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"
