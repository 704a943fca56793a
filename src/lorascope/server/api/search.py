"""Search, by words, adapters and pictures."""

from __future__ import annotations

import gzip
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from lorascope.search import Request as SearchRequest
from lorascope.server.api.answers import ImageId, SearchPage
from lorascope.server.api.cache import cached
from lorascope.server.api.cards import details
from lorascope.server.api.openapi import UNCHANGED, errors, errors_of_change
from lorascope.server.api.schemas import ProtocolName, Search
from lorascope.server.shared_state import CachedAnswer, SharedState, StateOf
from lorascope.server.views import plain_answer

router = APIRouter(tags=["search"])

_PICTURE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/*",)},
    }
}


@router.get("/search", response_model=SearchPage, responses=errors(404, 409, 429) | UNCHANGED)
async def search(request: Request, state: StateOf, asked: Annotated[Search, Query()]) -> Response:
    """Find adapters by what they do. Without a query: all of them, the strongest first."""
    return await _answer(request, state, asked)


@router.post("/search", response_model=SearchPage, responses=errors_of_change(404, 409, 429) | UNCHANGED)
async def search_by_body(request: Request, state: StateOf, asked: Search) -> Response:
    """The same, for queries that are too long for a URL."""
    return await _answer(request, state, asked)


@router.post("/images", response_model=ImageId, openapi_extra=_PICTURE, responses=errors_of_change(404, 409, 429))
async def add_image(request: Request, state: StateOf, protocol: ProtocolName = "") -> dict[str, str]:
    """Send a picture to search by; the body is the file. Its id goes into ``image`` of a search.

    It is a PNG, JPEG, WebP, GIF, BMP or AVIF file of at most 25 MiB and 64 megapixels.
    """
    data = await request.body()
    return {"image": await run_in_threadpool(state.add_picture, data, protocol)}


async def _answer(request: Request, state: SharedState, asked: Search) -> Response:
    wanted = await run_in_threadpool(_favourites, state, asked) if asked.favourite else asked.request()
    if asked.details:
        return await run_in_threadpool(_detailed, request, state, wanted, asked.protocol)
    answer = state.remembered(wanted, asked.protocol)
    if answer is None or not answer.encoded:  # a cached answer needs no thread
        answer = await run_in_threadpool(_encoded, state, wanted, asked.protocol)
    return cached(request, answer.encoded["json"], "application/json", zipped=answer.encoded["zipped"], seconds=0)


def _favourites(state: SharedState, asked: Search) -> SearchRequest:
    with state.library() as library:
        return asked.request(library.marks.favourites())


def _detailed(request: Request, state: SharedState, wanted: SearchRequest, protocol: str) -> Response:
    """An answer whose hits have words, flags and pictures."""
    answer = state.search(wanted, protocol).answer
    with state.library() as library:
        keys = [hit.adapter.key for hit in (*answer.hits, *answer.hidden)]
        more = details(state, library, answer.stored, keys)
    plain = plain_answer(answer)
    for row in (*plain["hits"], *plain["hidden"]):
        row["details"] = more[row["adapter"]["key"]]
    return cached(request, _json(plain), "application/json", seconds=0)


def _json(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _encoded(state: SharedState, wanted: SearchRequest, protocol: str) -> CachedAnswer:
    """An answer with its encoded bytes."""
    cached_answer = state.search(wanted, protocol)
    if not cached_answer.encoded:
        data = _json(plain_answer(cached_answer.answer))
        cached_answer.encoded.update(zipped=gzip.compress(data, 5, mtime=0), json=data)
    return cached_answer
