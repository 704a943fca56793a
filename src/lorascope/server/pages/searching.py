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
from lorascope.server.asking import Found
from lorascope.server.pages.address import PAGE, Address
from lorascope.server.pages.cards import Card, Cells, card, card_of_hit, telling_cells
from lorascope.server.pages.render import is_part, page
from lorascope.server.problems import Problem, problem_of
from lorascope.server.state import State, StateOf

router = APIRouter(include_in_schema=False)

_VAGUE = 0.1
"""Below this Consistency of its shifts, a query means different things in different prompts."""


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
            first = state.search(address.model_copy(update={"page": 1, "lane": 1}).ask())
            context["address"] = address = _within(first, address)
            found = state.search(address.ask())
            context["results"] = _results(library, found, first, address)
    except (LorascopeError, Problem) as error:
        context["problem"] = error if isinstance(error, Problem) else problem_of(error)
    problem = context["problem"]
    status, headers = (problem.status, problem.headers) if problem else (200, {})
    template = "results.html.jinja"
    if not is_part(request):
        template = "search.html.jinja"
        context |= {"overview": overview, "sliders": _sliders(state, address), "examples": QUERIES}
        context["picture_types"] = ",".join(f"image/{name.lower()}" for name in FORMATS)
    answer = page(request, template, status=status, **context)
    answer.headers.update(headers)
    return answer


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


def empty_page(request: Request, state: State) -> Response:
    """What to do while nothing is measured."""
    running, library = state.work.snapshot()["run"], state.settings.library
    return page(request, "empty.html.jinja", folders=state.folders(), running=running, library=library)


def _results(library: Library, found: Found, first: Found, address: Address) -> Results:
    """``first`` is the first page of the answer, whose hits choose the cells for all pages."""
    answer, asked = found.answer, not address.browsing
    keys = [hit.adapter.key for hit in (*answer.hits, *answer.hidden)]
    cells = Cells.of(library, found.stored, keys)
    best = [hit.adapter.key for hit in first.answer.hits]
    places = telling_cells(library, best, found.vector, cells)
    cards = [
        card_of_hit(hit, cells.pairs(hit.adapter.key, places), found.stored.preset.thresholds, asked=asked)
        for hit in (*answer.hits, *answer.hidden)
    ]
    return Results(
        cards=cards[: len(answer.hits)],
        hidden=cards[len(answer.hits) :],
        hidden_line=hidden_line(answer),
        told=_told(found, asked=asked),
        hint=_hint(found, asked=asked),
        ways_out=_ways_out(found),
        last_page=_pages(found.total),
        last_lane=_pages(_left_out(found)),
        next_page=min(PAGE, found.total - PAGE * address.page),
        next_lane=min(PAGE, _left_out(found) - PAGE * address.lane),
        tiny=cells.tiny,
        size=_size(cells),
    )


def _left_out(found: Found) -> int:
    return found.answer.too_strong + found.answer.too_unstable


def _pages(hits: int) -> int:
    return max(1, -(-hits // PAGE))


def _within(found: Found, address: Address) -> Address:
    """The same, or the last page where it names one beyond: there may have been more when somebody kept it."""
    page, lane = min(address.page, _pages(found.total)), min(address.lane, _pages(_left_out(found)))
    return address.model_copy(update={"page": page, "lane": lane})


def _size(cells: Cells) -> tuple[int, int]:
    protocol = cells.protocol.protocol
    return protocol.width, protocol.height


def _told(found: Found, *, asked: bool) -> str:
    """What was found, in one sentence. It is read out when it changes."""
    count = f"{found.total} adapter{'' if found.total == 1 else 's'}"
    if not found.total:
        return "No adapter passes these filters." if _ways_out(found) else "There is no other adapter."
    return f"{count}, nearest first." if asked else f"{count}, the strongest first."


def _ways_out(found: Found) -> str:
    """What may bring hits where there are none: only filters that are set, and thresholds that hide something."""
    ways = (
        (found.answer.too_strong, "allow more Strength"),
        (found.answer.too_unstable, "allow less Consistency"),
        (found.ask.family, "choose another base"),
        (found.ask.folder, "choose another folder"),
    )
    return " or ".join(way for so, way in ways if so)


def _hint(found: Found, *, asked: bool) -> str:
    if not asked or not found.total:
        return ""
    consistency = found.answer.consistency
    vague = (
        "These words mean different things in different prompts; a longer phrase may find more."
        if consistency is not None and consistency < _VAGUE
        else ""
    )
    nothing = NOTHING if found.ask.offset == 0 and not found.answer.found else ""
    return " ".join(filter(None, (nothing, vague)))


def _names(state: State, address: Address) -> dict[str, str]:
    """The names of the adapters that serve as examples."""
    with state.library() as library:
        return {
            key: adapter.name
            for key, adapter in library.adapters.get(example.key for _, example in address.examples).items()
        }


def _sliders(state: State, address: Address) -> dict[str, dict[str, float]]:
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
