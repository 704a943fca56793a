"""How sure figures are (bootstrap, paired comparisons, votes), how far people agree, and how diverse lists are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import final

import numpy as np
from jaxtyping import Float, Int

from lorascope.extras import optional

FEWEST = 20
"""With fewer clusters no interval is given: the percentile bootstrap is too narrow then.

`benchmarks/intervals.py` counts how often it holds the mean; docs/evaluation.md has the table.
"""
DRAWS = 10_000
_ADAPTER_DRAWS = 2000
_CORRELATIONS = 500
_SEED = 20251209
_POWER = 0.8
_ALPHA = 0.05
_Z = 1.959963984540054
"""The 97.5% quantile of the standard normal."""
SPANS = (1, 3, 5, 10, 20)
"""The lengths of top lists that are looked at."""


@dataclass(frozen=True)
class Interval:
    """A mean over queries, and a 95% interval for it; its limits are NaN where there are too few clusters for one."""

    value: float
    lower: float
    upper: float

    @property
    def known(self) -> bool:
        """Whether there are limits."""
        return not math.isnan(self.lower)


@dataclass(frozen=True)
class Comparison:
    """A difference of two retrievers over the same queries.

    Attributes:
        first: what is compared.
        second: what it is compared with.
        difference: mean of first minus second, with its interval.
        p: the chance of a difference as large if the two were interchangeable, allowing for all comparisons made
            beside this one.
        detectable: the smallest true difference that would be found (p below .05, this comparison alone) with
            probability .8.
    """

    first: str
    second: str
    difference: Interval
    p: float
    detectable: float


@final
class Clusters:
    """Queries that ask for the same thing, and are drawn together: they are no independent witnesses."""

    def __init__(self, labels: Sequence[str]) -> None:
        names = list(dict.fromkeys(labels))
        self._rows = np.array([names.index(label) for label in labels])
        self.count = len(names)
        self._sizes = np.bincount(self._rows, minlength=self.count).astype(float)

    def _sums(self, values: Float[np.ndarray, "queries figures"]) -> Float[np.ndarray, "clusters figures"]:
        sums = np.zeros((self.count, values.shape[1]))
        np.add.at(sums, self._rows, values)
        return sums

    def intervals(self, values: Float[np.ndarray, "queries figures"]) -> list[Interval]:
        """The mean of each column, with a percentile bootstrap over clusters (Efron 1979), 95%.

        With fewer than :data:`FEWEST` clusters there are means only.
        """
        if self.count < FEWEST:
            return [Interval(float(mean), math.nan, math.nan) for mean in values.mean(0)]
        lower, upper = np.quantile(self.samples(values), (0.025, 0.975), axis=0)
        return [Interval(*map(float, row)) for row in zip(values.mean(0), lower, upper, strict=True)]

    def samples(self, values: Float[np.ndarray, "queries figures"]) -> Float[np.ndarray, "draws figures"]:
        """The means of each column in bootstrap samples of the clusters, the same samples for every column."""
        weights = _resampled(self.count)
        return (weights @ self._sums(values)) / (weights @ self._sizes)[:, None]

    def interval(self, values: Float[np.ndarray, " queries"]) -> Interval:
        """The mean of one figure, with its interval."""
        return self.intervals(values[:, None])[0]

    def rank_correlation(self, x: Float[np.ndarray, " queries"], y: Float[np.ndarray, " queries"]) -> Interval:
        """Spearman's rank correlation of two figures, with a percentile bootstrap over clusters, 95%.

        It is NaN where either figure is the same for all queries, and without limits below :data:`FEWEST` clusters.
        """
        value = spearman(x, y)
        if self.count < FEWEST or math.isnan(value):
            return Interval(value, math.nan, math.nan)
        members = [np.flatnonzero(self._rows == cluster) for cluster in range(self.count)]
        draws = np.random.default_rng(_SEED).integers(0, self.count, (_CORRELATIONS, self.count))
        samples = (np.concatenate([members[cluster] for cluster in chosen]) for chosen in draws)
        lower, upper = np.nanquantile([spearman(x[rows], y[rows]) for rows in samples], (0.025, 0.975))
        return Interval(value, float(lower), float(upper))

    def chances(self, differences: Float[np.ndarray, "queries pairs"]) -> Float[np.ndarray, " pairs"]:
        """The p of each column of paired differences, adjusted for all of them together.

        A randomisation test: under the null, the sign of every cluster's difference is a coin's. One coin serves all
        columns, and each column's |t| is held against the largest of all (max-T, Westfall and Young 1993), which keeps
        the chance of any false alarm at p, whatever their correlation.
        """
        sums = self._sums(differences)
        scale = np.sqrt((sums**2).sum(0))
        scale[scale == 0] = np.inf
        observed = np.abs(sums.sum(0)) / scale
        coins = np.random.default_rng(_SEED).integers(0, 2, (DRAWS, self.count)) * 2.0 - 1.0
        largest = (np.abs(coins @ sums) / scale).max(1)
        return (1 + (largest[:, None] >= observed - 1e-12).sum(0)) / (DRAWS + 1)

    def detectable(self, differences: Float[np.ndarray, " queries"]) -> float:
        """The smallest true mean difference that a two-sided test at .05 finds with probability .8.

        (z_.975 + z_.8) standard errors of the mean of clustered differences.
        """
        if self.count < 2:
            return math.inf
        residuals = self._sums((differences - differences.mean())[:, None])[:, 0]
        error = math.sqrt(self.count / (self.count - 1) * float((residuals**2).sum())) / len(differences)
        normal = NormalDist()
        return (normal.inv_cdf(1 - _ALPHA / 2) + normal.inv_cdf(_POWER)) * error


def spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Rank correlation; NaN of fewer than three values, and where either figure is the same for all."""
    varied = len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0
    return float(optional("scipy.stats").spearmanr(x, y).statistic) if varied else math.nan


