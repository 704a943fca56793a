"""Intervals over prompts: the delete-a-prompt jackknife (Efron and Stein 1981), in closed form.

Figures that are made of products use products of different prompts only, in which chance cancels. Each function
returns a figure of all prompts, followed by the figure without each.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Integer

from lorascope.signature import Estimate
from lorascope.signature.quantiles import t_quantile

FEWEST_PROMPTS = 32
"""On fewer prompts the intervals are too narrow."""
CONFIDENCE = 0.95


def sums_by_prompt(
    values: Float64[np.ndarray, "cells d"], prompts: Integer[np.ndarray, " cells"]
) -> Float64[np.ndarray, "prompts d"]:
    """The sum over the cells of each prompt."""
    _, places = np.unique(prompts, return_inverse=True)
    sums = np.zeros((int(places.max()) + 1, values.shape[1]))
    np.add.at(sums, places, values)
    return sums


def totals(parts: Float64[np.ndarray, " prompts"]) -> Float64[np.ndarray, " figures"]:
    """The sum over all prompts, and over all but each."""
    return parts.sum() - np.concatenate([[0.0], parts])


def products_apart(
    one: Float64[np.ndarray, "prompts d"], two: Float64[np.ndarray, "prompts d"]
) -> Float64[np.ndarray, " figures"]:
    """The sum of the products of all pairs of different prompts; then the same without each prompt."""
    sums = one.sum(axis=0), two.sum(axis=0)
    own = np.einsum("pd,pd->p", one, two)
    whole = float(sums[0] @ sums[1])
    left_out = whole - two @ sums[0] - one @ sums[1] + own
    return np.concatenate([[whole], left_out]) - totals(own)


def interval(values: Float64[np.ndarray, " figures"]) -> Estimate:
    """The interval of a figure."""
    value, rest = float(values[0]), values[1:]
    error = math.sqrt((len(rest) - 1) * float(rest.var()))
    reach = t_quantile((1 + CONFIDENCE) / 2, len(rest) - 1.0) * error
    return Estimate(value, value - reach, value + reach)


def interval_of_ratio(values: Float64[np.ndarray, " figures"]) -> Estimate:
    """The interval of a ratio that is above 0, symmetric in its logarithm."""
    log = interval(np.log(values))
    return Estimate(math.exp(log.value), math.exp(log.lower), math.exp(log.upper))
