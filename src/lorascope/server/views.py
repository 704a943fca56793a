"""Records as plain values for the API and the pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any
from urllib.parse import quote

from lorascope.library import BARE, Library, Pin, StoredAdapter, StoredSignature
from lorascope.library.webp import MEDIUM
from lorascope.protocol import Protocol, Thresholds
from lorascope.report.words import is_mature, mature_level, prompt_tag, summary
from lorascope.search import Answer, Hit
from lorascope.signature import Estimate


def brief_adapter(adapter: StoredAdapter) -> dict[str, Any]:
    """The fields of the API's `BriefAdapter`."""
    return {
        "key": adapter.key,
        "name": adapter.name,
        "kind": adapter.facts.kind,
        "family": adapter.family,
        "title": adapter.claimed("title"),
        "tag": prompt_tag(adapter) or None,
        "paths": list(adapter.paths),
        "triggers": list(adapter.claimed("triggers") or ()),
        "weight": adapter.claimed("weight"),
        "mature": is_mature(adapter),
        "mature_level": mature_level(adapter),
    }


def brief_hit(hit: Hit, thresholds: Thresholds, *, browsing: bool) -> dict[str, Any]:
    """A hit with its figures in short. Its words are relative to the preset's thresholds, whatever was asked."""
    return {
        "rank": hit.rank,
        "score": None if browsing else hit.score,
        "clarity": hit.clarity,
        "words": summary(hit, thresholds, asked=not browsing),
        "undecided": list(hit.undecided),
        "hidden": hit.hidden,
        "adapter": brief_adapter(hit.adapter),
        **figures(hit.signature),
    }


def picture_address(key: str, place: int, protocol: str, scale: float | None = None) -> str:
    """Where the picture of a pinned cell is: with an adapter, or bare if the key is that of the base model."""
    whose = f"adapters/{quote(key, safe='')}" if key != BARE else "bare"
    weight = "" if scale is None else f"&scale={scale:g}"
    return f"/api/v1/{whose}/previews/{place}?protocol={protocol}{weight}"


def large_pictures(library: Library, protocol: Protocol, keys: Iterable[str]) -> set[tuple[str, int]]:
    """Adapter and place of the pictures that are kept larger than those of the library, the bare model's among them."""
    if max(protocol.width, protocol.height) <= MEDIUM or not library.has_evidence:
        return set()
    return library.evidence.pictures.places({key: library.previews.scene(protocol, key) for key in (BARE, *keys)})


def pinned_cells(
    key: str, pins: Mapping[str, Mapping[int, Pin]], protocol: str, large: Set[tuple[str, int]]
) -> list[dict[str, Any]]:
    """The pinned cells of an adapter, with the addresses of their pictures; ``large`` are those kept large."""
    bare = pins.get(BARE, {})

    def address(whose: str, place: int) -> str:
        return picture_address(whose, place, protocol)

    def larger(whose: str, place: int) -> str | None:
        return f"{address(whose, place)}&size=large" if (whose, place) in large else None

    return [
        {
            "place": place,
            "prompt": bare[place].prompt if place in bare else pin.prompt,
            "seed": pin.seed,
            "url": address(key, place),
            "bare_url": address(BARE, place) if place in bare else None,
            "large_url": larger(key, place),
            "large_bare_url": larger(BARE, place),
        }
        for place, pin in pins.get(key, {}).items()
    ]


def figures(stored: StoredSignature) -> dict[str, Any]:
    """The fields of the API's `Figures`: Strength and Consistency with their intervals, and what they rest on."""
    signature = stored.signature
    return {
        "strength": ranged(signature.strength, signature.grid.strength),
        "consistency": ranged(signature.consistency, signature.grid.consistency),
        "cells": signature.cells,
        "precision": stored.precision,
        "origin": stored.origin or None,
        "claimed": stored.claimed,
    }


def ranged(value: float | None, estimate: Estimate | None) -> dict[str, float | None]:
    """A figure and its 95% interval; None where unknown."""
    low, high = (estimate.lower, estimate.upper) if estimate is not None else (None, None)
    return {"value": value, "lower": low, "upper": high}


def limit(threshold: float) -> float | None:
    """A threshold as JSON can hold it: None for one that hides nothing."""
    return None if math.isinf(threshold) else threshold


def plain_thresholds(thresholds: Thresholds) -> dict[str, float | None]:
    """Both thresholds."""
    return {
        "strength_max": limit(thresholds.strength_max),
        "consistency_min": limit(thresholds.consistency_min),
    }


def plain_answer(answer: Answer) -> dict[str, Any]:
    """A page of an answer."""
    request, usual = answer.request, answer.stored.preset.thresholds
    return {
        "query": answer.query,
        "protocol": answer.protocol,
        "thresholds": plain_thresholds(answer.filters.thresholds),
        "matched": answer.matched,
        "considered": answer.considered,
        "too_strong": answer.too_strong,
        "too_inconsistent": answer.too_inconsistent,
        "total": answer.total,
        "offset": request.offset,
        "limit": request.limit,
        "hits": [brief_hit(hit, usual, browsing=request.browsing) for hit in answer.hits],
        "hidden": [brief_hit(hit, usual, browsing=request.browsing) for hit in answer.hidden],
    }
