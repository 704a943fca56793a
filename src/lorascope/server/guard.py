"""Checks every request before it is handled, and adds security headers to every answer.

* The Host header must be a name of this server. Otherwise a page of another site whose name was pointed here (DNS
  rebinding) could read the answers.
* With a token, every request needs it: as ``Authorization: Bearer``, or as the session cookie that the login sets.
* A request that changes something and does not carry the token must come from a page of this server, or of a site
  that was allowed by name. The cookie counts on our own pages only.
* Bodies are limited in size and time.
* HEAD is answered like GET, without the body.

Every decision is made by ``scope["path"]``, which is what requests are routed by. ``request.url`` is never used: it is
put together from the Host header, which the caller chooses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Callable, Mapping
from typing import final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorascope.server.access import Access
from lorascope.server.problems import FOR_PROGRAMS, Problem
from lorascope.server.settings import ServerSettings

LOGIN = "/login"
_PUBLIC = "/static/"
_SAFE = ("GET", "HEAD", "OPTIONS")
_BODY, _PICTURE_BODY = 64 * 1024, 25 * 1024 * 1024
_PICTURES = "/api/v1/images"
_BODY_SECONDS = 60
_HOST = re.compile(r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A name or an address and a port, as RFC 9110 has it: no user, path, query, percent sign or space."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors {}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make browsers hide the origin of our own forms, too
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_log = logging.getLogger("lorascope.server")


@final
class Guard:
    """ASGI middleware that refuses what is not allowed."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, access: Access, answer: Callable[[Request, Problem], Response]
    ) -> None:
        """Protect ``app``."""
        self._app = app
        self._access = access
        self._origins = frozenset(settings.origins)
        self._names = {"localhost", settings.host.strip("[]").lower(), *(name.lower() for name in settings.names)}
        self._answer = answer
        self._embedders = settings.embedders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        head = request.method == "HEAD"
        outgoing = _Outgoing(send, self._headers(request), bare=head)
        try:
            self._check_host(request)
            if (refusal := await self._refusal(request)) is not None:
                await refusal(scope, receive, outgoing)
                return
            self._check_origin_and_size(request)
            forwarded = {**scope, "method": "GET"} if head else scope
            await self._app(forwarded, _Body(receive, _limit(scope)), outgoing)
        except Problem as problem:
            await self._answer(request, problem)(scope, receive, outgoing)
        except Exception:
            _log.exception("%s %s failed", request.method, scope["path"])
            if not outgoing.started:
                problem = Problem(500, "internal-error", "internal server error", "see the server's output")
                await self._answer(request, problem)(scope, receive, outgoing)

    def _headers(self, request: Request) -> dict[str, str]:
        """The security headers of an answer. Only pages of sites that were named may embed pages and pictures."""
        ancestors = " ".join(["'self'", *self._embedders]) if self._embedders else "'none'"
        headers = {**_HEADERS, "Content-Security-Policy": _HEADERS["Content-Security-Policy"].format(ancestors)}
        if self._embedders:
            referrer = "/".join(request.headers.get("referer", "").split("/", 3)[:3])
            headers["Cross-Origin-Resource-Policy"] = "cross-origin" if referrer in self._embedders else "same-site"
            headers["Vary"] = "Referer"
        return headers

    def _check_host(self, request: Request) -> None:
        """Refuse requests for another host.

        Raises:
            Problem: there is not exactly one Host header, it is malformed, or it is no name of this server.
        """
        hosts = request.headers.getlist("host")
        if len(hosts) != 1:  # a proxy may have looked at another one of them
            raise Problem(400, "bad-request", f"the request has {len(hosts)} Host headers", "send exactly one")
        match = _HOST.fullmatch(hosts[0])
        if match is None:
            problem = f"the Host header {hosts[0][:100]!r} is malformed"
            raise Problem(400, "bad-request", problem, "send a name or an address, and a port")
        name = match["name"].strip("[]").rstrip(".").lower()
        if name not in self._names and not _is_address(name):
            raise Problem(
                421, "wrong-host", f"{hosts[0][:100]!r} is no name of this server",
                "use its address, or start it with --name for each name it goes by",
            )  # fmt: skip

    def _check_origin_and_size(self, request: Request) -> None:
        """Refuse changes asked for by pages of other sites, and bodies that are announced as too large.

        Raises:
            Problem: one of these.
        """
        if request.method not in _SAFE and not (
            self._is_allowed_origin(request)
            or self._access.accepts(_bearer(request))
            or _is_same_origin(request, trusting=not self._access.required)
        ):
            raise Problem(
                403, "cross-site", "this request came from a page of another site", "use the pages of this server"
            )
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > _limit(request.scope):
            raise _too_large(_limit(request.scope))

    def _is_allowed_origin(self, request: Request) -> bool:
        """Whether it comes from a page of another site that may use the API."""
        return request.scope["path"].startswith(FOR_PROGRAMS) and request.headers.get("origin") in self._origins

    async def _refusal(self, request: Request) -> Response | None:
        """The response to a caller who has neither token nor session; None for everyone else."""
        path: str = request.scope["path"]
        if not self._access.required or path == LOGIN or path.startswith(_PUBLIC):
            return None
        token = _bearer(request)
        if self._access.accepts(token):
            return None
        if not self._is_allowed_origin(request) and self._access.has_session(request.cookies):
            return None
        if token:
            await self._access.delay(address_of(request))
        if path.startswith(FOR_PROGRAMS):
            message = "the token is wrong" if token else "this server needs a token"
            problem = Problem(401, "no-token", message, "send it as `Authorization: Bearer TOKEN`")
            return problem.response({"WWW-Authenticate": "Bearer"})
        query = request.scope["query_string"].decode("latin-1")
        target = f"{path}?{query}" if query else path
        address = f"{LOGIN}?next={quote(target if request.method in _SAFE else '/', safe='')}"
        if request.headers.get("hx-request") == "true":  # redirects the whole page, not the part that htmx asked for
            return Response(headers={"HX-Redirect": address})
        return RedirectResponse(address, 303)


