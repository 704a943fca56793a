"""A person's own prompt, without and with some adapters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.server.pages.cards import tag_weight
from lorascope.server.pages.render import page
from lorascope.server.state import StateOf
from lorascope.server.views import is_mature

router = APIRouter(include_in_schema=False)


@router.post("/tries")
def start(state: StateOf, prompt: Annotated[str, Form()], a: Annotated[list[str], Form()]) -> Response:
    """Have it rendered, ahead of any run."""
    return RedirectResponse(f"/tries/{state.start_try(prompt, a)['id']}", 303)


@router.get("/tries/{number}")
def show(request: Request, state: StateOf, number: str) -> Response:
    """What is rendered so far; a part of it asks again until all is done."""
    found = state.tries.get(number)
    with state.library() as library:
        adapters = library.adapters(column["key"] for column in found["columns"])
        width = library.protocol().protocol.width
    mature = {key for key, adapter in adapters.items() if is_mature(adapter)}
    tags = {key: tag_weight(adapter) for key, adapter in adapters.items()}
    return page(request, "try.html.jinja", found=found, mature_keys=mature, tags=tags, tiny=width <= 128)
