"""How far Strength, Consistency and Direction of a sample may lie from those of what it stands for.

One prompt is one observation, because its cells resemble each other. What varies over a sample is each
prompt's part in a figure: its mean norm for Strength, its mean cosine with all other prompts for Consistency
(their variance is that of the delete-a-prompt jackknife, in closed form), its mean effect for Direction.
``benchmarks/coverage.py`` shows how often the intervals hold the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lorascope.moments import Moments
from lorascope.signature.consistency import Pairs
from lorascope.signature.quantiles import LARGEST_DF, f_quantile, t_quantile
from lorascope.signature.sampling import Sample, Spread

FEWEST_PROMPTS = 5
"""With fewer prompts on which the adapter acts, nothing is said about accuracy."""


@final
@dataclass(frozen=True)
class Estimate:
    """A figure, and limits between which the truth lies with the confidence that was asked for."""

    value: float
    lower: float
    upper: float

    def at_least(self, digits: int) -> str:
        """The lower limit with some digits, rounded down, so that it promises no more than is known.

        >>> Estimate(0.997, 0.9886, 1.0).at_least(2)
        '0.98'
        """
        return f"{math.floor(self.lower * 10**digits + 1e-9) / 10**digits:.{digits}f}"


@final
@dataclass(frozen=True)
class Accuracy:
    """How near a sample's figures are to one truth; None where the sample is too small to say.

    Attributes:
        strength: mean norm, CLIP units.
        consistency: mean cosine over all pairs.
        agreement: cosine between the sample's Direction and the true one. Only ``lower`` limits it, with the
            whole confidence; ``upper`` is always 1.
    """

    strength: Estimate | None
    consistency: Estimate | None
    agreement: Estimate | None


def accuracy(
    moments: Moments,
    *,
    new_prompts: bool,
    alpha: float,
    looks: int,
    direction_moments: Moments | None = None,
    extra_error: float = 0.0,
) -> Accuracy:
    """Compare a sample with the full grid, or with other prompts at the same seeds.

    Args:
        moments: the sample.
        new_prompts: the truth is the mean over all prompts that could be asked, instead of the grid's.
        alpha: the probability with which an interval may miss the truth, at any of its looks.
        looks: how often a stopping rule may look. The intervals of Strength and Consistency share alpha between
            their looks (Bonferroni). That of the Direction does so only for how well the spread of the effects is
            known: see :func:`_agreement`.
        direction_moments: the sums over what the Direction is the mean of, if that is not the effects themselves.
        extra_error: a variance of the Direction, summed over dimensions, that these do not show.
    """
    pairs = Pairs.of(moments)
    if moments.complete and not new_prompts:
        strength = float(moments.sum_norm.sum()) / moments.cells
        return Accuracy(_exact(strength), None if pairs is None else _exact(pairs.mean), _exact(1.0))
    acting = int((moments.n_active > 0).sum())
    if pairs is None or acting < FEWEST_PROMPTS:
        return Accuracy(None, None, None)
    sample = Sample.of(moments)
    return Accuracy(
        _strength(moments, sample, new_prompts, alpha / looks),
        _consistency(moments, sample, pairs, new_prompts, alpha / looks),
        _agreement(direction_moments or moments, sample, new_prompts, alpha, looks, extra_error),
    )


def mean_error(moments: Moments, *, new_prompts: bool) -> float:
    """The variance, summed over dimensions, of the mean of some vectors about that of the grid or of new prompts."""
    sample = Sample.of(moments)
    sums = moments.sum_effect[sample.seen]
    centred = sums / sample.n[:, None] - sums.sum(axis=0) / sample.n.sum()
    return sample.error_variance(_vector_spread(moments, sample, centred), new_prompts=new_prompts)[0]


def _exact(value: float) -> Estimate:
    return Estimate(value, value, value)


def _strength(moments: Moments, sample: Sample, new_prompts: bool, alpha: float) -> Estimate:
    """Interval for the mean norm."""
    total, squares = moments.sum_norm[sample.seen], moments.sum_norm_sq[sample.seen]
    value = float(moments.sum_norm.sum()) / moments.cells
    means = total / sample.n
    spread = _scalar_spread(sample, means, float((squares - total**2 / sample.n).sum()))
    below, above = _reach(sample, means, spread, new_prompts, alpha)
    # Norms are positive, and the more they vary the more they are skewed: symmetric in the logarithm.
    return Estimate(value, max(0.0, value - below), max(value + above, value * math.exp(below / value)))


def _consistency(moments: Moments, sample: Sample, pairs: Pairs, new_prompts: bool, alpha: float) -> Estimate:
    """Interval for the mean cosine over all pairs.

    It is a U-statistic of degree two: its error is that of the mean of twice each prompt's mean cosine with
    the others.
    """
    n, units = sample.n, moments.sum_unit[sample.seen]
    total = units.sum(axis=0)
    own = np.einsum("pd,pd->p", units, units)
    along = np.einsum("pd,d->p", units, total)
    apart = (along - own) / n / (n.sum() - n)
    # A prompt with a single cell takes the mean of the others; where there are none, C is `apart` alone.
    together = apart if pairs.together is None else np.full_like(apart, pairs.together)
    twice = n > 1
    together[twice] = (own - moments.n_active[sample.seen])[twice] / (n * (n - 1))[twice]
    parts = 2.0 * (apart + pairs.share * (together - apart))
    mean = total / n.sum()
    all_squares = np.einsum("i,ij,j->", mean, moments.scatter, mean)
    squared_error = 4.0 * float(all_squares - (along**2 / n).sum() / n.sum() ** 2)
    spread = _scalar_spread(sample, parts, squared_error)
    below, above = _reach(sample, parts, spread, new_prompts, alpha)
    # The variance grows with C itself, so the interval reaches further up than down: to second order as the
    # interval of the square root of C does, but never more than half as far again.
    stretch = min(below / (4.0 * pairs.mean), 0.5) if pairs.mean > 0.0 else 0.5
    # Pairs within a prompt, as long as none was seen, may agree entirely.
    unseen = pairs.share * (1.0 - pairs.apart) if pairs.together is None else 0.0
    upper = pairs.mean + max(above, below * (1.0 + stretch)) + unseen
    return Estimate(pairs.mean, max(-1.0, pairs.mean - below), min(1.0, upper))


def _scalar_spread(sample: Sample, means: Float64[np.ndarray, " seen"], squared_error: float) -> Spread:
    """The spread of a scalar: its prompts' means, and its summed squared deviations from them over seeds."""
    df = float((sample.n - 1.0).sum())
    within = max(0.0, squared_error) / df if sample.revisited else None
    return Spread(sample.between(means), len(means) - 1.0, within, df)


