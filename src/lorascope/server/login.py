"""Where people give the token."""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.server.guard import LOGIN
from lorascope.server.pages import login_page
from lorascope.server.sessions import COOKIE, Sessions
from lorascope.server.state import StateOf

router = APIRouter(include_in_schema=False)

_PAUSE = 0.5
"""Seconds that a wrong token costs."""


@router.get(LOGIN)
def ask(request: Request, target: Annotated[str, Query(alias="next", max_length=4000)] = "/") -> Response:
    """Ask for the token."""
    return login_page(request, target=_ours(target), failed=False)


@router.post(LOGIN)
async def give(
    request: Request,
    state: StateOf,
    token: Annotated[str, Form(max_length=1000)] = "",
    target: Annotated[str, Form(alias="next", max_length=4000)] = "/",
) -> Response:
    """Take the token, and give a session for it."""
    settings = state.settings
    if settings.token and not hmac.compare_digest(token.strip().encode(), settings.token.encode()):
        await asyncio.sleep(_PAUSE)
        return login_page(request, target=_ours(target), failed=True)
    response = RedirectResponse(_ours(target), 303)
    Sessions(settings.token).begin(response, secure=request.url.scheme == "https")
    return response


@router.post("/logout")
def leave() -> Response:
    """End the session of this browser."""
    response = RedirectResponse(LOGIN, 303)
    response.delete_cookie(COOKIE)
    return response


def _ours(target: str) -> str:
    """A path of this server, whatever was asked for."""
    return target if target.startswith("/") and target[1:2] not in ("/", "\\") else "/"
