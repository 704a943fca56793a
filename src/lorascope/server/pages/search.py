"""The search page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from lorascope.analysis import FLAGS
from lorascope.encoders.pictures import FORMATS
from lorascope.errors import LorascopeError, ModelError
from lorascope.families import title_of
from lorascope.library import Library
from lorascope.miniature.demo import QUERIES
from lorascope.report.words import CONSISTENCIES, NOTHING, STRENGTHS, hidden_line, is_mature
from lorascope.search import Answer
from lorascope.server.analyses import Words
from lorascope.server.pages.address import PAGE, Address
from lorascope.server.pages.cards import Card, Cells, card_of_hit, telling_cell
from lorascope.server.pages.choice import chosen_keys, flag_label
from lorascope.server.pages.render import is_part, page
from lorascope.server.pages.setup import found_tools
from lorascope.server.problems import Problem, problem_of
from lorascope.server.readiness import chosen_preset, missing_models
from lorascope.server.shared_state import Overview, SharedState, StateOf

router = APIRouter(include_in_schema=False)

_NEAREST = 6
"""How many hits are shown where none is a clear or likely match."""
_CALLED = 8
"""How many adapters are shown that are called what was asked for."""
_SHORTEST_NAME = 2
_WORDS = 200
"""How many of the words that describe most adapters can be chosen."""
_ORDERS = (
    ("strongest", "the strongest first"), ("weakest", "the gentlest first"), ("steadiest", "the most reliable first"),
    ("name", "by name"), ("newest", "the newest first"),
)  # fmt: skip


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
    total: int
    pending: bool
    tiny: bool


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
        context["address"], context["results"] = _answered(state, address)
    except (LorascopeError, Problem) as error:
        context["problem"] = error if isinstance(error, Problem) else problem_of(error)
        if isinstance(error, ModelError):
            _, context["results"] = _answered(state, _without_encoder(state, address))
    problem = context["problem"]
    status, headers = (problem.status, problem.headers) if problem else (200, {})
    template = "results.html.jinja"
    context["flags"] = {flag: flag_label(flag) for flag in FLAGS}
    if not is_part(request):
        template = "search.html.jinja"
        context |= _choices(state, overview, address)
    response = page(request, template, status=status, **context)
    response.headers.update(headers)
    return response


def _choices(state: SharedState, overview: Overview, address: Address) -> dict[str, Any]:
    """What the page offers to choose from."""
    with state.library() as library:
        stored = state.protocol(library, address.protocol)
        scenes = Cells.of(library, stored, ()).scenes()
    words = [(phrase, f"{phrase} ({count})") for phrase, count in state.words(stored).counts[:_WORDS]]
    return {
        "overview": overview,
        "folders": folder_tree((*overview.folders, address.folder)),
        "bases": _bases(overview),
        "words": words,
        "sorts": _ORDERS,
        "scenes": scenes,
        "sliders": _sliders(state, address),
        "examples": QUERIES,
        "picture_types": ",".join(f"image/{name.lower()}" for name in FORMATS),
    }


def _bases(overview: Overview) -> list[tuple[str, str]]:
    """Each base family, and the lineages within it that adapters claim."""
    found: list[tuple[str, str]] = []
    for family in overview.families:
        found.append((family, title_of(family)))
        kinds = sorted({kind for kind in overview.lineages.values() if kind.startswith(f"{family}/")})
        found += [(kind, f"\u2003{kind.partition('/')[2]}") for kind in kinds]
    return found


def _answered(state: SharedState, address: Address) -> tuple[Address, Results]:
    """What an address asks for. The address comes back with the last pages in place of those beyond them.

    Raises:
        Problem: a filter names what does not exist.
        LorascopeError: the query cannot be read, or its encoder is not on this disk.
    """
    with state.library() as library:
        only = chosen_keys(state, library, address)
        start = address.model_copy(update={"page": 1, "lane": 1})
        first = state.search(start.request(only), address.protocol).answer
        address = _within(first, address)
        answer = state.search(address.request(only), address.protocol).answer
        return address, _results(library, answer, first, address, state.words(answer.stored))


def _without_encoder(state: SharedState, address: Address) -> Address:
    """What can be answered where words cannot be encoded: those that are known as a description, or the library."""
    with state.library() as library:
        words = state.words(state.protocol(library, address.protocol))
    asked = address.q.strip().casefold()
    known = tuple(phrase for phrase, _ in words.counts if phrase.casefold() == asked)
    return address.model_copy(update={"q": "", "does": known or address.does, "image": (), "page": 1})


def empty_page(request: Request, state: SharedState) -> Response:
    """What to do while nothing is measured."""
    with state.library() as library:
        preset = chosen_preset(library, state.settings.preset)
    return page(
        request,
        "empty.html.jinja",
        folders=state.folders(),
        running=state.work.snapshot()["run"],
        library=state.settings.library,
        preset=preset,
        missing=missing_models(preset),
        download=state.settings.download,
        tools=found_tools(state),
    )


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


def _results(library: Library, answer: Answer, first: Answer, address: Address, words: Words) -> Results:
    """``first`` is the first page of the answer, whose hits choose the cell for all pages."""
    asked = not answer.request.browsing
    keys = [hit.adapter.key for hit in (*answer.hits, *answer.hidden)]
    cells = Cells.of(library, answer.stored, keys)
    best = sorted((*first.hits, *first.hidden), key=lambda hit: -hit.score)  # thresholds do not change the scenes
    chosen = int(address.scene) if address.scene.isdecimal() else None
    place = telling_cell(library, [hit.adapter.key for hit in best], answer.vector, cells) if chosen is None else chosen
    cards = [card_of_hit(hit, cells, place, asked=asked, words=words) for hit in (*answer.hits, *answer.hidden)]
    shown, weaker = _folded(answer, cards[: len(answer.hits)])
    return Results(
        cards=shown,
        weaker=weaker,
        weaker_line=_weaker_line(answer.total - len(shown)) if weaker else "",
        hidden_matches=_hidden_matches(first),
        hidden=cards[len(answer.hits) :],
        hidden_line=hidden_line(answer),
        told=_told(answer, address, asked=asked),
        hint=_hint(answer, asked=asked),
        ways_out=_ways_out(answer),
        last_page=_pages(answer.total),
        last_lane=_pages(answer.left_out),
        next_page=min(PAGE, answer.total - PAGE * address.page),
        next_lane=min(PAGE, answer.left_out - PAGE * address.lane),
        total=answer.total,
        pending=words.pending,
        tiny=cells.tiny,
    )


def _folded(answer: Answer, cards: list[Card]) -> tuple[list[Card], list[Card]]:
    """The cards that matter, and the rest. Of the first page, clear and likely matches matter, or the nearest few.

    A person who continues to further pages, or asks for something whose clarity is unknown, sees all of them.
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
    return {"text": text, "rows": rows[:_CALLED], "more": len(rows) > _CALLED, "tiny": cells.tiny}