@lru_cache(maxsize=8)
def _resampled(count: int) -> Float[np.ndarray, "draws clusters"]:
    """How often each of some clusters is in each bootstrap sample."""
    return np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), DRAWS).astype(float)


def resampled(figure: Callable[[Int[np.ndarray, " n"]], float], count: int) -> Interval:
    """A figure over adapters, with a percentile bootstrap over them, 95%, unless they are too few for one.

    Args:
        figure: computes it from some of their rows, of which one may be there several times.
        count: how many adapters there are.
    """
    if count < FEWEST:
        return Interval(figure(np.arange(count)) if count else math.nan, math.nan, math.nan)
    draw = np.random.default_rng(_SEED)
    found = [figure(draw.integers(0, count, count)) for _ in range(_ADAPTER_DRAWS)]
    low, high = np.nanquantile(found, (0.025, 0.975))
    return Interval(figure(np.arange(count)), float(low), float(high))


def compare(
    clusters: Clusters,
    figures: Mapping[str, Float[np.ndarray, " queries"]],
    pairs: Sequence[tuple[str, str]],
) -> list[Comparison]:
    """Compare retrievers two by two.

    Args:
        clusters: which queries belong together.
        figures: one figure for each query, by retriever.
        pairs: first and second of each comparison.
    """
    if not pairs:
        return []
    differences = np.stack([figures[first] - figures[second] for first, second in pairs], axis=1)
    chances, intervals = clusters.chances(differences), clusters.intervals(differences)
    return [
        Comparison(first, second, interval, float(p), clusters.detectable(column))
        for (first, second), interval, p, column in zip(pairs, intervals, chances, differences.T, strict=True)
    ]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share (E. B. Wilson, 1927); everything from 0 to 1 without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = successes / trials, _Z**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    reach = _Z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def krippendorff_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal answers (K. Krippendorff, 2011, "Computing Krippendorff's Alpha-Reliability").

    Args:
        units: the answers that each question got, by however many people.

    Returns:
        1 for full agreement, 0 for what chance gives, below 0 for less; None where disagreement is impossible:
        fewer than two answers to every question, or the same answer to all of them.
    """
    compared = [Counter(unit) for unit in units if len(unit) > 1]
    totals = sum(compared, Counter[Hashable]())
    n = totals.total()
    expected = n**2 - sum(count**2 for count in totals.values())
    if expected == 0:
        return None
    observed = sum(
        (unit.total() ** 2 - sum(count**2 for count in unit.values())) / (unit.total() - 1) for unit in compared
    )
    return 1 - (n - 1) * observed / expected


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
