"""Whether two adapters do the same, from the cells that both were measured on.

Cells are measured in the same order, so two adapters share those of the one that has fewer: the same prompts, seeds and
bare images. Compared cell by cell, most of what a sample is off about one adapter it is off about the other, too, so
their difference is known better than either.

Intervals are those of :mod:`lorascope.analysis.jackknife`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64, Integer

from lorascope.analysis.jackknife import (
    FEWEST_PROMPTS,
    interval,
    interval_of_ratio,
    products_apart,
    sums_by_prompt,
    totals,
)
from lorascope.signature import Estimate

AGREEMENT = 0.95
"""Directions from this cosine on count as the same: that near to the truth is a ``quick`` measurement, too."""
FACTOR = 1.25
"""Strengths and Consistencies count as the same within this factor."""


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
    if len(np.unique(prompts)) < FEWEST_PROMPTS:
        return None
    effects = [sums_by_prompt(effect, prompts) for effect in (one, two)]
    lengths = [np.linalg.norm(effect, axis=1, keepdims=True) for effect in (one, two)]
    units = [sums_by_prompt(e / np.maximum(n, 1e-12), prompts) for e, n in zip((one, two), lengths, strict=True)]
    norms = [totals(sums_by_prompt(length, prompts)[:, 0]) for length in lengths]
    own = [products_apart(effect, effect) for effect in effects]
    consistencies = [products_apart(unit, unit) for unit in units]
    if min(values.min() for values in (*own, *consistencies, *norms)) <= 0.0:
        return None
    return BehaviourComparison(
        len(prompts),
        interval(products_apart(*effects) / np.sqrt(own[0] * own[1])),
        interval_of_ratio(norms[1] / norms[0]),
        interval_of_ratio(consistencies[1] / consistencies[0]),
    )
