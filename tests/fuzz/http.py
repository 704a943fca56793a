"""Bytes on a connection: whatever they are, the server answers or closes, lets nobody in and continues."""

from __future__ import annotations

import asyncio
import atexit
import logging
import shutil
import socket
import tempfile
import threading
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, final
from unittest.mock import patch

from uvicorn.server import ServerState

from fuzz.libraries import write_library
from lorascope.server import ServerSettings, access, connection, create_app, guard

TOKEN = "correct horse battery staple"
SECRET = "a-name-that-only-those-with-a-token-see"
_JSON = b'{"query": "ink", "limit": 3}'
REQUESTS = {
    "http-page": b"GET /?q=ink HTTP/1.1\r\nHost: localhost:8642\r\nAccept: text/html\r\nCookie: lorascope=1.2\r\n\r\n",
    "http-api": b"GET /api/v1/adapters?limit=5 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
    "http-token": b"GET /api/v1/adapters?limit=5 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
    % TOKEN.encode(),
    "http-post": b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (TOKEN.encode(), len(_JSON), _JSON),
    "http-chunked": b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Type: "
    b"application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\nTrailer: x\r\n\r\n"
    % (TOKEN.encode(), len(_JSON), _JSON),
    "http-login": b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 23\r\n\r\ntoken=wrong&next=%2F%3Fq",
    "http-upgrade": b"GET /static/ HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "http-two": b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n"
    b"GET /api/v1/adapters HTTP/1.1\r\nHost: localhost\r\n\r\n",
}  # fmt: skip
"""Good requests, by name. Some have the token, some do not."""
PIECES = (
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"%00",
    b"%2e%2e/",
    b"../",
    b"//",
    b"/static/",
    b"?",
    b"#",
    b"@",
    b"\\",
    b" ",
    b"\t",
    b"HTTP/1.1",
    b"HTTP/0.9",
    b"HTTP/9.9",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"Host: evil.example\r\n",
    b"Host: localhost/static/x?\r\n",
    b"Host: [::1\r\n",
    b"Host:\r\n",
    b"Host: 127.0.0.1\r\n",
    b"X-Forwarded-Host: evil\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    b"Connection: close\r\n",
    b"Range: bytes=9-1,-\r\n",
    b"If-None-Match: *\r\n",
    b"Accept-Encoding: gzip;q=x\r\n",
    b"Content-Type: multipart/form-data; boundary=\r\n",
    b"Authorization: Bearer \r\n",
    b"Authorization: Bearer \xff\r\n",
    b"Cookie: lorascope=9999999999.\xe9; a\r\n",
    b"a: " + b"b" * 70_000,
    b"c: d\r\n" * 9_000,
    b"\xff\xfe",
    b"\xc3\xa9",
    b"%ff",
    b"&limit=-1",
    b"&limit=1e999",
    b"%F0%9F",
)
"""What is put into them."""


def ask(path: Path) -> None:
    """Send the bytes of a file to a server that asks for a token.

    Raises:
        AssertionError: it failed, said what only those with the token may know, or went silent.
    """
    said = path.read_bytes()
    answer, failures = _server().exchange(said)
    assert not failures, f"{failures}: {said[:300]!r}"
    assert answer.startswith(b"HTTP/1.") or not answer, f"{answer[:80]!r}: {said[:300]!r}"
    assert b"HTTP/1.1 500" not in answer, f"{answer[:300]!r}: {said[:300]!r}"
    assert TOKEN.encode() in said or SECRET.encode() not in answer, f"let in: {said[:300]!r}"


_LIMITS = ((access, "_FIRST_DELAY", 0.0), (connection, "_SECONDS", 0.05), (guard, "_BODY_SECONDS", 0.05))


@final
class _Server:
    """The real application on the real connections, in a thread; each client has a pair of sockets with it."""

    def __init__(self, library: Path) -> None:
        self._failures: list[str] = []
        config = connection.configure(create_app(ServerSettings(library=library, token=TOKEN)))
        config.load()
        self._given: dict[str, Any] = {"config": config, "server_state": ServerState(), "app_state": {}}
        self._loop = config.get_loop_factory()()
        self._loop.set_exception_handler(lambda loop, context: self._failures.append(str(context)))
        handler = logging.Handler(logging.ERROR)
        handler.emit = lambda record: self._failures.append(record.getMessage())
        logging.getLogger().addHandler(handler)
        for name in ("uvicorn", "uvicorn.error"):
            logging.getLogger(name).propagate = True
            logging.getLogger(name).setLevel(logging.ERROR)
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def exchange(self, said: bytes) -> tuple[bytes, list[str]]:
        """What the server answers until it closes or falls idle, and what went wrong in it."""
        with ExitStack() as limits:  # what waits for people, and for slow clients, must not slow this down
            for module, name, seconds in _LIMITS:
                limits.enter_context(patch.object(module, name, seconds))
            answer = asyncio.run_coroutine_threadsafe(self._exchange(said), self._loop).result(60)
        failures, self._failures[:] = list(self._failures), []
        return answer, failures

    async def _exchange(self, said: bytes) -> bytes:
        ours, theirs = socket.socketpair()
        await self._loop.connect_accepted_socket(lambda: connection.Connection(**self._given), ours)
        reader, writer = await asyncio.open_connection(sock=theirs, limit=2**16)
        found = bytearray()
        try:
            writer.write(said)
            async with asyncio.timeout(30):  # far more than the limits above: a silent connection is a fault
                while piece := await reader.read(2**16):
                    found += piece
        except ConnectionError:
            pass  # closed with an answer under way
        except TimeoutError as error:
            raise AssertionError(f"the connection stays open: {said[:300]!r}") from error
        finally:
            writer.transport.abort()
        return bytes(found)


@cache
def _server() -> _Server:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_library(folder / "library.db", name=SECRET)
    return _Server(folder / "library.db")
