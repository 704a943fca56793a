"""Folders, runs and tries, and the stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from lorascope.server.api.cache import cached
from lorascope.server.api.openapi import EVENTS, PICTURE, UNCHANGED, errors, errors_of_change
from lorascope.server.api.schemas import NewRun, NewTry, Part
from lorascope.server.api.work_answers import FolderRow, RefusalPage, RunRow, TryRow
from lorascope.server.problems import Problem
from lorascope.server.shared_state import SharedState, StateOf

router = APIRouter(tags=["work"])

Number = Annotated[int, Path(ge=1, le=2**53, description="The number of a run.", examples=[1])]
TryId = Annotated[str, Path(max_length=64, description="The id that POST /tries returned.", examples=["b2xhZGRlcg"])]
ImageNumber = Annotated[int, Path(ge=0, le=100, description="The number in the address of the picture.", examples=[0])]
_APART = 0.25
"""Seconds between two checks for changes; a page needs no more."""
_HEARTBEAT = 60
_SHOWN = 50
_MOST_LISTENERS = 64


@router.get("/folders", response_model=list[FolderRow], responses=errors())
def folders(state: StateOf) -> list[dict[str, Any]]:
    """The folders that may be indexed, with the number of files that are known, left out and new."""
    return state.folders()


@router.get("/refusals", response_model=RefusalPage, responses=errors())
def refusals(state: StateOf, part: Annotated[Part, Query()]) -> dict[str, Any]:
    """Files that were left out, each with its reason."""
    with state.library() as library:
        found = library.refusals.all()
    shown = [vars(refusal) for refusal in found[part.offset : part.offset + part.limit]]
    return {"total": len(found), "offset": part.offset, "limit": part.limit, "refusals": shown}


@router.get("/runs", responses=errors())
def runs(state: StateOf) -> list[RunRow]:
    """The latest 50 runs, the last first."""
    return [RunRow(**run) for run in state.work.runs()[:_SHOWN]]


@router.post("/runs", status_code=202, responses=errors_of_change(404, 409, 429))
def start_run(state: StateOf, asked: NewRun) -> RunRow:
    """Queue a run."""
    return RunRow(**state.work.start(asked.folders, asked.precision, partial=asked.partial))


@router.get("/runs/{number}", responses=errors(404))
def run(state: StateOf, number: Number) -> RunRow:
    """The state of a run."""
    return RunRow(**state.work.run(number))


@router.post("/runs/{number}/pause", status_code=202, responses=errors_of_change(404, 409))
def pause(state: StateOf, number: Number) -> RunRow:
    """End a run after its current block, and free the models. It can be resumed."""
    return RunRow(**state.work.end(number, "pause"))


@router.post("/runs/{number}/resume", status_code=202, responses=errors_of_change(404, 409, 429))
def resume(state: StateOf, number: Number) -> RunRow:
    """Continue a run where it ended."""
    return RunRow(**state.work.resume(number))


@router.post("/runs/{number}/cancel", status_code=202, responses=errors_of_change(404, 409))
def cancel(state: StateOf, number: Number) -> RunRow:
    """End a run after its current block. What it measured is kept."""
    return RunRow(**state.work.end(number, "cancel"))


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=errors(429) | EVENTS,
)
async def events(request: Request, state: StateOf) -> Response:
    """The state of the work, now and after every change, as server-sent events."""
    if len(state.work.listeners) >= _MOST_LISTENERS:
        problem = f"{_MOST_LISTENERS} pages are listening already"
        raise Problem(429, "queue-full", problem, "close some of them", wait=60)
    return StreamingResponse(_stream(state), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _stream(state: SharedState) -> AsyncGenerator[str]:
    listeners, quiet = state.work.listeners, None
    with listeners.listening() as changed:
        while not (listeners.closed or state.ending()):
            if changed.is_set() or quiet is None:
                changed.clear()
                snapshot = await run_in_threadpool(state.work.snapshot)
                yield f"event: work\ndata: {json.dumps(snapshot)}\n\n"
                quiet = 0
            elif (quiet := quiet + 1) % _HEARTBEAT == 0:
                yield ": still here\n\n"  # a closed page is noticed when sending fails
            await asyncio.sleep(_APART)


@router.post("/tries", status_code=202, responses=errors_of_change(404, 429))
def start_try(state: StateOf, asked: NewTry) -> TryRow:
    """Render a prompt without and with some adapters, ahead of every run."""
    return TryRow(**state.start_try(asked.prompt, asked.adapters, asked.seeds, asked.weight))


@router.get("/tries/{name}", responses=errors(404))
def get_try(state: StateOf, name: TryId) -> TryRow:
    """The state of a try. Pictures can be fetched as they appear."""
    return TryRow(**state.tries.get(name))


@router.get("/tries/{name}/images/{number}", response_class=Response, responses=errors(404) | PICTURE | UNCHANGED)
def try_image(request: Request, state: StateOf, name: TryId, number: ImageNumber) -> Response:
    """One picture of a try, WebP."""
    return cached(request, state.tries.image(name, number), "image/webp")