def _reach(
    sample: Sample, means: Float64[np.ndarray, " seen"], spread: Spread, new_prompts: bool, alpha: float
) -> tuple[float, float]:
    """How far the limits of a mean lie below and above it: Student's t, or where that is further, Hall's.

    Hall (1992), "On the removal of skewness by transformation", corrects t for the skewness of the means. On
    heavy tails the estimated skewness is too small, so both intervals together are taken.
    """
    variance, df = sample.error_variance(spread, new_prompts=new_prompts)
    error, t = math.sqrt(variance), t_quantile(1.0 - alpha / 2.0, df)
    centred = means - (sample.weight * means).sum()
    square, cube = float((sample.weight * centred**2).sum()), float((sample.weight * centred**3).sum())
    skew = cube / square * math.sqrt(sample.concentration / square) if square > 0.0 else 0.0
    return error * max(t, _hall(skew, t)), error * max(t, -_hall(skew, -t))


def _hall(skew: float, t: float) -> float:
    """The inverse of Hall's cubic transformation; ``skew`` is that of the mean, skewness over sqrt(m)."""
    if abs(skew) < 1e-6:
        return t  # the limit, which the formula would reach only by cancellation
    return 3.0 / skew * (math.cbrt(1.0 + skew * (t - skew / 6.0)) - 1.0)


