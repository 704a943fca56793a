"""Whether two adapters do the same, from the cells that both were measured on.

Cells are measured in the same order, so two adapters share those of the one that has fewer: the same prompts, seeds and
bare images. Compared cell by cell, most of what a sample is off about one adapter it is off about the other, too, so
their difference is known better than either.

Cosine and Consistency use products of different prompts only, in which chance cancels. Their errors are those of the
delete-a-prompt jackknife (Efron and Stein 1981), in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64, Integer

from lorascope.signature import Estimate
from lorascope.signature.quantiles import t_quantile

AGREEMENT = 0.95
"""Directions from this cosine on count as the same: that near to the truth is a ``quick`` measurement, too."""
FACTOR = 1.25
"""Strengths and Consistencies count as the same within this factor."""
FEWEST_PROMPTS = 32
"""On fewer prompts the jackknife's intervals are too narrow."""
CONFIDENCE = 0.95


@final
@dataclass(frozen=True)
class BehaviourComparison:
    """What two adapters do, compared; each estimate with its 95% interval.

    Attributes:
        cells: how many cells both were measured on.
        agreement: cosine of their Directions.
        strength: the second one's Strength over the first one's.
        consistency: the second one's Consistency over the first one's.
    """

    cells: int
    agreement: Estimate
    strength: Estimate
    consistency: Estimate

    @property
    def same(self) -> bool:
        """Whether they do the same: each whole interval lies within what counts as the same."""
        ratios = (self.strength, self.consistency)
        return self.agreement.lower >= AGREEMENT and all(
            ratio.lower >= 1 / FACTOR and ratio.upper <= FACTOR for ratio in ratios
        )

    @property
    def different(self) -> bool:
        """Whether they do not: an interval lies outside. What is neither same nor different needs more cells."""
        ratios = (self.strength, self.consistency)
        return self.agreement.upper < AGREEMENT or any(
            ratio.upper < 1 / FACTOR or ratio.lower > FACTOR for ratio in ratios
        )


def compare(
    prompts: Integer[np.ndarray, " cells"],
    one: Float64[np.ndarray, "cells d"],
    two: Float64[np.ndarray, "cells d"],
) -> BehaviourComparison | None:
    """Compare the effects of two adapters on the same cells.

    Args:
        prompts: the prompt of each cell.
        one: the effects of the first adapter, CLIP units.
        two: those of the second one, in the same order.

    Returns:
        The comparison; None on too few prompts, or where one of them does nothing that it repeats.
    """
    _, places = np.unique(prompts, return_inverse=True)
    sizes = np.bincount(places).astype(np.float64)
    if len(sizes) < FEWEST_PROMPTS:
        return None
    effects = [_sums(effect, places) for effect in (one, two)]
    lengths = [np.linalg.norm(effect, axis=1, keepdims=True) for effect in (one, two)]
    units = [_sums(e / np.maximum(n, 1e-12), places) for e, n in zip((one, two), lengths, strict=True)]
    norms = [_without_each(_sums(length, places)[:, 0]) for length in lengths]
    own = [_apart(effect, effect) for effect in effects]
    consistencies = [_apart(unit, unit) for unit in units]
    if min(values.min() for values in (*own, *consistencies, *norms)) <= 0.0:
        return None
    return BehaviourComparison(
        len(prompts),
        _interval(_apart(*effects) / np.sqrt(own[0] * own[1])),
        _ratio(norms[1] / norms[0]),
        _ratio(consistencies[1] / consistencies[0]),
    )


def _sums(values: Float64[np.ndarray, "cells d"], places: Integer[np.ndarray, " cells"]) -> np.ndarray:
    """The sum over the cells of each prompt."""
    sums = np.zeros((int(places.max()) + 1, values.shape[1]))
    np.add.at(sums, places, values)
    return sums


def _without_each(parts: Float64[np.ndarray, " prompts"]) -> Float64[np.ndarray, " figures"]:
    """The sum over all prompts, and over all but each."""
    return parts.sum() - np.concatenate([[0.0], parts])


def _apart(
    one: Float64[np.ndarray, "prompts d"], two: Float64[np.ndarray, "prompts d"]
) -> Float64[np.ndarray, " figures"]:
    """The sum of the products of all pairs of different prompts; then the same without each prompt."""
    totals = one.sum(axis=0), two.sum(axis=0)
    own = np.einsum("pd,pd->p", one, two)
    whole = float(totals[0] @ totals[1])
    left_out = whole - two @ totals[0] - one @ totals[1] + own
    return np.concatenate([[whole], left_out]) - _without_each(own)


def _interval(values: Float64[np.ndarray, " figures"]) -> Estimate:
    """The jackknife's interval, from a figure of all prompts and those without each."""
    value, rest = float(values[0]), values[1:]
    error = math.sqrt((len(rest) - 1) * float(rest.var()))
    reach = t_quantile((1 + CONFIDENCE) / 2, len(rest) - 1.0) * error
    return Estimate(value, value - reach, value + reach)


def _ratio(values: Float64[np.ndarray, " figures"]) -> Estimate:
    """The interval of a ratio, symmetric in its logarithm."""
    log = _interval(np.log(values))
    return Estimate(math.exp(log.value), math.exp(log.lower), math.exp(log.upper))
