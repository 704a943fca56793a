"""Whether two measurements of one file under one Protocol agree: those of two machines, or of two packs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lorascope.signature import Estimate, Signature

STRENGTH = 0.01
"""How far two Executions may differ in Strength beyond the intervals, as a share of it."""
CONSISTENCY = 0.01
"""The same of Consistency."""
COSINE = 0.999
"""The same of Directions: as an angle, it is added to those that the intervals allow."""


@dataclass(frozen=True)
class Disagreement:
    """Two measurements of one file that differ by more than their intervals allow.

    Attributes:
        key: The adapter's key.
        name: What it is called here.
        ours: Where the signature comes from that this library keeps.
        theirs: Where the other one comes from.
        figures: In what they differ, with both values.
    """

    key: str
    name: str
    ours: str
    theirs: str
    figures: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.figures)} ({self.ours} / {self.theirs})"


def disagreement(one: Signature, other: Signature) -> tuple[str, ...]:
    """In which figures two measurements of one file differ by more than their intervals and two Executions allow.

    Figures without an interval, of few cells, contradict nothing. Returns nothing where all agree.

    >>> stored = library.signatures.get(library.protocols.find().protocol.digest, library.adapters.all())
    >>> signature = next(iter(stored.values())).signature
    >>> disagreement(signature, signature)
    ()
    """
    found: list[str] = []
    strength, consistency = one.grid.strength, one.grid.consistency
    if _apart(strength, other.grid.strength, STRENGTH * max(one.strength, other.strength)):
        found.append(f"Strength {one.strength:.2f} / {other.strength:.2f}")
    if _apart(consistency, other.grid.consistency, CONSISTENCY):
        found.append(f"Consistency {one.consistency:.3f} / {other.consistency:.3f}")
    cosine, least = _cosine(one, other), _least_cosine(one, other)
    if cosine < least:
        found.append(f"cosine of the Directions {cosine:.3f}, at least {least:.3f} expected")
    return tuple(found)


def _apart(one: Estimate | None, other: Estimate | None, tolerance: float) -> bool:
    return (
        one is not None and other is not None and max(one.lower, other.lower) > min(one.upper, other.upper) + tolerance
    )


def _cosine(one: Signature, other: Signature) -> float:
    if one.direction.shape != other.direction.shape:
        return -1.0
    lengths = math.sqrt(float(one.direction @ one.direction) * float(other.direction @ other.direction))
    return float(np.dot(one.direction, other.direction)) / lengths if lengths else 1.0


def _least_cosine(one: Signature, other: Signature) -> float:
    """By how much two Directions may differ that both are so near to that of the full grid."""
    limits = [signature.grid.agreement for signature in (one, other)]
    angles = [math.acos(min(1.0, max(-1.0, limit.lower))) if limit else math.pi for limit in limits]
    return math.cos(min(math.pi, sum(angles) + math.acos(COSINE)))
