"""The work page: folders, runs, and files that were left out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.precision import PRECISIONS
from lorascope.report.words import duration
from lorascope.search import Request as SearchRequest
from lorascope.server.pages.address import Address
from lorascope.server.pages.cards import Cells, card_of_hit
from lorascope.server.pages.render import page
from lorascope.server.readiness import chosen_preset, missing_models
from lorascope.server.shared_state import SharedState, StateOf

router = APIRouter(include_in_schema=False)

_REFUSED_SHOWN = 200
_RUNS_SHOWN = 20
_WALL = 12
_STATES = {
    "waiting": "waits for its turn",
    "loading": "loading the models",
    "running": "measuring",
    "pausing": "stops after this block",
    "cancelling": "stops after this block",
    "paused": "paused",
    "done": "done",
    "cancelled": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
    "elsewhere": "in another process",
}


@router.get("/work")
def work(request: Request, state: StateOf) -> Response:
    """Folders, runs and files that were left out."""
    progress = _progress(state)  # first: the page listens for what changes afterwards
    with state.library() as library:
        refusals = library.refusals.all()
        missing = missing_models(chosen_preset(library, state.settings.preset))
    gone = {one.path for one in refusals if not Path(one.path).exists()}
    refusals = [one for one in refusals if one.path not in gone]
    return page(
        request,
        "work.html.jinja",
        folders=state.folders(),
        refusals=refusals[:_REFUSED_SHOWN],
        refused=len(refusals),
        gone=len(gone),
        missing=missing,
        download=state.settings.download,
        finished=finished_cards(state) if progress["run"] else None,
        runs=[_shown(run) for run in state.work.runs()[:_RUNS_SHOWN]],
        precisions=list(PRECISIONS),
        library=state.settings.library,
        **progress,
    )


@router.get("/work/progress")
def steps(request: Request, state: StateOf) -> Response:
    """The part that changes while a run continues."""
    return page(request, "progress.html.jinja", **_progress(state))


@router.get("/work/finished")
def finished(request: Request, state: StateOf) -> Response:
    """The cards of what was measured last."""
    running = state.work.snapshot()["run"]
    return page(request, "finished.html.jinja", finished=finished_cards(state) if running else None)


def finished_cards(state: SharedState) -> dict[str, Any] | None:
    """The latest cards, for a wall that grows while a run continues; None where nothing is measured."""
    if state.overview().empty:
        return None
    answer = state.search(SearchRequest(order="newest", everything=True, hidden=False, limit=_WALL)).answer
    with state.library() as library:
        cells = Cells.of(library, answer.stored, [hit.adapter.key for hit in answer.hits])
    words = state.words(answer.stored)
    cards = [card_of_hit(hit, cells, None, asked=False, words=words) for hit in answer.hits]
    return {"cards": cards, "tiny": cells.tiny, "address": Address()}


@router.post("/work/runs")
def start(
    state: StateOf,
    precision: Annotated[str, Form()],
    folder: Annotated[tuple[int, ...], Form()] = (),
    file: Annotated[tuple[str, ...], Form()] = (),
) -> Response:
    """Begin a run over files, or the folders that are ticked; a browser that sends none of them does not mean all."""
    state.work.start(folder, precision, files=file)
    return RedirectResponse("/work", 303)


@router.post("/work/runs/{number}/{what}")
def steer(state: StateOf, number: int, what: Literal["pause", "resume", "cancel"]) -> Response:
    """Pause, resume or stop a run."""
    if what == "resume":
        state.work.resume(number)
    else:
        state.work.end(number, what)
    return RedirectResponse("/work", 303)


def _progress(state: SharedState) -> dict[str, Any]:
    snapshot = state.work.snapshot()
    run = snapshot["run"]
    latest = None if run else next(iter(state.work.runs()), None)
    return {
        "run": _shown(run) if run else None,
        "latest": _shown(latest) if latest else None,
        "waiting": [_shown(waiting) for waiting in snapshot["waiting"]],
        "last": snapshot["last"],
    }


def _shown(run: dict[str, Any]) -> dict[str, Any]:
    """A run with words beside its figures."""
    total, left = run["total"], run["seconds_left"]
    return run | {
        "told": _STATES[run["state"]],
        "share": round(100 * run["cells"] / total) if total else 0,
        "left": duration(float(left)) if left is not None else "",
        "results": _results_address(run["folders"]),
        "began": time.strftime("%Y-%m-%d %H:%M", time.localtime(run["started"])) if run["started"] else "",
    }


def _results_address(folders: list[str]) -> str:
    """The search over what a run measured: its folder, or the newest of the library if there are several, or files."""
    if len(folders) == 1 and Path(folders[0]).is_dir():
        return Address(folder=folders[0]).url()
    return Address(sort="newest").url()
