"""Health, and the Protocols."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter

from lorascope import __version__
from lorascope.server.api.answers import Health, ProtocolRow
from lorascope.server.api.openapi import errors
from lorascope.server.shared_state import StateOf
from lorascope.server.views import plain_thresholds

router = APIRouter(tags=["facts"])


@router.get("/health", response_model=Health, responses=errors())
def health(state: StateOf) -> dict[str, Any]:
    """The state of the server, and what it holds."""
    overview = state.overview()
    with state.library() as library:
        revision = library.version()
    return {
        "status": "ok",
        "version": __version__,
        "adapters": overview.adapters,
        "families": list(overview.families),
        "protocols": len(overview.protocols),
        "revision": revision,
        "work": state.work.snapshot()["state"],
    }


@router.get("/protocols", response_model=list[ProtocolRow], responses=errors())
def protocols(state: StateOf) -> list[dict[str, Any]]:
    """The Protocols that have signatures, the active one first."""
    return [
        {
            "name": str(stored.protocol),
            "digest": stored.protocol.digest,
            "adapters": stored.adapters,
            "origin": stored.origin or None,
            "thresholds": plain_thresholds(stored.preset.thresholds),
            "fields": dataclasses.asdict(stored.protocol),
        }
        for stored in state.overview().protocols
    ]
