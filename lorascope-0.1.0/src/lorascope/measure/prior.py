"""What weights alone say about an adapter before it is measured: a guess that orders work, and never a signature."""

from __future__ import annotations

from collections.abc import Iterable

from lorascope.adapters.spectra import Spectrum
from lorascope.library.facts import AdapterFacts


def recall(facts: AdapterFacts, weighed_as: str) -> Spectrum | None:
    """The spectrum among an adapter's facts, if it was taken on this base model at this scale."""
    spectrum = facts.spectra.get(weighed_as)
    return None if spectrum is None else Spectrum(**spectrum)


def largest_first(spectra: Iterable[Spectrum]) -> list[int]:
    """The places of spectra in the order of their relative norm, the largest first; equal ones as they come."""
    return [place for place, _ in sorted(enumerate(spectra), key=lambda item: -item[1].norm)]
