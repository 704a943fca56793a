"""The HTTP API, `/api/v1/`."""

from fastapi import FastAPI

from lorascope.server.api import searching

PREFIX = "/api/v1"


def install(app: FastAPI) -> None:
    """Add every route of the API."""
    for part in (searching,):
        app.include_router(part.router, prefix=PREFIX)
