"""The description of the API (OpenAPI): what FastAPI tells, and an example of every request and answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from lorascope.server.api.answers import Envelope

Errors = dict[int | str, dict[str, Any]]
_KEY = "sha256:ad0e82e2c4f5d1b7a9e36f0b5c8d7e6f1a2b3c4d5e6f708192a3b4c5d6e7f809"
_EVENT = 'event: work\ndata: {"state": "idle", "run": null, "waiting": [], "tries": 0, "last": null}\n\n'
PICTURE: Errors = {
    200: {
        "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The picture, as it is stored",
    }
}
UNCHANGED: Errors = {304: {"description": "The caller has it already, as its `If-None-Match` says"}}
EVENTS: Errors = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENT}},
        "description": "Server-sent events `work`. The data of each is JSON: `state`, the `run` under way and those"
        " that are `waiting`, as /runs tells them, how many `tries` wait, and the `last` error of the worker.",
    }
}
_ASKED = ("q", "limit", "precision", "seeds")
"""Fields that an example of a request names although they can be left out."""
_ERRORS = {
    400: (
        "The body is no JSON, or the Host header is missing or malformed",
        "bad-request",
        "the body is no JSON that can be read",
    ),
    401: ("The token is missing or wrong", "no-token", "this server needs a token"),
    403: ("A page of another site asked", "cross-site", "this request came from a page of another site"),
    404: ("There is no such thing", "unknown-adapter", "there is no adapter 'sha256:0'"),
    408: ("The body took too long", "too-slow", "the body took more than 60 s"),
    409: ("Not in this state", "empty-library", "loras.db holds no signatures yet"),
    413: ("Too large", "too-large", "the body is larger than 64 KiB"),
    421: ("The server does not go by this name", "wrong-host", "'example.org' is no name of this server"),
    422: ("A value does not fit", "bad-value", "limit: input should be a valid integer, not 'many'"),
    429: ("Too much is waiting already", "queue-full", "64 others are waiting for the encoder"),
    500: ("Internal server error", "internal-error", "internal server error"),
    503: ("A model, the library or a turn is not to be had now", "busy", "encoding took more than 30 s"),
}
_TEXTS = {
    "adapter": "pencil_sketch_v1", "adapters": _KEY, "axes": "a pencil drawing", "bare_url": "/api/v1/bare/previews/0",
    "category": "people", "code": "not-safetensors", "digest": "4df4cfbf8e", "family": "miniature",
    "families": "miniature", "field": "limit", "folder": "/home/me/loras", "folders": "/home/me/loras",
    "id": "b2xhZGRlcg", "image": "7cbcf50d2f4b0e6a8d9c1b3a5e7f9012", "images": "/api/v1/tries/b2xhZGRlcg/images/0",
    "key": _KEY, "keys": _KEY, "less": f"{_KEY}:0.5", "message": "64 others are waiting for the encoder", "more": _KEY,
    "name": "pencil_sketch_v1", "names": "pencil_sketch_v1", "origin": "carlos-2025",
    "path": "/home/me/loras/broken.safetensors", "paths": "/home/me/loras/pencil_sketch_v1.safetensors",
    "precision": "quick", "prompt": "a lighthouse at night", "protocol": "miniature-4df4cfbf8e", "q": "pencil drawing",
    "query": "pencil drawing", "reason": "it is no safetensors file", "remedy": "try again in a moment",
    "stage": "refining", "triggers": "pencil sketch", "undecided": "strength", "url": "/api/v1/adapters/KEY/previews/0",
    "version": "0.1.0", "words": "a likely match; strong, rock-steady",
}  # fmt: skip
_NUMBERS = {
    "active_consistency": 0.31, "active_share": 0.97, "adapters": 26, "alignment": 0.93, "cells": 48,
    "considered": 26, "consistency": 0.31, "consistency.value": 0.31, "consistency.lower": 0.28,
    "consistency.upper": 0.34, "agreement.value": 0.98, "agreement.lower": 0.95, "agreement.upper": 1.0,
    "consistency_high": 0.34, "consistency_low": 0.28, "consistency_min": 0.05,
    "direction": 0.12, "done": 2, "family": 0, "files": 28, "finished": 1763850000.0, "folders": 0, "hidden_offset": 0,
    "id": 1, "known": 26, "limit": 48, "lower": 15.5, "magnitude": 11.2, "mature": 0, "mature_level": 1,
    "max_strength": 23.0, "measured": 26, "min_consistency": 0.05, "new": 2, "number": 1, "offset": 0, "place": 0,
    "prompts": 48, "protocols": 1, "rank": 1, "refused": 2, "score": 0.65, "seconds_left": 120.0, "seed": 42,
    "seeds": 2, "started": 1763840000.0, "strength": 17.0, "strength_high": 18.6, "strength_low": 15.5,
    "strength_max": 23.0, "too_strong": 0, "too_inconsistent": 0, "total": 64, "upper": 18.6, "value": 17.0,
    "weight": 0.8, "x": 0.41, "y": -0.2,
}  # fmt: skip
"""Examples of texts and numbers, each by the name of its field."""
_MOSTLY_NONE = ("error", "field", "finished", "hidden", "mature_level", "origin")


def errors(*statuses: int) -> Errors:
    """The errors of an endpoint: those that any can have, and its own."""
    known = (400, 401, 421, 422, 500, 503, *statuses)
    return {status: {"model": Envelope, "description": _ERRORS[status][0]} for status in known}


def errors_of_change(*statuses: int) -> Errors:
    """The errors of an endpoint that changes something."""
    return errors(403, 408, 413, *statuses)


def describe(app: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if not app.openapi_schema:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for operation in (one for path in document["paths"].values() for one in path.values()):
            _add_examples(operation, document["components"]["schemas"])
        app.openapi_schema = document
    return app.openapi_schema


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["example"] = example(parameter["schema"], parameter["name"], schemas)
    for status, answer in operation["responses"].items():
        for kind, content in answer.get("content", {}).items():
            if int(status) >= 400:
                _, code, message = _ERRORS[int(status)]
                content["example"] = {"error": {"code": code, "message": message, "remedy": None, "field": None}}
            elif kind == "application/json":
                content["example"] = example(content["schema"], "", schemas)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        whole = schemas[body["schema"]["$ref"].rpartition("/")[2]]["properties"]
        asked = {name: one for name, one in whole.items() if "default" not in one or name in _ASKED}
        body["example"] = example({"properties": asked}, "", schemas)


def example(schema: dict[str, Any], name: str, schemas: dict[str, Any]) -> Any:
    """An example of what a schema describes.

    Raises:
        LookupError: a text or a number in a field of that name has none.
    """
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], name, schemas)
    if "anyOf" in schema:
        some = next(one for one in schema["anyOf"] if one.get("type") != "null")
        return None if name in _MOSTLY_NONE else example(some, name, schemas)
    if "properties" in schema:
        fields = schema["properties"].items()
        return {key: example(one, _longest(name, key), schemas) for key, one in fields}
    if "prefixItems" in schema:
        return [example(one, name, schemas) for one in schema["prefixItems"]]
    if schema.get("type") == "array":
        return [example(schema["items"], name, schemas)]
    if schema.get("type") == "object":
        inside = schema.get("additionalProperties")
        key = "x" if name == "axes" else _TEXTS["protocol"]
        return {key: example(inside, name, schemas)} if isinstance(inside, dict) else {}
    return _plain(schema, name)


def _longest(name: str, key: str) -> str:
    """A figure's value and limits depend on which figure it is."""
    return f"{name}.{key}" if f"{name}.{key}" in _NUMBERS else key


def _plain(schema: dict[str, Any], name: str) -> Any:
    fixed = [schema["const"]] if "const" in schema else schema.get("enum", ())
    if fixed or schema["type"] == "boolean":
        return fixed[0] if fixed else False
    return (_TEXTS if schema["type"] == "string" else _NUMBERS)[name]
