"""A user's own prompt, without and with some adapters."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.report.words import is_mature
from lorascope.server.pages.cards import tag_weight
from lorascope.server.pages.render import page
from lorascope.server.problems import Problem
from lorascope.server.shared_state import StateOf
from lorascope.server.tries import TryRequest

router = APIRouter(include_in_schema=False)

Under = Annotated[str, Query(max_length=200)]
"""The Protocol that links lead to; the active one if empty."""


@router.post("/tries")
def start(
    state: StateOf,
    a: Annotated[list[str], Form()],
    own_weight: Annotated[tuple[str, ...], Form()] = (),
    prompt: Annotated[str, Form()] = "",
    weight: Annotated[float | None, Form()] = None,
    seed: Annotated[int | None, Form()] = None,
    mode: Annotated[Literal["alone", "several", "together"], Form()] = "alone",
    width: Annotated[int | None, Form()] = None,
    height: Annotated[int | None, Form()] = None,
    negative_prompt: Annotated[str, Form()] = "",
    protocol: Under = "",
) -> Response:
    """Start a try, and go to its page, which stays under the Protocol that the adapters were found under."""
    under = f"?{urlencode({'protocol': protocol})}" if protocol else ""
    asked = TryRequest(
        prompt=prompt,
        adapters=a,
        weights=[_number(text) for text in own_weight],
        weight=weight,
        seed=seed,
        several=mode == "several",
        together=mode == "together",
        width=width,
        height=height,
        negative_prompt=negative_prompt.strip() or None,
    )
    started = state.start_try(asked)
    return RedirectResponse(f"/tries/{started['id']}{under}", 303)


def _number(text: str) -> float | None:
    """A weight; None where the field is empty.

    Raises:
        Problem: it is no number.
    """
    try:
        return float(text) if text else None
    except ValueError as error:
        raise Problem(422, "bad-value", f"weights has {text[:40]!r}", "give a number", "weights") from error


@router.get("/tries/{number}")
def show(request: Request, state: StateOf, number: str, protocol: Under = "") -> Response:
    """What is rendered so far; the part for htmx polls until all is done."""
    found = state.tries.get(number)
    with state.library() as library:
        adapters = library.adapters.get(one["key"] for column in found["columns"] for one in column["adapters"])
        measured = state.protocol(library, protocol).protocol
    mature = {key for key, adapter in adapters.items() if is_mature(adapter)}
    tags = {key: tag_weight(adapter) for key, adapter in adapters.items()}
    return page(
        request, "try.html.jinja", found=found, chosen=protocol, mature_keys=mature, tags=tags,
        measured_at=measured.scale, tiny=(found["width"] or measured.width) <= 128,
    )  # fmt: skip
