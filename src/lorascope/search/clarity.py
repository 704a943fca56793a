"""How clear an answer is: whether a score stands out from what the best adapter scores for unrelated queries."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Float32, Float64

from lorascope.grid import PromptSet
from lorascope.library import Matrix
from lorascope.search.phrases import Phrases
from lorascope.search.ranking import Ranked
from lorascope.search.vectors import unit

Clarity = Literal["clear", "likely", "weak"]
CLEAR, LIKELY = 0.01, 0.05
"""Estimated chances that the best adapter for an unrelated query stands out as much; docs/world.md has the rates."""
_SAMPLE = 5000
"""So many adapters, drawn at random, tell what the best of more of them would do."""
_NARROWEST = 1e-6


@final
class NullDistribution:
    """How far the best adapter stands out for queries that no adapter answers.

    Cosines are compared as Fisher's z, the inverse hyperbolic tangent, for they end at 1. An adapter's *standing* for a
    query is its z minus its mean z over the reference queries, divided by their standard deviation. For each reference
    query, left out of both, the standing of the adapter with the highest score is taken. A maximum of many follows
    Gumbel's distribution; it is fitted by quartiles, which the few reference queries that some adapter does answer
    hardly move. Of m adapters in a sample, the maximum of n lies ln(n / m) scales higher.
    """

    def __init__(
        self, references: Float32[np.ndarray, "queries d"], directions: Float32[np.ndarray, "sample d"], adapters: int
    ) -> None:
        """Take reference queries and Directions, both of unit length, and how many adapters there are in all."""
        self._references = references
        standings = self._left_out(directions)
        low, middle, high = np.quantile(standings, (0.25, 0.5, 0.75))
        self._scale = max((high - low) / (_gumbel(0.75) - _gumbel(0.25)), _NARROWEST)
        self._location = middle - self._scale * (_gumbel(0.5) - math.log(max(adapters / len(directions), 1)))

    def standings(
        self, directions: Float32[np.ndarray, "hits d"], scores: Float[np.ndarray, " hits"]
    ) -> Float64[np.ndarray, " hits"]:
        """By how many standard deviations each score exceeds that adapter's mean."""
        usual = _fisher(directions @ self._references.T)
        return (_fisher(scores) - usual.mean(1)) / np.maximum(usual.std(1), _NARROWEST)

    def chance(self, standing: float) -> float:
        """The estimated chance that the best adapter for an unrelated query stands out as much."""
        return -math.expm1(-math.exp(min(-(standing - self._location) / self._scale, 700.0)))

    def word(self, standing: float) -> Clarity:
        """Name a standing."""
        chance = self.chance(standing)
        return "clear" if chance < CLEAR else "likely" if chance < LIKELY else "weak"

    def _left_out(self, directions: Float32[np.ndarray, "sample d"]) -> Float64[np.ndarray, " queries"]:
        """For each reference query the standing of its best adapter, by the mean and deviation of all others."""
        cosines = directions @ self._references.T
        z, others = _fisher(cosines), len(self._references) - 1
        mean = (z.sum(1, keepdims=True) - z) / others
        variance = ((z**2).sum(1, keepdims=True) - z**2) / others - mean**2
        standings = (z - mean) / np.sqrt(np.maximum(variance, _NARROWEST**2))
        return standings[cosines.argmax(0), np.arange(len(self._references))]


@final
class ClarityScale:
    """Says how clear scores are. The reference queries are encoded when they are first needed."""

    def __init__(self, phrases: Phrases, matrix: Matrix) -> None:
        """Take the phrases of a Protocol and the adapters that are ranked."""
        self._phrases = phrases
        self._matrix = matrix
        unrelated = PromptSet.load("unrelated").texts
        self.queries = tuple(dict.fromkeys((*phrases.references, *unrelated)))
        """The reference queries."""

    @property
    def ready(self) -> bool:
        """Whether the vectors of all reference queries are known."""
        return len(self._phrases.known(self.queries)) == len(self.queries)

    def prepare(self) -> None:
        """Encode the reference queries that are not known."""
        _ = self._null

    def words(self, ranked: Ranked) -> dict[int, Clarity]:
        """A word for each row of a ranking, best first. None is clearer than the word of a better one."""
        if not ranked:
            return {}
        standings = self._null.standings(self._matrix.directions[list(ranked)], np.array(list(ranked.values())))
        lowest = np.minimum.accumulate(standings)
        return {row: self._null.word(float(value)) for row, value in zip(ranked, lowest, strict=True)}

    @cached_property
    def _null(self) -> NullDistribution:
        size = len(self._matrix)
        rows = np.arange(size)
        if size > _SAMPLE:
            rows = np.sort(np.random.default_rng(0).choice(size, _SAMPLE, replace=False))
        return NullDistribution(unit(self._phrases.rows(self.queries)), self._matrix.directions[rows], size)


def _fisher(cosines: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    return np.arctanh(np.clip(cosines.astype(np.float64), -0.999999, 0.999999))


def _gumbel(probability: float) -> float:
    """A quantile of the standard Gumbel distribution."""
    return -math.log(-math.log(probability))
