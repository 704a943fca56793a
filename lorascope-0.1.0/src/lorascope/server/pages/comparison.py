"""Two to four adapters on the same cells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from lorascope.library import Matrix
from lorascope.server.pages.cards import Cells, PicturePair, card
from lorascope.server.pages.render import page
from lorascope.server.shared_state import StateOf

router = APIRouter(include_in_schema=False)

_MOST = 4
_ALIKE = (
    (-0.2, "do opposite things"),
    (0.2, "have little in common"),
    (0.5, "are related"),
    (0.8, "do similar things"),
)
"""Upper ends of the cosine between two Directions, with words; above the last they do nearly the same."""


@dataclass(frozen=True)
class Row:
    """One pinned cell, with the pictures of each adapter that has it."""

    prompt: str
    pairs: tuple[PicturePair | None, ...]


@router.get("/compare")
def compare(
    request: Request,
    state: StateOf,
    a: Annotated[tuple[str, ...], Query()] = (),
    protocol: Annotated[str, Query()] = "",
) -> Response:
    """The same cells for each adapter, one under the other."""
    keys = tuple(dict.fromkeys(a))[:_MOST]
    if len(keys) < 2:
        return page(request, "nothing-to-compare.html.jinja", missing=0)
    with state.library() as library:
        searcher = state.searcher(library, protocol)
        adapters = library.adapters.get(keys)
        signatures = library.signatures.get(searcher.stored.protocol.digest, keys)
        chosen = [key for key in keys if key in signatures]
        missing = len(keys) - len(chosen)
        if len(chosen) < 2:
            return page(request, "nothing-to-compare.html.jinja", missing=missing)
        cells = Cells.of(library, searcher.stored, chosen)
    thresholds = searcher.stored.preset.thresholds
    cards = [card(adapters[key], signatures[key], cells.pairs(key), thresholds) for key in chosen]
    return page(
        request,
        "compare.html.jinja",
        cards=cards,
        chosen=protocol,
        rows=_rows([shown.pairs for shown in cards]),
        alike=_alike(searcher.matrix, [shown.key for shown in cards if shown.directed]),
        missing=missing,
        tiny=cells.tiny,
        size=(searcher.stored.protocol.width, searcher.stored.protocol.height),
    )


def _rows(columns: list[tuple[PicturePair, ...]]) -> list[Row]:
    by_place = [{pair.place: pair for pair in pairs} for pairs in columns]
    prompts = {pair.place: pair.prompt for pairs in columns for pair in pairs}
    return [Row(prompts[place], tuple(pairs.get(place) for pairs in by_place)) for place in sorted(prompts)]


def _alike(matrix: Matrix, keys: list[str]) -> list[tuple[str, str, str, float]]:
    """Each pair of adapters: both names, what they have in common in words, and the cosine."""
    found: list[tuple[str, str, str, float]] = []
    for one, other in combinations([matrix.places[key] for key in keys if key in matrix.places], 2):
        cosine = float(np.dot(matrix.directions[one], matrix.directions[other]))
        word = next((word for limit, word in _ALIKE if cosine < limit), "do nearly the same")
        found.append((matrix.names[one], matrix.names[other], word, cosine))
    return found
