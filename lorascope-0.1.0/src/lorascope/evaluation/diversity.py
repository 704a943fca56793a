"""Which adapters get used at all: entropy, effective count, coverage and Gini over the top lists of many queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SPANS = (1, 3, 5, 10, 20)
"""The lengths of top lists that are looked at."""


@dataclass(frozen=True)
class Diversity:
    """How evenly the adapters of a library are used by the top-k lists of all queries.

    Attributes:
        span: k.
        entropy: NE = H / ln N, 0 to 1: H is the Shannon entropy, in nats, of the adapters' shares of all places in the
            lists, N the size of the library before any filter.
        effective: ELC = exp(H), how many equally used adapters have the same entropy.
        coverage: the share of the library that is in any list.
        gini: 0 if all adapters are used alike, near 1 if few take every place.
    """

    span: int
    entropy: float
    effective: float
    coverage: float
    gini: float


def diversity(rankings: Sequence[Sequence[int]], size: int, span: int) -> Diversity:
    """Diversity of top lists.

    Args:
        rankings: rows of the corpus for each query, best first.
        size: N, how many adapters the library holds, those that filters leave out included.
        span: how many hits of each ranking count; a list that is longer than the library is the library.
    """
    counts = np.bincount([row for ranking in rankings for row in ranking[:span]], minlength=size).astype(float)
    if not counts.any():
        return Diversity(span, 0.0, 0.0, 0.0, 0.0)
    shares = counts / counts.sum()
    used = shares[shares > 0]
    entropy = float(-(used * np.log(used)).sum())
    normal = entropy / math.log(size) if size > 1 else 1.0
    return Diversity(span, normal, math.exp(entropy), len(used) / size, _gini(shares))


def _gini(shares: Float[np.ndarray, " adapters"]) -> float:
    """G = sum_i (2i - n - 1) x_i / n over ascending shares x that add up to 1 (Gini 1912)."""
    ordered, n = np.sort(shares), len(shares)
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / n)
