"""How clear an answer is: whether a score stands out from what unrelated queries score."""

from __future__ import annotations

from functools import cached_property
from statistics import NormalDist
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Float32

from lorascope.library import Matrix
from lorascope.search.phrases import Phrases
from lorascope.search.ranking import Ranked
from lorascope.search.vectors import unit

Clarity = Literal["clear", "likely", "weak"]
CLEAR, LIKELY = 0.0001, 0.01
"""The chance that the best of all adapters would score as high for a query that none of them answers."""
MEANINGLESS = (
    "zxqv", "wkrtz pfq", "!!!", "...", "0x7f3a", "###", "vvvvv jjj", "qpqp xzxz",
    "mbvc", "jlkj hgf", "tnrl", "ooeia uae", "bdgk", "??", "hrmpf", "yyy zzz",
)  # fmt: skip
"""Strings without meaning. An encoder moves with them all the same, and much alike for all of them."""


@final
class Unrelated:
    """The scores of queries that have nothing to do with an adapter.

    Nearly all reference queries have nothing to do with any one adapter.

    Cosines are compared as Fisher's z, the inverse hyperbolic tangent, in which their chance distribution is nearly
    normal (R. A. Fisher, 1915, for correlations) although they end at 1. Each adapter's are summed up by median and
    spread (1.4826 x the median absolute deviation), which the few related ones do not move.

    Words that an encoder does not know are no reference query: it moves with them as with any string that means
    nothing, far from where words that it knows lead, and some adapter lies near that. So an adapter that scores no
    higher than for one of these stands out in nothing.
    """

    def __init__(
        self, references: Float32[np.ndarray, "queries d"], meaningless: Float32[np.ndarray, "strings d"], adapters: int
    ) -> None:
        """Take both kinds of queries (rows of unit length) and the number of adapters a best one is picked from."""
        self._references = references
        self._meaningless = meaningless
        self._adapters = adapters

    def standing(
        self, directions: Float32[np.ndarray, "hits d"], scores: Float[np.ndarray, " hits"]
    ) -> Float[np.ndarray, " hits"]:
        """By how many spreads each score exceeds that adapter's usual one; 0 if it is one of meaningless strings."""
        usual = _fisher(directions @ self._references.T)
        middle = np.median(usual, axis=1)
        spread = np.maximum(1.4826 * np.median(np.abs(usual - middle[:, None]), axis=1), 1e-6)
        meaningless = (directions @ self._meaningless.T).max(axis=1)
        return np.where(scores > meaningless, (_fisher(scores) - middle) / spread, 0.0)

    def word(self, standing: float) -> Clarity:
        """Name a standing, allowing for the best of as many adapters being picked."""
        chance = 1 - NormalDist().cdf(standing)
        best = 1 - (1 - chance) ** self._adapters
        return "clear" if best < CLEAR else "likely" if best < LIKELY else "weak"


@final
class ClarityScale:
    """Says how clear scores are. The reference queries are encoded when they are first needed."""

    def __init__(self, phrases: Phrases, matrix: Matrix) -> None:
        """Take the phrases of a Protocol and the adapters that are ranked."""
        self._phrases = phrases
        self._matrix = matrix

    @property
    def ready(self) -> bool:
        """Whether the vectors of all reference queries are known."""
        unrelated = (*self._phrases.references, *MEANINGLESS)
        return len(self._phrases.known(unrelated)) == len(unrelated)

    def prepare(self) -> None:
        """Encode the reference queries that are not known."""
        _ = self._unrelated

    def words(self, ranked: Ranked) -> dict[int, Clarity]:
        """A word for each row of a ranking."""
        if not ranked:
            return {}
        standing = self._unrelated.standing(self._matrix.directions[list(ranked)], np.array(list(ranked.values())))
        return {row: self._unrelated.word(float(value)) for row, value in zip(ranked, standing, strict=True)}

    @cached_property
    def _unrelated(self) -> Unrelated:
        count = len(self._phrases.references)
        vectors = unit(self._phrases.rows((*self._phrases.references, *MEANINGLESS)))
        return Unrelated(vectors[:count], vectors[count:], len(self._matrix))


def _fisher(cosines: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.arctanh(np.clip(cosines, -0.999999, 0.999999))
