"""Fetching a file from the web: over https, within limits on size and time, and to nowhere else."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any, final

from lorascope.errors import LibraryError

LIMIT = 2**30
"""Bytes. The published library has 4 MB."""
SECONDS = 900
"""For the whole download."""
_SILENCE = 30
_CHUNK = 2**16


def fetch(address: str, target: Path, *, insecure: bool = False, limit: int = LIMIT, seconds: float = SECONDS) -> None:
    """Download a file.

    Args:
        address: where it is; https, or http too if ``insecure``.
        target: the file to write.
        insecure: allow http, which anybody on the way can read and change.
        limit: bytes; a larger file is refused as soon as that is known.
        seconds: for all of it.

    Raises:
        LibraryError: it cannot be fetched, or is larger than the limit.
    """
    _check_secure(address, insecure=insecure)
    until = time.monotonic() + seconds
    try:
        with _opener().open(address, timeout=_SILENCE) as answer, target.open("wb") as file:
            _check_size(address, int(answer.headers.get("Content-Length") or 0), limit)
            size = 0
            while chunk := answer.read1(_CHUNK):
                size += len(chunk)
                _check_size(address, size, limit)
                if time.monotonic() > until:
                    raise TimeoutError(f"{size} bytes arrived in {seconds:g} seconds")
                file.write(chunk)
    except (OSError, HTTPException, ValueError) as error:
        raise _unfetched(address, error) from error


def fetch_range(address: str, first: int, size: int, *, insecure: bool = False) -> bytes:
    """Download a part of a file.

    Raises:
        LibraryError: it cannot be fetched, or the host does not send parts of files.
    """
    _check_secure(address, insecure=insecure)
    request = urllib.request.Request(address, headers={"Range": f"bytes={first}-{first + size - 1}"})
    try:
        with _opener().open(request, timeout=_SILENCE) as answer:
            part = answer.read(size + 1) if answer.status == HTTPStatus.PARTIAL_CONTENT else b""
    except (OSError, HTTPException, ValueError) as error:
        raise _unfetched(address, error) from error
    if len(part) != size:
        raise LibraryError(f"{address}: the host does not send parts of files: pull all of it with --all")
    return part


def _check_secure(address: str, *, insecure: bool) -> None:
    if not insecure and not address.startswith("https://"):
        raise LibraryError(
            f"{address} is not encrypted, so anybody on the way can change what arrives: give its https address, or"
            " allow that with --insecure"
        )


def _unfetched(address: str, error: Exception) -> LibraryError:
    reason = getattr(error, "reason", None) or error
    return LibraryError(f"{address} could not be fetched ({reason}): check the address and the connection")


def _check_size(address: str, size: int, limit: int) -> None:
    if size > limit:
        raise LibraryError(
            f"{address} has {size} bytes or more, over the limit of {limit}: if you trust it, download it yourself and"
            " import the file"
        )


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https; urllib's own opener also knows ftp, local files and data in the address itself."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


@final
class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to https, or from http to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse a redirect to an address of another kind."""
        kind = newurl.partition(":")[0].lower()
        if kind != "https" and (kind, req.type) != ("http", "http"):
            raise urllib.error.URLError(f"it redirects from {req.type} to {newurl:.200}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
