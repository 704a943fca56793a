"""What weights alone say about an adapter before it is measured: a guess that orders work, and never a signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lorascope.adapters.spectra import Spectrum


def remember(spectrum: Spectrum, weighed_as: str) -> dict[str, Any]:
    """A spectrum as a fact of its adapter; the inverse of :func:`recall`."""
    return asdict(spectrum) | {"worn_as": weighed_as}


def recall(facts: Mapping[str, Any], weighed_as: str) -> Spectrum | None:
    """The spectrum among an adapter's facts, if it was taken on this base model at this scale."""
    found = dict(facts.get("spectrum", {}))
    return Spectrum(**found) if found.pop("worn_as", None) == weighed_as else None


def largest_first(spectra: Iterable[Spectrum]) -> list[int]:
    """The places of spectra in the order of their relative norm, the largest first; equal ones as they come."""
    return [place for place, _ in sorted(enumerate(spectra), key=lambda item: -item[1].norm)]
