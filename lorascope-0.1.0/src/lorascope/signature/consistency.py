"""Consistency: the mean cosine over all pairs of effects, from sums alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float64

from lorascope.moments import Moments


def consistency(vectors: Float[np.ndarray, "n dim"]) -> float | None:
    """The mean cosine over all pairs of vectors, in O(n dim): C = (|U|^2 - a) / (n (n - 1)).

    U is the sum of the unit vectors, a the number of vectors that are not zero: a zero vector has cosine 0
    with every other. (CARLoS, arXiv 2512.08826; the mean over the n x n matrix without its diagonal.)

    Returns:
        A number from -1/(n - 1) to 1, or None for fewer than two vectors.

    Raises:
        ValueError: a vector is not finite.
    """
    wide = vectors.astype(np.float64)
    if not np.isfinite(wide).all():
        row = int(np.flatnonzero(~np.isfinite(wide).all(axis=1))[0])
        raise ValueError(f"vectors[{row}] is not finite: leave it out or compute it again")
    norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    unit_sum = (wide[norms > 0.0] / norms[norms > 0.0, None]).sum(axis=0)
    return _mean_cosine(unit_sum, int((norms > 0.0).sum()), len(wide))


def cells_for(consistency: float, agreement: float) -> float:
    """How many cells it takes until cos(D_n, D) is about ``agreement``: a rule of thumb.

    From cos(D_n, D) = sqrt(C / (C + (1 - C)/n)), which holds for independent cells of equal norm.

    Returns:
        The number of cells, not rounded; infinity where C is 0 or below.

    Raises:
        ValueError: consistency above 1, or agreement not between 0 and 1.
    """
    if not consistency <= 1.0:
        raise ValueError(f"consistency is {consistency}: give a mean cosine, at most 1")
    if not 0.0 < agreement < 1.0:
        raise ValueError(f"agreement is {agreement}: give a cosine between 0 and 1")
    if consistency <= 0.0:
        return math.inf
    return (1.0 - consistency) / consistency * agreement**2 / (1.0 - agreement**2)


@final
@dataclass(frozen=True)
class Pairs:
    """The mean cosine of pairs of cells, weighted to the shares that the full grid has of each kind of pair.

    Pairs within a prompt agree more than others. A sample that is spread over prompts holds fewer of them
    than the grid, whose share of them is (K - 1)/(M K - 1).

    Attributes:
        apart: mean cosine of cells of different prompts.
        together: mean cosine of cells of the same prompt; None if no prompt has two cells.
        share: the full grid's share of pairs of the same prompt.
        mean: their mean by these shares. Without ``together``, ``apart`` stands for both.
        active: the same, over active cells alone; None where no pair of them was seen.
    """

    apart: float
    together: float | None
    share: float
    mean: float
    active: float | None

    @classmethod
    def of(cls, moments: Moments) -> Pairs | None:
        """The pairs of a sample; None with fewer than two cells."""
        n, active, units = moments.n, moments.n_active, moments.sum_unit
        if moments.cells < 2:
            return None
        own = np.einsum("pd,pd->p", units, units)
        total = units.sum(axis=0)
        apart_pairs = _pairs_apart(n)
        together_pairs = int((n * (n - 1)).sum())
        together = float((own - active).sum()) / together_pairs if together_pairs else None
        apart = float(total @ total - own.sum()) / apart_pairs if apart_pairs else float(together or 0.0)
        share = (moments.seeds - 1) / (moments.prompts * moments.seeds - 1) if apart_pairs else 1.0
        mean = _blend(apart, together, share)
        active_apart = _pairs_apart(active) / apart_pairs if apart_pairs else 0.0
        active_together = float((active * (active - 1)).sum()) / together_pairs if together_pairs else None
        both_active = _blend(active_apart, active_together, share)
        return cls(apart, together, share, mean, mean / both_active if both_active > 0.0 else None)


def _blend(apart: float, together: float | None, share: float) -> float:
    return apart if together is None else apart + share * (together - apart)


def _pairs_apart(n: np.ndarray) -> int:
    """The number of ordered pairs of cells of different prompts."""
    return int(n.sum()) ** 2 - int((n**2).sum())


def _mean_cosine(unit_sum: Float64[np.ndarray, " dim"], active: int, n: int) -> float | None:
    return float(unit_sum @ unit_sum - active) / (n * (n - 1)) if n > 1 else None
