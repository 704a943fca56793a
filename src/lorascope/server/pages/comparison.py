"""Two to four adapters on the same cells, those first on which they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from lorascope.analysis import Word
from lorascope.library import Library, Matrix, StoredProtocol, StoredSignature
from lorascope.server.analyses import Words
from lorascope.server.pages.cards import Cells, PicturePair, card
from lorascope.server.pages.render import page
from lorascope.server.shared_state import StateOf
from lorascope.signature import Estimate

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

    place: int
    prompt: str
    pairs: tuple[PicturePair | None, ...]


@dataclass(frozen=True)
class Verdict:
    """Two adapters in words.

    ``alike`` is what they have in common, with the cosine of their Directions, None where that means nothing. ``more``
    and ``other_more`` are words that one does more than the other. ``stronger`` and ``steadier`` name the one that is,
    beyond doubt; "" where neither is.
    """

    one: str
    other: str
    alike: str
    cosine: float | None
    more: tuple[Word, ...]
    other_more: tuple[Word, ...]
    stronger: str
    steadier: str


@router.get("/compare")
def compare(
    request: Request,
    state: StateOf,
    a: Annotated[tuple[str, ...], Query()] = (),
    protocol: Annotated[str, Query()] = "",
) -> Response:
    """The same cells for each adapter, side by side."""
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
        order = _differences(library, searcher.stored, chosen)
    words = state.words(searcher.stored)
    cards = [card(adapters[key], signatures[key], cells, cells.pairs(key), words=words) for key in chosen]
    directed = [shown.key for shown in cards if shown.directed]
    return page(
        request,
        "compare.html.jinja",
        cards=cards,
        chosen=protocol,
        rows=sorted(_rows([shown.pairs for shown in cards]), key=lambda row: -order.get(row.place, 0.0)),
        ordered=bool(order),
        verdicts=_verdicts(searcher.matrix, words, signatures, chosen, directed),
        missing=missing,
        tiny=cells.tiny,
    )


def _differences(library: Library, protocol: StoredProtocol, keys: Sequence[str]) -> dict[int, float]:
    """How far the effects of some adapters differ on each of the first cells; nothing without evidence of all."""
    if not library.has_evidence:
        return {}
    found = [library.evidence.blocks(key, protocol.protocol.digest, end=1) for key in keys]
    if not all(found):
        return {}
    known = min(len(blocks[0].effects) for blocks in found)
    effects = np.stack([blocks[0].effects[:known] for blocks in found])
    spread = np.linalg.norm(effects - effects.mean(axis=0), axis=2).sum(axis=0)
    return dict(enumerate(spread.tolist()))


def _rows(columns: list[tuple[PicturePair, ...]]) -> list[Row]:
    by_place = [{pair.place: pair for pair in pairs} for pairs in columns]
    prompts = {pair.place: pair.prompt for pairs in columns for pair in pairs}
    return [Row(place, prompts[place], tuple(pairs.get(place) for pairs in by_place)) for place in sorted(prompts)]


def _verdicts(
    matrix: Matrix,
    words: Words,
    signatures: dict[str, StoredSignature],
    keys: Sequence[str],
    directed: Sequence[str],
) -> list[Verdict]:
    """Each pair of adapters in words."""
    found: list[Verdict] = []
    for one, other in combinations([key for key in keys if key in matrix.places], 2):
        rows = matrix.places[one], matrix.places[other]
        names = matrix.names[rows[0]], matrix.names[rows[1]]
        both = one in directed and other in directed
        cosine = float(np.dot(*matrix.directions[list(rows)])) if both else None
        alike = "" if cosine is None else next((word for limit, word in _ALIKE if cosine < limit), "do nearly the same")
        more, other_more = words.describer.contrast(*rows) if both and words.describer else ((), ())
        grids = [signatures[key].signature.grid for key in (one, other)]
        stronger = _greater(names, [grid.strength for grid in grids])
        steadier = _greater(names, [grid.consistency for grid in grids])
        found.append(Verdict(*names, alike, cosine, more, other_more, stronger, steadier))
    return found


def _greater(names: tuple[str, str], figures: Sequence[Estimate | None]) -> str:
    """The name of the one whose whole interval lies above that of the other; "" where they overlap."""
    one, other = figures
    if one is None or other is None:
        return ""
    if one.lower > other.upper:
        return names[0]
    return names[1] if other.lower > one.upper else ""
