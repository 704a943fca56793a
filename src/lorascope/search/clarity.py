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

    def __init__(self, references: Float32[np.ndarray, "queries d"], adapters: int) -> None:
        """Take the reference queries (rows of unit length) and the number of adapters a best one is picked from."""
        self._references = references
        self._adapters = adapters

    def standing(
        self, directions: Float32[np.ndarray, "hits d"], scores: Float[np.ndarray, " hits"]
    ) -> Float[np.ndarray, " hits"]:
        """By how many spreads each score exceeds what that adapter scores for unrelated queries."""
        usual = _fisher(directions @ self._references.T)
        middle = np.median(usual, axis=1)
        spread = np.maximum(1.4826 * np.median(np.abs(usual - middle[:, None]), axis=1), 1e-6)
        return (_fisher(scores) - middle) / spread

    def word(self, standing: float) -> Clarity:
        """Name a standing, allowing for the best of as many adapters being picked."""
        chance = 1 - NormalDist().cdf(standing)
        best = 1 - (1 - chance) ** self._adapters
        return "clear" if best < CLEAR else "likely" if best < LIKELY else "weak"


def _fisher(cosines: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.arctanh(np.clip(cosines, -0.999999, 0.999999))
