"""The search page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
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
from lorascope.server.views import is_mature

router = APIRouter(include_in_schema=False)

_NEAREST = 6
"""How many hits are shown where none is a clear or likely match."""
_CALLED = 8
"""How many adapters are shown that are called what was asked for."""
_SHORTEST_NAME = 2


@dataclass(frozen=True)
class Results:
    """One page of an answer, prepared for the template.

    ``weaker`` holds the hits of the first page that are folded; ``next_page`` and ``next_lane`` say how many hits come
    after the page.
    """

    cards: list[Card]
    weaker: list[Card]
    weaker_line: str
    hidden: list[Card]
    hidden_line: str
    hidden_matches: str
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
    context["called"] = _called(state, address)
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
        folders = folder_tree((*overview.folders, address.folder))
        context |= {"overview": overview, "folders": folders, "sliders": _sliders(state, address), "examples": QUERIES}
        context["picture_types"] = ",".join(f"image/{name.lower()}" for name in FORMATS)
    response = page(request, template, status=status, **context)
    response.headers.update(headers)
    return response


@router.get("/favourites")
def favourites(
    request: Request, state: StateOf, a: Annotated[tuple[str, ...], Query()] = (), protocol: str = ""
) -> Response:
    """A user's favourites; the list is in the address, so it can be shared."""
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


def folder_tree(paths: Iterable[str]) -> list[tuple[str, str]]:
    r"""Each folder with a short name, indented below the folder that holds it.

    >>> folder_tree(["/loras", "/loras/style", "/loras/style/old"])
    [('/loras', 'loras'), ('/loras/style', '\u2003style'), ('/loras/style/old', '\u2003\u2003old')]
    """
    rows: list[tuple[str, str]] = []
    above: list[PurePath] = []
    for text in sorted({path for path in paths if path}, key=PurePath):
        path = PurePath(text)
        while above and not path.is_relative_to(above[-1]):
            above.pop()
        name = str(path.relative_to(above[-1])) if above else path.name or str(path)
        rows.append((text, "\u2003" * len(above) + name))
        above.append(path)
    names = Counter(name for _, name in rows)
    return [(path, path if names[name] > 1 and not name.startswith("\u2003") else name) for path, name in rows]


def _results(library: Library, answer: Answer, first: Answer, address: Address) -> Results:
    """``first`` is the first page of the answer, whose hits choose the cells for all pages."""
    asked = not answer.request.browsing
    keys = [hit.adapter.key for hit in (*answer.hits, *answer.hidden)]
    cells = Cells.of(library, answer.stored, keys)
    best = sorted((*first.hits, *first.hidden), key=lambda hit: -hit.score)  # thresholds do not change the scenes
    places = telling_cells(library, [hit.adapter.key for hit in best], answer.vector, cells)
    cards = [
        card_of_hit(hit, cells.pairs(hit.adapter.key, places), answer.stored.preset.thresholds, asked=asked)
        for hit in (*answer.hits, *answer.hidden)
    ]
    shown, weaker = _folded(answer, cards[: len(answer.hits)])
    return Results(
        cards=shown,
        weaker=weaker,
        weaker_line=_weaker_line(answer.total - len(shown)) if weaker else "",
        hidden_matches=_hidden_matches(first),
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


def _folded(answer: Answer, cards: list[Card]) -> tuple[list[Card], list[Card]]:
    """The cards that matter, and the rest. Of the first page, clear and likely matches matter, or the nearest few.

    A person who goes on to further pages, or asks for something whose clarity is unknown, sees all of them.
    """
    if answer.request.offset or any(hit.clarity is None for hit in answer.hits):
        return cards, []
    order = {"clear": 0, "likely": 1}
    ranked = sorted((order[hit.clarity], place) for place, hit in enumerate(answer.hits) if hit.clarity in order)
    chosen = [place for _, place in ranked] or list(range(min(_NEAREST, len(cards))))
    return [cards[place] for place in chosen], [one for place, one in enumerate(cards) if place not in chosen]


def _weaker_line(count: int) -> str:
    return f"{count} weaker match{'' if count == 1 else 'es'}"


def _hidden_matches(first: Answer) -> str:
    """``2 clear matches are hidden``, else the likely ones, or ""."""
    for clarity in ("clear", "likely"):
        count = sum(hit.clarity == clarity for hit in first.hidden)
        if count:
            more = " or more" if count == PAGE else ""
            return f"{count}{more} {clarity} match{' is' if count == 1 else 'es are'} hidden"
    return ""


def _called(state: SharedState, address: Address) -> dict[str, Any] | None:
    """Adapters whose name, file, title or path contains the words that are asked for; None if there are none."""
    text = address.q.strip()
    if len(text) < _SHORTEST_NAME or address.page > 1:
        return None
    with state.library() as library:
        keys = library.adapters.called(text, _CALLED + 1)
        if not keys:
            return None
        adapters = library.adapters.get(keys)
        cells = Cells.of(library, state.protocol(library, address.protocol), keys)
    rows = [
        (key, adapters[key].name, is_mature(adapters[key]), cells.pairs(key)[:1]) for key in keys if key in adapters
    ]
    return {"text": text, "rows": rows[:_CALLED], "more": len(rows) > _CALLED, "tiny": cells.tiny, "size": _size(cells)}


def _pages(hits: int) -> int:
    return max(1, -(-hits // PAGE))


def _within(answer: Answer, address: Address) -> Address:
    """The address, with the last page in place of one beyond it: a bookmark may be older than the library."""
    page, lane = min(address.page, _pages(answer.total)), min(address.lane, _pages(answer.left_out))
    return address.model_copy(update={"page": page, "lane": lane})


def _size(cells: Cells) -> tuple[int, int]:
    protocol = cells.protocol.protocol
    return protocol.width, protocol.height


def _told(answer: Answer, *, asked: bool) -> str:
    """The number of hits in one sentence, which screen readers announce when it changes."""
    count = f"{answer.total} adapter{'' if answer.total == 1 else 's'}"
    if not answer.total:
        return "No adapter passes these filters." if _ways_out(answer) else "There is no other adapter."
    return f"{count}, nearest first." if asked else f"{count}, the strongest first."


def _ways_out(answer: Answer) -> str:
    """What may bring hits where there are none: filters that are set, and thresholds that hide something."""
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
