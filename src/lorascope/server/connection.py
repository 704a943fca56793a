"""HTTP connections with limits that uvicorn does not have.

uvicorn limits how long a connection may idle after an answer (``timeout_keep_alive``) and how many there may be
(``limit_concurrency``). It limits neither how long a client may take to send a request's headers or to read an answer,
nor how large headers may be, nor how many of the connections one client may hold. Bodies are limited by the guard.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SECONDS = 20.0
"""A client has once to twice as long to send all headers of a request, or to read a part of the answer."""
_MOST_HEADERS = 32 * 1024
"""Bytes of a request's line and headers, and of what comes between the parts of a body or after it."""
_SLICE = 8 * 1024
"""Bytes that are parsed at once, by which the count of headers may be exceeded."""
_MOST_CONNECTIONS = 256
_WAIT_SECONDS = 5
"""How long a request may continue after Ctrl-C."""
_MESSAGE = b"the headers are larger than 32 KiB"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_MESSAGE), _MESSAGE)
)


def configure(app: ASGIApp) -> uvicorn.Config:
    """How an application is served: over these connections, without web sockets, which nothing here uses."""
    return uvicorn.Config(
        app, http=Connection, ws="none", log_level="warning", access_log=False, server_header=False,
        limit_concurrency=_MOST_CONNECTIONS, timeout_graceful_shutdown=_WAIT_SECONDS,
    )  # fmt: skip


@final
class Connection(HttpToolsProtocol):
    """A connection, as ``uvicorn.Config(http=...)`` takes it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened: float = self.loop.time()
        self._headers_read = 0
        self._last_cycle: object = None
        self._last_unread = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """The address of the client."""
        return self.client[0] if self.client else ""

    @property
    def busy(self) -> bool:
        """Whether a request has arrived that is not answered yet."""
        cycle: Any = self.cycle  # None until the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Register the connection. uvloop's transports do not inherit ``asyncio.Transport``."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()
        self._timer = self.loop.call_later(_SECONDS, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse in slices, and refuse headers that are too large before they are complete."""
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            piece = data[start : start + _SLICE]
            self._headers_read += len(piece)
            super().data_received(piece)
            if self._headers_read > _MOST_HEADERS:
                self._refuse_headers()

    def on_headers_complete(self) -> None:
        """Start a request; called by the parser."""
        self._headers_read = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; called by the parser."""
        self._headers_read = 0
        super().on_body(body)

    def resume_writing(self) -> None:
        """Go on after the client has read."""
        self._last_unread = 0
        super().resume_writing()

    def _refuse_headers(self) -> None:
        if self.busy:  # an answer is being written
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _make_room(self) -> None:
        """Close one connection, so that nobody can keep others out by holding all of them.

        First one that waits for a request, of the address that has most, the oldest of them. If all are busy, one of
        an address that has at least two more than this one; if there is none, uvicorn answers 503.
        """
        held = Counter(other.address for other in self.connections if isinstance(other, Connection))
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]

        def order(other: Connection) -> tuple[bool, int, float]:
            return other.busy, -held[other.address], other.opened

        victim = min(others, key=order, default=None)
        if victim is not None and (not victim.busy or held[victim.address] > held[self.address] + 1):
            self.connections.discard(victim)
            victim.transport.abort()

    def _check_progress(self) -> None:
        """Close the connection if nothing has happened since the last check; else check again later."""
        unread = self.transport.get_write_buffer_size()
        if 0 < self._last_unread <= unread:
            self.transport.abort()  # closing would wait until the rest is read
            return
        if self.cycle is self._last_cycle and not self.busy:
            self.transport.close()
        self._last_cycle, self._last_unread = self.cycle, unread
        self._timer = self.loop.call_later(_SECONDS, self._check_progress)
