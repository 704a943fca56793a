"""One connection, spoken as uvicorn speaks HTTP, with a client that must not hold it for ever.

uvicorn bounds how long a connection may idle after an answer (``timeout_keep_alive``), but neither how long a client
may take to send the first byte or the rest of its headers, nor how long it may leave an answer unread. The guard bounds
bodies.
"""

from __future__ import annotations

import asyncio
from typing import Any, final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SECONDS = 20.0
"""Within so long, at most twice, a client has to have sent all headers of a request, or read a part of the answer."""


@final
class Connection(asyncio.Protocol):
    """Closes a connection on which nothing has moved since it was looked at last: nothing asked, or nothing read."""

    def __init__(self, **given: Any) -> None:
        """Speak through uvicorn's protocol, which takes what uvicorn gives."""
        self._http = HttpToolsProtocol(**given)
        self._seen: object = None
        self._unread = 0
        self._next: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there. Transports of uvloop are no ``asyncio.Transport``, though they do the same."""
        self._http.connection_made(transport)
        self._next = self._http.loop.call_later(_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._next is not None:
            self._next.cancel()
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It says something."""
        self._http.data_received(data)

    def eof_received(self) -> None:
        """It will say no more."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """It reads more slowly than is written."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """It has read on."""
        self._unread = 0
        self._http.resume_writing()

    def _look(self) -> None:
        """Close it, or look again later. A request has a cycle from the end of its headers on."""
        latest: Any = self._http.cycle
        transport = self._http.transport
        unread = transport.get_write_buffer_size()
        if 0 < self._unread <= unread:
            transport.abort()  # closing would wait until the rest is read
            return
        if latest is self._seen and (latest is None or latest.response_complete):
            transport.close()
        self._seen, self._unread = latest, unread
        self._next = self._http.loop.call_later(_SECONDS, self._look)
