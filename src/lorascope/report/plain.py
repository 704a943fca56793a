"""Records as plain data, for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lorascope.analysis import Curve, advise
from lorascope.library import StoredAdapter, StoredSignature
from lorascope.search import Answer, Hit


def plain_adapter(adapter: StoredAdapter) -> dict[str, Any]:
    """An adapter's key, name, places and facts."""
    return {
        "key": adapter.key,
        "name": adapter.name,
        "kind": adapter.facts.kind,
        "family": adapter.family,
        "paths": list(adapter.paths),
        **adapter.facts.to_dict(),
    }


def plain_signature(stored: StoredSignature, *, direction: bool = False) -> dict[str, Any]:
    """Every figure of a signature; the Direction only if asked for."""
    fields = asdict(stored.signature)
    found, _ = fields.pop("direction"), fields.pop("mean")
    if direction:
        fields["direction"] = [float(value) for value in found]
    return fields | {
        "precision": stored.precision,
        "measured": stored.measured,
        "origin": stored.origin or None,
        "claimed": stored.claimed,
    }


def plain_weight(curve: Curve) -> dict[str, Any]:
    """The weight that is advised, and the Curve that says so."""
    return {"advice": asdict(advise(curve)), "curve": [asdict(point) for point in curve.points]}


def plain_hit(hit: Hit) -> dict[str, Any]:
    """A hit with its adapter, figures and reasons."""
    return {
        "rank": hit.rank,
        "score": hit.score,
        "clarity": hit.clarity,
        "undecided": list(hit.undecided),
        "hidden": hit.hidden,
        "adapter": plain_adapter(hit.adapter),
        "signature": plain_signature(hit.signature),
    }


def plain_answer(answer: Answer) -> dict[str, Any]:
    """A whole answer."""
    return {
        "query": answer.query,
        "protocol": answer.protocol,
        "considered": answer.considered,
        "too_strong": answer.too_strong,
        "too_inconsistent": answer.too_inconsistent,
        "matched": answer.matched,
        "hits": [plain_hit(hit) for hit in answer.hits],
        "hidden": [plain_hit(hit) for hit in answer.hidden],
    }
