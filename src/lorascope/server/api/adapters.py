"""Adapters: their list, and the facts, signature, pictures and neighbours of each."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from lorascope.analysis import findings, known_curves
from lorascope.library import BARE, Mark, StoredAdapter, StoredSignature
from lorascope.library.webp import SMALL, shrunk
from lorascope.report.plain import plain_adapter, plain_signature, plain_weight
from lorascope.report.words import is_mature, mature_level
from lorascope.search import Searcher
from lorascope.server.api.adapter_answers import KnownAdapter, MapTable, Neighbours, Profile, SignatureRow
from lorascope.server.api.answers import AdapterPage, HitRow, MarkRow, PinnedCell
from lorascope.server.api.cache import cached
from lorascope.server.api.openapi import PICTURE, UNCHANGED, errors, errors_of_change
from lorascope.server.api.schemas import KEY, Listing, NewMark, ProtocolName
from lorascope.server.problems import Problem
from lorascope.server.shared_state import StateOf, known_adapter
from lorascope.server.views import brief_adapter, brief_hit, figures, large_pictures, pinned_cells

router = APIRouter(tags=["adapters"])

AdapterKey = Annotated[
    str, Path(max_length=200, description="`sha256:...` or `civitai:MODEL@VERSION`.", examples=[KEY])
]
Few = Annotated[int, Query(ge=1, le=100, description="The most to return of each kind.")]
WithDirection = Annotated[bool, Query(description="Return the Direction too.")]
Scale = Annotated[
    float | None,
    Query(ge=-4, le=4, allow_inf_nan=False, description="At this weight, where it was measured at several."),
]
PictureSize = Annotated[
    Literal["small", "medium", "large"],
    Query(description="Its longest side at most: 192, 384 or 1024 pixels; less if it is kept smaller."),
]
Place = Annotated[int, Path(ge=0, le=10_000, description="The number of the pinned cell.", examples=[0])]


@router.get("/adapters", response_model=AdapterPage, responses=errors(404, 409))
def adapters(state: StateOf, asked: Annotated[Listing, Query()]) -> Response:
    """Adapters that were measured under a Protocol."""
    with state.library() as library:
        searcher = state.searcher(library, asked.protocol)
        rows = _chosen(searcher, asked)
        keys = [searcher.matrix.keys[row] for row in rows[asked.offset : asked.offset + asked.limit]]
        known = library.adapters.get(keys)
        measured = library.signatures.get(searcher.stored.protocol.digest, keys)
    page = {"total": len(rows), "offset": asked.offset, "limit": asked.limit}
    found = [_row(known[key], measured[key]) for key in keys]
    return JSONResponse(page | {"protocol": str(searcher.stored.protocol), "adapters": found})


def _chosen(searcher: Searcher, asked: Listing) -> list[int]:
    """Rows of the matrix that pass the filters, in order; those without a figure come last."""
    matrix, part = searcher.matrix, asked.q.casefold()
    rows = [
        row
        for row, (name, family) in enumerate(zip(matrix.names, matrix.families, strict=True))
        if part in name.casefold() and asked.family in ("", family)
    ]
    down = asked.order == "desc"
    if asked.sort == "name":
        return sorted(rows, key=lambda row: (matrix.names[row].casefold(), matrix.keys[row]), reverse=down)
    values = matrix.strength if asked.sort == "strength" else matrix.consistency
    sign = -1 if down else 1
    return sorted(rows, key=lambda row: (bool(np.isnan(values[row])), sign * float(np.nan_to_num(values[row]))))


def _row(adapter: StoredAdapter, stored: StoredSignature) -> dict[str, Any]:
    return {"adapter": brief_adapter(adapter), **figures(stored)}


@router.get("/adapters/{key}", response_model=KnownAdapter, response_model_exclude_unset=True, responses=errors(404))
def adapter(state: StateOf, key: AdapterKey) -> dict[str, Any]:
    """Everything known about one adapter: facts of its file, claims, paths, and its signature under each Protocol."""
    with state.library() as library:
        found = known_adapter(library, key)
        measured = {
            stored.protocol: plain_signature(signatures[key])
            for stored in state.protocols(library)
            if (signatures := library.signatures.get(stored.protocol.digest, [key]))
        }
        weights = {
            str(one): plain_weight(curve)
            for one in measured
            for curve in known_curves(library, one.digest, [key]).values()
        }
        said = {str(one): [asdict(finding) for finding in findings(library, one.digest, [key])] for one in measured}
        mark = library.marks.get([key]).get(key, Mark())
    levels = {"mature": is_mature(found), "mature_level": mature_level(found)}
    return (
        plain_adapter(found)
        | levels
        | asdict(mark)
        | {
            "signatures": {str(protocol): one for protocol, one in measured.items()},
            "findings": said,
            "weights": weights,
        }
    )


@router.post("/adapters/{key}/mark", responses=errors_of_change(404))
def mark(state: StateOf, key: AdapterKey, asked: NewMark) -> MarkRow:
    """Keep an adapter as a favourite, or a note about it."""
    with state.library() as library:
        known_adapter(library, key)
        kept = replace(library.marks.get([key]).get(key, Mark()), **asked.model_dump(exclude_none=True))
        library.marks.put(key, kept)
    return MarkRow(**asdict(kept))


@router.post("/adapters/{key}/remove", status_code=204, responses=errors_of_change(404, 409))
def remove(state: StateOf, key: AdapterKey) -> None:
    """Forget what was measured of an adapter, and its note. Its file stays; a run over its folder measures it again."""
    with state.library() as library:
        known_adapter(library, key)
        if library.leases.holder(key):
            raise Problem(409, "being-measured", f"{key[:80]} is being measured", "wait, or end the run")
        library.remove(key)


@router.get(
    "/adapters/{key}/signature", response_model=SignatureRow, response_model_exclude_unset=True,
    responses=errors(404, 409),
)  # fmt: skip
def signature(
    state: StateOf, key: AdapterKey, protocol: ProtocolName = "", direction: WithDirection = False
) -> dict[str, Any]:
    """Every figure of a signature; the Direction only on request."""
    return plain_signature(_signature(state, key, protocol), direction=direction)


@router.get("/adapters/{key}/categories", response_model=list[Profile], responses=errors(404, 409))
def categories(state: StateOf, key: AdapterKey, protocol: ProtocolName = "") -> list[dict[str, Any]]:
    """Strength, Consistency and alignment by category of prompts."""
    return list(plain_signature(_signature(state, key, protocol))["categories"])


@router.get("/adapters/{key}/neighbours", responses=errors(404, 409))
def neighbours(state: StateOf, key: AdapterKey, protocol: ProtocolName = "", limit: Few = 8) -> Neighbours:
    """The adapters with the most similar and the most opposite effect."""
    both = state.neighbours(key, protocol, limit)
    with state.library() as library:
        usual = state.protocol(library, protocol).preset.thresholds
    nearest, opposite = ([HitRow(**brief_hit(hit, usual, browsing=False)) for hit in hits] for hits in both)
    return Neighbours(nearest=nearest, opposite=opposite)


@router.get("/adapters/{key}/previews", response_model=list[PinnedCell], responses=errors(404, 409))
def previews(state: StateOf, key: AdapterKey, protocol: ProtocolName = "") -> list[dict[str, Any]]:
    """The pinned cells of an adapter, each with the address of its picture without and with it."""
    with state.library() as library:
        known_adapter(library, key)
        stored = state.protocol(library, protocol).protocol
        pins = library.previews.pins(stored, [BARE, key])
        large = large_pictures(library, stored, [key])
    return pinned_cells(key, pins, stored.digest, large)


@router.get(
    "/adapters/{key}/previews/{place}", response_class=Response, responses=errors(404, 409) | PICTURE | UNCHANGED
)
def preview(
    request: Request,
    state: StateOf,
    key: AdapterKey,
    place: Place,
    protocol: ProtocolName = "",
    scale: Scale = None,
    size: PictureSize = "medium",
) -> Response:
    """One picture with the adapter, WebP."""
    return _picture(request, state, key, place, protocol, size, scale)


@router.get("/bare/previews/{place}", response_class=Response, responses=errors(404, 409) | PICTURE | UNCHANGED)
def bare_preview(
    request: Request, state: StateOf, place: Place, protocol: ProtocolName = "", size: PictureSize = "medium"
) -> Response:
    """The same cell by the bare base model, WebP."""
    return _picture(request, state, BARE, place, protocol, size)


@router.get("/map", response_model=MapTable, responses=errors(404, 409, 429) | UNCHANGED)
def all_adapters(request: Request, state: StateOf, protocol: ProtocolName = "") -> Response:
    """Every adapter in columns: figures, intervals, and a position in a plane that new adapters do not change."""
    drawn = state.map(protocol)
    return cached(request, drawn.json, "application/json", drawn.etag, zipped=drawn.zipped, seconds=0)


def _signature(state: StateOf, key: str, protocol: str) -> StoredSignature:
    with state.library() as library:
        known_adapter(library, key)
        stored = state.protocol(library, protocol).protocol
        found = library.signatures.get(stored.digest, [key]).get(key)
    if found is None:
        raise Problem(404, "unmeasured", f"{key[:80]} was not measured under {stored}", "index it, or ask another one")
    return found


def _picture(
    request: Request, state: StateOf, key: str, place: int, protocol: str, size: str, scale: float | None = None
) -> Response:
    with state.library() as library:
        measured = state.protocol(library, protocol).protocol
        scene = library.previews.scene(measured if scale is None else replace(measured, scale=scale), key)
        found = library.previews.get(scene, key, place)
        large = library.evidence.pictures.get(scene, key, place) if size == "large" and library.has_evidence else None
    if found is None:
        raise Problem(404, "unknown-picture", f"no picture {place} is kept of it", "see its list of previews")
    data = large or (shrunk(found.webp, SMALL) if size == "small" else found.webp)
    return cached(request, data, "image/webp")
