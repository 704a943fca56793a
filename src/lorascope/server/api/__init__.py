"""The HTTP API, `/api/v1/`."""

from functools import partial

from fastapi import FastAPI

from lorascope.server.api import adapters, describing, facts, searching, working

PREFIX = "/api/v1"


def install(app: FastAPI) -> None:
    """Add every route of the API."""
    for part in (facts, searching, adapters, working):
        app.include_router(part.router, prefix=PREFIX)
    app.openapi = partial(describing.describe, app)
