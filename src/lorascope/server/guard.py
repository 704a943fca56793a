"""What stands before every request: who may ask, from where, how much; and what every answer tells the browser.

* The Host header has to be a name of this server: a page of another site whose name was pointed here (DNS rebinding)
  would otherwise be allowed to read.
* With a token, each request needs it: ``Authorization: Bearer``, or the cookie that the login page gives.
* A request that changes something and does not carry the token has to come from a page of this server, or of a site
  that was named; the cookie counts on our own pages only.
* Bodies are counted while they are read, and have to arrive in time.
* HEAD is answered as GET is, without the body.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Callable
from typing import final
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorascope.server.problems import Problem
from lorascope.server.sessions import Sessions
from lorascope.server.settings import Settings

LOGIN = "/login"
_OPEN = (LOGIN, "/static/")
_SAFE = ("GET", "HEAD", "OPTIONS")
_BODY, _PICTURE_BODY = 64 * 1024, 25 * 1024 * 1024
_PICTURES = "/api/v1/images"
_BODY_SECONDS = 60
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make browsers hide the origin of our own forms, too
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_log = logging.getLogger("lorascope.server")


@final
class Guard:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, tell: Callable[[Request, Problem], Response]) -> None:
        """Stand before ``app``; ``tell`` turns a problem into an answer."""
        self._app = app
        self._token = settings.token.encode()
        self._sessions = Sessions(settings.token)
        self._origins = frozenset(settings.origins)
        self._names = {"localhost", settings.host.strip("[]").lower(), *(name.lower() for name in settings.names)}
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        head = request.method == "HEAD"
        outgoing = _Outgoing(send, bare=head)
        try:
            self._check_name(request)
            if (refusal := self._unknown(request)) is not None:
                await refusal(scope, receive, outgoing)
                return
            self._check(request)
            asked = {**scope, "method": "GET"} if head else scope
            await self._app(asked, _Body(receive, _limit(request)), outgoing)
        except Problem as problem:
            await self._tell(request, problem)(scope, receive, outgoing)
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            if not outgoing.started:
                problem = Problem(500, "internal-error", "something went wrong here", "the server's output says what")
                await self._tell(request, problem)(scope, receive, outgoing)

    def _check_name(self, request: Request) -> None:
        """Refuse strange hosts.

        Raises:
            Problem: another name, or not one.
        """
        hosts = request.headers.getlist("host")
        if len(hosts) != 1:  # a proxy may have looked at another one of them
            raise Problem(400, "bad-request", f"the request has {len(hosts)} Host headers", "send exactly one")
        if not self._is_ours(hosts[0]):
            raise Problem(
                421, "wrong-host", f"{hosts[0][:100]!r} is no name of this server",
                "use its address, or start it with --name for each name it goes by",
            )  # fmt: skip

    def _check(self, request: Request) -> None:
        """Refuse pages of other sites, and bodies that say they are too large.

        Raises:
            Problem: one of these.
        """
        here = self._is_named(request) or self._has_token(request) or _from_here(request, trusting=not self._token)
        if request.method not in _SAFE and not here:
            raise Problem(403, "cross-site", "this was asked by a page of another site", "use the pages of this server")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > _limit(request):
            raise _too_large(_limit(request))

    def _is_named(self, request: Request) -> bool:
        """Whether it comes from a page of another site that may use the API."""
        return request.url.path.startswith("/api/") and request.headers.get("origin") in self._origins

    def _has_token(self, request: Request) -> bool:
        return bool(self._token) and hmac.compare_digest(_bearer(request), self._token)

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def _unknown(self, request: Request) -> Response | None:
        """What to answer a caller who has to say first who they are."""
        path = request.url.path
        if not self._token or path == LOGIN or path.startswith(_OPEN[1]):
            return None
        if self._has_token(request):
            return None
        if not self._is_named(request) and self._sessions.valid(request.cookies):
            return None
        if path.startswith("/api/"):
            problem = Problem(
                401, "no-token", "the token is wrong" if _bearer(request) else "this server asks for a token",
                "send it as `Authorization: Bearer TOKEN`",
            )  # fmt: skip
            return problem.response({"WWW-Authenticate": "Bearer"})
        target = path + (f"?{request.url.query}" if request.url.query else "")
        address = f"{LOGIN}?next={quote(target if request.method in _SAFE else '/', safe='')}"
        if request.headers.get("hx-request") == "true":  # the whole page has to go there, not the part that was asked
            return Response(headers={"HX-Redirect": address})
        return RedirectResponse(address, 303)


def _is_address(name: str) -> bool:
    """Addresses are nobody's to point elsewhere, unlike names."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bearer(request: Request) -> bytes:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else b""


def _from_here(request: Request, *, trusting: bool) -> bool:
    """Whether a request that changes something and has no token comes from our own pages, or from a program.

    Browsers say where a request comes from. One that says nothing is a program's, which is trusted only where nobody
    needs a token: a cookie without a word of where it comes from is not enough.
    """
    site, origin = (request.headers.get(name) for name in ("sec-fetch-site", "origin"))
    if site is not None:
        return site in ("same-origin", "none")
    if origin is not None:
        return origin.partition("://")[2] == request.headers["host"]
    return trusting or request.url.path == LOGIN


def _limit(request: Request) -> int:
    return _PICTURE_BODY if request.url.path == _PICTURES else _BODY


def _too_large(limit: int) -> Problem:
    if limit == _PICTURE_BODY:
        return Problem(413, "too-large", f"the picture is larger than {limit // 2**20} MiB", "send a smaller one")
    return Problem(413, "too-large", f"the body is larger than {limit // 1024} KiB", "send less")


@final
class _Body:
    """Counts a body while it is read, and does not wait for the whole of it for ever."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._until = asyncio.get_running_loop().time() + _BODY_SECONDS
        self._read = 0
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(408, "too-slow", f"the body took more than {_BODY_SECONDS} s", "send it again") from error
        self._read += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read > self._limit:
            raise _too_large(self._limit)
        return message


@final
class _Outgoing:
    """Adds what every answer tells the browser; a ``bare`` answer ends with its headers, one without an end too."""

    def __init__(self, send: Send, *, bare: bool) -> None:
        self._send = send
        self._bare = bare
        self._ended = False
        self.started = False

    async def __call__(self, message: Message) -> None:
        if self._ended:
            return
        if self._bare and message["type"] == "http.response.body":
            self._ended = True
            message = {"type": "http.response.body"}
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "private, no-cache")
        await self._send(message)
