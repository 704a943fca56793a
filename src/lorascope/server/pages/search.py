"""The search page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from lorascope.encoders.pictures import FORMATS
from lorascope.errors import LorascopeError
from lorascope.library import Library
from lorascope.miniature.demo import QUERIES
from lorascope.report.words import NOTHING, hidden_line
from lorascope.search import Answer
from lorascope.server.pages.address import PAGE, Address
from lorascope.server.pages.cards import Card, Cells, card, card_of_hit, telling_cells
from lorascope.server.pages.render import is_part, page
from lorascope.server.problems import Problem, problem_of
from lorascope.server.shared_state import SharedState, StateOf

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Results:
    """One page of an answer, ready to be shown; ``next_page`` and ``next_lane`` say how many hits come after it."""

    cards: list[Card]
    hidden: list[Card]
    hidden_line: str
    told: str
    hint: str
    ways_out: str
    last_page: int
    last_lane: int
    next_page: int
    next_lane: int
    tiny: bool
    size: tuple[int, int]


@router.get("/")
def search(request: Request, state: StateOf, address: Annotated[Address, Query()]) -> Response:
    """Find adapters; htmx asks for the results alone."""
    overview = state.overview()
    if overview.empty:
        return empty_page(request, state)
    context: dict[str, Any] = {"address": address, "results": None, "problem": None}
    context["running"] = state.work.snapshot()["run"]
    context["names"] = _names(state, address)
    try:
        with state.library() as library:
            start = address.model_copy(update={"page": 1, "lane": 1})
            first = state.search(start.request(), address.protocol).answer
            context["address"] = address = _within(first, address)
            answer = state.search(address.request(), address.protocol).answer
            context["results"] = _results(library, answer, first, address)
    except (LorascopeError, Problem) as error:
        context["problem"] = error if isinstance(error, Problem) else problem_of(error)
    problem = context["problem"]
    status, headers = (problem.status, problem.headers) if problem else (200, {})
    template = "results.html.jinja"
    if not is_part(request):
        template = "search.html.jinja"
        context |= {"overview": overview, "sliders": _sliders(state, address), "examples": QUERIES}
        context["picture_types"] = ",".join(f"image/{name.lower()}" for name in FORMATS)
    response = page(request, template, status=status, **context)
    response.headers.update(headers)
    return response


@router.get("/favourites")
def favourites(
    request: Request, state: StateOf, a: Annotated[tuple[str, ...], Query()] = (), protocol: str = ""
) -> Response:
    """The adapters that a person keeps; the list is in the address, so it can be shared."""
    with state.library() as library:
        stored = state.protocol(library, protocol)
        adapters = library.adapters.get(a[:500])
        signatures = library.signatures.get(stored.protocol.digest, adapters)
        cells = Cells.of(library, stored, signatures)
        places = telling_cells(library, list(signatures), None, cells)
        cards = [
            card(adapters[key], signatures[key], cells.pairs(key, places), stored.preset.thresholds)
            for key in a
            if key in signatures
        ]
    address = Address(protocol=protocol)
    return page(request, "favourites.html.jinja", cards_=cards, tiny=cells.tiny, size=_size(cells), address=address)


def empty_page(request: Request, state: SharedState) -> Response:
    """What to do while nothing is measured."""
    running, library = state.work.snapshot()["run"], state.settings.library
    return page(request, "empty.html.jinja", folders=state.folders(), running=running, library=library)


def _results(library: Library, answer: Answer, first: Answer, address: Address) -> Results:
    """``first`` is the first page of the answer, whose hits choose the cells for all pages."""
    asked = not answer.request.browsing
    keys = [hit.adapter.key for hit in (*answer.hits, *answer.hidden)]
    cells = Cells.of(library, answer.stored, keys)
    best = [hit.adapter.key for hit in first.hits]
    places = telling_cells(library, best, answer.vector, cells)
    cards = [
        card_of_hit(hit, cells.pairs(hit.adapter.key, places), answer.stored.preset.thresholds, asked=asked)
        for hit in (*answer.hits, *answer.hidden)
    ]
    return Results(
        cards=cards[: len(answer.hits)],
        hidden=cards[len(answer.hits) :],
        hidden_line=hidden_line(answer),
        told=_told(answer, asked=asked),
        hint=_hint(answer, asked=asked),
        ways_out=_ways_out(answer),
        last_page=_pages(answer.total),
        last_lane=_pages(answer.left_out),
        next_page=min(PAGE, answer.total - PAGE * address.page),
        next_lane=min(PAGE, answer.left_out - PAGE * address.lane),
        tiny=cells.tiny,
        size=_size(cells),
    )


def _pages(hits: int) -> int:
    return max(1, -(-hits // PAGE))


def _within(answer: Answer, address: Address) -> Address:
    """The same, or the last page where it names one beyond: there may have been more when somebody kept it."""
    page, lane = min(address.page, _pages(answer.total)), min(address.lane, _pages(answer.left_out))
    return address.model_copy(update={"page": page, "lane": lane})


def _size(cells: Cells) -> tuple[int, int]:
    protocol = cells.protocol.protocol
    return protocol.width, protocol.height


def _told(answer: Answer, *, asked: bool) -> str:
    """What was found, in one sentence. It is read out when it changes."""
    count = f"{answer.total} adapter{'' if answer.total == 1 else 's'}"
    if not answer.total:
        return "No adapter passes these filters." if _ways_out(answer) else "There is no other adapter."
    return f"{count}, nearest first." if asked else f"{count}, the strongest first."


def _ways_out(answer: Answer) -> str:
    """What may bring hits where there are none: only filters that are set, and thresholds that hide something."""
    ways = (
        (answer.too_strong, "allow more Strength"),
        (answer.too_inconsistent, "allow less Consistency"),
        (answer.filters.family, "choose another base"),
        (answer.filters.folder, "choose another folder"),
    )
    return " or ".join(way for so, way in ways if so)


def _hint(answer: Answer, *, asked: bool) -> str:
    if not asked or not answer.total:
        return ""
    return NOTHING if answer.request.offset == 0 and not answer.matched else ""


def _names(state: SharedState, address: Address) -> dict[str, str]:
    """The names of the adapters that serve as examples."""
    with state.library() as library:
        return {
            key: adapter.name
            for key, adapter in library.adapters.get(example.name for _, example in address.examples).items()
        }


def _sliders(state: SharedState, address: Address) -> dict[str, dict[str, float]]:
    """Range, step, default and value of each threshold's slider, from what the library holds."""
    with state.library() as library:
        searcher = state.searcher(library, address.protocol)
    matrix, thresholds = searcher.matrix, searcher.thresholds
    strongest = max((float(value) for value in matrix.strength if value == value), default=1.0)
    steadiest = max((float(value) for value in matrix.consistency if value == value), default=1.0)
    top, steady = -(-strongest * 10 // 1) / 10, -(-steadiest * 100 // 1) / 100
    strength, consistency = min(thresholds.strength_max, top), max(thresholds.consistency_min, 0.0)
    chosen_s, chosen_c = address.max_strength, address.min_consistency
    return {
        "strength": {"end": top, "default": strength, "value": strength if chosen_s is None else min(chosen_s, top)},
        "consistency": {
            "end": steady,
            "default": consistency,
            "value": consistency if chosen_c is None else max(chosen_c, 0.0),
        },
    }
