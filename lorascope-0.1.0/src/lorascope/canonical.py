"""Weights in the one form in which they are compared: float16."""

from __future__ import annotations

import numpy as np


def canonical_bytes(name: str, values: np.ndarray) -> bytes:
    """One named tensor as digests see it: its name, its shape and its values as float16.

    So a half-precision copy of the same weights is the same model.
    """
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite
        half = np.ascontiguousarray(values, np.float16)
    return f"{name}{tuple(values.shape)}".encode() + half.tobytes()
