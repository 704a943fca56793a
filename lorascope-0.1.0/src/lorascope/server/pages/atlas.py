"""The map of all adapters, and the table that says the same in words."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from lorascope.library import Matrix
from lorascope.server.map_data import ENOUGH
from lorascope.server.pages.cards import card
from lorascope.server.pages.render import page
from lorascope.server.shared_state import StateOf

router = APIRouter(include_in_schema=False)

_ROWS = 100
Sort = Literal["name", "strength", "consistency"]
_COLUMNS: tuple[tuple[Sort, str], ...] = (("name", "Adapter"), ("strength", "Strength"), ("consistency", "Consistency"))


@router.get("/map")
def atlas(request: Request, state: StateOf, protocol: Annotated[str, Query()] = "") -> Response:
    """Strength and Consistency, and what the adapters do, as points."""
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
        thresholds=searcher.thresholds,
        strongest=float(searcher.matrix.strength[finite].max(initial=1.0)),
        steadiest=float(steadiest.max(initial=0.1)),
    )


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
        cards = [card(adapters[key], signatures[key], (), stored.preset.thresholds) for key in keys]
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
