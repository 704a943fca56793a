"""The login page, where people give the token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.server.access import COOKIE, Access
from lorascope.server.guard import LOGIN, address_of
from lorascope.server.pages import login_page

router = APIRouter(include_in_schema=False)


@router.get(LOGIN)
def form(request: Request, target: Annotated[str, Query(alias="next", max_length=4000)] = "/") -> Response:
    """Ask for the token."""
    return login_page(request, target=_local(target), failed=False)


@router.post(LOGIN)
async def log_in(
    request: Request,
    token: Annotated[str, Form(max_length=1000)] = "",
    target: Annotated[str, Form(alias="next", max_length=4000)] = "/",
) -> Response:
    """Check the token and begin a session."""
    access: Access = request.app.state.access
    if access.required and not access.accepts(token.strip().encode()):
        await access.delay(address_of(request))
        return login_page(request, target=_local(target), failed=True)
    response = RedirectResponse(_local(target), 303)
    access.begin_session(response, secure=request.scope["scheme"] == "https")
    return response


@router.post("/logout")
def log_out() -> Response:
    """End the session of this browser."""
    response = RedirectResponse(LOGIN, 303)
    response.delete_cookie(COOKIE)
    return response


def _local(target: str) -> str:
    """A path on this server, whatever was asked for."""
    return target if target.startswith("/") and target[1:2] not in ("/", "\\") else "/"
