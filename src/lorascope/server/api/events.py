"""The stream of events: the work, changes of the library, adapters that were measured."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncGenerator
from itertools import count
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from lorascope.server.api.openapi import EVENTS, errors
from lorascope.server.problems import Problem
from lorascope.server.shared_state import SharedState, StateOf

router = APIRouter(tags=["work"])

_APART = 0.25
"""Seconds between two checks for changes of the work; a page needs no more."""
_LIBRARY = 4
"""Every so many checks the library is asked, which other processes may change, too."""
_HEARTBEAT = 60
_MOST_LISTENERS = 64
LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=40, description="The last id; sends what came since.")]


@router.get("/events", response_class=StreamingResponse, responses=errors(429) | EVENTS)
async def events(state: StateOf, last: LastId = "") -> Response:
    """The state of the work, changes of the library and adapters that were measured, as server-sent events."""
    if len(state.work.listeners) >= _MOST_LISTENERS:
        problem = f"{_MOST_LISTENERS} pages are listening already"
        raise Problem(429, "queue-full", problem, "close some of them", wait=60)
    stream = _stream(state, _since(last))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _since(last: str) -> float:
    """The time that an id names; now, where there is none."""
    try:
        since = float(last)
    except ValueError:
        return time.time()
    return since if math.isfinite(since) else time.time()


async def _stream(state: SharedState, since: float) -> AsyncGenerator[str]:
    listeners, revision = state.work.listeners, -1
    with listeners.listening() as changed:
        for number in count():
            if listeners.closed or state.ending():
                return
            if changed.is_set() or number == 0:
                changed.clear()
                yield _event("work", await run_in_threadpool(state.work.snapshot))
            if number % _LIBRARY == 0:
                latest, measured = await run_in_threadpool(_news, state, revision, since)
                if latest != revision:
                    revision = latest
                    yield _event("changed", {"revision": revision})
                for since, row in measured:
                    yield _event("measured", row, f"{since!r}")
            if number % _HEARTBEAT == _HEARTBEAT - 1:
                yield ": still here\n\n"  # a closed page is noticed when sending fails
            await asyncio.sleep(_APART)


def _news(state: SharedState, revision: int, since: float) -> tuple[int, list[tuple[float, dict[str, Any]]]]:
    """The library's revision, and what was measured since a time, if it has changed."""
    with state.library() as library:
        latest = library.version()
        if latest == revision:
            return latest, []
        found = [
            (when, {"adapter": key, "name": name, "protocol": str(one.protocol), "precision": label, "cells": cells})
            for one in state.protocols(library)
            for when, key, name, label, cells in library.signatures.since(one.protocol.digest, since)
        ]
    return latest, sorted(found, key=lambda row: row[0])


def _event(name: str, data: dict[str, Any], number: str = "") -> str:
    line = f"id: {number}\n" if number else ""
    return f"event: {name}\n{line}data: {json.dumps(data)}\n\n"
