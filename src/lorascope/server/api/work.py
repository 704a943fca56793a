"""Folders, runs and tries."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from lorascope.server.api.cache import cached
from lorascope.server.api.openapi import PICTURE, UNCHANGED, errors, errors_of_change
from lorascope.server.api.schemas import NewRun, NewTry, Part
from lorascope.server.api.work_answers import FolderRow, RefusalPage, RunRow, TryRow
from lorascope.server.shared_state import StateOf
from lorascope.server.tries import TryRequest

router = APIRouter(tags=["work"])

Number = Annotated[int, Path(ge=1, le=2**53, description="The number of a run.", examples=[1])]
TryId = Annotated[str, Path(max_length=64, description="The id that POST /tries returned.", examples=["b2xhZGRlcg"])]
ImageNumber = Annotated[int, Path(ge=0, le=100, description="The number in the address of the picture.", examples=[0])]
_SHOWN = 50


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
    """Queue a run over folders, or over files in them."""
    return RunRow(**state.work.start(asked.folders, asked.precision, files=asked.files, partial=asked.partial))


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


@router.post("/tries", status_code=202, responses=errors_of_change(404, 429))
def start_try(state: StateOf, asked: NewTry) -> TryRow:
    """Render a prompt without and with some adapters, each alone or all together, ahead of every run."""
    return TryRow(**state.start_try(TryRequest(**asked.model_dump())))


@router.get("/tries/{name}", responses=errors(404))
def get_try(state: StateOf, name: TryId) -> TryRow:
    """The state of a try. Pictures can be fetched as they appear."""
    return TryRow(**state.tries.get(name))


@router.get("/tries/{name}/images/{number}", response_class=Response, responses=errors(404) | PICTURE | UNCHANGED)
def try_image(request: Request, state: StateOf, name: TryId, number: ImageNumber) -> Response:
    """One picture of a try, WebP."""
    return cached(request, state.tries.image(name, number), "image/webp")