def _agreement(
    moments: Moments, sample: Sample, new_prompts: bool, alpha: float, looks: int, extra_error: float
) -> Estimate:
    """Estimate of cos(D_n, D) and its lower limit.

    With D_n = D + error, sin^2 = |error across D|^2 / |D_n|^2 exactly. The part of the error along D is left
    in, which only makes the cosine look smaller: to take it out needs D, and a fitted one takes out too much.

    A rule that stops at a limit of this kind stops by the spread of the effects, and for normal effects their
    spread tells nothing of the error of their mean (Chow and Robbins 1965). So looking often makes it likelier
    to stop at a spread that came out too small, but not at a mean that came out wrong: only how well the spread
    is known is widened for ``looks``.
    """
    sums = moments.sum_effect[sample.seen]
    direction = sums.sum(axis=0) / sample.n.sum()
    length_sq = float(direction @ direction)
    if length_sq == 0.0:
        return Estimate(0.0, -1.0, 1.0)
    centred = sums / sample.n[:, None] - direction
    spread = _vector_spread(moments, sample, centred)
    variance, df = sample.error_variance(spread, new_prompts=new_prompts)
    variance += extra_error
    longest = variance * _longest(sample, centred, spread.between, df, alpha, looks)
    return Estimate(_cosine(variance / length_sq, 0.0), _cosine(longest / length_sq, -1.0), 1.0)


def _cosine(sine_sq: float, worst: float) -> float:
    return math.sqrt(1.0 - sine_sq) if sine_sq < 1.0 else worst


def _longest(
    sample: Sample, centred: Float64[np.ndarray, "seen dim"], trace: float, df: float, alpha: float, looks: int
) -> float:
    """How many times its mean the squared length of the error may be, except for a probability of alpha.

    The squared length is a sum of chi^2 weighted by the eigenvalues of the error's covariance Sigma: three
    moments fit it (Liu, Tang and Zhang 2009), with r = (tr Sigma)^2 / tr(Sigma^2) for its width and
    l = tr(Sigma^2)^3 / tr(Sigma^3)^2 for its skewness, 1 <= l <= r. Both traces come from products of
    different prompts. The mean itself is known with ``df`` degrees of freedom; the two factors add as
    independent errors of the logarithm.
    """
    weight = sample.weight
    gram = np.einsum("pd,qd->pq", centred, centred) * np.sqrt(np.outer(weight, weight))
    np.fill_diagonal(gram, 0.0)
    second = float((gram**2).sum()) / (1.0 - sample.concentration)
    third = float((np.einsum("pq,qr->pr", gram, gram) * gram).sum()) / (1.0 - sample.concentration) ** 3
    r = max(1.0, trace**2 / second) if second > 0.0 else 1.0
    skewness_df = min(r, max(1.0, second * (second / third) ** 2)) if third > 0.0 else r
    length = 1.0 + (f_quantile(1.0 - alpha, skewness_df, LARGEST_DF) - 1.0) * math.sqrt(skewness_df / r)
    mean = f_quantile(1.0 - alpha / looks, LARGEST_DF, df)
    return math.exp(math.hypot(math.log(max(1.0, length)), math.log(max(1.0, mean))))


def _vector_spread(moments: Moments, sample: Sample, centred: Float64[np.ndarray, "seen dim"]) -> Spread:
    """The spread of the effects, summed over dimensions: between prompts, and over the seeds of one."""
    parts = sample.weight * np.einsum("pd,pd->p", centred, centred) / (1.0 - sample.concentration)
    between, between_df = float(parts.sum()), _trace_df(parts, parts.mean())
    degrees = sample.n - 1.0
    twice = degrees > 0.0
    if not sample.revisited:
        return Spread(between, between_df, None, 1.0)
    sums, squares = moments.sum_effect[sample.seen], moments.sum_norm_sq[sample.seen]
    errors = np.maximum(0.0, squares - np.einsum("pd,pd->p", sums, sums) / sample.n)[twice]
    within = float(errors.sum() / degrees.sum())
    return Spread(between, between_df, within, _trace_df(errors, within * degrees[twice]))


def _trace_df(parts: Float64[np.ndarray, " n"], expected: Float64[np.ndarray, " n"] | np.float64) -> float:
    """Degrees of freedom of a sum, 2 mean^2 / variance as of a chi^2, from how unequal its parts are.

    A few prompts with large effects may make up most of the sum; then it is known poorly.
    """
    uneven = float(((parts - expected) ** 2).sum()) * len(parts) / (len(parts) - 1)
    return min(2.0 * float(parts.sum()) ** 2 / uneven, LARGEST_DF) if uneven > 0.0 else LARGEST_DF
