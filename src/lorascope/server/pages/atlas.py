"""The map of all adapters, and the table that says the same in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from jaxtyping import Float

from lorascope.library import Matrix
from lorascope.server.map_data import ENOUGH, plane_of
from lorascope.server.pages.cards import Cells, card
from lorascope.server.pages.render import page
from lorascope.server.shared_state import StateOf

router = APIRouter(include_in_schema=False)

_ROWS = 100
_FEWEST = 2
"""Adapters that a word on the map describes."""
_NEAR = 1.0
"""How far these may lie apart, in the median distance of all adapters from the middle."""
_LABELS = 60
Sort = Literal["name", "strength", "consistency"]
_COLUMNS: tuple[tuple[Sort, str], ...] = (("name", "LoRA"), ("strength", "Strength"), ("consistency", "Consistency"))


@router.get("/map")
def atlas(
    request: Request, state: StateOf, protocol: Annotated[str, Query()] = "", q: Annotated[str, Query()] = ""
) -> Response:
    """What the adapters do, and Strength and Consistency, as points; ``q`` is what is highlighted."""
    with state.library() as library:
        searcher = state.searcher(library, protocol)
    finite = np.isfinite(searcher.matrix.strength)
    steadiest = searcher.matrix.consistency[np.isfinite(searcher.matrix.consistency)]
    return page(
        request,
        "map.html.jinja",
        count=len(searcher.matrix),
        enough=ENOUGH,
        protocol=searcher.stored.protocol,
        chosen=protocol,
        q=q,
        thresholds=searcher.thresholds,
        strongest=float(searcher.matrix.strength[finite].max(initial=1.0)),
        steadiest=float(steadiest.max(initial=0.1)),
    )


@router.get("/map/labels")
def labels(state: StateOf, protocol: Annotated[str, Query()] = "") -> list[dict[str, Any]]:
    """Words for the parts of the map: each where the adapters are that it describes, if these are near each other."""
    with state.library() as library:
        searcher = state.searcher(library, protocol)
        plane = plane_of(library, searcher)
    if plane is None:
        return []
    words, matrix = state.words(searcher.stored), searcher.matrix
    places = matrix.directions @ plane.basis.T
    found = [_label(phrase, places[[matrix.places[key] for key in words.having(phrase)]]) for phrase, _ in words.counts]
    reach = _NEAR * float(np.median(np.linalg.norm(places - np.median(places, axis=0), axis=1)))
    return [label for label, spread in found if label["count"] >= _FEWEST and spread <= reach][:_LABELS]


def _label(phrase: str, places: Float[np.ndarray, "n 2"]) -> tuple[dict[str, Any], float]:
    """A word in the middle of what it describes, and how far that reaches."""
    middle = np.median(places, axis=0)
    x, y = (round(float(one), 4) for one in middle)
    spread = float(np.median(np.linalg.norm(places - middle, axis=1)))
    return {"phrase": phrase, "x": x, "y": y, "count": len(places)}, spread


@router.get("/map/table")
def table(
    request: Request,
    state: StateOf,
    sort: Annotated[Sort, Query()] = "strength",
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
    protocol: Annotated[str, Query()] = "",
) -> Response:
    """The points of the map as rows."""
    with state.library() as library:
        searcher = state.searcher(library, protocol)
        matrix, stored = searcher.matrix, searcher.stored
        last = max(1, -(-len(matrix) // _ROWS))
        number = min(number, last)
        rows = _order(matrix, sort, order == "desc")[(number - 1) * _ROWS : number * _ROWS]
        keys = [matrix.keys[row] for row in rows]
        adapters, signatures = library.adapters.get(keys), library.signatures.get(stored.protocol.digest, keys)
        cells = Cells.of(library, stored, ())
        cards = [card(adapters[key], signatures[key], cells, ()) for key in keys]
    return page(
        request,
        "table.html.jinja",
        cards=cards,
        families=[adapters[key].family for key in keys],
        columns=_COLUMNS,
        sort=sort,
        order=order,
        number=number,
        last=last,
        chosen=protocol,
        count=len(matrix),
    )


def _order(matrix: Matrix, sort: Sort, descending: bool) -> list[int]:
    """Rows of the matrix in order; those without a figure come last."""
    if sort == "name":
        names = [name.casefold() for name in matrix.names]
        return sorted(range(len(matrix)), key=names.__getitem__, reverse=descending)
    figures = matrix.strength if sort == "strength" else matrix.consistency
    signed = np.where(np.isnan(figures), np.inf, -figures if descending else figures)
    return [int(row) for row in np.argsort(signed, kind="stable")]
