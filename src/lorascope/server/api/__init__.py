"""The HTTP API, `/api/v1/`."""

from functools import partial

from fastapi import FastAPI

from lorascope.server.api import adapters, cards, events, facts, openapi, search, work

PREFIX = "/api/v1"


def install(app: FastAPI) -> None:
    """Add every route of the API."""
    for part in (facts, search, cards, adapters, work, events):
        app.include_router(part.router, prefix=PREFIX)
    app.openapi = partial(openapi.describe, app)
