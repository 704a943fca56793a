"""How clear an answer is: whether a score stands out from what unrelated queries score."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Float32

Clarity = Literal["clear", "likely", "weak"]
CLEAR, LIKELY = 0.0001, 0.01
"""The chance that the best of all adapters would score as high for a query that none of them answers."""


@final
class Unrelated:
    """The scores of reference queries, nearly all of which have nothing to do with any one adapter.

    Cosines are compared as Fisher's z, the inverse hyperbolic tangent, in which their chance distribution is nearly
    normal (R. A. Fisher, 1915, for correlations) although they end at 1. Each adapter's are summed up by median and
    spread (1.4826 x the median absolute deviation), which the few related ones do not move.
    """

    def __init__(
        self, directions: Float32[np.ndarray, "adapters d"], references: Float32[np.ndarray, "queries d"]
    ) -> None:
        """Score every reference query (rows of unit length) against every adapter."""
        scores = _fisher(directions @ references.T)
        self._middle = np.median(scores, axis=1)
        self._spread = np.maximum(1.4826 * np.median(np.abs(scores - self._middle[:, None]), axis=1), 1e-6)

    def standing(self, scores: Float[np.ndarray, " adapters"]) -> Float[np.ndarray, " adapters"]:
        """By how many spreads each adapter's score exceeds what it scores for unrelated queries."""
        return (_fisher(scores) - self._middle) / self._spread

    def word(self, standing: float) -> Clarity:
        """Name a standing, allowing for the best of as many adapters being picked."""
        chance = 1 - NormalDist().cdf(standing)
        best = 1 - (1 - chance) ** len(self._middle)
        return "clear" if best < CLEAR else "likely" if best < LIKELY else "weak"


def _fisher(cosines: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.arctanh(np.clip(cosines, -0.999999, 0.999999))
