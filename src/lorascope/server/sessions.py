"""Sessions of people who have given the token: a cookie that proves it, and is not the token."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import final

from fastapi.responses import Response

COOKIE = "lorascope_session"
_SECONDS = 30 * 24 * 3600


@final
class Sessions:
    """A cookie holds when it ends and a proof of that, made with a key that only the token gives.

    Nothing is kept on the server: sessions outlive a restart, and end when the token is changed.
    """

    def __init__(self, token: str) -> None:
        self._key = hashlib.sha256(b"lorascope session " + token.encode()).digest()

    def begin(self, response: Response, *, secure: bool) -> None:
        """Give a browser a session; ``secure`` keeps it to HTTPS."""
        end = str(int(time.time()) + _SECONDS)
        response.set_cookie(
            COOKIE, f"{end}.{self._proof(end)}", _SECONDS, httponly=True, samesite="strict", secure=secure
        )

    def valid(self, cookies: Mapping[str, str]) -> bool:
        """Whether a browser has a session that has not ended."""
        end, _, proof = cookies.get(COOKIE, "").partition(".")
        if not hmac.compare_digest(proof.encode(), self._proof(end).encode()):
            return False
        return end.isdecimal() and int(end) > time.time()

    def _proof(self, end: str) -> str:
        return hmac.new(self._key, end.encode(), hashlib.sha256).hexdigest()