def _pages(hits: int) -> int:
    return max(1, -(-hits // PAGE))


def _within(answer: Answer, address: Address) -> Address:
    """The address, with the last page in place of one beyond it: a bookmark may be older than the library."""
    page, lane = min(address.page, _pages(answer.total)), min(address.lane, _pages(answer.left_out))
    return address.model_copy(update={"page": page, "lane": lane})


def _told(answer: Answer, address: Address, *, asked: bool) -> str:
    """The number of hits in one sentence, which screen readers announce when it changes."""
    count = f"{answer.total} LoRA{'' if answer.total == 1 else 's'}"
    if not answer.total:
        return "No LoRA passes these filters." if _ways_out(answer) else "There is no other LoRA."
    return f"{count}, nearest first." if asked else f"{count}, {dict(_ORDERS)[address.sort]}."


def _ways_out(answer: Answer) -> str:
    """What may bring hits where there are none: filters that are set, and thresholds that hide something."""
    ways = (
        (answer.too_strong, "allow stronger ones"),
        (answer.too_inconsistent, "allow less reliable ones"),
        (answer.request.only is not None, "choose fewer filters"),
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


def _sliders(state: SharedState, address: Address) -> dict[str, dict[str, Any]]:
    """Range, default, value and words of each threshold's slider, from what the library holds."""
    with state.library() as library:
        searcher = state.searcher(library, address.protocol)
    matrix, thresholds = searcher.matrix, searcher.thresholds
    strongest = max((float(value) for value in matrix.strength if value == value), default=1.0)
    steadiest = max((float(value) for value in matrix.consistency if value == value), default=1.0)
    top, steady = -(-strongest * 10 // 1) / 10, -(-steadiest * 100 // 1) / 100
    strength, consistency = min(thresholds.strength_max, top), max(thresholds.consistency_min, 0.0)
    scale = thresholds.strength_max if math.isfinite(thresholds.strength_max) else top
    lowest, highest = address.min_consistency, address.max_strength
    value_s = strength if highest is None else min(highest, top)
    value_c = consistency if lowest is None else max(lowest, 0.0)
    return {
        "strength": _slider(top, strength, value_s, [(share * scale, word) for share, word in STRENGTHS], 1, top),
        "consistency": _slider(steady, consistency, value_c, CONSISTENCIES, 3, 0.0),
    }


def _slider(
    end: float, default: float, value: float, steps: Sequence[tuple[float, str]], digits: int, free: float
) -> dict[str, Any]:
    """One slider. Its figure is spelt with a word, or as "any" where it hides nothing; the script does the same."""
    word = next(word for limit, word in steps if value <= limit)
    spelt = "any" if value == free else f"{word} ({value:.{digits}f})"
    limits = [(limit if math.isfinite(limit) else None, word) for limit, word in steps]
    return {"end": end, "default": default, "value": value, "steps": limits, "word": spelt}
