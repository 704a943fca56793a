"""Adapters and refusals as plain data."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lorascope.adapters import Adapter, Claims
from lorascope.errors import AdapterError
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
    }


def refusal(error: AdapterError) -> Refusal:
    """The record of a file that is left out."""
    return Refusal(error.place, error.code, error.reason, error.remedy)
