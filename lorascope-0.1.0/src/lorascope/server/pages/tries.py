"""A user's own prompt, without and with some adapters."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.server.pages.cards import tag_weight
from lorascope.server.pages.render import page
from lorascope.server.problems import Problem
from lorascope.server.shared_state import StateOf
from lorascope.server.views import is_mature

router = APIRouter(include_in_schema=False)

Under = Annotated[str, Query(max_length=200)]
"""The Protocol that links lead to; the active one if empty."""


@router.post("/tries")
def start(
    state: StateOf,
    a: Annotated[list[str], Form()],
    prompt: Annotated[str, Form()] = "",
    weight: Annotated[float | None, Form()] = None,
    protocol: Under = "",
) -> Response:
    """Start a try, and go to its page, which stays under the Protocol that the adapters were found under."""
    if not prompt.strip():
        raise Problem(422, "bad-value", "the prompt is empty", "write a prompt", "prompt")
    under = f"?{urlencode({'protocol': protocol})}" if protocol else ""
    return RedirectResponse(f"/tries/{state.start_try(prompt, a, weight=weight)['id']}{under}", 303)


@router.get("/tries/{number}")
def show(request: Request, state: StateOf, number: str, protocol: Under = "") -> Response:
    """What is rendered so far; the part for htmx polls until all is done."""
    found = state.tries.get(number)
    with state.library() as library:
        adapters = library.adapters.get(column["key"] for column in found["columns"])
        width = state.protocol(library, protocol).protocol.width
    mature = {key for key, adapter in adapters.items() if is_mature(adapter)}
    tags = {key: tag_weight(adapter) for key, adapter in adapters.items()}
    return page(
        request, "try.html.jinja", found=found, chosen=protocol, mature_keys=mature, tags=tags, tiny=width <= 128
    )
