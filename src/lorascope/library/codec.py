"""Signatures as database columns and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float64

from lorascope.precision import PRECISIONS, SCREENED
from lorascope.signature import Accuracy, CategoryProfile, Estimate, Signature

_COARSEST_FIRST = " ".join(["glance", SCREENED, *list(PRECISIONS)[1:]])
FINER = " >= ".join(
    f"instr('{_COARSEST_FIRST}', substr({label}, 1, instr({label} || ' ', ' ') - 1))"
    for label in ("excluded.precision", "precision")
)
"""SQL: the label of a new row is as fine as the one it meets, or finer. A label is its first word."""


def columns(signature: Signature) -> tuple[int, float, Any, Any, Any, Any, Any, bytes, bytes | None, str]:
    """cells, S and its interval, C and its interval, Direction, mean effect (float32), everything else as JSON.

    The mean effect is NULL where it is the Direction, which then names no Calibration either.
    """
    figures = asdict(signature)
    del figures["direction"], figures["mean"]
    if not signature.calibration:
        del figures["calibration"]
    return (
        signature.cells,
        signature.strength,
        *_limits(signature.grid.strength),
        signature.consistency,
        *_limits(signature.grid.consistency),
        signature.direction.astype(np.float32).tobytes(),
        signature.mean.astype(np.float32).tobytes() if signature.calibration else None,
        json.dumps(figures),
    )


def _limits(estimate: Estimate | None) -> tuple[float | None, float | None]:
    return (estimate.lower, estimate.upper) if estimate is not None else (None, None)


def restore(direction: bytes, mean: bytes | None, figures: str) -> Signature:
    """The inverse of :func:`columns`; Direction and mean effect are rounded to float32."""
    fields = json.loads(figures)
    fields["categories"] = tuple(CategoryProfile(**row) for row in fields["categories"])
    for truth in ("grid", "new_prompts"):
        fields[truth] = Accuracy(**{k: Estimate(**v) if v else None for k, v in fields[truth].items()})
    return Signature(direction=_vector(direction), mean=_vector(direction if mean is None else mean), **fields)


def _vector(data: bytes) -> Float64[np.ndarray, " d"]:
    return np.frombuffer(data, np.float32).astype(np.float64)
