"""Search."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from lorascope.server.asking import Ask
from lorascope.server.state import StateOf
from lorascope.server.views import plain_found

router = APIRouter(tags=["search"])

Keys = Annotated[list[str], Query(max_length=8)]


@router.get("/search")
def search(
    state: StateOf,
    q: Annotated[str, Query(max_length=2000)] = "",
    more: Keys = [],  # noqa: B006
    less: Keys = [],  # noqa: B006
    image: str = "",
    protocol: str = "",
    family: str = "",
    folder: str = "",
    max_strength: float | None = None,
    min_consistency: float | None = None,
    everything: bool = False,
    hidden: bool = False,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 48,
) -> Any:
    """Adapters by what they do."""
    ask = Ask(
        text=q, more=tuple(more), less=tuple(less), image=image, protocol=protocol, family=family, folder=folder,
        max_strength=max_strength, min_consistency=min_consistency, everything=everything, hidden=hidden,
        offset=offset, limit=limit,
    )  # fmt: skip
    return plain_found(state.search(ask))