def address_of(request: Request) -> str:
    """The address of the caller."""
    return request.client.host if request.client else "an unknown address"


def _is_address(name: str) -> bool:
    """Whether it is an IP address: unlike a name, nobody can point it elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bearer(request: Request) -> bytes:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else b""


def _is_same_origin(request: Request, *, trusting: bool) -> bool:
    """Whether a request that changes something and has no token comes from our own pages, or from a program.

    Browsers say where a request comes from. One that does not say so is a program's, which is trusted only where no
    token is needed: a cookie without an origin is not enough.
    """
    site, origin = (request.headers.get(name) for name in ("sec-fetch-site", "origin"))
    if site is not None:
        return site in ("same-origin", "none")
    if origin is not None:
        return origin.partition("://")[2] == request.headers["host"]
    return trusting or request.scope["path"] == LOGIN


def _limit(scope: Scope) -> int:
    return _PICTURE_BODY if scope["path"] == _PICTURES else _BODY


def _too_large(limit: int) -> Problem:
    if limit == _PICTURE_BODY:
        return Problem(413, "too-large", f"the picture is larger than {limit // 2**20} MiB", "send a smaller one")
    return Problem(413, "too-large", f"the body is larger than {limit // 1024} KiB", "send less")


@final
class _Body:
    """Counts a body while it is read, and stops waiting for it after a while."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._until = asyncio.get_running_loop().time() + _BODY_SECONDS
        self._read = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(408, "too-slow", f"the body took more than {_BODY_SECONDS} s", "send it again") from error
        self._read += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._read > self._limit:
            raise _too_large(self._limit)
        return message


@final
class _Outgoing:
    """Adds the security headers; a ``bare`` response ends with its headers, even one that would continue for ever."""

    def __init__(self, send: Send, headers: Mapping[str, str], *, bare: bool) -> None:
        self._send = send
        self._headers = headers
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
            if vary := self._headers.get("Vary"):
                headers.add_vary_header(vary)
            headers.update({name: value for name, value in self._headers.items() if name != "Vary"})
            headers.setdefault("Cache-Control", "private, no-cache")
        await self._send(message)
