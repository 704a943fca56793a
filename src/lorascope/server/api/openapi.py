"""The OpenAPI document: what FastAPI generates, with an example of every request and answer from the models' fields."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from lorascope.server.api.answers import Envelope

Errors = dict[int | str, dict[str, Any]]
_PROTOCOL = "miniature-4df4cfbf8e"
_EVENT = """event: work
data: {"state": "idle", "run": null, "waiting": [], "tries": 0, "last": null}

event: measured
id: 1763840000.25
data: {"adapter": "sha256:ad0e", "name": "ink", "protocol": "mini-4df4cfbf8e", "precision": "quick", "cells": 48}

"""
PICTURE: Errors = {
    200: {
        "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The picture, as it is stored",
    }
}
UNCHANGED: Errors = {304: {"description": "The caller has the current version, as its `If-None-Match` says"}}
EVENTS: Errors = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENT}},
        "description": "Server-sent events, whose data is JSON. `work`, now and after each change: `state`, the `run`"
        " under way and those that are `waiting`, as in /runs, how many `tries` wait, and the `last` error of the"
        " worker. `changed`, likewise: the library's `revision`, as in /health. `measured`: an adapter has a signature,"
        " or a finer one. Its `id`, sent back as Last-Event-ID, brings what was missed.",
    }
}
_ERRORS = {
    400: (
        "The body is not JSON, or the Host header is missing or malformed",
        "bad-request",
        "the body is not JSON",
    ),
    401: ("The token is missing or wrong", "no-token", "this server needs a token"),
    403: ("A page of another site asked", "cross-site", "this request came from a page of another site"),
    404: ("There is no such thing", "unknown-adapter", "there is no adapter 'sha256:0'"),
    408: ("The body took too long", "too-slow", "the body took more than 60 s"),
    409: ("Not in this state", "empty-library", "loras.db holds no signatures yet"),
    413: ("Too large", "too-large", "the body is larger than 64 KiB"),
    421: ("The server does not have this name", "wrong-host", "'example.org' is no name of this server"),
    422: ("A value does not fit", "bad-value", "limit: input should be a valid integer, not 'many'"),
    429: ("Too much is waiting already", "queue-full", "64 others are waiting for the encoder"),
    500: ("Internal server error", "internal-error", "internal server error"),
    503: ("A model, the library or the encoder is not available now", "busy", "encoding took more than 30 s"),
}


def errors(*statuses: int) -> Errors:
    """The errors of an endpoint: the common ones and its own."""
    known = (400, 401, 421, 422, 500, 503, *statuses)
    return {status: {"model": Envelope, "description": _ERRORS[status][0]} for status in known}


def errors_of_change(*statuses: int) -> Errors:
    """The errors of an endpoint that changes something."""
    return errors(403, 408, 413, *statuses)


def describe(app: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if not app.openapi_schema:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "The server's token, if it has one."}
        }
        document["security"] = [{"token": []}, {}]
        for operation in (one for path in document["paths"].values() for one in path.values()):
            _add_examples(operation, document["components"]["schemas"])
        app.openapi_schema = document
    return app.openapi_schema


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["example"] = example(parameter["schema"], schemas)
    for status, answer in operation["responses"].items():
        for kind, content in answer.get("content", {}).items():
            if int(status) >= 400:
                _, code, message = _ERRORS[int(status)]
                content["example"] = {"error": {"code": code, "message": message, "remedy": None, "field": None}}
            elif kind == "application/json":
                content["example"] = example(content["schema"], schemas)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        body["example"] = example(body["schema"], schemas)


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Builds an example from a JSON schema: its own example, else the examples of its parts.

    Raises:
        LookupError: a text or a number has no example.
    """
    if "examples" in schema or "default" in schema:
        return schema["examples"][0] if "examples" in schema else schema["default"]
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "properties" in schema:
        return {name: example(one, schemas) for name, one in schema["properties"].items()}
    if "anyOf" in schema:
        return None  # nullable, and no value was thought worth showing
    if schema.get("type") == "array":
        return [example(schema["items"], schemas)]
    if schema.get("type") == "object":
        return {_PROTOCOL: example(schema["additionalProperties"], schemas)}
    return _literal(schema)


def _literal(schema: dict[str, Any]) -> Any:
    if schema.get("type") == "boolean":
        return False
    choices = [schema["const"]] if "const" in schema else schema.get("enum", ())
    if not choices:
        raise LookupError(f"{schema.get('title', schema)} has no example: add one to its field")
    return choices[0]
