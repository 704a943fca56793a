"""Errors as answers: one envelope for everything that goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse

from lorascope.errors import (
    AdapterError,
    LibraryError,
    LorascopeError,
    MissingExtra,
    ModelError,
    ProtocolError,
    QueryError,
    code_of,
)

FOR_PROGRAMS = ("/api/", "/mcp")
"""How the paths begin that answer programs: with JSON, and a missing token with 401."""


class Problem(Exception):
    """What an answer other than success says.

    Args:
        status: the HTTP status.
        code: a short word for programs.
        message: what is the matter, with the value.
        remedy: what to do; "" where the message says it.
        field: which part of the request is meant, if one is.
        wait: after how many seconds it is worth while to ask again, if that is all there is to do.
    """

    def __init__(
        self, status: int, code: str, message: str, remedy: str = "", field: str = "", *, wait: int = 0
    ) -> None:
        super().__init__(status, code, message, remedy, field)
        self.status = status
        self.code = code
        self.message = message
        self.remedy = remedy
        self.field = field
        self.headers = {"Retry-After": str(wait)} if wait else {}

    def __str__(self) -> str:
        """The message and the remedy, as one line."""
        return f"{self.message}: {self.remedy}" if self.remedy else self.message

    def plain(self) -> dict[str, Any]:
        """The inside of the envelope."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy or None,
            "field": self.field or None,
        }

    def response(self, headers: dict[str, str] | None = None) -> JSONResponse:
        """The envelope."""
        return JSONResponse({"error": self.plain()}, self.status, self.headers | (headers or {}))


_STATUS: tuple[tuple[type[LorascopeError], int], ...] = (
    (QueryError, 422),
    (ProtocolError, 422),
    (AdapterError, 409),
    (ModelError, 503),
    (MissingExtra, 503),
    (LibraryError, 503),
)


def problem_of(error: LorascopeError) -> Problem:
    """The answer to an error of the rooms below. Their messages say themselves what to do."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, AdapterError):
        return Problem(status, error.code, error.reason, error.remedy)
    return Problem(status, code_of(error), str(error))


def unhandled(status: int, method: str, path: str) -> Problem:
    """What the framework itself refuses: no such path, another method, a body that is not to be read."""
    if status == 404:
        return Problem(
            404, "not-found", f"there is nothing at {path[:200]}", "see /api/v1/openapi.json for what there is"
        )
    if status == 405:
        return Problem(405, "wrong-method", f"{path[:200]} cannot be asked with {method}", "see /api/v1/openapi.json")
    if path.startswith(FOR_PROGRAMS):
        return _no_json()
    return Problem(status, "bad-request", "the request cannot be read", "send the form again")


def _no_json(why: str = "") -> Problem:
    """A body that is malformed, is nested too deeply, or holds a number of too many digits."""
    problem = "the body is no JSON that can be read"
    return Problem(400, "bad-request", f"{problem} ({why})" if why else problem, "send a JSON object")


def refused_values(errors: Sequence[Any]) -> Problem:
    """The first value that does not fit, in one sentence."""
    first = errors[0]
    if first["type"] == "json_invalid":
        wrong = str(first["ctx"]["error"]).lower().removesuffix(" at")
        return _no_json(f"{wrong} at character {first['loc'][1] + 1}")
    place = [str(part) for part in first["loc"]]
    field = ".".join(place[1:]) or place[0]
    value = f", not {first['input']!r:.60}" if isinstance(first.get("input"), str | int | float) else ""
    whole = place == ["body"]
    remedy = "send a JSON object as application/json" if whole else "see /api/v1/openapi.json"
    return Problem(422, "bad-value", f"{field}: {first['msg'].lower()}{value}", remedy, field)
