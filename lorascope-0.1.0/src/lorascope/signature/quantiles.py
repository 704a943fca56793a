"""Quantiles of Student's t and of F, to about seven digits, without SciPy."""

import math
from functools import lru_cache

LARGEST_DF = 1e4
"""Degrees of freedom are cut here: beyond it the quantiles change by less than 1 in 5,000."""

TINY = 1e-300


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t: t**2 of ``df`` degrees of freedom is F of (1, ``df``).

    Raises:
        ValueError: probability outside (0, 1) or df not above 0.
    """
    root = math.sqrt(f_quantile(abs(2.0 * probability - 1.0), 1.0, df)) if probability != 0.5 else 0.0
    return math.copysign(root, probability - 0.5)


@lru_cache(maxsize=1024)
def f_quantile(probability: float, df1: float, df2: float) -> float:
    """The quantile of the F distribution with (``df1``, ``df2``) degrees of freedom, which need not be whole.

    Found by bisection on the regularised incomplete beta function: I_x(df1/2, df2/2) is the probability of a
    ratio below F, where x = df1 F / (df1 F + df2). (Abramowitz and Stegun 26.6.2.)

    Raises:
        ValueError: probability outside (0, 1), or degrees of freedom not above 0.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability is {probability}: give a number between 0 and 1")
    if not (df1 > 0.0 and df2 > 0.0):
        raise ValueError(f"degrees of freedom are ({df1}, {df2}): both must be above 0")
    df1, df2 = min(df1, LARGEST_DF), min(df2, LARGEST_DF)
    low, high = -700.0, 700.0  # logarithm of the odds x / (1 - x) = df1 F / df2
    for _ in range(36):
        middle = (low + high) / 2.0
        if _beta_cdf(middle, df1 / 2.0, df2 / 2.0) < probability:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2.0) * df2 / df1


def _beta_cdf(log_odds: float, a: float, b: float) -> float:
    """I_x(a, b) at x = 1 / (1 + exp(-log_odds)), by the continued fraction DLMF 8.17.22."""
    if log_odds > math.log((a + 1.0) / (b + 1.0)):
        return 1.0 - _beta_cdf(-log_odds, b, a)  # the fraction converges fast only below the mean
    log_x = -math.log1p(math.exp(-log_odds))
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * log_x + b * (log_x - log_odds)
    return math.exp(log_front) * _beta_fraction(math.exp(log_x), a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction itself, by Lentz's method (DLMF 3.10(iii))."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or TINY)
    value = d
    for m in range(1, 2000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d or TINY)
            c = 1.0 + term / c or TINY
            value *= c * d
        if abs(c * d - 1.0) < 1e-13:
            break
    return value
