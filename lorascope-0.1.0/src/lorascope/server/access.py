"""The token and the sessions that stand for it: who may use the server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import final

from fastapi.responses import Response

COOKIE = "lorascope_session"
_SESSION_SECONDS = 30 * 24 * 3600
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 8.0
_FORGET_SECONDS = 600.0
_MOST_ADDRESSES = 1000

_log = logging.getLogger("lorascope.server")


@final
class Access:
    """Checks tokens and sessions, and slows down whoever guesses.

    A session cookie holds its end and a proof of that, made with a key derived from the token. Nothing is stored:
    sessions survive a restart, and end when the token changes.
    """

    def __init__(self, token: str) -> None:
        """Protect a server with a token; "" protects nothing."""
        self._token = token.encode()
        self._key = hashlib.sha256(b"lorascope session " + self._token).digest()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def required(self) -> bool:
        """Whether a token is needed at all."""
        return bool(self._token)

    def accepts(self, token: bytes) -> bool:
        """Whether this is the token. Takes the same time for every wrong one of a length."""
        return self.required and hmac.compare_digest(token, self._token)

    async def delay(self, address: str) -> None:
        """Wait before a wrong token is answered: longer with every failure of an address, and log it.

        The right token is never delayed, so nobody can lock others out.
        """
        now = time.monotonic()
        count, last = self._failures.pop(address, (0, now))
        count = count + 1 if now - last < _FORGET_SECONDS else 1
        self._failures[address] = count, now
        if len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
        if count & (count - 1) == 0:  # 1, 2, 4, 8, ...: guessing must not fill the log either
            _log.warning("wrong token from %s (%d so far)", address, count)
        await asyncio.sleep(min(_FIRST_DELAY * 2 ** min(count - 1, 10), _LONGEST_DELAY))

    def begin_session(self, response: Response, *, secure: bool) -> None:
        """Give a browser a session; ``secure`` restricts the cookie to HTTPS."""
        end = str(int(time.time()) + _SESSION_SECONDS)
        cookie = f"{end}.{self._proof(end)}"
        response.set_cookie(COOKIE, cookie, _SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)

    def has_session(self, cookies: Mapping[str, str]) -> bool:
        """Whether a browser has a session that has not expired."""
        end, _, proof = cookies.get(COOKIE, "").partition(".")
        if not hmac.compare_digest(proof.encode(), self._proof(end).encode()):
            return False
        return end.isdecimal() and int(end) > time.time()

    def _proof(self, end: str) -> str:
        return hmac.new(self._key, end.encode(), hashlib.sha256).hexdigest()
