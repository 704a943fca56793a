"""Measures of one ranking. ``grades`` are those of the ranked adapters, best hit first."""

from __future__ import annotations

import math
from collections.abc import Sequence


def precision_at_1(grades: Sequence[int], best: int) -> float:
    """P@1: whether the first hit has the highest grade that any adapter has for the query."""
    return float(bool(grades) and grades[0] == best)


def reciprocal_rank(grades: Sequence[int], best: int) -> float:
    """1 / rank of the first hit of the highest grade; 0 if there is none."""
    return next((1 / rank for rank, grade in enumerate(grades, 1) if grade == best), 0.0)


def ndcg(grades: Sequence[int], relevant: Sequence[int], k: int) -> float:
    """nDCG@k with gain 2^grade - 1 and discount log2(rank + 1) (Burges et al. 2005).

    Args:
        grades: of the ranking.
        relevant: all grades above 0 that the query has, in any order: they make the ideal ranking.
        k: how many hits count.
    """

    def dcg(row: Sequence[int]) -> float:
        return sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(row[:k], 1))

    ideal = dcg(sorted(relevant, reverse=True))
    return dcg(grades) / ideal if ideal else 0.0
