"""What weights alone say about an adapter before it is measured: a guess that orders work, and never a signature."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lorascope.adapters.spectra import Spectrum
from lorascope.library import Library

FEWEST = 20
"""So many adapters must have been measured under a Protocol before anything is learnt from them."""

_PENALTY = 1.0
"""Ridge penalty for features of variance 1: as if one adapter more had been seen, which says that nothing matters."""
_SMALLEST = 1e-3
"""Consistency below it counts as this: its logarithm is asked for."""
_SURE = 1.645
"""Standard errors by which a rank correlation must exceed 0 for the fit to be used: 95%, one-sided."""


@final
@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear fit, with the error that it would have made on each point had it not seen it.

    Attributes:
        centre: mean of each feature.
        spread: standard deviation of each feature; 1 where there is none.
        mean: mean of the target.
        slopes: for features in units of their spread.
        left_out: the target of each point, predicted without it.
        target: what was fitted.
    """

    centre: Float64[np.ndarray, " features"]
    spread: Float64[np.ndarray, " features"]
    mean: float
    slopes: Float64[np.ndarray, " features"]
    left_out: Float64[np.ndarray, " n"]
    target: Float64[np.ndarray, " n"]

    @classmethod
    def fit(cls, features: Float64[np.ndarray, "n features"], target: Float64[np.ndarray, " n"]) -> Ridge:
        """Fit by penalised least squares; the mean is not penalised.

        Leaving one out takes no second fit: residual / (1 - leverage) (Allen 1974).
        """
        centre, spread = features.mean(axis=0), features.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        scaled, mean = (features - centre) / spread, float(target.mean())
        inverse = np.linalg.inv(scaled.T @ scaled + _PENALTY * np.eye(scaled.shape[1]))
        slopes = inverse @ scaled.T @ (target - mean)
        leverage = np.einsum("nf,fg,ng->n", scaled, inverse, scaled) + 1.0 / len(target)
        residual = target - mean - scaled @ slopes
        return cls(centre, spread, mean, slopes, target - residual / (1.0 - leverage), target)

    def predict(self, features: Float64[np.ndarray, " features"]) -> float:
        """The target at a new point."""
        return self.mean + float((features - self.centre) / self.spread @ self.slopes)

    @property
    def r_squared(self) -> float:
        """The share of the target's variance that points left out were predicted with; below 0 for none."""
        rest = float(((self.target - self.left_out) ** 2).sum())
        return 1.0 - rest / float(((self.target - self.target.mean()) ** 2).sum())

    @property
    def error(self) -> float:
        """Root mean square error of the points left out."""
        return float(np.sqrt(((self.target - self.left_out) ** 2).mean()))

    @property
    def rank_correlation(self) -> tuple[float, float, float]:
        """Spearman's rho between targets and predictions of points left out, and its 95% interval.

        By Fisher's z, with the variance 1.06 / (n - 3) (Fieller, Hartley and Pearson 1957).
        """
        rho = float(np.corrcoef(_ranks(self.target), _ranks(self.left_out))[0, 1])
        z, error = math.atanh(min(max(rho, -0.999999), 0.999999)), math.sqrt(1.06 / (len(self.target) - 3))
        return rho, math.tanh(z - 1.96 * error), math.tanh(z + 1.96 * error)

    @property
    def useful(self) -> bool:
        """Whether it ranks points that it has not seen better than chance, with 95% confidence."""
        rho, _, _ = self.rank_correlation
        return math.atanh(min(rho, 0.999999)) > _SURE * math.sqrt(1.06 / (len(self.target) - 3))


@final
@dataclass(frozen=True)
class Guess:
    """What to expect of an adapter. ``strength`` and ``consistency`` are None where nothing useful was learnt.

    ``weight`` orders adapters: the length of the Direction to expect, S sqrt(C), or without a fit the relative norm of
    the change alone. Guesses of one Prior may be compared, and no others.
    """

    strength: float | None
    consistency: float | None
    weight: float


@final
class Prior:
    """Strength and Consistency from spectra, learnt from the adapters that one library has measured.

    A fit made on one base model says nothing of another, so none ships with the package. With fewer than ``FEWEST``
    measured adapters, or where a fit does not predict those it has not seen, there is none.
    """

    def __init__(self, spectra: Sequence[Spectrum], strength: Sequence[float], consistency: Sequence[float]) -> None:
        """Learn from adapters of known Strength and Consistency."""
        self.strength: Ridge | None = None
        self.consistency: Ridge | None = None
        if len(spectra) >= FEWEST:
            features = np.array([features_of(spectrum) for spectrum in spectra])
            self.strength = Ridge.fit(features, np.log(np.maximum(strength, _SMALLEST)))
            self.consistency = Ridge.fit(features, np.log(np.maximum(consistency, _SMALLEST)))

    @classmethod
    def of(cls, library: Library, protocol: str, worn_as: str) -> Prior:
        """Learn from what a library holds under one Protocol.

        Args:
            library: where adapters and signatures are.
            protocol: its digest.
            worn_as: base model and scale, for which spectra must have been taken.
        """
        known = {
            key: found for key, adapter in library.adapters.all().items() if (found := recall(adapter.facts, worn_as))
        }
        signatures = {key: stored.signature for key, stored in library.signatures.get(protocol, known).items()}
        used = [key for key, signature in signatures.items() if signature.consistency is not None]
        return cls(
            [known[key] for key in used],
            [signatures[key].strength for key in used],
            [signatures[key].consistency or 0.0 for key in used],
        )

    def guess(self, spectrum: Spectrum) -> Guess:
        """What to expect of an adapter that was not measured yet."""
        features = features_of(spectrum)
        strength, consistency = (
            math.exp(fit.predict(features)) if fit is not None and fit.useful else None
            for fit in (self.strength, self.consistency)
        )
        consistency = None if consistency is None else min(consistency, 1.0)
        if strength is None:
            return Guess(None, consistency, spectrum.norm)
        return Guess(strength, consistency, strength * math.sqrt(1.0 if consistency is None else consistency))


def _ranks(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.argsort(np.argsort(values)).astype(np.float64)


def features_of(spectrum: Spectrum) -> Float64[np.ndarray, " features"]:
    """What is fitted: logarithms of norm and stable rank, and where in the model the change is."""
    logs = [math.log(max(value, 1e-9)) for value in (spectrum.norm, spectrum.stable_rank)]
    return np.array([*logs, spectrum.text, spectrum.attention])


def remember(spectrum: Spectrum, worn_as: str) -> dict[str, Any]:
    """A spectrum as a fact of its adapter; the inverse of :func:`recall`."""
    return asdict(spectrum) | {"worn_as": worn_as}


def recall(facts: Mapping[str, Any], worn_as: str) -> Spectrum | None:
    """The spectrum among an adapter's facts, if it was taken on this base model at this scale."""
    found = dict(facts.get("spectrum", {}))
    return Spectrum(**found) if found.pop("worn_as", None) == worn_as else None


def in_order(guesses: Iterable[Guess]) -> list[int]:
    """The places of guesses, the weightiest first; equal ones as they come."""
    return [place for place, _ in sorted(enumerate(guesses), key=lambda item: -item[1].weight)]
