"""How far the mean over a sample of cells may lie from the mean it stands for.

Cells of one prompt resemble each other, so the sample has two stages: prompts, and seeds within them. Both
are drawn without replacement from a finite grid, so a sample that holds the whole grid has no error (Cochran,
Sampling Techniques, 3rd ed., chapter 10, here for any weights).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float64

from lorascope.moments import Moments

ENOUGH_PROMPTS = 20
"""So many prompts must have been seen twice before their spread over seeds is trusted for all prompts."""


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """The part of a grid that was seen.

    Attributes:
        seen: which prompts of the grid have cells.
        n: their numbers of cells, as floats.
        weight: their shares of all cells.
        prompts: M, the prompts of the grid.
        seeds: K, the cells each of them has in the full grid.
        revisited: whether enough prompts have two or more cells to tell how one prompt varies over seeds.
    """

    seen: Bool[np.ndarray, " prompts"]
    n: Float64[np.ndarray, " seen"]
    weight: Float64[np.ndarray, " seen"]
    prompts: int
    seeds: int
    revisited: bool

    @classmethod
    def of(cls, moments: Moments) -> Sample:
        """The sample that these moments were made from; it must hold a cell."""
        seen = moments.n > 0
        n = moments.n[seen].astype(np.float64)
        # Prompts on which nothing happens say nothing of how far the others vary.
        twice = int((moments.n_active > 1).sum())
        enough = min(ENOUGH_PROMPTS, int((moments.n_active > 0).sum()))
        return cls(seen, n, n / n.sum(), moments.prompts, moments.seeds, twice >= max(3, enough))

    @property
    def complete(self) -> bool:
        """Whether every cell of the grid was seen."""
        return bool(self.seen.all() and (self.n == self.seeds).all())

    @property
    def concentration(self) -> float:
        """The sum of the squared weights: 1/m for m prompts of equal weight."""
        return float((self.weight**2).sum())

    def between(self, means: Float64[np.ndarray, " seen"]) -> float:
        """The variance of one figure between prompts, unbiased for equal weights."""
        centred = means - (self.weight * means).sum()
        return float((self.weight * centred**2).sum() / (1.0 - self.concentration))

    def error_variance(self, spread: Spread, *, new_prompts: bool) -> tuple[float, float]:
        """The variance of a weighted mean about what it stands for, and its degrees of freedom.

        With weights w, k of K seeds seen, g = (1 - k/K)/k, prompts varying by B and seeds within a prompt by
        W, prompts in random order: var = B (sum w^2 - 1/M) + W sum w^2 g, without the 1/M for new prompts.
        The variance T of the prompts' means estimates B + theta W, theta = sum w (1 - w) g / (1 - sum w^2).

        As long as W is not known, the worst value that T allows stands for it, so the variance is then an
        upper bound. Degrees of freedom by Satterthwaite.

        Args:
            spread: T and W of the figure.
            new_prompts: the mean stands for all prompts that could be asked, instead of those of the grid.
        """
        if self.complete and not new_prompts:
            return 0.0, 1.0
        share = (1.0 - self.n / self.seeds) / self.n
        prompts_part = self.concentration - (0.0 if new_prompts else 1.0 / self.prompts)
        seeds_part = float((self.weight**2 * share).sum())
        theta = float((self.weight * (1.0 - self.weight) * share).sum()) / (1.0 - self.concentration)
        rest = seeds_part - theta * prompts_part
        first = spread.between * prompts_part
        if spread.within is None:
            worst = spread.between / theta if theta > 0.0 else 0.0
            return first + max(0.0, rest * worst), spread.between_df
        second = spread.within * rest
        variance = first + second
        if variance <= 0.0:
            return 0.0, 1.0
        df = variance**2 / max(first**2 / spread.between_df + second**2 / spread.within_df, math.ulp(0.0))
        return variance, df


@final
@dataclass(frozen=True)
class Spread:
    """How one figure varies over a sample.

    Attributes:
        between: the variance of the prompts' means.
        between_df: how well that is known, in degrees of freedom.
        within: the variance over the seeds of one prompt, pooled over prompts; None if it is not known.
        within_df: how well that is known.
    """

    between: float
    between_df: float
    within: float | None
    within_df: float
