"""Adapters and refusals as plain data."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from lorascope.adapters import Adapter, Claims
from lorascope.errors import AdapterError, place_of, printable
from lorascope.library.records import Refusal


def adapter_facts(adapter: Adapter) -> dict[str, Any]:
    """What is known of an adapter besides its signature."""
    claims = {
        one.name: {"value": claim.value, "source": claim.source}
        for one in fields(Claims)
        if one.name != "notes" and (claim := getattr(adapter.claims, one.name)) is not None
    }
    return {
        "format": adapter.format,
        "kinds": dict(adapter.kinds),
        "ranks": list(adapter.ranks),
        "components": dict(adapter.components),
        "size": adapter.size,
        "claims": claims,
        "notes": [printable(note) for note in (*adapter.notes, *adapter.claims.notes)],
    }


def refusal(error: AdapterError) -> Refusal:
    """The record of a file that is left out because of an error."""
    return left_out(error.path, error.code, error.reason, error.remedy)


def left_out(path: Path, code: str, reason: str, remedy: str) -> Refusal:
    """The record of a file that is left out, in texts that can be stored whatever the file holds."""
    return Refusal(place_of(path), code, printable(reason), printable(remedy))
