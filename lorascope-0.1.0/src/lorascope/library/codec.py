"""Signatures as database columns and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from lorascope.protocol import PRECISIONS, SCREENED
from lorascope.signature import Accuracy, CategoryProfile, Estimate, Signature

_COARSEST_FIRST = " ".join(["glance", SCREENED, *list(PRECISIONS)[1:]])
FINER = " >= ".join(
    f"instr('{_COARSEST_FIRST}', substr({label}, 1, instr({label} || ' ', ' ') - 1))"
    for label in ("excluded.precision", "precision")
)
"""SQL: the label of a new row is as fine as the one it meets, or finer. A label is its first word."""


def columns(signature: Signature) -> tuple[int, float, Any, Any, Any, Any, Any, bytes, str]:
    """cells, S and its interval, C and its interval, Direction (float32), everything else as JSON."""
    figures = asdict(signature)
    del figures["direction"]
    return (
        signature.cells,
        signature.strength,
        *_limits(signature.grid.strength),
        signature.consistency,
        *_limits(signature.grid.consistency),
        signature.direction.astype(np.float32).tobytes(),
        json.dumps(figures),
    )


def _limits(estimate: Estimate | None) -> tuple[float | None, float | None]:
    return (estimate.lower, estimate.upper) if estimate is not None else (None, None)


def restore(direction: bytes, figures: str) -> Signature:
    """The inverse of :func:`columns`; the Direction is rounded to float32."""
    fields = json.loads(figures)
    fields["categories"] = tuple(CategoryProfile(**row) for row in fields["categories"])
    for truth in ("grid", "new_prompts"):
        fields[truth] = Accuracy(**{k: Estimate(**v) if v else None for k, v in fields[truth].items()})
    return Signature(direction=np.frombuffer(direction, np.float32).astype(np.float64), **fields)
