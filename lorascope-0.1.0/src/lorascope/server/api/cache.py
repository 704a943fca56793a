"""Responses that a browser may cache: a strong ETag, and 304 where it has the current version."""

from __future__ import annotations

import hashlib

from fastapi import Request
from fastapi.responses import Response

_HOUR = 3600


def tag(data: bytes) -> str:
    """A strong ETag: a digest of the bytes."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def cached(
    request: Request, data: bytes, kind: str, etag: str = "", *, zipped: bytes | None = None, seconds: int = _HOUR
) -> Response:
    """A response, or 304 if the caller has it.

    Args:
        request: whose ``If-None-Match`` and ``Accept-Encoding`` count.
        data: the body.
        kind: its media type.
        etag: its tag; by default made from the body.
        zipped: the body in gzip, if it was zipped before.
        seconds: how long it may be used without asking again.
    """
    etag = etag or tag(data)
    headers = {
        "ETag": etag,
        "Cache-Control": f"private, max-age={seconds}" if seconds else "private, no-cache",
    }
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    if zipped is not None:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            data = zipped
            headers["Content-Encoding"] = "gzip"
    return Response(data, media_type=kind, headers=headers)
